//! The configuration of commands that read or issue tokens without calling a model.
//!
//! The settings come from the configuration file, then variables, then flags
//! ([`config`](crate::config)). Without token keys in them, the key in the data folder is used.

use super::{console::Console, error::CliError, home};
use crate::{
    config::{Config, KeySettings, Sources, TokenSettings},
    proto::key::KeyRing,
};

/// The key ring of the settings, or of the data folder.
///
/// # Errors
/// The errors of [`token_config`].
pub(crate) fn key_ring(keys: &KeySettings, sources: &impl Sources) -> Result<KeyRing, CliError> {
    let settings = TokenSettings::from(keys.clone());
    Ok(token_config(&settings, DataFolderKey::Existing, sources)?.deployment.keys)
}

/// The part of the configuration that tokens depend on.
///
/// # Errors
/// [`CliError`] if a setting is not valid, or if no token keys exist.
pub(crate) fn token_config(
    settings: &TokenSettings,
    data_folder_key: DataFolderKey,
    sources: &impl Sources,
) -> Result<Config, CliError> {
    warn_of_variables(settings.variables_warning(sources)?);
    let mut builder = settings.builder(sources)?;
    if !builder.has_keys() {
        let path = match data_folder_key {
            DataFolderKey::Create => Some(home::create_keys_file()?),
            DataFolderKey::Existing => home::keys_file()?,
        };
        let path = path.ok_or_else(|| {
            CliError::new("no token keys are configured")
                .with_hint("pass --keys-file FILE, or set HOLDALL_KEYS_FILE or HOLDALL_KEYS")
        })?;
        builder.set("keys_file", &*path.to_string_lossy());
    }
    Ok(builder.build_for_tokens(sources)?)
}

/// Prints the warning about variables that look like settings, if there is one. Each command does
/// this once, before it uses its settings.
pub(crate) fn warn_of_variables(warning: Option<String>) {
    if let Some(warning) = warning {
        Console::system().warn(&warning);
    }
}

/// The handling of the data folder's key when the settings have no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFolderKey {
    /// Create the key if it does not exist.
    Create,
    /// Fail if the key does not exist.
    Existing,
}
