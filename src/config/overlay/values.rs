//! The values of flags and variables.

use std::{collections::BTreeMap, path::Path};

use toml::Value;

use crate::config::{
    builder::ConfigBuilder,
    error::ConfigError,
    setting::Setting,
    settings::{self, Section},
    sources::Sources,
    variables::{unknown_variables, warning},
};

/// The values of flags and of their variables, by flag.
///
/// Settings without a flag are secrets. They are not kept here, but read from their variables when
/// they are applied.
#[derive(Clone, Default)]
pub(super) struct Values(pub(super) BTreeMap<&'static str, Value>);

impl Values {
    /// Reads the variables of these sections.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] if a variable has a text that its setting does not accept.
    pub(super) fn from_variables(sections: &[Section], sources: &impl Sources) -> Result<Self, ConfigError> {
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
    pub(super) fn get(&self, setting: &Setting) -> Option<&Value> {
        self.0.get(setting.flag?)
    }

    /// The value of a setting of the kind `Text`.
    pub(super) fn text(&self, setting: &Setting) -> Option<&str> {
        self.get(setting)?.as_str()
    }

    /// Reads the file, and sets the keys of these sections.
    ///
    /// # Errors
    /// Those of [`ConfigBuilder::open`].
    pub(super) fn open(&self, sections: &[Section], sources: &impl Sources) -> Result<ConfigBuilder, ConfigError> {
        let mut builder = ConfigBuilder::open(self.text(&settings::CONFIG).map(Path::new), sources)?;
        self.apply(sections, &mut builder, sources);
        Ok(builder)
    }

    /// The warning about variables that look like settings, if there are any. A file that cannot be
    /// read is ignored here, because a client of another server needs none.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] for a variable whose name is misspelt.
    pub(super) fn variables_warning(&self, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
        let builder = ConfigBuilder::open(self.text(&settings::CONFIG).map(Path::new), sources);
        let used = builder.map(|builder| builder.named_variables()).unwrap_or_default();
        Ok(warning(&unknown_variables(sources.variable_names(), &used)?))
    }

    /// Sets the keys of these sections, except the lists of [`model`](super::model).
    pub(super) fn apply(&self, sections: &[Section], builder: &mut ConfigBuilder, sources: &impl Sources) {
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
