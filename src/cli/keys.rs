//! `holdall keys`: creates, lists and rotates token keys, and creates keys for callers and
//! operators. A secret is shown only when it is created.
//!
//! A rotation has three steps. After each step, all instances need the new keys file before the
//! next step:
//! ```text
//! add   the new key verifies tokens and does not sign yet
//! use   the new key signs; tokens of the old key stay valid
//! drop  after `ttl`, when the last token of the old key has expired
//! ```

use std::{
    io::stdout,
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::PathBuf,
};

use clap::Subcommand;
use serde_json::json;

use super::{
    caller_keys,
    console::Console,
    error::CliError,
    file::{self, Lock, LockHolder},
    keys_file::KeysFile,
    secret::{fill_random, parse_key_ring, token_key_line},
    settings::key_ring,
    system::System,
};
use crate::{
    config::KeySettings,
    proto::key::{KeyId, KeyRing},
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `keys`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Print a new token key as a line for a keys file
    New(NewArgs),
    /// List the ids of the token keys, without their secrets
    List(ListArgs),
    /// Rotate the token keys in a keys file: add, then use, then drop
    Rotate(RotateArgs),
    /// Create a caller's API key, and its line for `identity.api_key.keys_file`
    Api(ApiArgs),
    /// Create an operator key, and its digest for `operator_keys`
    Operator(OperatorArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct NewArgs {
    /// Key id, 1 to 32 of `A-Z a-z 0-9 _ -` [default: `k`, the date and 2 random letters]
    #[arg(long, value_name = "ID", value_parser = KeyId::new)]
    kid: Option<KeyId>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: KeySettings,
}

#[derive(Clone, Debug, clap::Args)]
struct ApiArgs {
    /// User of the key
    #[arg(long, value_name = "NAME", value_parser = caller_keys::parse_user)]
    user: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct OperatorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct RotateArgs {
    #[command(subcommand)]
    step: RotateStep,
}

#[derive(Clone, Debug, Subcommand)]
enum RotateStep {
    /// Add a new key, which verifies tokens and does not sign yet
    Add {
        /// Keys file; created if it does not exist
        file: PathBuf,
        /// Key id, 1 to 32 of `A-Z a-z 0-9 _ -` [default: `k`, the date and 2 random letters]
        #[arg(long, value_name = "ID", value_parser = KeyId::new)]
        kid: Option<KeyId>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a key the signing key
    Use {
        /// Keys file
        file: PathBuf,
        /// Key id
        #[arg(value_name = "ID")]
        kid: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a key; its tokens become invalid
    Drop {
        /// Keys file
        file: PathBuf,
        /// Key id
        #[arg(value_name = "ID")]
        kid: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] if the system gives no random bytes, a file fails, or a key does not fit.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    match &args.command {
        Command::New(args) => new(args, console),
        Command::List(args) => console.print(&list(&key_ring(&args.settings, &System)?, args.json)),
        Command::Rotate(args) => rotate(&args.step, console),
        Command::Api(args) => caller_keys::api(&args.user, args.json, console),
        Command::Operator(args) => caller_keys::operator(args.json, console),
    }
}

fn new(args: &NewArgs, console: Console) -> Result<(), CliError> {
    let line = token_key_line(&id_or_default(args.kid.as_ref())?)?;
    match line.trim_end().split_once(':') {
        Some((kid, secret)) if args.json => {
            console.print(&format!("{}\n", json!({ "kid": kid, "secret": secret })))?;
        }
        _ => console.print(&line)?,
    }
    warn_if_readable(console);
    Ok(())
}

/// The id, or by default `k`, the date as YYYYMMDD and two random letters.
fn id_or_default(kid: Option<&KeyId>) -> Result<String, CliError> {
    if let Some(kid) = kid {
        return Ok(kid.to_string());
    }
    let mut random = [0; 2];
    fill_random(&mut random)?;
    let day: String = SystemClock::new().now().to_string().chars().take(10).filter(|digit| *digit != '-').collect();
    let letters = random.map(|byte| char::from(b'a'.saturating_add(byte % 26)));
    Ok(format!("k{day}{}", letters.iter().collect::<String>()))
}

/// Warns if standard output is a file that other users can read. The shell created it, often with
/// mode 0644.
fn warn_if_readable(console: Console) {
    let output = stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let is_readable = output
        .and_then(|output| output.metadata())
        .is_ok_and(|output| output.is_file() && output.permissions().mode() & GROUP_AND_OTHERS != 0);
    if is_readable {
        console.warn("other users can read the file with the new key; run `chmod 600` on it");
    }
}

/// The mode bits of the group and of all other users.
const GROUP_AND_OTHERS: u32 = 0o077;

fn list(ring: &KeyRing, json: bool) -> String {
    let ids: Vec<&str> = ring.ids().map(KeyId::as_str).collect();
    if json {
        let (signs, verifies) = (ids.first(), ids.get(1..));
        return format!("{}\n", json!({ "signs": signs, "verifies_only": verifies }));
    }
    let width = ids.iter().map(|id| id.len()).max().unwrap_or_default();
    let roles = ["signs and verifies"].into_iter().chain(std::iter::repeat("verifies"));
    ids.iter().zip(roles).map(|(id, role)| format!("{id:width$}  {role}\n")).collect()
}

fn rotate(step: &RotateStep, console: Console) -> Result<(), CliError> {
    let (RotateStep::Add { file: path, json, .. }
    | RotateStep::Use { file: path, json, .. }
    | RotateStep::Drop { file: path, json, .. }) = step;
    let _lock = Lock::acquire(path, LockHolder::Command, |line| console.note(line))?;
    let mut keys = KeysFile::read(path)?;
    let shown = file::shell_word(path);
    let next_step = match step {
        RotateStep::Add { kid, .. } => add_key(&mut keys, kid.as_ref(), &shown)?,
        RotateStep::Use { kid, .. } => use_key(&mut keys, kid, &shown)?,
        RotateStep::Drop { kid, .. } => {
            keys.remove(kid)?;
            distribute(&shown)
        }
    };
    let text = keys.to_text();
    let ring = parse_key_ring(&text)?;
    file::replace(path, text.as_bytes())?;
    console.print_if_open(&list(&ring, *json))?;
    console.note(&format!("next: {next_step}"));
    Ok(())
}

/// Adds a key and returns the next step.
fn add_key(keys: &mut KeysFile, kid: Option<&KeyId>, path: &str) -> Result<String, CliError> {
    let kid = id_or_default(kid)?;
    let is_first = keys.signing_id().is_none();
    keys.add(&kid)?;
    Ok(match is_first {
        true => format!("start the servers with --keys-file {path}"),
        false => format!("{}, then run `holdall keys rotate use {path} {kid}`", distribute(path)),
    })
}

/// Makes a key the signing key and returns the next step.
fn use_key(keys: &mut KeysFile, kid: &str, path: &str) -> Result<String, CliError> {
    let old = keys.signing_id().unwrap_or_default().to_owned();
    keys.move_to_front(kid)?;
    Ok(format!(
        "{}, wait for `ttl` (7 days by default), then run `holdall keys rotate drop {path} {old}`",
        distribute(path)
    ))
}

/// The step after each change.
fn distribute(path: &str) -> String {
    format!("copy {path} to all instances and reload them (SIGHUP)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_ids_contain_the_date_and_differ() {
        let ids: Vec<_> = (0..8).map(|_| id_or_default(None).unwrap()).collect();
        assert!(ids.iter().all(|id| id.len() == 11 && KeyId::new(id).is_ok()), "{ids:?}");
        assert!(ids.iter().any(|id| id != &ids[0]));
    }
}
