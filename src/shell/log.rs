//! The operator's log on standard error: one JSON line for each request and each notice.

use std::{panic, time::Duration};

use serde::Serialize;

use super::stderr;
use crate::service::{Entry, Log, Notice};

/// Writes log entries to standard error. No call waits for its reader: see `stderr.rs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StderrLog;

impl StderrLog {
    /// Writes text for people, next to the entries.
    pub fn text(self, text: &str) {
        stderr::write(text.into());
    }

    /// Waits until standard error has everything, for at most `limit`.
    pub fn flush(self, limit: Duration) {
        stderr::flush(limit);
    }

    /// Writes panics of any thread as notices with their place in the code. Their messages can have
    /// text of a conversation.
    pub fn watch_panics(self) {
        panic::set_hook(Box::new(move |panic| self.notice(&panic_notice(panic.location()))));
    }
}

impl Log for StderrLog {
    fn record(&self, entry: &Entry) {
        write(entry);
    }

    fn notice(&self, notice: &Notice) {
        write(notice);
    }
}

fn panic_notice(place: Option<&panic::Location<'_>>) -> Notice {
    Notice { notice: "panic", detail: place.map(|place| format!("at {place}")).unwrap_or_default() }
}

fn write(entry: &impl Serialize) {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    stderr::write(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_noted_with_its_place_alone() {
        let (place, line) = (panic::Location::caller(), line!());
        let Notice { notice, detail } = panic_notice(Some(place));
        assert_eq!((notice, detail), ("panic", format!("at {}:{line}:30", file!())));
    }
}
