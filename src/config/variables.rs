//! ServiceConfig that are flags and variables at once: one list of them, for the command line and for platforms that have
//! variables alone.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{ConfigError, Sources};

/// Declares a struct of settings, each with its variable. On the command line each is a flag as well, with what stands in
/// parentheses for clap; everywhere it is read by `from_variables`.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $heading:literal {
            $( ..$inner:ident: $inner_type:ty, )*
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $env:literal ($($arg:tt)*), )*
        }
    ) => {
        $(#[$meta])*
        #[cfg_attr(feature = "cli", derive(clap::Args), command(next_help_heading = $heading))]
        #[derive(Clone, Default)]
        $vis struct $name {
            $( #[cfg_attr(feature = "cli", command(flatten))] $inner: $inner_type, )*
            $( $(#[$field_meta])* #[cfg_attr(feature = "cli", arg(long, env = $env, $($arg)*))] $field: $type, )*
        }

        impl $name {
            /// The settings of variables alone.
            ///
            /// # Errors
            /// [`ConfigError::Settings`](crate::config::ConfigError::Settings) for a text that its variable does not take.
            pub fn from_variables(sources: &impl $crate::config::Sources) -> Result<Self, $crate::config::ConfigError> {
                Ok(Self {
                    $( $inner: <$inner_type>::from_variables(sources)?, )*
                    $( $field: $crate::config::variables::read($env, sources)?, )*
                })
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pub(super) use settings;

/// Reads a variable; one that is empty counts as not set.
pub(super) fn read<T: FromVariable>(name: &'static str, sources: &impl Sources) -> Result<T, ConfigError> {
    T::from_variable(sources.variable(name))
        .map_err(|fault| ConfigError::Settings { fault: format!("{name}: {fault}"), hint: None })
}

/// What a variable can hold.
pub(super) trait FromVariable: Sized {
    /// Reads the text, if there is one.
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String>;
}

impl FromVariable for Option<String> {
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String> {
        Ok(text.map(|text| text.to_string()))
    }
}

impl FromVariable for Option<PathBuf> {
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String> {
        Ok(text.map(|text| text.as_str().into()))
    }
}

impl FromVariable for Option<u32> {
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("`{}` is no whole number", &*text))
    }
}

/// The words that clap takes.
impl FromVariable for Option<bool> {
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Ok(Some(true)),
            "n" | "no" | "f" | "false" | "off" | "0" => Ok(Some(false)),
            _ => Err(format!("`{}` is neither true nor false", &*text)),
        }
    }
}

/// Parted by commas.
impl FromVariable for Vec<String> {
    fn from_variable(text: Option<Zeroizing<String>>) -> Result<Self, String> {
        Ok(text.map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default())
    }
}
