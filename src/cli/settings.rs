//! Settings from file, environment and flags, in that order: each flag is also a variable and a key of the file.

use std::path::PathBuf;

use toml::{Table, Value};
use zeroize::Zeroizing;

use super::CliError;
use crate::config::{Config, RawConfig, Sources};

/// The settings of a proxy, as flags and variables.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingsArgs {
    /// Configuration file, TOML (docs/configuration.md)
    #[arg(long, env = "HOLDALL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token keys, one `kid:secret` a line; the first signs. HOLDALL_KEYS holds them in a variable instead
    #[arg(long, env = "HOLDALL_KEYS_FILE", value_name = "FILE")]
    keys_file: Option<String>,
    /// The deployment's name in its tokens [default: holdall]
    #[arg(long, env = "HOLDALL_ISSUER", value_name = "NAME")]
    issuer: Option<String>,
    /// How long a token is good, such as 2h or 7d [default: 7d]
    #[arg(long, env = "HOLDALL_TTL", value_name = "SPAN")]
    ttl: Option<String>,
    /// How long a conversation is good [default: 30d]
    #[arg(long, env = "HOLDALL_MAX_AGE", value_name = "SPAN")]
    max_age: Option<String>,
    /// Whether tokens are encrypted [default: true]
    #[arg(long, env = "HOLDALL_SEAL", value_name = "BOOL")]
    seal: Option<bool>,
    /// Kind of the model service: builtin, openai or anthropic [default: builtin]
    #[arg(long, env = "HOLDALL_UPSTREAM", value_name = "KIND")]
    upstream: Option<String>,
    /// Its base URL, such as http://127.0.0.1:11434/v1 [default: the provider's own]
    #[arg(long, env = "HOLDALL_UPSTREAM_URL", value_name = "URL")]
    upstream_url: Option<String>,
    /// The model's name there. The key comes from HOLDALL_UPSTREAM_KEY, OPENAI_API_KEY or ANTHROPIC_API_KEY
    #[arg(long, env = "HOLDALL_MODEL", value_name = "NAME")]
    model: Option<String>,
    /// System prompt, applied anew each turn
    #[arg(long, env = "HOLDALL_SYSTEM_PROMPT", value_name = "TEXT")]
    system_prompt: Option<String>,
    /// The same from a file
    #[arg(long, env = "HOLDALL_SYSTEM_PROMPT_FILE", value_name = "FILE")]
    system_prompt_file: Option<String>,
    /// Milliseconds between two words of the built-in model
    #[arg(long, env = "HOLDALL_BUILTIN_PACE_MS", value_name = "MS", hide = true)]
    builtin_pace_ms: Option<u64>,
}

impl SettingsArgs {
    /// Reads the file and lays these settings, and then `above`, over it.
    pub(crate) fn load(&self, above: Table, sources: &impl Sources) -> Result<Config, CliError> {
        let text = match &self.config {
            None => Zeroizing::default(),
            Some(path) => sources
                .file(&path.to_string_lossy())
                .map_err(|fault| CliError::new(format!("cannot read the configuration {}: {fault}", path.display())))?,
        };
        let mut overlay = self.overlay(&text, sources)?;
        for (key, value) in above {
            overlay.insert(key, value);
        }
        Ok(RawConfig::parse(&text, overlay)?.check(sources)?)
    }

    fn overlay(&self, file: &str, sources: &impl Sources) -> Result<Table, CliError> {
        let mut table = Table::new();
        for (key, value) in [
            ("keys_file", &self.keys_file),
            ("issuer", &self.issuer),
            ("ttl", &self.ttl),
            ("max_age", &self.max_age),
            ("system_prompt", &self.system_prompt),
            ("system_prompt_file", &self.system_prompt_file),
        ] {
            if let Some(value) = value {
                table.insert(key.to_owned(), Value::String(value.clone()));
            }
        }
        if let Some(keys) = sources.variable("HOLDALL_KEYS").filter(|_| self.keys_file.is_none()) {
            table.insert("keys".to_owned(), Value::String(keys.to_string()));
        }
        if let Some(seal) = self.seal {
            table.insert("seal".to_owned(), Value::Boolean(seal));
        }
        if let Some(pace) = self.builtin_pace_ms {
            table.insert("builtin_pace_ms".to_owned(), Value::Integer(i64::try_from(pace).unwrap_or(i64::MAX)));
        }
        // The file's own syntax errors come out when it is read as a whole.
        let listed =
            file.parse::<Table>().is_ok_and(|file| file.contains_key("upstream") || file.contains_key("model"));
        if !listed || self.upstream.is_some() || self.upstream_url.is_some() || self.model.is_some() {
            table.extend(self.model_service(sources)?);
        }
        Ok(table)
    }

    /// One upstream, and the aliases `default` and the model's own name for it.
    fn model_service(&self, sources: &impl Sources) -> Result<Table, CliError> {
        let kind = self.upstream.as_deref().unwrap_or("builtin");
        let builtin = kind == "builtin";
        let model = match (&self.model, builtin) {
            (Some(model), _) => model.as_str(),
            (None, true) => "builtin",
            (None, false) => {
                return Err(CliError::new("no model is named").hint("pass --model NAME (HOLDALL_MODEL)"));
            }
        };
        let mut upstream = Table::new();
        let mut set = |key: &str, value: &str| upstream.insert(key.to_owned(), Value::String(value.to_owned()));
        set("name", kind);
        set("kind", kind);
        if let Some(url) = self.upstream_url.as_deref().filter(|_| !builtin) {
            set("base_url", url);
        }
        // A provider's own variable goes to the provider alone: at another URL it would hand the key to strangers.
        let own = match kind {
            "openai" => Some("OPENAI_API_KEY"),
            "anthropic" => Some("ANTHROPIC_API_KEY"),
            _ => None,
        };
        let own = own.filter(|_| self.upstream_url.is_none());
        let key = ["HOLDALL_UPSTREAM_KEY"].into_iter().chain(own).find(|name| sources.variable(name).is_some());
        if let Some(key) = key.filter(|_| !builtin) {
            set("api_key_env", key);
        }
        let aliases = ["default", model];
        let models = aliases.iter().take(if model == "default" { 1 } else { 2 }).map(|alias| {
            Value::Table(Table::from_iter([
                ("alias".to_owned(), Value::String((*alias).to_owned())),
                ("model".to_owned(), Value::String(model.to_owned())),
                ("upstreams".to_owned(), Value::Array(vec![Value::String(kind.to_owned())])),
            ]))
        });
        Ok(Table::from_iter([
            ("model".to_owned(), Value::Array(models.collect())),
            ("upstream".to_owned(), Value::Array(vec![Value::Table(upstream)])),
        ]))
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
