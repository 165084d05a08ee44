//! The operator's log on standard error: one JSON line for each request and each notice.

use std::io::Write as _;

use serde::Serialize;

use crate::service::{Entry, Log, Notice};

/// Writes log entries to standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct StderrLog;

impl Log for StderrLog {
    fn record(&self, entry: &Entry) {
        write(entry);
    }

    fn notice(&self, notice: &Notice) {
        write(notice);
    }
}

fn write(entry: &impl Serialize) {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    // One write for each line, so that the lines of several threads do not mix. A closed log must
    // not stop the server.
    let _ = std::io::stderr().lock().write_all(&line);
}
