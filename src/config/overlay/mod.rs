//! Flags and variables: they replace the values of the file, wherever the proxy runs.

#[cfg(feature = "cli")]
mod flags;
mod model;
mod values;

use std::fmt;

use self::values::Values;
use super::{
    builder::ConfigBuilder,
    checked::{Config, UpstreamConfig},
    error::ConfigError,
    exposure::Exposure,
    settings::{self, Section},
    sources::Sources,
};

/// Declares types that hold the flags and variables of some sections.
macro_rules! flag_groups {
    ($( $(#[$meta:meta])* $name:ident: $sections:expr; )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Default)]
        pub struct $name(Values);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl $name {
            /// Reads the variables, on a platform without a command line.
            ///
            /// # Errors
            /// [`ConfigError::Settings`] if a variable has a text that its setting does not accept.
            pub fn from_variables(sources: &impl Sources) -> Result<Self, ConfigError> {
                Values::from_variables($sections, sources).map(Self)
            }

            /// The warning about variables that look like settings and have no effect, if there are
            /// any.
            ///
            /// # Errors
            /// [`ConfigError::Settings`] for a variable whose name is misspelt.
            pub fn variables_warning(&self, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
                self.0.variables_warning(sources)
            }
        }

        #[cfg(feature = "cli")]
        impl clap::Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                flags::add(command, $sections)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                flags::add(command, $sections)
            }
        }

        #[cfg(feature = "cli")]
        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(flags::values(matches, $sections)))
            }

            fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
                self.0 = flags::values(matches, $sections);
                Ok(())
            }
        }
    )* };
}

flag_groups! {
    /// The flags that name the file and the token keys.
    KeySettings: &[settings::FILE, settings::KEYS];
    /// The flags that name the model and its service.
    ModelSettings: &[settings::UPSTREAM_SERVICE, settings::PROMPT];
    /// The flags on which tokens and the names of their owners depend.
    OwnerSettings: OWNER_SECTIONS;
    /// The flags on which tokens depend.
    TokenSettings: TOKEN_SECTIONS;
    /// The flags of a server: all that there are.
    ServeSettings: settings::SECTIONS;
}

/// The sections on which tokens depend.
const TOKEN_SECTIONS: &[Section] = &[settings::FILE, settings::KEYS, settings::TOKENS, settings::STORE];

/// The sections on which tokens and the names of their owners depend.
const OWNER_SECTIONS: &[Section] =
    &[settings::FILE, settings::KEYS, settings::TOKENS, settings::IDENTITY_PROVIDER, settings::STORE];

impl From<OwnerSettings> for TokenSettings {
    /// All but the identity provider.
    fn from(settings: OwnerSettings) -> Self {
        Self(settings.0)
    }
}

impl From<KeySettings> for TokenSettings {
    /// Only the keys; all other settings have the file's values.
    fn from(keys: KeySettings) -> Self {
        Self(keys.0)
    }
}

impl TokenSettings {
    /// Reads the file, and applies these settings to it.
    ///
    /// # Errors
    /// Those of [`ConfigBuilder::open`].
    pub fn builder(&self, sources: &impl Sources) -> Result<ConfigBuilder, ConfigError> {
        self.0.open(TOKEN_SECTIONS, sources)
    }
}

impl OwnerSettings {
    /// The identity provider in the tokens of the servers with these settings; `None` if nothing
    /// says how callers are authenticated. A file without `identity.mode` says `none`.
    ///
    /// # Errors
    /// Those of [`ConfigBuilder::open`], and [`ConfigError::Invalid`] for a mode that does not
    /// exist, or for `jwt` without an issuer.
    pub fn identity_provider(&self, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
        self.0.open(OWNER_SECTIONS, sources)?.identity_provider()
    }
}

impl ModelSettings {
    /// The alias that `--model` names.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.0.text(&settings::MODEL)
    }

    /// Applies these settings.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] for settings that contradict each other or the file.
    pub fn apply(&self, builder: &mut ConfigBuilder, sources: &impl Sources) -> Result<(), ConfigError> {
        self.0.apply(&[settings::PROMPT], builder, sources);
        model::apply(&self.0, builder, sources)
    }
}

impl ServeSettings {
    /// Reads the file, applies these settings, and checks the result. `dev_keys` replaces all other
    /// token keys.
    ///
    /// # Errors
    /// The first error that prevents a start.
    pub fn load(
        &self,
        dev_keys: Option<&str>,
        exposure: Exposure,
        sources: &impl Sources,
    ) -> Result<Config, ConfigError> {
        let mut builder = self.0.open(settings::SECTIONS, sources)?;
        model::apply(&self.0, &mut builder, sources)?;
        if let Some(keys) = dev_keys {
            builder.set_keys(keys);
        }
        builder.set_exposure(exposure);
        builder.build(sources)
    }

    /// Reads the file, applies these settings, and describes the upstreams: without keys, proxies
    /// and certificates. No other setting is checked.
    ///
    /// # Errors
    /// The first error in the text of the file or in a table `upstream`.
    pub fn described_upstreams(&self, sources: &impl Sources) -> Result<Vec<UpstreamConfig>, ConfigError> {
        let mut builder = self.0.open(settings::SECTIONS, sources)?;
        model::apply(&self.0, &mut builder, sources)?;
        builder.described_upstreams()
    }
}
