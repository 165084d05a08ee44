//! `holdall keys`: making, listing and rotating the keys that sign tokens, and making those that callers hold. Secrets are
//! shown once, when they are made.
//!
//! A key is rotated in three steps, each a change to the keys file that all instances must have before the next:
//! ```text
//! add   the new key verifies everywhere, and signs nowhere yet
//! use   the new key signs; tokens of the old one still verify
//! drop  after `ttl`, when the last token of the old key has expired
//! ```

use std::{
    io::stdout,
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::{
    CliError, caller_keys,
    console::Console,
    file::{self, Holder, Lock},
    settings::{System, key_ring},
};
use crate::{
    config::{ConfigError, KeySettings},
    proto::{
        key::{KeyId, KeyRing},
        token,
    },
    service::{Clock as _, EntropySource as _},
    shell::{SystemClock, SystemEntropy},
};

/// The arguments of `keys`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Print a new key, as a line for a keys file
    New {
        /// Id of the key, 1 to 32 of A-Z a-z 0-9 _ - [default: of the date]
        #[arg(long, value_name = "ID", value_parser = KeyId::new)]
        kid: Option<KeyId>,
    },
    /// List the ids of the keys in use, never their secrets
    List {
        /// One JSON object instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: KeySettings,
    },
    /// Change the keys of a keys file: `add`, then `use`, then `drop`
    Rotate(RotateArgs),
    /// Make a key that a caller holds, and its line for identity.api_key.keys_file
    Api {
        /// For whom it is to speak
        #[arg(long, value_name = "NAME", value_parser = caller_keys::user)]
        user: String,
        /// Both as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a key that an operator holds, and its digest for operator_keys
    Operator {
        /// Both as one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct RotateArgs {
    #[command(subcommand)]
    step: Step,
}

#[derive(Clone, Debug, Subcommand)]
enum Step {
    /// Put a new key at the end: it verifies, and signs not yet
    Add {
        /// Keys file; it is made if there is none
        file: PathBuf,
        /// Id of the key, 1 to 32 of A-Z a-z 0-9 _ - [default: of the date]
        #[arg(long, value_name = "ID", value_parser = KeyId::new)]
        kid: Option<KeyId>,
        /// List the keys as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move a key to the front: it signs from now on
    Use {
        /// Keys file
        file: PathBuf,
        /// Id of the key
        kid: String,
        /// List the keys as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key: its tokens are refused from now on
    Drop {
        /// Keys file
        file: PathBuf,
        /// Id of the key
        kid: String,
        /// List the keys as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    match &args.command {
        Command::New { kid } => {
            console.print(&new_entry(&name(kid.as_ref())?)?)?;
            warn_of_readers(console);
            Ok(())
        }
        Command::List { json, settings } => {
            let ring = key_ring(settings, &System)?;
            console.print(&list(&ring, *json))
        }
        Command::Rotate(RotateArgs { step }) => rotate(step, console),
        Command::Api { user, json } => caller_keys::api(user, *json, console),
        Command::Operator { json } => caller_keys::operator(*json, console),
    }
}

/// A new key as a line: `kid:secret`, the secret 32 random bytes in base64url.
pub(super) fn new_entry(kid: &str) -> Result<Zeroizing<String>, CliError> {
    let mut secret = Zeroizing::new([0; 32]);
    random(&mut *secret)?;
    let secret = Zeroizing::new(token::encode_base64url(&*secret));
    Ok(Zeroizing::new(format!("{kid}:{}\n", *secret)))
}

/// Fresh bytes from the operating system.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), CliError> {
    let filled = SystemEntropy.fill(bytes);
    filled.map_err(|error| CliError::new(error.cause().unwrap_or_else(|| error.to_string())))
}

/// A key ring that does not parse, as an error of this command.
pub(super) fn read_ring(text: &str) -> Result<KeyRing, CliError> {
    KeyRing::parse(text).map_err(|error| ConfigError::Keys(error).into())
}

fn name(kid: Option<&KeyId>) -> Result<String, CliError> {
    if let Some(kid) = kid {
        return Ok(kid.to_string());
    }
    let mut chance = [0; 2];
    random(&mut chance)?;
    let day: String = SystemClock::new().now().to_string().chars().take(10).filter(|digit| *digit != '-').collect();
    let letters = chance.map(|byte| char::from(b'a'.saturating_add(byte % 26)));
    Ok(format!("k{day}{}", letters.iter().collect::<String>()))
}

/// `keys new > keys` leaves the file's mode to the shell, which is generous.
fn warn_of_readers(console: Console) {
    let output = stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let readable = output.and_then(|output| output.metadata()).is_ok_and(|output| {
        // Group and others.
        output.is_file() && output.permissions().mode() & 0o077 != 0
    });
    if readable {
        console.warn("others can read the file that the key went to; run `chmod 600` on it");
    }
}

fn list(ring: &KeyRing, json: bool) -> String {
    let ids: Vec<&str> = ring.ids().map(KeyId::as_str).collect();
    if json {
        let (signs, verifies) = (ids.first(), ids.get(1..));
        return format!("{}\n", serde_json::json!({ "signs": signs, "verifies_only": verifies }));
    }
    let width = ids.iter().map(|id| id.len()).max().unwrap_or_default();
    let says = ["signs and verifies"].into_iter().chain(std::iter::repeat("verifies"));
    ids.iter().zip(says).map(|(id, says)| format!("{id:width$}  {says}\n")).collect()
}

fn rotate(step: &Step, console: Console) -> Result<(), CliError> {
    let (Step::Add { file: path, json, .. } | Step::Use { file: path, json, .. } | Step::Drop { file: path, json, .. }) =
        step;
    let _lock = Lock::take(path, Holder::Command, |line| console.say(line))?;
    let mut keys = KeysFile::read(path)?;
    let shown = path.display();
    let next = match step {
        Step::Add { kid, .. } => {
            let kid = name(kid.as_ref())?;
            let first = keys.ids().next().is_none();
            keys.add(&kid)?;
            if first {
                format!("start the servers with --keys-file {shown}")
            } else {
                format!(
                    "bring {shown} to all instances and reload them (SIGHUP); then `holdall keys rotate use {shown} {kid}`"
                )
            }
        }
        Step::Use { kid, .. } => {
            let old = keys.ids().next().unwrap_or_default().to_owned();
            keys.put_first(kid)?;
            if old == *kid {
                format!("nothing: `{kid}` signed already")
            } else {
                format!(
                    "bring {shown} to all instances and reload them (SIGHUP); once `ttl` (7 days by default) has \
                     passed, `holdall keys rotate drop {shown} {old}`"
                )
            }
        }
        Step::Drop { kid, .. } => {
            keys.remove(kid)?;
            format!("bring {shown} to all instances and reload them (SIGHUP)")
        }
    };
    let text = keys.to_text();
    let ring = read_ring(&text)?;
    file::replace(path, text.as_bytes())?;
    console.print_if_read(&list(&ring, *json))?;
    console.say(&format!("next: {next}"));
    Ok(())
}

/// A keys file, line by line: comments stay where they are.
struct KeysFile {
    path: PathBuf,
    lines: Vec<Line>,
}

enum Line {
    Comment(String),
    Entry(Zeroizing<String>),
}

impl KeysFile {
    fn read(path: &Path) -> Result<Self, CliError> {
        let text = Zeroizing::new(file::read(path)?.unwrap_or_default());
        let lines = text.lines().flat_map(|line| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return vec![Line::Comment(line.to_owned())];
            }
            let entries = line.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            entries.map(|entry| Line::Entry(Zeroizing::new(entry.to_owned()))).collect()
        });
        let file = Self { path: path.to_owned(), lines: lines.collect() };
        if file.ids().next().is_some() {
            read_ring(&text)?;
        }
        Ok(file)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(Line::id)
    }

    fn add(&mut self, kid: &str) -> Result<(), CliError> {
        if self.ids().any(|id| id == kid) {
            return Err(CliError::new(format!("there is a key `{kid}` already")).hint("pass another --kid"));
        }
        let entry = new_entry(kid)?;
        self.lines.push(Line::Entry(Zeroizing::new(entry.trim_end().to_owned())));
        Ok(())
    }

    fn put_first(&mut self, kid: &str) -> Result<(), CliError> {
        let entry = self.take(kid)?;
        let at = self.lines.iter().position(|line| line.id().is_some()).unwrap_or(self.lines.len());
        self.lines.insert(at, entry);
        Ok(())
    }

    fn remove(&mut self, kid: &str) -> Result<(), CliError> {
        if self.ids().next() == Some(kid) {
            return Err(CliError::new(format!("`{kid}` is the key that signs"))
                .hint(format!("let another one sign first: `holdall keys rotate use {} ID`", self.path.display())));
        }
        self.take(kid).map(drop)
    }

    fn take(&mut self, kid: &str) -> Result<Line, CliError> {
        let at = self.lines.iter().position(|line| line.id() == Some(kid)).ok_or_else(|| {
            let ids: Vec<_> = self.ids().collect();
            let known = if ids.is_empty() { "it has none".to_owned() } else { format!("it has {}", ids.join(", ")) };
            CliError::new(format!("{} has no key `{kid}`", self.path.display())).hint(known)
        })?;
        Ok(self.lines.remove(at))
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for line in &self.lines {
            text.push_str(match line {
                Line::Comment(line) => line,
                Line::Entry(entry) => entry,
            });
            text.push('\n');
        }
        text
    }
}

impl Line {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Comment(_) => None,
            Self::Entry(entry) => Some(entry.split_once(':').map_or(entry.as_str(), |(id, _)| id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn comments_keep_their_place() {
        let (one, two) = (new_entry("one").unwrap(), new_entry("two").unwrap());
        let (_folder, path) = file(&format!("# ours\n{}, {}\n# end\n", one.trim(), two.trim()));
        let mut keys = KeysFile::read(&path).unwrap();
        keys.put_first("two").unwrap();
        assert_eq!(*keys.to_text(), format!("# ours\n{}{}# end\n", *two, *one));
        keys.remove("one").unwrap();
        assert_eq!(*keys.to_text(), format!("# ours\n{}# end\n", *two));
    }

    #[test]
    fn the_key_that_signs_is_not_removed() {
        let (one, two) = (new_entry("one").unwrap(), new_entry("two").unwrap());
        let (_folder, path) = file(&format!("{}{}", *one, *two));
        let mut keys = KeysFile::read(&path).unwrap();
        assert!(keys.remove("one").is_err());
        assert!(keys.remove("three").unwrap_err().hint.unwrap().contains("one, two"));
        assert!(keys.add("two").is_err());
    }

    #[test]
    fn a_file_that_is_no_ring_is_not_touched() {
        for text in ["one", "one:AQ", "one:AQ\none:AQ"] {
            let (_folder, path) = file(text);
            assert!(KeysFile::read(&path).is_err(), "{text}");
        }
    }

    #[test]
    fn default_ids_tell_the_day_and_differ() {
        let names: Vec<_> = (0..8).map(|_| name(None).unwrap()).collect();
        assert!(names.iter().all(|name| name.len() == 11 && KeyId::new(name).is_ok()), "{names:?}");
        assert!(names.iter().any(|name| name != &names[0]));
    }
}
