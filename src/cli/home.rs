//! The data folder (XDG Base Directory Specification): where `chat` keeps its conversation and its own key.
//!
//! The key is made once and then used by every command that was told of no other, so that a saved chat opens again.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use etcetera::{BaseStrategy as _, base_strategy::Xdg};

use super::{
    error::{CliError, system_message},
    file,
    secret::token_key_line,
};

/// The file that `chat` uses where none is named.
pub(super) fn chat_file() -> Result<PathBuf, CliError> {
    Ok(folder()?.join("chat.token"))
}

/// Makes the data folder, if it is missing.
pub(super) fn make_folder() -> Result<(), CliError> {
    let path = folder()?;
    // A folder that is there keeps its mode.
    if fs::metadata(&path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| {
        CliError::new(format!("cannot make the folder {}: {}", path.display(), system_message(&error)))
            .with_hint("set XDG_DATA_HOME to a folder that can be written to")
    })
}

/// The chat's own keys, if they have been made.
pub(super) fn keys() -> Result<Option<PathBuf>, CliError> {
    let path = folder()?.join(KEYS);
    Ok(path.exists().then_some(path))
}

/// The chat's own keys; they are made now if they have not been.
pub(super) fn make_keys() -> Result<PathBuf, CliError> {
    make_folder()?;
    let path = folder()?.join(KEYS);
    if !path.exists() {
        // Of two that start at once, the second finds that there is one, and takes what the first made.
        file::create(&path, token_key_line(OWN_KEY)?.as_bytes())?;
    }
    Ok(path)
}

fn folder() -> Result<PathBuf, CliError> {
    let strategy = Xdg::new().map_err(|error| {
        CliError::new(format!("there is no home folder: {error}")).with_hint("set HOME or XDG_DATA_HOME")
    })?;
    Ok(strategy.data_dir().join("holdall"))
}

/// The user of a server in this process.
pub(super) const LOCAL_USER: &str = "local";
const KEYS: &str = "keys";
/// The id of the chat's own key.
const OWN_KEY: &str = "local";
