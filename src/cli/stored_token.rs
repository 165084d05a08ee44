//! A token from a file or from standard input, and the configuration to read it with.

use std::path::{Path, PathBuf};

use super::{
    error::CliError,
    file::{is_standard_input, read_input, shell_word},
    home,
    settings::{DataFolderKey, token_config},
    system::System,
};
use crate::{
    config::{Config, TokenSettings},
    proto::{
        chat::Item,
        error::Error,
        token::{Codec, RawToken, UnpackedToken},
    },
};

/// The arguments that name a token to read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// Token file; `-` is standard input [default: the token file of `holdall chat`]
    file: Option<PathBuf>,
    /// Token file, the same as the argument `FILE`
    #[arg(short, long, alias = "token", value_name = "FILE", conflicts_with = "file")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Reads the token and the configuration.
    ///
    /// # Errors
    /// The errors of [`StoredToken::load`].
    pub(super) fn load(&self, settings: &TokenSettings) -> Result<StoredToken, CliError> {
        if let Some(path) = self.file.as_ref().or(self.token_file.as_ref()) {
            return StoredToken::load(path, settings);
        }
        let path = home::chat_file()?;
        if !path.exists() {
            return Err(CliError::new(format!("no chat is saved yet: `{}` does not exist", path.display()))
                .with_hint("start a chat with `holdall chat`, or name a token file"));
        }
        StoredToken::load(&path, settings)
    }
}

/// The text of a token, and the configuration to read it with.
pub(super) struct StoredToken {
    /// The text without white space at the ends. It is not empty.
    pub(super) text: String,
    /// The configuration, with the token keys.
    pub(super) config: Config,
    path: PathBuf,
}

impl StoredToken {
    /// Reads a token file, or standard input if `path` is `-`, and then the configuration.
    ///
    /// # Errors
    /// [`CliError`] if no token is found, or the configuration is not valid.
    pub(super) fn load(path: &Path, settings: &TokenSettings) -> Result<Self, CliError> {
        let text = read_input(path)?.trim().to_owned();
        if text.is_empty() {
            let place = match is_standard_input(path) {
                true => "standard input".to_owned(),
                false => format!("`{}`", path.display()),
            };
            return Err(CliError::new(format!("{place} contains no token")));
        }
        let config = token_config(settings, DataFolderKey::Existing, &System)?;
        Ok(Self { text, config, path: path.to_owned() })
    }

    /// Opens the token: all checks that do not depend on the caller or the time.
    ///
    /// # Errors
    /// [`CliError`] with the exact cause.
    pub(super) fn open(&self) -> Result<UnpackedToken, CliError> {
        let mut codec = codec()?;
        let deployment = &self.config.deployment;
        let opened = RawToken::new(&self.text, &deployment.limits)
            .and_then(|token| token.authenticate(deployment.token_context(), &mut codec))
            .and_then(|token| token.unpack(&deployment.limits, &mut codec));
        opened.map_err(|error| self.invalid(&error))
    }

    /// The id of the key that the token names; `None` if the text is not a token.
    pub(super) fn key_id(&self) -> Option<String> {
        let raw = RawToken::new(&self.text, &self.config.deployment.limits).ok()?;
        raw.named_key().map(|(kid, _)| kid.to_string())
    }

    /// An error with the exact cause. Only a key holder may see it.
    pub(super) fn invalid(&self, error: &Error) -> CliError {
        let invalid = CliError::new(format!("the token is not valid: {}", exact_cause(error)));
        let ids: Vec<_> = self.config.deployment.keys.ids().map(ToString::to_string).collect();
        match self.key_id() {
            Some(kid) if !ids.contains(&kid) => invalid.with_hint(format!(
                "the token needs the key `{kid}`, and the configured keys are {}; pass another keys file with \
                 --keys-file",
                ids.join(", ")
            )),
            _ => invalid,
        }
    }

    /// A command line for this token, such as `holdall token history chat.token`.
    pub(super) fn command(&self, command: &str) -> String {
        format!("`holdall {command} {}`", shell_word(&self.path))
    }
}

/// The cause of an error for a key holder.
pub(super) fn exact_cause(error: &Error) -> String {
    match error {
        Error::TokenExpired { expires_at, .. } => format!("it expired at {expires_at}"),
        error => error.cause().unwrap_or_else(|| error.to_string()),
    }
}

/// The items of the history, oldest first.
///
/// # Errors
/// [`CliError`] if a line is not an item.
pub(super) fn items(token: &UnpackedToken) -> Result<Vec<Item>, CliError> {
    let items = token.history_lines().lines().map(Item::from_line).collect::<Result<_, _>>();
    items.map_err(|error| CliError::new(format!("a line in the token's history is not valid: {error}")))
}

/// A codec for tokens.
///
/// # Errors
/// [`CliError`] if zstd gets no memory.
pub(super) fn codec() -> Result<Codec, CliError> {
    Codec::new().ok_or_else(|| CliError::new("out of memory for zstd"))
}
