//! One turn on the console: a spinner until the first word, then the words as they arrive.

use std::{cell::Cell, time::Duration};

use super::{connect::Connection, console::Console, error::CliError};
use crate::{
    service::Clock as _,
    shell::{
        self, Interrupts, SystemClock,
        client::{Call, Client, ClientError, ReplyEvent, TurnAnswer, TurnRequest},
    },
};

/// The end of a turn.
pub(super) enum TurnOutcome {
    /// The reply is complete.
    Done(Box<TurnAnswer>),
    /// The turn failed.
    Failed(ClientError),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Takes a turn and prints its reply on `display`, if there is one. With `interruptible`, Ctrl-C
/// ends the turn and not the process.
///
/// # Errors
/// [`CliError`] if the reply cannot be printed. A closed standard output does not end the turn.
pub(super) fn take(
    connection: &Connection,
    request: &TurnRequest<'_>,
    display: Option<&ReplyDisplay>,
    interruptible: bool,
) -> Result<TurnOutcome, CliError> {
    let (runtime, client) = connection.parts();
    runtime.block_on(async {
        let interrupts = if interruptible {
            let watched = Interrupts::watch();
            Some(watched.map_err(|error| CliError::new(format!("cannot watch for Ctrl-C: {error}")))?)
        } else {
            None
        };
        let reply = shell::first_of(interrupted(interrupts), Box::pin(read(client, request, display)));
        let outcome = shell::first_of(reply, spin(display)).await;
        display.map_or(Ok(()), ReplyDisplay::end)?;
        outcome
    })
}

async fn read(
    client: &Client,
    request: &TurnRequest<'_>,
    display: Option<&ReplyDisplay>,
) -> Result<TurnOutcome, CliError> {
    let mut reply = match client.turn(request).await {
        Ok(reply) => reply,
        Err(error) => return Ok(TurnOutcome::Failed(error)),
    };
    loop {
        match (reply.next().await, display) {
            (Ok(ReplyEvent::Done(answer)), _) => return Ok(TurnOutcome::Done(answer)),
            (Ok(ReplyEvent::Text(text)), Some(display)) => display.text(&text)?,
            (Ok(ReplyEvent::Call(call)), Some(display)) => display.call(&call)?,
            (Ok(_), _) => {}
            (Err(error), _) => return Ok(TurnOutcome::Failed(error)),
        }
    }
}

/// Ends at Ctrl-C. Without `interrupts` it never ends.
async fn interrupted(interrupts: Option<Interrupts>) -> Result<TurnOutcome, CliError> {
    match interrupts {
        Some(mut interrupts) => interrupts.next().await,
        None => std::future::pending().await,
    }
    Ok(TurnOutcome::Interrupted)
}

/// Draws the spinner. Never ends.
async fn spin(display: Option<&ReplyDisplay>) -> Result<TurnOutcome, CliError> {
    let Some(display) = display.filter(|display| display.console.can_spin) else {
        return std::future::pending().await;
    };
    let clock = SystemClock::new();
    clock.sleep(SPIN_AFTER).await;
    loop {
        for frame in SPINNER_FRAMES {
            display.spin(frame);
            clock.sleep(SPIN_EVERY).await;
        }
    }
}

/// Prints one reply.
pub(super) struct ReplyDisplay {
    console: Console,
    /// The spinner is visible.
    spinning: Cell<bool>,
    /// Some of the reply was printed.
    started: Cell<bool>,
    /// The last printed character was not a line end.
    in_line: Cell<bool>,
    /// Standard output is closed.
    closed: Cell<bool>,
}

impl ReplyDisplay {
    /// A display without any text yet.
    pub(super) fn new(console: Console) -> Self {
        let no = || Cell::new(false);
        Self { console, spinning: no(), started: no(), in_line: no(), closed: no() }
    }

    /// Returns true if standard output is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn text(&self, text: &str) -> Result<(), CliError> {
        self.started.set(true);
        self.erase_spinner();
        if self.closed.get() {
            return Ok(());
        }
        if let Some(last) = text.trim_end_matches('\r').chars().next_back() {
            self.in_line.set(last != '\n');
        }
        match self.console.print(text) {
            Err(error) if error.is_output_closed() => self.closed.set(true),
            printed => printed?,
        }
        Ok(())
    }

    fn call(&self, call: &Call) -> Result<(), CliError> {
        let start = if self.in_line.get() { "\n" } else { "" };
        self.text(&format!("{start}call {}: {}({})\n", call.id, call.name, call.args))
    }

    fn end(&self) -> Result<(), CliError> {
        self.erase_spinner();
        if self.in_line.get() { self.text("\n") } else { Ok(()) }
    }

    fn spin(&self, frame: &str) {
        if !self.started.get() {
            self.spinning.set(true);
            self.console.write_error(&format!("\r{frame} "));
        }
    }

    fn erase_spinner(&self) {
        if self.spinning.take() {
            self.console.write_error("\r\u{1b}[K");
        }
    }
}

/// A reply that starts within this time needs no spinner.
const SPIN_AFTER: Duration = Duration::from_millis(120);
/// The time between two frames.
const SPIN_EVERY: Duration = Duration::from_millis(100);
const SPINNER_FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
