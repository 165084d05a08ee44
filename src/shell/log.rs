//! The operator's log: one JSON line a request, on standard error.

use std::io::Write as _;

use crate::service::{Entry, Log};

/// Writes records to standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct StderrLog;

impl Log for StderrLog {
    fn record(&self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).unwrap_or_default();
        line.push(b'\n');
        // One write a line, so that lines of several threads do not mix. A closed log must not stop the server.
        let _ = std::io::stderr().lock().write_all(&line);
    }
}
