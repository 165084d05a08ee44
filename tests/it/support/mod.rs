//! Support for the tests: configurations, a service that a test drives step by step, servers on
//! loopback and their clients, and model services that misbehave on command.

pub(crate) mod answer;
pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod drive;
pub(crate) mod entropy;
pub(crate) mod events;
pub(crate) mod fake;
pub(crate) mod frames;
pub(crate) mod guard;
pub(crate) mod hand;
pub(crate) mod kind;
pub(crate) mod model;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod wire;

use holdall::config::{Config, ConfigError, RawConfig, Sources};
use zeroize::Zeroizing;

/// 32 bytes of 1, the secret of key `k1`.
pub(crate) const SECRET: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// The operator's key at the model service, which must never appear anywhere.
pub(crate) const MODEL_KEY: &str = "sk-operator-4f9a1c7e2b8d4f9a1c7e2b8d";

const BUILTIN: &str = "[[upstream]]\nname = \"builtin\"\nkind = \"builtin\"\n\
    [[model]]\nalias = \"default\"\nupstreams = [\"builtin\"]\nmodel = \"builtin\"\n";

/// A configuration of these TOML lines. By default it has the key `k1`, a free port on loopback and
/// the built-in model.
pub(crate) fn config(settings: &str) -> Config {
    config_with(settings, &[])
}

/// The same, with files and variables by name.
pub(crate) fn config_with(settings: &str, named: &[(&'static str, &str)]) -> Config {
    try_config(settings, named).unwrap()
}

/// The same, or the error of a configuration with which no server starts.
pub(crate) fn try_config(settings: &str, named: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
    let is_set = |key: &str| settings.lines().any(|line| line.trim_start().starts_with(key));
    let or = |key: &str, default: &str| if is_set(key) { String::new() } else { default.to_owned() };
    let keys = or("keys = ", &format!("keys = \"k1:{SECRET}\"\n"));
    let listen = or("listen = ", "listen = \"127.0.0.1:0\"\n");
    let model = or("[[upstream]]", BUILTIN);
    let text = format!("{keys}{listen}{settings}\n{model}");
    RawConfig::parse(&text, toml::Table::new())?.check(&Named(named))
}

/// The TOML of a model service of this kind, as `default`.
pub(crate) fn upstream(kind: &str, base_url: &str) -> String {
    format!(
        "[[upstream]]\nname = \"m\"\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\napi_key_env = \"MODEL_KEY\"\n\
         [[model]]\nalias = \"default\"\nupstreams = [\"m\"]\nmodel = \"m-1\"\n"
    )
}

/// Files and variables.
struct Named<'a>(&'a [(&'static str, &'a str)]);

impl Sources for Named<'_> {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        let file = self.0.iter().find(|(name, _)| *name == path).ok_or("no such file")?;
        Ok(Zeroizing::new(file.1.to_owned()))
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        if name == "MODEL_KEY" { Some(Zeroizing::new(MODEL_KEY.to_owned())) } else { self.file(name).ok() }
    }
}
