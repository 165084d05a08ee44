//! The operator's log. It has the same lines as the native server's, and goes to the Worker's
//! console.

use holdall::service::{Entry, Log, Notice};
use serde::Serialize;

/// Writes log entries to the console, from where `wrangler tail` and Workers Logs read them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConsoleLog;

impl Log for ConsoleLog {
    fn record(&self, entry: &Entry) {
        write(entry);
    }

    fn notice(&self, notice: &Notice) {
        write(notice);
    }
}

fn write(entry: &impl Serialize) {
    worker::console_log!("{}", serde_json::to_string(entry).unwrap_or_default());
}
