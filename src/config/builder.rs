//! A configuration before it is checked: the text of the file, and the values that replace the
//! file's.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{
    check::readable_warning,
    checked::{Config, UpstreamConfig},
    error::ConfigError,
    exposure::Exposure,
    identity::identity_provider,
    raw::{RawConfig, merge},
    sources::Sources,
};

/// The variable that holds the configuration itself, if there are no files.
const CONFIG_TEXT: &str = "HOLDALL_CONFIG_TEXT";

/// A configuration before it is checked.
pub struct ConfigBuilder {
    /// The name of the text in errors.
    name: String,
    /// The path of the file, if the text is from a file.
    path: Option<PathBuf>,
    text: Zeroizing<String>,
    /// The text as a table; empty if the text is not TOML, which [`Self::build`] reports.
    file: Table,
    /// The values that replace those of the file.
    overrides: Table,
    exposure: Exposure,
}

impl std::fmt::Debug for ConfigBuilder {
    /// Shows no values, because they may be keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigBuilder").finish_non_exhaustive()
    }
}

impl ConfigBuilder {
    /// Starts with the file at `path`, or with the text in `HOLDALL_CONFIG_TEXT`, or with nothing.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] if both exist, or if the file cannot be read.
    pub fn open(path: Option<&Path>, sources: &impl Sources) -> Result<Self, ConfigError> {
        let name = path.map_or_else(|| CONFIG_TEXT.to_owned(), |path| file_name(path, sources));
        let text = match (path, sources.variable(CONFIG_TEXT)) {
            (None, text) => text.unwrap_or_default(),
            (Some(path), None) => sources
                .file(&path.to_string_lossy())
                .map_err(|cause| ConfigError::Settings { fault: format!("cannot read {name}: {cause}"), hint: None })?,
            (Some(_), Some(_)) => {
                return Err(ConfigError::settings(
                    format!("there are two configurations: {name} and {CONFIG_TEXT}"),
                    format!("remove {CONFIG_TEXT}, or the file (--config, HOLDALL_CONFIG)"),
                ));
            }
        };
        let file = text.parse().unwrap_or_default();
        let path = path.map(Path::to_owned);
        Ok(Self { name, path, text, file, overrides: Table::new(), exposure: Exposure::default() })
    }

    /// Sets a key, whatever its value in the file. `path` has dots between the names of tables.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut names = path.rsplit('.').map(str::to_owned);
        let member = names.next().map(|key| (key, value.into()));
        let table =
            names.fold(member.into_iter().collect(), |inner: Table, name| Table::from_iter([(name, inner.into())]));
        merge(&mut self.overrides, table);
    }

    /// Removes a key that was [set](Self::set). The value of the file stays.
    pub(super) fn unset(&mut self, key: &str) {
        self.overrides.remove(key);
    }

    /// Returns true if a key outside of all tables is set, in the file or by [`Self::set`].
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.overrides.contains_key(key) || self.file.contains_key(key)
    }

    /// Returns true if there are token keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.has("keys") || self.has("keys_file")
    }

    /// Sets the token keys, whatever else names token keys.
    pub fn set_keys(&mut self, keys: &str) {
        self.unset("keys_file");
        self.set("keys", keys);
    }

    /// Sets the clients that can reach the proxy. [`Exposure::Local`] overrides `listen`,
    /// `identity` and `dangerous_open`.
    pub fn set_exposure(&mut self, exposure: Exposure) {
        self.exposure = exposure;
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// Those of [`RawConfig::parse`] and [`RawConfig::check`].
    pub fn build(self, sources: &impl Sources) -> Result<Config, ConfigError> {
        let secrets_path = self.path.filter(|_| holds_secret(&self.file));
        let raw = RawConfig::parse_file(&self.name, &self.text, self.overrides)?;
        let mut config = raw.with_exposure(self.exposure).check(sources)?;
        config.warnings.extend(
            secrets_path.and_then(|path| readable_warning(sources, "the configuration file", &path.to_string_lossy())),
        );
        Ok(config)
    }

    /// The upstreams as the file describes them, without keys, proxies and certificates. Checks no
    /// other setting.
    ///
    /// # Errors
    /// Those of [`RawConfig::parse`], and the first error in a table `upstream`.
    pub(super) fn described_upstreams(self) -> Result<Vec<UpstreamConfig>, ConfigError> {
        RawConfig::parse_file(&self.name, &self.text, self.overrides)?.described_upstreams()
    }

    /// The variables that the file names, such as by `api_key_env`.
    pub(super) fn named_variables(&self) -> BTreeSet<String> {
        let upstreams = self.file.get("upstream").and_then(Value::as_array).into_iter().flatten();
        let keys = upstreams.filter_map(Value::as_table).flatten().filter(|(key, _)| key.ends_with("_env"));
        keys.filter_map(|(_, name)| name.as_str().map(str::to_owned)).collect()
    }

    /// The identity provider of authenticated callers; `None` without a file and without
    /// `identity.mode`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a mode that does not exist, or for `jwt` without an issuer.
    pub(super) fn identity_provider(&self) -> Result<Option<String>, ConfigError> {
        let text = |path: &[&str]| {
            let of = |table: &Table| {
                let (first, rest) = path.split_first()?;
                rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))?.as_str().map(str::to_owned)
            };
            of(&self.overrides).or_else(|| of(&self.file))
        };
        let mode = match text(&["identity", "mode"]) {
            None if self.text.is_empty() => return Ok(None),
            mode => mode,
        };
        identity_provider(mode.as_deref(), text(&["identity", "jwt", "issuer"]).as_deref()).map(Some)
    }

    /// Returns true if the file has upstreams or models.
    pub(super) fn lists_models(&self) -> bool {
        self.file.contains_key("upstream") || self.file.contains_key("model")
    }

    /// Makes one of the file's models the default.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] if the file has no model with this alias.
    pub(super) fn set_default_model(&mut self, alias: &str) -> Result<(), ConfigError> {
        let alias_of = |model: &Value| model.get("alias").and_then(Value::as_str).map(str::to_owned);
        // `build` reports a value of another type.
        let Some(models) = self.file.get("model").and_then(Value::as_array) else { return Ok(()) };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            models.iter().cloned().partition(|model| alias_of(model).as_deref() == Some(alias));
        if first.is_empty() {
            let known: Vec<_> = models.iter().filter_map(alias_of).collect();
            let fault = format!("no `[[model]]` table in {} has the alias `{alias}`", self.name);
            return Err(ConfigError::settings(fault, format!("use one of these: {}", known.join(", "))));
        }
        first.extend(rest);
        self.set("model", first);
        Ok(())
    }
}

/// The name of the file in errors, with its path if an error may show it.
fn file_name(path: &Path, sources: &impl Sources) -> String {
    let path = path.to_string_lossy();
    let shown = if sources.may_show(&path) { format!(" `{path}`") } else { String::new() };
    format!("the configuration file{shown}")
}

/// Returns true if the file itself holds a secret: token keys, the secret of a proxy, or the
/// password in a URL.
fn holds_secret(file: &Table) -> bool {
    let has_password = |value: &Value| value.as_str().is_some_and(|url| url.contains('@'));
    let in_table = |path: &[&str], key: &str| {
        path.iter().try_fold(file, |table, name| table.get(*name)?.as_table()).and_then(|table| table.get(key))
    };
    let upstreams = file.get("upstream").and_then(Value::as_array).into_iter().flatten();
    in_table(&[], "keys").is_some()
        || in_table(&["identity", "header"], "secret").is_some()
        || in_table(&["identity", "jwt"], "proxy").is_some_and(has_password)
        || in_table(&["guard"], "redis_url").is_some_and(has_password)
        || upstreams.filter_map(|upstream| upstream.get("proxy")).any(has_password)
}
