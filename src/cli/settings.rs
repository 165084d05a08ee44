//! Settings from file, environment and flags, in that order: each flag is also a variable and a key of the file.

use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{CliError, home};
use crate::{
    config::{Config, RawConfig, Sources},
    proto::key::KeyRing,
};

/// The settings that say which keys there are.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct KeySettings {
    /// Configuration file, TOML
    #[arg(long, env = "HOLDALL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token keys, one `kid:secret` a line, the first signs; HOLDALL_KEYS can hold them instead
    #[arg(long, env = "HOLDALL_KEYS_FILE", value_name = "FILE")]
    keys_file: Option<String>,
}

impl KeySettings {
    /// The keys of the settings, else the chat's own.
    pub(crate) fn ring(&self, sources: &impl Sources) -> Result<KeyRing, CliError> {
        let tokens = TokenSettings { keys: self.clone(), ..TokenSettings::default() };
        Ok(tokens.load(false, sources)?.core.keys)
    }
}

/// The settings that tokens depend on.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenSettings {
    #[command(flatten)]
    keys: KeySettings,
    /// Name of the deployment [default: holdall]
    #[arg(long, env = "HOLDALL_ISSUER", value_name = "NAME")]
    issuer: Option<String>,
    /// How long a token is good, such as 2h [default: 7d]
    #[arg(long, env = "HOLDALL_TTL", value_name = "SPAN")]
    ttl: Option<String>,
    /// How long a conversation can go on [default: 30d]
    #[arg(long, env = "HOLDALL_MAX_AGE", value_name = "SPAN")]
    max_age: Option<String>,
    /// Encrypt what tokens hold [default: true]
    #[arg(long, env = "HOLDALL_SEAL", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    seal: Option<bool>,
}

impl TokenSettings {
    /// Reads the file and lays these settings over it.
    pub(crate) fn draft(&self, sources: &impl Sources) -> Result<Draft, CliError> {
        let KeySettings { config, keys_file } = &self.keys;
        let mut draft = Draft::open(config.as_deref(), sources)?;
        draft.set_some("keys_file", keys_file.as_deref());
        if keys_file.is_none() {
            draft.set_some("keys", sources.variable("HOLDALL_KEYS").as_ref().map(|keys| keys.as_str()));
        }
        draft.set_some("issuer", self.issuer.as_deref());
        draft.set_some("ttl", self.ttl.as_deref());
        draft.set_some("max_age", self.max_age.as_deref());
        draft.set_some("seal", self.seal);
        draft.set_some_in("guard", "redis_url", sources.variable("HOLDALL_REDIS_URL").as_ref().map(|url| url.as_str()));
        Ok(draft)
    }

    /// The configuration as far as tokens depend on it, for commands that talk to no model: with the keys of the
    /// settings, else the chat's own ones, which are made only if `make_keys` says so.
    pub(crate) fn load(&self, make_keys: bool, sources: &impl Sources) -> Result<Config, CliError> {
        let mut draft = self.draft(sources)?;
        if !draft.has_keys() {
            let own = if make_keys { Some(home::make_keys()?) } else { home::keys()? };
            let own = own.ok_or_else(|| {
                CliError::new("there are no keys to read tokens with")
                    .hint("pass --keys-file FILE, or set HOLDALL_KEYS_FILE or HOLDALL_KEYS")
            })?;
            draft.set("keys_file", &*own.to_string_lossy());
        }
        draft.check_for_tokens(sources)
    }
}

/// The settings that name the model.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelSettings {
    /// Kind of the model service: builtin, openai, openai-responses or anthropic [default: builtin]
    #[arg(long, env = "HOLDALL_UPSTREAM", value_name = "KIND")]
    upstream: Option<String>,
    /// Its base URL, such as http://127.0.0.1:11434/v1 [default: the provider's]
    #[arg(long, env = "HOLDALL_UPSTREAM_URL", value_name = "URL")]
    upstream_url: Option<String>,
    /// Most calls that it takes at once; further ones wait, users in turns [default: no bound]
    #[arg(long, env = "HOLDALL_UPSTREAM_CONCURRENCY", value_name = "COUNT")]
    upstream_concurrency: Option<u32>,
    /// Name of the model; its key comes from HOLDALL_UPSTREAM_KEY, OPENAI_API_KEY or ANTHROPIC_API_KEY
    #[arg(long, env = "HOLDALL_MODEL", value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// System prompt, applied anew each turn
    #[arg(long, env = "HOLDALL_SYSTEM_PROMPT", value_name = "TEXT")]
    system_prompt: Option<String>,
    /// The same from a file
    #[arg(long, env = "HOLDALL_SYSTEM_PROMPT_FILE", value_name = "FILE")]
    system_prompt_file: Option<String>,
    /// Milliseconds between two words of the built-in model
    #[arg(long, env = "HOLDALL_BUILTIN_PACE_MS", value_name = "MS", hide = true)]
    builtin_pace_ms: Option<u32>,
}

impl ModelSettings {
    /// Lays these settings over the draft's own.
    pub(crate) fn lay(&self, draft: &mut Draft, sources: &impl Sources) -> Result<(), CliError> {
        draft.set_some("system_prompt", self.system_prompt.as_deref());
        draft.set_some("system_prompt_file", self.system_prompt_file.as_deref());
        draft.set_some("builtin_pace_ms", self.builtin_pace_ms);
        let service_named = self.upstream.is_some() || self.upstream_url.is_some();
        match &self.model {
            _ if service_named || !draft.lists_models() => self.lay_service(draft, sources),
            _ if self.upstream_concurrency.is_some() => {
                Err(CliError::new("the configuration lists its upstreams; which of them is to be bounded is not said")
                    .hint("set max_concurrency in its [[upstream]] table instead"))
            }
            Some(alias) => draft.put_first(alias),
            None => Ok(()),
        }
    }

    /// One upstream, and the aliases `default` and the model's own name for it.
    fn lay_service(&self, draft: &mut Draft, sources: &impl Sources) -> Result<(), CliError> {
        let kind = self.upstream.as_deref().unwrap_or("builtin");
        let builtin = kind == "builtin";
        if builtin && self.upstream_url.is_some() {
            return Err(CliError::new("the built-in model has no URL").hint(
                "pass --upstream openai, openai-responses or anthropic, whichever the service at the URL speaks",
            ));
        }
        let model = match (&self.model, builtin) {
            (Some(model), true) if model != "builtin" => {
                return Err(CliError::new(format!("the built-in model is not called `{model}`")).hint(
                    "name the service as well: --upstream openai, openai-responses or anthropic (HOLDALL_UPSTREAM)",
                ));
            }
            (Some(model), _) => model.as_str(),
            (None, true) => "builtin",
            (None, false) => {
                return Err(CliError::new("no model is named").hint("pass --model NAME (HOLDALL_MODEL)"));
            }
        };
        // A provider's own variable goes to the provider alone: at another URL it would hand the key to strangers.
        let own = match kind {
            "openai" | "openai-responses" => Some("OPENAI_API_KEY"),
            "anthropic" => Some("ANTHROPIC_API_KEY"),
            _ => None,
        };
        let own = own.filter(|_| self.upstream_url.is_none());
        let key = ["HOLDALL_UPSTREAM_KEY"].into_iter().chain(own).find(|name| sources.variable(name).is_some());
        let upstream = [
            ("name", Some(kind)),
            ("kind", Some(kind)),
            ("base_url", self.upstream_url.as_deref()),
            ("api_key_env", key.filter(|_| !builtin)),
        ];
        let aliases = ["default", model];
        let models = aliases.iter().take(if model == "default" { 1 } else { 2 }).map(|alias| {
            let mut entry = table([("alias", Some(*alias)), ("model", Some(model))]);
            entry.insert("upstreams".to_owned(), Value::Array(vec![kind.into()]));
            Value::Table(entry)
        });
        draft.set("model", Value::Array(models.collect()));
        let mut upstream = table(upstream);
        if let Some(calls) = self.upstream_concurrency {
            upstream.insert("max_concurrency".to_owned(), i64::from(calls).into());
        }
        draft.set("upstream", Value::Array(vec![Value::Table(upstream)]));
        Ok(())
    }
}

fn table<const N: usize>(members: [(&str, Option<&str>); N]) -> Table {
    let present = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    present.collect()
}

/// A configuration in the making: the file, and what lies over it.
pub(crate) struct Draft {
    text: Zeroizing<String>,
    /// The same, read; empty where the text has a fault, which [`Self::check`] then tells.
    file: Table,
    over: Table,
    /// Whether it is to serve this process alone.
    is_local: bool,
    /// Whether a platform is to call it.
    is_function: bool,
}

impl Draft {
    fn open(path: Option<&Path>, sources: &impl Sources) -> Result<Self, CliError> {
        let text = match path {
            None => Zeroizing::default(),
            Some(path) => sources
                .file(&path.to_string_lossy())
                .map_err(|fault| CliError::new(format!("cannot read the configuration {}: {fault}", path.display())))?,
        };
        let file = text.parse().unwrap_or_default();
        Ok(Self { text, file, over: Table::new(), is_local: false, is_function: false })
    }

    /// Sets a key, whatever the file says.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.over.insert(key.to_owned(), value.into());
    }

    /// Sets a key of a table if there is a value, and leaves what else was set in it.
    pub(crate) fn set_some_in(&mut self, table: &str, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let entry = self.over.entry(table.to_owned()).or_insert_with(|| Table::new().into());
        if let Value::Table(members) = entry {
            members.insert(key.to_owned(), value.into());
        }
    }

    /// Sets a key if there is a value.
    pub(crate) fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Whether a key is set, in the file or over it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.over.contains_key(key) || self.file.contains_key(key)
    }

    /// Whether there are token keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.has("keys") || self.has("keys_file")
    }

    /// Makes these the token keys, whatever else says which.
    pub(crate) fn set_keys(&mut self, keys: &str) {
        self.over.remove("keys_file");
        self.set("keys", keys);
    }

    /// Takes back what would open the proxy to others: it is to serve this process alone.
    pub(crate) fn stay_local(&mut self) {
        self.is_local = true;
    }

    /// There is no listener: a platform calls, for whoever may call it.
    pub(crate) fn become_function(&mut self) {
        self.is_function = true;
    }

    /// Checks the whole.
    pub(crate) fn check(self, sources: &impl Sources) -> Result<Config, CliError> {
        let raw = RawConfig::parse(&self.text, self.over)?;
        let raw = if self.is_local { raw.local() } else { raw };
        Ok(if self.is_function { raw.function() } else { raw }.check(sources)?)
    }

    /// Checks what matters to commands that talk to no model.
    pub(crate) fn check_for_tokens(mut self, sources: &impl Sources) -> Result<Config, CliError> {
        self.stay_local();
        self.set("system_prompt", "");
        ModelSettings::default().lay_service(&mut self, sources)?;
        self.check(sources)
    }

    fn lists_models(&self) -> bool {
        self.file.contains_key("upstream") || self.file.contains_key("model")
    }

    /// Makes one of the file's models the default.
    fn put_first(&mut self, alias: &str) -> Result<(), CliError> {
        let alias_of = |model: &Value| model.get("alias").and_then(Value::as_str).map(str::to_owned);
        // Anything but a list is told of by `check`.
        let Some(models) = self.file.get("model").and_then(Value::as_array) else { return Ok(()) };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            models.iter().cloned().partition(|model| alias_of(model).as_deref() == Some(alias));
        if first.is_empty() {
            let known: Vec<_> = models.iter().filter_map(alias_of).collect();
            return Err(CliError::new(format!("the configuration has no model called `{alias}`"))
                .hint(format!("it has {}", known.join(", "))));
        }
        first.extend(rest);
        self.set("model", first);
        Ok(())
    }
}

/// Files and variables of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sources for System {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
    }
}
