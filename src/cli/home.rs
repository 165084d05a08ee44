//! The data folder (XDG Base Directory Specification): the token file of `chat`, and a token key.
//!
//! The key is created once. Every command without other keys uses it, so a saved chat opens again.

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

/// The user of a server that runs in this process.
pub(super) const LOCAL_USER: &str = "local";

/// The default token file of `chat`.
///
/// # Errors
/// [`CliError`] if the home folder is unknown.
pub(super) fn chat_file() -> Result<PathBuf, CliError> {
    Ok(folder()?.join("chat.token"))
}

/// Creates the data folder with mode 0700. An existing folder keeps its mode.
///
/// # Errors
/// [`CliError`] if the home folder is unknown, or the data folder cannot be created.
pub(super) fn create_folder() -> Result<(), CliError> {
    let path = folder()?;
    if fs::metadata(&path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| {
        CliError::new(format!("cannot create the folder `{}`: {}", path.display(), system_message(&error)))
            .with_hint("set XDG_DATA_HOME to a writable folder")
    })
}

/// The keys file in the data folder; `None` if it does not exist.
///
/// # Errors
/// [`CliError`] if the home folder is unknown.
pub(super) fn keys_file() -> Result<Option<PathBuf>, CliError> {
    let path = folder()?.join(KEYS_FILE);
    Ok(path.exists().then_some(path))
}

/// The keys file in the data folder. Creates it with one new key if it does not exist.
///
/// # Errors
/// [`CliError`] if the home folder is unknown, or the file cannot be created.
pub(super) fn create_keys_file() -> Result<PathBuf, CliError> {
    create_folder()?;
    let path = folder()?.join(KEYS_FILE);
    if !path.exists() {
        // If two processes start together, the second one keeps the file of the first.
        file::create(&path, token_key_line(KEY_ID)?.as_bytes())?;
    }
    Ok(path)
}

fn folder() -> Result<PathBuf, CliError> {
    let strategy = Xdg::new().map_err(|error| {
        CliError::new(format!("cannot find the home folder: {error}")).with_hint("set HOME or XDG_DATA_HOME")
    })?;
    Ok(strategy.data_dir().join("holdall"))
}

const KEYS_FILE: &str = "keys";
/// The id of the key in that file.
const KEY_ID: &str = "local";
