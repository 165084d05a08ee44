//! A configuration in the making: the text, and what lies over it.

use std::path::Path;

use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{Config, ConfigError, ModelSettings, RawConfig, Sources};

/// The variable that holds the configuration itself, where there are no files.
const TEXT: &str = "HOLDALL_CONFIG_TEXT";

/// A path as an error shows it, after a space, or nothing.
fn shown(path: &Path, sources: &impl Sources) -> String {
    let path = path.to_string_lossy();
    if sources.may_show(&path) { format!(" {path}") } else { String::new() }
}

/// A configuration in the making.
pub struct ConfigBuilder {
    text: Zeroizing<String>,
    /// The same, read; empty where the text has a fault, which [`Self::build`] then tells.
    file: Table,
    over: Table,
    exposure: Exposure,
}

/// Who will be able to call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Whoever reaches the address that the configuration says.
    #[default]
    Listener,
    /// This process alone.
    Local,
    /// Whoever may call the platform that calls us.
    Platform,
    /// The same, in an isolate.
    Isolate,
}

impl std::fmt::Debug for ConfigBuilder {
    /// Both may hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigBuilder").finish_non_exhaustive()
    }
}

impl ConfigBuilder {
    /// Begins with the file at `path`, or the text in `HOLDALL_CONFIG_TEXT`, or nothing.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] if there are both, or the file cannot be read.
    pub fn open(path: Option<&Path>, sources: &impl Sources) -> Result<Self, ConfigError> {
        let text = match (path, sources.variable(TEXT)) {
            (None, text) => text.unwrap_or_default(),
            (Some(path), None) => sources.file(&path.to_string_lossy()).map_err(|cause| ConfigError::Settings {
                fault: format!("cannot read the configuration{}: {cause}", shown(path, sources)),
                hint: None,
            })?,
            (Some(path), Some(_)) => {
                let both = format!("there are two configurations: the file{} and {TEXT}", shown(path, sources));
                let hint = format!("take out {TEXT}, or the file (--config, HOLDALL_CONFIG)");
                return Err(ConfigError::settings(both, hint));
            }
        };
        let file = text.parse().unwrap_or_default();
        Ok(Self { text, file, over: Table::new(), exposure: Exposure::default() })
    }

    /// Sets a key, whatever the file says.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.over.insert(key.to_owned(), value.into());
    }

    /// Sets a key of a table if there is a value, and leaves what else was set in it.
    pub fn set_some_in(&mut self, table: &str, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let entry = self.over.entry(table.to_owned()).or_insert_with(|| Table::new().into());
        if let Value::Table(members) = entry {
            members.insert(key.to_owned(), value.into());
        }
    }

    /// Sets a key if there is a value.
    pub fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Whether a key is set, in the file or over it.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.over.contains_key(key) || self.file.contains_key(key)
    }

    /// Whether there are token keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.has("keys") || self.has("keys_file")
    }

    /// Makes these the token keys, whatever else says which.
    pub fn set_keys(&mut self, keys: &str) {
        self.over.remove("keys_file");
        self.set("keys", keys);
    }

    /// Says who will be able to call; for [`Exposure::Local`] what would open the proxy to others is taken back.
    pub fn set_exposure(&mut self, exposure: Exposure) {
        self.exposure = exposure;
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// Those of [`RawConfig::parse`] and [`RawConfig::check`].
    pub fn build(self, sources: &impl Sources) -> Result<Config, ConfigError> {
        let raw = RawConfig::parse(&self.text, self.over)?;
        let raw = match self.exposure {
            Exposure::Listener => raw,
            Exposure::Local => raw.local(),
            Exposure::Platform => raw.hosted(),
            Exposure::Isolate => raw.isolated(),
        };
        raw.check(sources)
    }

    /// Checks what matters to whoever talks to no model.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_for_tokens(mut self, sources: &impl Sources) -> Result<Config, ConfigError> {
        self.set_exposure(Exposure::Local);
        self.set("system_prompt", "");
        ModelSettings::default().set_service(&mut self, sources)?;
        self.build(sources)
    }

    pub(super) fn lists_models(&self) -> bool {
        self.file.contains_key("upstream") || self.file.contains_key("model")
    }

    /// Makes one of the file's models the default.
    pub(super) fn make_default(&mut self, alias: &str) -> Result<(), ConfigError> {
        let alias_of = |model: &Value| model.get("alias").and_then(Value::as_str).map(str::to_owned);
        // Anything but a list is told of by `check`.
        let Some(models) = self.file.get("model").and_then(Value::as_array) else { return Ok(()) };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            models.iter().cloned().partition(|model| alias_of(model).as_deref() == Some(alias));
        if first.is_empty() {
            let known: Vec<_> = models.iter().filter_map(alias_of).collect();
            let fault = format!("the configuration has no model called `{alias}`");
            return Err(ConfigError::settings(fault, format!("it has {}", known.join(", "))));
        }
        first.extend(rest);
        self.set("model", first);
        Ok(())
    }
}
