//! The state of one chat: its token, the earlier tokens, and the effect of each line on them.

use std::path::Path;

use crate::{
    cli::{
        connect::Connection,
        console::Console,
        error::CliError,
        file::{LockHolder, TokenFile, create_token_file, shell_word},
        render::{self, count},
        turn::{self, ReplyDisplay, TurnOutcome},
    },
    proto::time::{LEEWAY_SECONDS, UnixSeconds},
    service::Clock as _,
    shell::{
        SystemClock,
        client::{ClientError, Conversation, History, Partial, TurnAnswer},
    },
};

/// One open chat.
pub(super) struct Session {
    console: Console,
    connection: Connection,
    file: TokenFile,
    /// The newest token; `None` before the first turn.
    token: Option<String>,
    /// The token before each change of this run, oldest first.
    earlier: Vec<Option<String>>,
    /// The start of an interrupted reply, until the next change.
    partial: Option<Partial>,
}

/// The effect of a line on the chat.
pub(super) enum Next {
    /// The chat continues.
    Continue,
    /// The user leaves.
    Leave,
}

impl Session {
    /// A chat that continues from `token`.
    pub(super) fn new(console: Console, connection: Connection, file: TokenFile, token: Option<String>) -> Self {
        Self { console, connection, file, token, earlier: Vec::new(), partial: None }
    }

    /// Checks that the chat can continue, and tells a person about the model and the chat.
    ///
    /// # Errors
    /// [`CliError`] if the server does not answer or refuses the token, or if the token is expired.
    pub(super) fn greet(&self) -> Result<(), CliError> {
        let path = self.file.path().display();
        let state = match self.history()? {
            None => {
                self.connection.probe().map_err(|error| self.explain(&error))?;
                format!("New chat in {path}.")
            }
            Some(History { conversation, .. }) => {
                self.check_expiry(&conversation)?;
                let turns = count(conversation.turn, "turn");
                format!("Resuming the chat in {path} after {turns}. It expires {}.", conversation.expires_at)
            }
        };
        if self.console.input_is_terminal {
            self.console.note(&format!("Chatting with {}.", self.connection.model));
            self.console.note(&state);
            self.console.dim_note("Type /help for the commands. Press Ctrl-D to leave.");
        }
        Ok(())
    }

    /// Tells a person where the chat is stored.
    pub(super) fn say_goodbye(&self) {
        if self.console.is_interactive() && self.token.is_some() {
            self.console.dim_note(&format!("The chat is saved in {}.", self.file.path().display()));
        }
    }

    /// Handles a line: a command, or a message for the model.
    ///
    /// # Errors
    /// [`CliError`] if the line has no effect, or if the new token cannot be stored.
    pub(super) fn handle(&mut self, text: &str) -> Result<Next, CliError> {
        let Some(command) = text.strip_prefix('/') else {
            self.send(text.trim_start())?;
            return Ok(Next::Continue);
        };
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, argument.trim()) {
            ("fork", name) => self.fork(name)?,
            ("help", "") => self.console.print(HELP)?,
            ("history", "") => self.print_history()?,
            ("info", "") => self.print_info()?,
            ("keep", "") => self.keep()?,
            ("new", "") => self.start_new()?,
            ("quit" | "exit", "") => return Ok(Next::Leave),
            ("save", path) => self.save(path)?,
            ("undo", "") => self.undo()?,
            (name, _) if COMMANDS.contains(&name) => {
                return Err(CliError::new(format!("/{name} takes no argument")));
            }
            (name, _) => {
                return Err(CliError::new(format!("unknown command /{name}")).with_hint(
                    "/help lists the commands; to send a message that begins with a slash, put a space before it",
                ));
            }
        }
        Ok(Next::Continue)
    }

    /// Takes a turn.
    fn send(&mut self, text: &str) -> Result<(), CliError> {
        let display = ReplyDisplay::new(self.console);
        let request = self.connection.request(self.token.as_deref(), text);
        match turn::take(&self.connection, &request, Some(&display), self.console.is_interactive())? {
            TurnOutcome::Done(answer) => self.accept(*answer)?,
            TurnOutcome::Failed(ClientError::Refused(refusal)) if refusal.partial.is_some() => {
                self.partial.clone_from(&refusal.partial);
                return Err(CliError::new(refusal.detail)
                    .with_hint("the chat is unchanged; /keep continues it with this part of the reply"));
            }
            TurnOutcome::Failed(error) => return Err(self.explain(&error)),
            TurnOutcome::Interrupted => self.remark("stopped; the chat is unchanged"),
        }
        if display.is_closed() {
            return Err(CliError::output_closed());
        }
        if self.console.is_interactive() {
            self.console.print("\n")?;
        }
        Ok(())
    }

    /// Continues with the token of a complete reply.
    fn accept(&mut self, answer: TurnAnswer) -> Result<(), CliError> {
        let removed = answer.conversation.trimmed_items;
        if removed > 0 {
            self.remark(&format!("removed the oldest {} of the history to make room", count(removed, "item")));
        }
        match answer.finish_reason.as_str() {
            "length" => self.remark("the reply is incomplete: it reached the maximum length"),
            "content_filter" => self.remark("the reply is incomplete: the model service blocked the rest"),
            _ => {}
        }
        self.continue_with(Some(answer.token))
    }

    /// Continues with `token` and stores it. `None` is a new chat.
    fn continue_with(&mut self, token: Option<String>) -> Result<(), CliError> {
        self.earlier.push(std::mem::replace(&mut self.token, token));
        self.partial = None;
        self.store()
    }

    fn store(&self) -> Result<(), CliError> {
        let stored = match &self.token {
            Some(token) => self.file.write(token),
            None => self.file.remove(),
        };
        stored.map_err(|error| error.with_hint("the chat continues without being saved; save it with /save FILE"))
    }

    fn undo(&mut self) -> Result<(), CliError> {
        let earlier = self.earlier.pop().ok_or_else(|| {
            CliError::new("there is nothing to undo").with_hint("/undo reaches back to the start of this run only")
        })?;
        self.token = earlier;
        self.partial = None;
        self.store()?;
        let turns = self.history()?.map_or(0, |history| history.conversation.turn);
        self.remark(&format!("undone; the chat now has {}", count(turns, "turn")));
        Ok(())
    }

    fn fork(&mut self, name: &str) -> Result<(), CliError> {
        let token =
            self.token.as_ref().ok_or_else(|| CliError::new("there is nothing to fork: the chat has no turns yet"))?;
        let is_valid = (1..=FORK_NAME_BYTES).contains(&name.len())
            && !name.starts_with('.')
            && name.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter));
        if !is_valid {
            return Err(CliError::new(format!(
                "/fork needs a name of 1 to {FORK_NAME_BYTES} bytes: letters, digits, `.`, `_` and `-`, not beginning \
                 with `.`"
            ))
            .with_hint("/fork idea"));
        }
        let path = self.file.path().with_file_name(format!("{name}.token"));
        let fork = TokenFile::open(&path, LockHolder::Chat, self.console)?;
        create_token_file(&path, token)?;
        let old = std::mem::replace(&mut self.file, fork);
        self.remark(&format!("the chat continues in {}; {} is unchanged", path.display(), old.path().display()));
        Ok(())
    }

    fn save(&self, path: &str) -> Result<(), CliError> {
        let token =
            self.token.as_ref().ok_or_else(|| CliError::new("there is nothing to save: the chat has no turns yet"))?;
        if path.is_empty() {
            return Err(CliError::new("/save needs a file name").with_hint(format!(
                "/save FILE saves a copy; the chat itself is saved in {} after each turn",
                self.file.path().display()
            )));
        }
        create_token_file(Path::new(path), token)?;
        self.remark(&format!("saved a copy in {path}"));
        Ok(())
    }

    fn start_new(&mut self) -> Result<(), CliError> {
        let backup = self.file.back_up()?;
        self.continue_with(None)?;
        self.remark(&match backup {
            Some(backup) => format!("new chat; the old one is now in {}", backup.display()),
            None => "new chat".to_owned(),
        });
        Ok(())
    }

    fn keep(&mut self) -> Result<(), CliError> {
        let partial =
            self.partial.take().ok_or_else(|| CliError::new("/keep has no interrupted reply to continue with"))?;
        self.continue_with(Some(partial.token))?;
        self.remark("the chat continues with the interrupted reply");
        Ok(())
    }

    fn print_history(&self) -> Result<(), CliError> {
        let history = self.history()?.ok_or_else(|| CliError::new("the chat has no turns yet"))?;
        history.items.iter().try_for_each(|item| render::print_item(item, self.console))
    }

    fn print_info(&self) -> Result<(), CliError> {
        let mut rows = vec![("model", self.connection.model.clone()), ("file", self.file.path().display().to_string())];
        match self.history()? {
            None => rows.push(("turns", "none yet".to_owned())),
            Some(History { items, conversation }) => rows.extend([
                ("conversation", conversation.id),
                ("turns", conversation.turn.to_string()),
                ("started", conversation.started_at),
                ("expires", conversation.expires_at),
                ("history", format!("{}, {} bytes", count(items.len() as u64, "item"), conversation.history_bytes)),
                ("token", format!("{} bytes", conversation.token_bytes)),
                ("can undo", count(self.earlier.len() as u64, "change")),
            ]),
        }
        let lines: String = rows.iter().map(|(name, value)| format!("{name:<12}  {value}\n")).collect();
        self.console.print(&lines)
    }

    /// The conversation in the token, as the server reads it; `None` before the first turn.
    fn history(&self) -> Result<Option<History>, CliError> {
        let Some(token) = &self.token else { return Ok(None) };
        self.connection.history(token).map(Some).map_err(|error| self.explain(&error))
    }

    fn check_expiry(&self, conversation: &Conversation) -> Result<(), CliError> {
        let now = SystemClock::new().now();
        // Times in RFC 3339 with the same form and in UTC have the order of their texts.
        let now_with_leeway = UnixSeconds(now.0.saturating_sub(LEEWAY_SECONDS)).to_string();
        if now_with_leeway < conversation.expires_at {
            return Ok(());
        }
        let (path, word) = (self.file.path().display(), shell_word(self.file.path()));
        Err(CliError::new(format!("the chat in `{path}` expired at {}", conversation.expires_at)).with_hint(format!(
            "`holdall token history {word}` prints it; `holdall chat --new -t {word}` keeps it in a backup and starts a \
             new chat"
        )))
    }

    fn explain(&self, error: &ClientError) -> CliError {
        self.connection.explain(error, self.file.path())
    }

    /// Tells the user about an event. Standard output contains only replies.
    fn remark(&self, line: &str) {
        self.console.dim_note(&format!("({line})"));
    }
}

/// The longest name of a fork.
const FORK_NAME_BYTES: usize = 64;

const COMMANDS: [&str; 9] = ["exit", "help", "history", "info", "keep", "new", "quit", "undo", "fork"];

const HELP: &str = "\
/undo        undo the last change, such as a turn
/fork NAME   continue in the new file NAME.token; the current file is unchanged
/save FILE   save a copy of the chat in a new file
/new         start a new chat; the old one moves to a backup file
/keep        continue with an interrupted reply
/history     print the conversation
/info        print the state of the chat
/quit        leave; Ctrl-D does the same

Ctrl-C stops a reply. The chat is then unchanged.
To send a message that begins with a slash, put a space before it.
";
