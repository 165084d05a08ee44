//! The operator's log: the lines that the native server writes to standard error, on the Worker's console.

use holdall::service::{Entry, Log, Notice};
use serde::Serialize;

/// Writes records to the console, where `wrangler tail` and Workers Logs find them.
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
