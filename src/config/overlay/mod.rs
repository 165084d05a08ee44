//! Flags and variables: they replace the values of the file, wherever the proxy runs.

#[cfg(feature = "cli")]
mod flags;
mod model;

use std::{collections::BTreeMap, fmt, path::Path};

use toml::Value;

use super::{
    builder::ConfigBuilder,
    checked::Config,
    error::ConfigError,
    exposure::Exposure,
    setting::Setting,
    settings::{self, Section},
    sources::Sources,
};

/// The values of flags and of their variables, by flag.
///
/// Settings without a flag are secrets. They are not kept here, but read from their variables when
/// they are applied.
#[derive(Clone, Default)]
struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Reads the variables of these sections.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] if a variable has a text that its setting does not accept.
    fn from_variables(sections: &[Section], sources: &impl Sources) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for setting in sections.iter().flat_map(|section| section.settings) {
            if let (Some(flag), Some(variable)) = (setting.flag, setting.variable)
                && let Some(text) = sources.variable(variable)
            {
                let value = setting.kind.read(&text).map_err(|expected| ConfigError::Settings {
                    fault: format!("`{variable}` is `{}`; {expected}", &*text),
                    hint: None,
                })?;
                values.insert(flag, value);
            }
        }
        Ok(Self(values))
    }

    /// The value of a flag or of its variable.
    fn get(&self, setting: &Setting) -> Option<&Value> {
        self.0.get(setting.flag?)
    }

    /// The value of a setting of the kind `Text`.
    fn text(&self, setting: &Setting) -> Option<&str> {
        self.get(setting)?.as_str()
    }

    /// Reads the file, and sets the keys of these sections.
    ///
    /// # Errors
    /// Those of [`ConfigBuilder::open`].
    fn open(&self, sections: &[Section], sources: &impl Sources) -> Result<ConfigBuilder, ConfigError> {
        let mut builder = ConfigBuilder::open(self.text(&settings::CONFIG).map(Path::new), sources)?;
        self.apply(sections, &mut builder, sources);
        Ok(builder)
    }

    /// Sets the keys of these sections, except the lists of [`model`].
    fn apply(&self, sections: &[Section], builder: &mut ConfigBuilder, sources: &impl Sources) {
        for setting in sections.iter().flat_map(|section| section.settings) {
            let Some(key) = setting.key.filter(|key| !key.is_in_list()) else { continue };
            if setting.flag.is_some() {
                if let Some(value) = self.get(setting) {
                    builder.set(key.path, value.clone());
                }
            } else if let Some(secret) = setting.variable.and_then(|name| sources.variable(name)) {
                builder.set(key.path, secret.as_str());
            }
        }
        if self.get(&settings::KEYS_FILE).is_some() {
            builder.unset("keys");
        }
    }
}

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
    /// The flags on which tokens depend.
    TokenSettings: TOKEN_SECTIONS;
    /// The flags of a server: all that there are.
    ServeSettings: settings::SECTIONS;
}

/// The sections on which tokens depend.
const TOKEN_SECTIONS: &[Section] = &[settings::FILE, settings::KEYS, settings::TOKENS, settings::STORE];

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
}
