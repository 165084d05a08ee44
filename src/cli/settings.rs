//! Settings from file, environment and flags, in that order: each flag is also a variable and a key of the file.
//!
//! What they are and how they lie over each other stands in [`config`](crate::config); here is where they come from.

use std::ffi::OsStr;

use zeroize::Zeroizing;

use super::{CliError, home};
use crate::{
    config::{Config, KeySettings, Sources, TokenSettings},
    proto::key::KeyRing,
};

/// The keys of the settings, else the chat's own.
pub(crate) fn key_ring(keys: &KeySettings, sources: &impl Sources) -> Result<KeyRing, CliError> {
    Ok(for_tokens(&TokenSettings::from(keys.clone()), false, sources)?.deployment.keys)
}

/// The configuration as far as tokens depend on it, for commands that talk to no model: with the keys of the settings,
/// else the chat's own ones, which are made only if `make_keys` says so.
pub(crate) fn for_tokens(
    settings: &TokenSettings,
    make_keys: bool,
    sources: &impl Sources,
) -> Result<Config, CliError> {
    let mut builder = settings.builder(sources)?;
    if !builder.has_keys() {
        let own = if make_keys { Some(home::make_keys()?) } else { home::keys()? };
        let own = own.ok_or_else(|| {
            CliError::new("there are no keys to read tokens with")
                .hint("pass --keys-file FILE, or set HOLDALL_KEYS_FILE or HOLDALL_KEYS")
        })?;
        builder.set("keys_file", &*own.to_string_lossy());
    }
    Ok(builder.build_for_tokens(sources)?)
}

/// Whether a variable of this process is set, to nothing.
pub(crate) fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// Files and variables of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sources for System {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
    }
}
