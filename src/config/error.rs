//! The error of a configuration with which nothing can start.

use std::{fmt, net::SocketAddr};

use super::sources::Sources;
use crate::proto::key::KeyError;

/// The error of a configuration with which nothing can start. It never shows a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key has a value that it does not accept.
    Invalid {
        /// The key.
        key: &'static str,
        /// The rest of the sentence whose subject is the key: `is 11; the maximum is 10`.
        fault: String,
    },
    /// The token keys are not valid.
    Keys(KeyError),
    /// There are no token keys.
    NoKeys,
    /// Identity `none` for a server that others can reach. Any caller could act as any user, at the
    /// operator's cost.
    OpenToAll {
        /// The address; `None` if a platform passes requests on.
        listen: Option<SocketAddr>,
    },
    /// Settings that contradict each other, a variable with a text that it does not accept, or a
    /// configuration file that cannot be read.
    Settings {
        /// The error.
        fault: String,
        /// The next step, if there is one.
        hint: Option<String>,
    },
    /// The file has a syntax error, an unknown key, or a value of the wrong type.
    Toml(String),
    /// A file that a key names cannot be read.
    Unreadable {
        /// The key.
        key: &'static str,
        /// The path, if an error may show it.
        path: Option<String>,
        /// The error of the system.
        cause: String,
    },
}

impl ConfigError {
    /// The next step, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Keys(_) => Some("make a valid key with `holdall keys new`"),
            Self::NoKeys => Some(
                "make a key with `holdall keys new > keys` and pass `--keys-file keys` (the same file on all \
                 instances), or try Holdall with `--dev`",
            ),
            Self::OpenToAll { listen: None } => Some(
                "set `identity.mode` (HOLDALL_IDENTITY) to `jwt`, `api_key` or `header`, or set \
                 `dangerous_open = true`",
            ),
            Self::OpenToAll { listen: Some(_) } => Some(
                "set `identity.mode` (HOLDALL_IDENTITY) to `jwt`, `api_key` or `header`, or listen on 127.0.0.1, or \
                 set `dangerous_open = true`",
            ),
            Self::Settings { hint, .. } => hint.as_deref(),
            Self::Invalid { .. } | Self::Toml(_) | Self::Unreadable { .. } => None,
        }
    }

    /// An error of a key. `fault` continues the sentence whose subject is the key.
    pub(super) fn invalid(key: &'static str, fault: impl Into<String>) -> Self {
        Self::Invalid { key, fault: fault.into() }
    }

    /// The error of a file at `path` that cannot be read for this reason.
    pub(super) fn unreadable(key: &'static str, path: &str, cause: String, sources: &impl Sources) -> Self {
        Self::Unreadable { key, path: sources.may_show(path).then(|| path.to_owned()), cause }
    }

    /// An error with the next step.
    pub(super) fn settings(fault: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Settings { fault: fault.into(), hint: Some(hint.into()) }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Keys(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { key, fault } => write!(f, "`{key}` {fault}"),
            Self::Keys(error) => write!(f, "the token keys are not valid: {error}"),
            Self::NoKeys => f.write_str("no token keys are configured"),
            Self::OpenToAll { listen: Some(listen) } => write!(
                f,
                "`identity.mode` is `none`, but other machines can reach {listen}: any caller could act as any user"
            ),
            Self::OpenToAll { listen: None } => {
                f.write_str("`identity.mode` is `none`: any caller could act as any user")
            }
            Self::Settings { fault, .. } | Self::Toml(fault) => f.write_str(fault),
            Self::Unreadable { key, path: Some(path), cause } => {
                write!(f, "`{key}` names `{path}`, which cannot be read: {cause}")
            }
            Self::Unreadable { key, path: None, cause } => {
                write!(f, "`{key}` names a file that cannot be read: {cause}")
            }
        }
    }
}
