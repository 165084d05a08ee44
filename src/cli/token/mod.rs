//! `holdall token`: what a key holder can do with tokens: look into them, check them, read them out, make them.
//!
//! The keys are those of the settings, else the chat's own. Nothing here asks whose a token is but `verify`: whoever
//! holds the keys may read every conversation.

mod inspect;
pub(super) mod render;
mod transcript;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum};

pub(super) use self::inspect::user;
use self::transcript::{Format, Transcript};
use super::{
    CliError,
    connect::OWN_USER,
    console::Console,
    file::{self, in_words},
    home,
    keys::random,
    settings::{System, for_tokens},
};
use crate::{
    config::{Config, TokenSettings},
    proto::{
        chat::Item,
        error::Error,
        principal::{IDP_NONE, Principal},
        token::{self, Claims, Codec, Id, NONCE_BYTES, RawToken, UnverifiedToken},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show what a token says: claims, sizes, times
    Inspect(Show),
    /// Say whether a user's token is good, or exactly why not
    Verify(Verify),
    /// Print the conversation
    History(Show),
    /// Print the conversation as a document
    Export(Export),
    /// Make a token of a transcript
    Import(Import),
}

#[derive(Clone, Debug, clap::Args)]
struct Source {
    /// File that holds the token; `-` for standard input [default: the file of `holdall chat`]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: TokenSettings,
}

#[derive(Clone, Debug, clap::Args)]
struct Show {
    /// JSON instead; for a history, one item a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Debug, clap::Args)]
struct Verify {
    /// User whose token it is to be; without one, only an anonymous user's token is good
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Who vouches for the user: none, header, key, or `jwt:` and the issuer [default: none]
    #[arg(long, value_name = "SOURCE", requires = "user")]
    idp: Option<String>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Debug, clap::Args)]
struct Export {
    /// Form of the document
    #[arg(long, value_enum, default_value_t = Document::Markdown)]
    format: Document,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Document {
    /// Headings and text, for people
    Markdown,
    /// One item a line, as the token holds them; `import` reads it back
    Jsonl,
}

#[derive(Clone, Debug, clap::Args)]
struct Import {
    /// File that holds the transcript; `-` for standard input
    file: PathBuf,
    /// User whose conversation it is to be
    #[arg(long, value_name = "NAME", default_value = OWN_USER)]
    user: String,
    /// Who vouches for the user: none, header, key, or `jwt:` and the issuer
    #[arg(long, value_name = "SOURCE", default_value = IDP_NONE)]
    idp: String,
    /// Alias of the model that it goes on with
    #[arg(long, value_name = "ALIAS", default_value = "default")]
    model: String,
    /// Form of the transcript
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    #[command(flatten)]
    settings: TokenSettings,
}

/// Does what is asked.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    match &args.command {
        Command::Inspect(Show { json, source }) => console.print(&inspect::inspect(&source.load()?, *json)?),
        Command::Verify(verify) => inspect::verify(verify, console),
        Command::History(Show { json, source }) => {
            let token = source.load()?.open()?;
            if *json {
                return console.print(token.history_lines());
            }
            items(&token)?.iter().try_for_each(|item| console.print(&render::item(item, console)))
        }
        Command::Export(Export { format, source }) => {
            let token = source.load()?.open()?;
            match format {
                Document::Jsonl => console.print(token.history_lines()),
                Document::Markdown => console.print(&render::markdown(token.claims(), &items(&token)?)),
            }
        }
        Command::Import(import) => import_transcript(import, console),
    }
}

/// A token's text and what it is to be read with.
pub(super) struct Loaded {
    pub(super) text: String,
    pub(super) config: Config,
}

impl Source {
    fn load(&self) -> Result<Loaded, CliError> {
        let path = match &self.file {
            Some(path) => path.clone(),
            None => home::chat_file()?,
        };
        let text = read(&path)?.trim().to_owned();
        if text.is_empty() {
            return Err(CliError::new(format!("{} holds no token", path.display())));
        }
        Ok(Loaded { text, config: for_tokens(&self.settings, false, &System)? })
    }
}

impl Loaded {
    /// Opens the token, checking all that does not depend on who presents it or when.
    pub(super) fn open(&self) -> Result<UnverifiedToken, CliError> {
        let mut codec = codec()?;
        let deployment = &self.config.deployment;
        let opened = RawToken::new(&self.text, &deployment.limits)
            .and_then(|token| token.authenticate(deployment.token_context(), &mut codec));
        opened.map_err(|error| self.refused(&error))
    }

    /// An error with the exact cause, which only a key holder may learn.
    fn refused(&self, error: &Error) -> CliError {
        let refused = CliError::new(format!("the token does not verify: {}", exact(error)));
        let deployment = &self.config.deployment;
        let named = RawToken::new(&self.text, &deployment.limits).ok().and_then(RawToken::named_key);
        match named {
            Some((kid, _)) if !deployment.keys.ids().any(|id| *id == kid) => {
                let ids: Vec<_> = deployment.keys.ids().map(ToString::to_string).collect();
                refused.hint(format!("it names the key {kid}; the keys here are {}", ids.join(", ")))
            }
            _ => refused,
        }
    }
}

/// What is wrong, in words for a key holder.
fn exact(error: &Error) -> String {
    error.cause().unwrap_or_else(|| error.to_string())
}

fn items(token: &UnverifiedToken) -> Result<Vec<Item>, CliError> {
    let items = token.history_lines().lines().map(Item::from_line).collect::<Result<_, _>>();
    items.map_err(|error| CliError::new(format!("the token holds a line that is no item: {error}")))
}

fn codec() -> Result<Codec, CliError> {
    Codec::new().ok_or_else(|| CliError::new("there is no memory for a zstd context"))
}

/// The text of a file, or of standard input for `-`.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        return match std::io::stdin().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(CliError::new(format!("cannot read standard input: {}", in_words(&error)))),
        };
    }
    file::read(path)?.ok_or_else(|| CliError::new(format!("there is no file {}", path.display())))
}

fn import_transcript(args: &Import, console: Console) -> Result<(), CliError> {
    let Transcript { items, system_messages } = transcript::read(&read(&args.file)?, args.format)
        .map_err(|fault| CliError::new(format!("{}: {fault}", args.file.display())))?;
    let principal = Principal::new(args.user.as_str(), args.idp.as_str())
        .map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))?;
    let Config { deployment, .. } = for_tokens(&args.settings, true, &System)?;
    let now = SystemClock::new().now();
    let mut chance = [[0; 16]; 2];
    chance.iter_mut().try_for_each(|bytes| random(bytes))?;
    let ids = chance.map(|bytes| Id::new(now, bytes));
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce)?;
    let first = Claims::first(principal, args.model.clone(), ids, now, &deployment.policy);
    let claims = Claims { turn: transcript::turns(&items), ..first };
    let mut lines = String::new();
    items.iter().for_each(|item| item.write_line(&mut lines));
    let issued = token::issue(&claims, None, &lines, deployment.token_context(), &nonce, &mut codec()?)
        .map_err(|error| CliError::new(exact(&error)))?;
    if system_messages > 0 {
        console.warn(&format!(
            "{system_messages} system message{} left out; the system prompt is the server's (--system-prompt)",
            if system_messages == 1 { "" } else { "s" },
        ));
    }
    console.print(&format!("{}\n", issued.token))
}
