//! A token in a file or on standard input, and the settings to read it with.

use std::path::PathBuf;

use super::{error::CliError, file, home, settings::for_tokens, system::System};
use crate::{
    config::{Config, TokenSettings},
    proto::{
        chat::Item,
        error::Error,
        token::{Codec, RawToken, UnverifiedToken},
    },
};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct TokenSource {
    /// File that holds the token; `-` for standard input [default: the file of `holdall chat`]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: TokenSettings,
}

/// A token's text and what it is to be read with.
pub(super) struct StoredToken {
    pub(super) text: String,
    pub(super) config: Config,
}

impl TokenSource {
    pub(super) fn load(&self) -> Result<StoredToken, CliError> {
        let path = match &self.file {
            Some(path) => path.clone(),
            None => home::chat_file()?,
        };
        let text = file::read_input(&path)?.trim().to_owned();
        if text.is_empty() {
            return Err(CliError::new(format!("{} holds no token", path.display())));
        }
        Ok(StoredToken { text, config: for_tokens(&self.settings, false, &System)? })
    }
}

impl StoredToken {
    /// Opens the token, checking all that does not depend on who presents it or when.
    pub(super) fn open(&self) -> Result<UnverifiedToken, CliError> {
        let mut codec = codec()?;
        let deployment = &self.config.deployment;
        let opened = RawToken::new(&self.text, &deployment.limits)
            .and_then(|token| token.authenticate(deployment.token_context(), &mut codec));
        opened.map_err(|error| self.refused(&error))
    }

    /// An error with the exact cause, which only a key holder may learn.
    pub(super) fn refused(&self, error: &Error) -> CliError {
        let refused = CliError::new(format!("the token does not verify: {}", exact(error)));
        let deployment = &self.config.deployment;
        let named = RawToken::new(&self.text, &deployment.limits).ok().and_then(RawToken::named_key);
        match named {
            Some((kid, _)) if !deployment.keys.ids().any(|id| *id == kid) => {
                let ids: Vec<_> = deployment.keys.ids().map(ToString::to_string).collect();
                refused.with_hint(format!("it names the key {kid}; the keys here are {}", ids.join(", ")))
            }
            _ => refused,
        }
    }
}

/// What is wrong, in words for a key holder.
pub(super) fn exact(error: &Error) -> String {
    error.cause().unwrap_or_else(|| error.to_string())
}

pub(super) fn items(token: &UnverifiedToken) -> Result<Vec<Item>, CliError> {
    let items = token.history_lines().lines().map(Item::from_line).collect::<Result<_, _>>();
    items.map_err(|error| CliError::new(format!("the token holds a line that is no item: {error}")))
}

pub(super) fn codec() -> Result<Codec, CliError> {
    Codec::new().ok_or_else(|| CliError::new("there is no memory for a zstd context"))
}
