//! The errors of a configuration.

use std::{fmt, net::SocketAddr};

use crate::proto::key::KeyError;

/// Why a configuration may not start. Never shows a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key's value is not one that it takes.
    Invalid {
        /// The key.
        key: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// The token keys are no ring.
    Keys(KeyError),
    /// There are no token keys.
    NoKeys,
    /// Anyone who reaches the port could be any user, and spend the operator's key.
    OpenToAll {
        /// The address; none where a platform calls.
        listen: Option<SocketAddr>,
    },
    /// What was set does not go together, or a variable does not take its text.
    Settings {
        /// What is wrong.
        fault: String,
        /// The next step, where there is one.
        hint: Option<String>,
    },
    /// A file cannot be read.
    Unreadable {
        /// The key that names it.
        key: &'static str,
        /// What the system says.
        fault: String,
    },
    /// The text is no TOML of ours: a syntax error, an unknown key, a value of the wrong type.
    Toml(String),
}

impl ConfigError {
    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NoKeys => Some(
                "make one with `holdall keys new > keys` and pass --keys-file keys (the same on all instances), \
                 or try things out with --dev",
            ),
            Self::OpenToAll { listen: None } => {
                Some("set identity.mode (HOLDALL_IDENTITY) to jwt, api_key or header, or say dangerous_open = true")
            }
            Self::OpenToAll { listen: Some(_) } => Some(
                "set identity.mode (HOLDALL_IDENTITY) to jwt, api_key or header, or listen on 127.0.0.1, or say \
                 dangerous_open = true",
            ),
            Self::Keys(_) => Some("`holdall keys new` makes a key that fits"),
            Self::Settings { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    pub(super) fn invalid(key: &'static str, fault: impl Into<String>) -> Self {
        Self::Invalid { key, fault: fault.into() }
    }

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
            Self::Invalid { key, fault } => write!(f, "{key}: {fault}"),
            Self::Keys(error) => write!(f, "keys: {error}"),
            Self::NoKeys => f.write_str("there is no key to sign tokens with"),
            Self::OpenToAll { listen: Some(listen) } => {
                write!(f, "identity.mode is none, and {listen} can be reached from other machines")
            }
            Self::OpenToAll { listen: None } => {
                f.write_str("identity.mode is none, and whoever reaches this could be any user")
            }
            Self::Settings { fault, .. } => f.write_str(fault),
            Self::Unreadable { key, fault } => write!(f, "{key}: {fault}"),
            Self::Toml(fault) => write!(f, "configuration: {fault}"),
        }
    }
}
