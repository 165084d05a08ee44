//! The flags that name one upstream and its model, as the tables `[[upstream]]` and `[[model]]`.

use toml::{Table, Value};

use super::values::Values;
use crate::config::{
    builder::ConfigBuilder,
    checked::Config,
    error::ConfigError,
    exposure::Exposure,
    setting::Setting,
    settings::{MODEL, UPSTREAM, UPSTREAM_CA_FILE, UPSTREAM_CONCURRENCY, UPSTREAM_KEY, UPSTREAM_PROXY, UPSTREAM_URL},
    sources::Sources,
};

/// Sets the upstreams and models, or chooses one of the file's models.
///
/// # Errors
/// [`ConfigError::Settings`] for settings that contradict each other or the file.
pub(super) fn apply(values: &Values, builder: &mut ConfigBuilder, sources: &impl Sources) -> Result<(), ConfigError> {
    let names_service = values.get(&UPSTREAM).is_some() || values.get(&UPSTREAM_URL).is_some();
    if names_service || !builder.lists_models() {
        return set_service(values, builder, sources);
    }
    for (setting, key) in
        [(&UPSTREAM_CONCURRENCY, "max_concurrency"), (&UPSTREAM_CA_FILE, "ca_file"), (&UPSTREAM_PROXY, "proxy_env")]
    {
        if is_set(setting, values, sources) {
            let variable = setting.variable.unwrap_or_default();
            let name = setting.flag.map_or_else(|| variable.to_owned(), |flag| format!("`{flag}` ({variable})"));
            return Err(ConfigError::settings(
                format!("{name} is set, but the configuration lists its upstreams"),
                format!("set `{key}` in an `[[upstream]]` table instead"),
            ));
        }
    }
    values.text(&MODEL).map_or(Ok(()), |alias| builder.set_default_model(alias))
}

/// Returns true if the flag or its variable is set. A secret is only a variable.
fn is_set(setting: &Setting, values: &Values, sources: &impl Sources) -> bool {
    values.get(setting).is_some()
        || setting.flag.is_none() && setting.variable.is_some_and(|name| sources.variable(name).is_some())
}

/// Sets one upstream, and two aliases for its model: `default` and the model's own name.
fn set_service(values: &Values, builder: &mut ConfigBuilder, sources: &impl Sources) -> Result<(), ConfigError> {
    let kind = values.text(&UPSTREAM).unwrap_or(BUILTIN);
    let url = values.text(&UPSTREAM_URL);
    if kind == BUILTIN && url.is_some() {
        return Err(ConfigError::settings(
            "`--upstream-url` (HOLDALL_UPSTREAM_URL) is set, but the built-in model has no URL",
            format!("also name the kind of the service: {KINDS}"),
        ));
    }
    let model = model_name(values, kind)?;
    builder.set("model", models(kind, model));
    let mut upstream = Table::from_iter([member("name", kind), member("kind", kind)]);
    upstream.extend(url.map(|url| member("base_url", url)));
    upstream.extend(key_variable(kind, url, sources).map(|name| member("api_key_env", name)));
    upstream.extend(values.get(&UPSTREAM_CA_FILE).map(|path| member("ca_file", path.clone())));
    let proxy = UPSTREAM_PROXY.variable.filter(|_| kind != BUILTIN && is_set(&UPSTREAM_PROXY, values, sources));
    upstream.extend(proxy.map(|name| member("proxy_env", name)));
    upstream.extend(values.get(&UPSTREAM_CONCURRENCY).map(|calls| member("max_concurrency", calls.clone())));
    builder.set("upstream", vec![upstream]);
    Ok(())
}

/// The model's name at the upstream.
fn model_name<'a>(values: &'a Values, kind: &str) -> Result<&'a str, ConfigError> {
    match (values.text(&MODEL), kind == BUILTIN) {
        (Some(model), true) if model != BUILTIN => Err(ConfigError::settings(
            format!("`--model` (HOLDALL_MODEL) is `{model}`, but the only built-in model is `builtin`"),
            format!("also name the kind of the service: {KINDS}"),
        )),
        (Some(model), _) => Ok(model),
        (None, true) => Ok(BUILTIN),
        (None, false) => Err(ConfigError::settings("no model is named", "pass `--model NAME` (HOLDALL_MODEL)")),
    }
}

/// The table `[[model]]`.
fn models(upstream: &str, model: &str) -> Vec<Value> {
    let aliases = if model == "default" { vec![model] } else { vec!["default", model] };
    let entry = |alias| {
        let upstreams = member("upstreams", vec![upstream]);
        Table::from_iter([member("alias", alias), member("model", model), upstreams]).into()
    };
    aliases.into_iter().map(entry).collect()
}

/// The variable with the service's key, if there is one.
///
/// A provider's own variable is only for its own address: at another URL, a stranger would get the
/// key.
fn key_variable(kind: &str, url: Option<&str>, sources: &impl Sources) -> Option<&'static str> {
    let own = match kind {
        BUILTIN => return None,
        "openai" | "openai-responses" => Some("OPENAI_API_KEY"),
        "anthropic" => Some("ANTHROPIC_API_KEY"),
        _ => None,
    };
    let names = [UPSTREAM_KEY.variable, own.filter(|_| url.is_none())];
    names.into_iter().flatten().find(|name| sources.variable(name).is_some())
}

fn member(key: &str, value: impl Into<Value>) -> (String, Value) {
    (key.to_owned(), value.into())
}

/// The flag for the kind of the service, in hints.
const KINDS: &str = "`--upstream openai`, `openai-responses` or `anthropic` (HOLDALL_UPSTREAM)";
/// The kind and the name of the built-in model.
const BUILTIN: &str = "builtin";

impl ConfigBuilder {
    /// Checks only the settings on which tokens depend, for a command that calls no model.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_for_tokens(mut self, sources: &impl Sources) -> Result<Config, ConfigError> {
        self.set_exposure(Exposure::Local);
        self.set("system_prompt", "");
        set_service(&Values::default(), &mut self, sources)?;
        self.build(sources)
    }
}
