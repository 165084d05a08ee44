//! One turn as it is seen: a sign of life until the first word, then the words as they come.

use std::{cell::Cell, time::Duration};

use super::{connect::Proxy, console::Console, error::CliError};
use crate::{
    service::Clock as _,
    shell::{
        self, Interrupts, SystemClock,
        client::{Call, Client, ClientError, ReplyEvent, TurnAnswer, TurnRequest},
    },
};

/// How a turn ended.
pub(super) enum Outcome {
    /// The reply is whole.
    Done(Box<TurnAnswer>),
    /// Something is wrong with the turn.
    Failed(ClientError),
    /// Ctrl-C.
    Interrupted,
}

/// Takes a turn and shows its reply; `None` shows nothing. With `interruptible` Ctrl-C ends the turn, not the process.
///
/// # Errors
/// [`CliError`] if the reply cannot be shown; whoever has stopped reading it does not end the turn.
pub(super) fn take(
    proxy: &Proxy,
    request: &TurnRequest<'_>,
    screen: Option<&Screen>,
    interruptible: bool,
) -> Result<Outcome, CliError> {
    let (runtime, client) = proxy.parts();
    runtime.block_on(async {
        let interrupts = if interruptible {
            let watched = Interrupts::watch();
            Some(watched.map_err(|error| CliError::new(format!("cannot watch for Ctrl-C: {error}")))?)
        } else {
            None
        };
        let reply = shell::first_of(interrupted(interrupts), Box::pin(read(client, request, screen)));
        let outcome = shell::first_of(reply, spin(screen)).await;
        screen.map_or(Ok(()), Screen::end)?;
        outcome
    })
}

async fn read(client: &Client, request: &TurnRequest<'_>, screen: Option<&Screen>) -> Result<Outcome, CliError> {
    let mut reply = match client.turn(request).await {
        Ok(reply) => reply,
        Err(error) => return Ok(Outcome::Failed(error)),
    };
    loop {
        match (reply.next().await, screen) {
            (Ok(ReplyEvent::Done(answer)), _) => return Ok(Outcome::Done(answer)),
            (Ok(ReplyEvent::Text(text)), Some(screen)) => screen.text(&text)?,
            (Ok(ReplyEvent::Call(call)), Some(screen)) => screen.call(&call)?,
            (Ok(_), _) => {}
            (Err(error), _) => return Ok(Outcome::Failed(error)),
        }
    }
}

/// Ends with Ctrl-C, if that is watched for.
async fn interrupted(interrupts: Option<Interrupts>) -> Result<Outcome, CliError> {
    match interrupts {
        Some(mut interrupts) => interrupts.next().await,
        None => std::future::pending().await,
    }
    Ok(Outcome::Interrupted)
}

/// Never ends.
async fn spin(screen: Option<&Screen>) -> Result<Outcome, CliError> {
    let Some(screen) = screen.filter(|screen| screen.console.can_spin) else {
        return std::future::pending().await;
    };
    let clock = SystemClock::new();
    clock.sleep(SPIN_AFTER).await;
    loop {
        for frame in FRAMES {
            screen.spin(frame);
            clock.sleep(SPIN_EVERY).await;
        }
    }
}

/// Where one reply is shown.
pub(super) struct Screen {
    console: Console,
    /// The spinner stands in the line.
    spinning: Cell<bool>,
    /// Something of the reply was shown.
    began: Cell<bool>,
    /// The last thing shown was no line end.
    in_line: Cell<bool>,
    /// Nobody reads any more.
    closed: Cell<bool>,
}

impl Screen {
    pub(super) fn new(console: Console) -> Self {
        let no = || Cell::new(false);
        Self { console, spinning: no(), began: no(), in_line: no(), closed: no() }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn text(&self, text: &str) -> Result<(), CliError> {
        self.began.set(true);
        self.erase();
        if self.closed.get() {
            return Ok(());
        }
        let text = self.console.show(text);
        if let Some(last) = text.chars().next_back() {
            self.in_line.set(last != '\n');
        }
        match self.console.print(&text) {
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
        self.erase();
        if self.in_line.get() { self.text("\n") } else { Ok(()) }
    }

    fn spin(&self, frame: &str) {
        if !self.began.get() {
            self.spinning.set(true);
            self.console.say_raw(&format!("\r{frame} "));
        }
    }

    fn erase(&self) {
        if self.spinning.take() {
            self.console.say_raw("\r\u{1b}[K");
        }
    }
}

/// A reply that comes at once needs no spinner.
const SPIN_AFTER: Duration = Duration::from_millis(120);
const SPIN_EVERY: Duration = Duration::from_millis(100);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
