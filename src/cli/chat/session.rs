//! The chat as it stands: its token, the ones before it, and what each line does to them.

use std::path::{Path, PathBuf};

use crate::{
    cli::{
        connect::Proxy,
        console::Console,
        error::CliError,
        file::{self, Holder, TokenFile},
        render,
        turn::{self, Outcome, Screen},
    },
    proto::time::{LEEWAY_SECONDS, UnixSeconds},
    service::Clock as _,
    shell::{
        SystemClock,
        client::{ClientError, Conversation, History, Partial},
    },
};

/// One chat under way.
pub(super) struct Session {
    console: Console,
    proxy: Proxy,
    file: TokenFile,
    token: Option<String>,
    /// What stood before each turn of this run, oldest first.
    before: Vec<Option<String>>,
    /// What came of a reply that was cut, until something else is said.
    partial: Option<Partial>,
}

/// What is to follow a line.
pub(super) enum After {
    GoOn,
    Leave,
}

impl Session {
    pub(super) fn new(console: Console, proxy: Proxy, file: TokenFile, token: Option<String>) -> Self {
        Self { console, proxy, file, token, before: Vec::new(), partial: None }
    }

    /// Says who answers and where the chat stands; a person reads it, a script does not.
    ///
    /// # Errors
    /// [`CliError`] if the saved chat cannot go on.
    pub(super) fn greet(&self) -> Result<(), CliError> {
        let path = self.file.path().display();
        let stands = match self.history()? {
            None => {
                self.proxy.probe().map_err(|error| self.explain(&error))?;
                format!("A new chat, kept in {path}.")
            }
            Some(History { conversation, .. }) => {
                self.check_expiry(&conversation)?;
                let turns = plural(conversation.turn, "turn");
                format!("The chat in {path} goes on after {turns}; good until {}.", conversation.expires_at)
            }
        };
        if self.console.input_is_terminal {
            self.console.say(&format!("You talk to {}.", self.proxy.model));
            self.console.say(&stands);
            self.console.whisper("/help lists what else you can do, Ctrl-D leaves.");
        }
        Ok(())
    }

    /// Says how to come back.
    pub(super) fn bid_farewell(&self) {
        if self.console.is_interactive() && self.token.is_some() {
            self.console.whisper(&format!("The chat is kept in {}.", self.file.path().display()));
        }
    }

    /// Takes a line: a command, or something to say.
    ///
    /// # Errors
    /// [`CliError`]; the chat stands as before.
    pub(super) fn line(&mut self, text: &str) -> Result<After, CliError> {
        let Some(command) = text.strip_prefix('/') else {
            return self.say(text.trim_start());
        };
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, argument.trim()) {
            ("fork", name) => self.fork(name)?,
            ("help", "") => self.console.print(HELP)?,
            ("history", "") => self.print_history()?,
            ("info", "") => self.print_info()?,
            ("keep", "") => self.keep()?,
            ("new", "") => self.begin_anew()?,
            ("quit" | "exit", "") => return Ok(After::Leave),
            ("save", path) => self.save(path)?,
            ("undo", "") => self.undo()?,
            (name, _) if COMMANDS.contains(&name) => {
                return Err(CliError::new(format!("/{name} takes no argument")));
            }
            (name, _) => {
                return Err(CliError::new(format!("there is no command /{name}"))
                    .with_hint("/help lists them; put a space before the slash to say it to the model"));
            }
        }
        Ok(After::GoOn)
    }

    fn say(&mut self, text: &str) -> Result<After, CliError> {
        let screen = Screen::new(self.console);
        let request = self.proxy.request(self.token.as_deref(), text);
        let outcome = turn::take(&self.proxy, &request, Some(&screen), self.console.is_interactive())?;
        match outcome {
            Outcome::Done(answer) => {
                if answer.conversation.trimmed_items > 0 {
                    self.note(&format!("{} old items were left out", answer.conversation.trimmed_items));
                }
                match answer.finish_reason.as_str() {
                    "length" => self.note("the reply ends here because it came to its greatest length"),
                    "content_filter" => self.note("the model service held back the rest of the reply"),
                    _ => {}
                }
                self.go_to(Some(answer.token))?;
            }
            Outcome::Failed(ClientError::Refused(refusal)) if refusal.partial.is_some() => {
                let error = CliError::new(refusal.detail.clone())
                    .with_hint("the chat stands as before; /keep goes on from the part of the reply above instead");
                self.partial.clone_from(&refusal.partial);
                return Err(error);
            }
            Outcome::Failed(error) => return Err(self.explain(&error)),
            Outcome::Interrupted => self.note("stopped; the chat stands as before"),
        }
        if screen.is_closed() {
            return Err(CliError::output_closed());
        }
        if self.console.is_interactive() {
            self.console.print("\n")?;
        }
        Ok(After::GoOn)
    }

    /// Goes on from `token`, and keeps it in the file.
    fn go_to(&mut self, token: Option<String>) -> Result<(), CliError> {
        self.before.push(std::mem::replace(&mut self.token, token));
        self.partial = None;
        self.store()
    }

    fn store(&self) -> Result<(), CliError> {
        let stored = match &self.token {
            Some(token) => self.file.write(token),
            None => self.file.remove(),
        };
        stored.map_err(|error| error.with_hint("the chat goes on, not saved; `/save FILE` keeps it elsewhere"))
    }

    fn undo(&mut self) -> Result<(), CliError> {
        let before = self.before.pop().ok_or_else(|| {
            CliError::new("there is nothing to undo")
                .with_hint("only turns since the chat was opened can be taken back")
        })?;
        self.token = before;
        self.partial = None;
        self.store()?;
        self.note(&match self.history()? {
            None => "the chat stands before its first turn".to_owned(),
            Some(history) => format!("the chat stands after turn {}", history.conversation.turn),
        });
        Ok(())
    }

    fn fork(&mut self, name: &str) -> Result<(), CliError> {
        let token = self.token.as_ref().ok_or_else(|| CliError::new("there is nothing to fork yet"))?;
        let fits = (1..=64).contains(&name.len())
            && !name.starts_with('.')
            && name.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter));
        if !fits {
            return Err(CliError::new("a fork has a name of letters, digits, `.`, `_` and `-`").with_hint("/fork idea"));
        }
        let path = self.file.path().with_file_name(format!("{name}.token"));
        let fork = TokenFile::open(&path, Holder::Chat, self.console)?;
        make(&path, token)?;
        let left = std::mem::replace(&mut self.file, fork);
        self.note(&format!("the chat goes on in {}; {} stays as it is", path.display(), left.path().display()));
        Ok(())
    }

    fn save(&self, path: &str) -> Result<(), CliError> {
        let token = self.token.as_ref().ok_or_else(|| CliError::new("there is nothing to save yet"))?;
        if path.is_empty() {
            return Err(CliError::new("/save wants a file").with_hint(format!(
                "/save FILE writes a copy; after each turn the chat is saved in {} anyway",
                self.file.path().display()
            )));
        }
        make(&PathBuf::from(path), token)?;
        self.note(&format!("a copy is in {path}"));
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(), CliError> {
        let aside = self.file.set_aside()?;
        self.go_to(None)?;
        self.note(&match aside {
            Some(aside) => format!("a new chat; the old one is kept in {}", aside.display()),
            None => "a new chat".to_owned(),
        });
        Ok(())
    }

    fn keep(&mut self) -> Result<(), CliError> {
        let partial = self.partial.take().ok_or_else(|| CliError::new("there is no cut reply to keep"))?;
        self.go_to(Some(partial.token))?;
        self.note("the chat goes on from the cut reply");
        Ok(())
    }

    fn print_history(&self) -> Result<(), CliError> {
        let Some(history) = self.history()? else { return Err(CliError::new("nothing has been said yet")) };
        history.items.iter().try_for_each(|item| self.console.print(&render::item(item, self.console)))
    }

    fn print_info(&self) -> Result<(), CliError> {
        let mut rows = vec![("model", self.proxy.model.clone()), ("file", self.file.path().display().to_string())];
        match self.history()? {
            None => rows.push(("turns", "none yet".to_owned())),
            Some(History { items, conversation }) => rows.extend([
                ("conversation", conversation.id),
                ("turns", conversation.turn.to_string()),
                ("began", conversation.started_at),
                ("good until", conversation.expires_at),
                ("history", format!("{} items, {} bytes", items.len(), conversation.history_bytes)),
                ("token", format!("{} bytes", conversation.token_bytes)),
                ("can undo", plural(self.before.len() as u64, "turn")),
            ]),
        }
        let lines: String = rows.iter().map(|(name, value)| format!("{name:<12}  {value}\n")).collect();
        self.console.print(&lines)
    }

    /// What the token holds, as the server reads it; `None` before the first turn.
    fn history(&self) -> Result<Option<History>, CliError> {
        let Some(token) = &self.token else { return Ok(None) };
        self.proxy.history(token).map(Some).map_err(|error| self.explain(&error))
    }

    fn check_expiry(&self, conversation: &Conversation) -> Result<(), CliError> {
        let now = SystemClock::new().now();
        // Moments in RFC 3339, of one form and in UTC, are ordered as their texts are.
        let counted = UnixSeconds(now.0.saturating_sub(LEEWAY_SECONDS)).to_string();
        if counted < conversation.expires_at {
            return Ok(());
        }
        let (path, expired) = (self.file.path().display(), &conversation.expires_at);
        Err(CliError::new(format!("the chat in {path} expired at {expired}")).with_hint(format!(
            "`holdall token history {path}` reads it; with --new a chat begins anew and keeps this one beside"
        )))
    }

    fn explain(&self, error: &ClientError) -> CliError {
        self.proxy.explain(error, self.file.path())
    }

    /// Says what has happened, to a person beside the replies.
    fn note(&self, line: &str) {
        self.console.whisper(&format!("({line})"));
    }
}

/// Makes a token file that is not there yet.
fn make(path: &Path, token: &str) -> Result<(), CliError> {
    if file::create(path, format!("{token}\n").as_bytes())? {
        Ok(())
    } else {
        Err(CliError::new(format!("{} is there already", path.display())).with_hint("take another name"))
    }
}

fn plural(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

const COMMANDS: [&str; 9] = ["exit", "help", "history", "info", "keep", "new", "quit", "undo", "fork"];

const HELP: &str = "\
/undo        take back the last turn
/fork NAME   go on in NAME.token, beside this file, which stays as it is
/save FILE   write a copy of the chat
/new         begin anew; the old chat is kept beside
/keep        go on from a reply that was cut
/history     print what was said
/info        print where the chat stands
/quit        leave, as Ctrl-D does

Ctrl-C stops a reply; the chat then stands as before.
A line that is to begin with a slash wants a space before it.
";
