//! The upstreams and the models: the tables `upstream` and `model`.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    check::{choice, read, unknown},
    checked::{Concurrency, UpstreamConfig},
    error::ConfigError,
    network::{NetworkConfig, NetworkReader, RawNetwork, UPSTREAM, UPSTREAM_VARIABLE},
    profile::profile,
    raw::{RawConfig, RawModel, RawUpstream},
    shown,
    sources::Sources,
};
use crate::proto::{
    deployment::{ClientSystem, Model, Models, Target},
    provider::{self, Provider},
    turn::{Ceilings, EFFORTS, Truncation},
};

impl RawConfig {
    pub(super) fn upstreams<S: Sources>(
        &self,
        sources: &S,
        reader: &NetworkReader<'_, S>,
    ) -> Result<Vec<UpstreamConfig>, ConfigError> {
        self.each_upstream(|raw| self.upstream(raw, sources, reader))
    }

    /// The upstreams as the file describes them: without keys, proxies and certificates. Reads no
    /// variable and no other file, and ignores all other settings.
    ///
    /// # Errors
    /// The first error in a table `upstream`.
    pub(super) fn described_upstreams(&self) -> Result<Vec<UpstreamConfig>, ConfigError> {
        self.each_upstream(|raw| self.described_upstream(raw))
    }

    fn each_upstream(
        &self,
        read: impl Fn(&RawUpstream) -> Result<UpstreamConfig, ConfigError>,
    ) -> Result<Vec<UpstreamConfig>, ConfigError> {
        let mut upstreams: Vec<UpstreamConfig> = Vec::new();
        for raw in &self.upstream {
            let upstream = read(raw)?;
            if upstreams.iter().any(|other| other.name == upstream.name) {
                let fault = format!("is `{}` in two tables; give each upstream its own name", upstream.name);
                return Err(ConfigError::invalid("upstream.name", fault));
            }
            upstreams.push(upstream);
        }
        Ok(upstreams)
    }

    fn upstream<S: Sources>(
        &self,
        raw: &RawUpstream,
        sources: &S,
        reader: &NetworkReader<'_, S>,
    ) -> Result<UpstreamConfig, ConfigError> {
        let described = self.described_upstream(raw)?;
        let base_url = described.base_urls.first().map_or("", String::as_str);
        let is_own_address = base_url == described.provider.default_base_url();
        let api_key = raw.api_key_env.as_deref().map(|name| api_key(name, sources)).transpose()?;
        if is_own_address && !base_url.is_empty() && api_key.is_none() {
            let fault = format!("needs a key for {base_url}; set HOLDALL_UPSTREAM_KEY, or `api_key_env` in the table");
            return Err(ConfigError::invalid("upstream", fault));
        }
        let network = reader.of(&network(raw, sources)?, &described.base_urls)?;
        Ok(UpstreamConfig { api_key, network, ..described })
    }

    fn described_upstream(&self, raw: &RawUpstream) -> Result<UpstreamConfig, ConfigError> {
        let provider = provider(&raw.kind)?;
        let base_urls = base_urls(raw, provider)?;
        let base_url = base_urls.first().map_or("", String::as_str);
        let (profile, profile_choice) = profile(raw, base_url)?;
        Ok(UpstreamConfig {
            name: raw.name.clone(),
            provider,
            provider_id: if base_url == provider.default_base_url() {
                provider.name().to_owned()
            } else {
                format!("{}@{}", provider.name(), host(base_url))
            },
            profile,
            profile_choice,
            prompt_cache: raw.prompt_cache.unwrap_or(true),
            concurrency: concurrency(raw, self.timeouts.queue)?,
            network: NetworkConfig::default(),
            base_urls,
            api_key: None,
            connect_timeout: self.timeouts.connect.unwrap_or(Duration::from_secs(5)),
            builtin_pace: Duration::from_millis(self.builtin_pace_ms),
        })
    }

    pub(super) fn models(&self, upstreams: &[UpstreamConfig], sources: &impl Sources) -> Result<Models, ConfigError> {
        let mut models: Vec<Model> = Vec::new();
        for raw in &self.model {
            let model = self.model(raw, upstreams, sources)?;
            if models.iter().any(|other| other.alias == model.alias) {
                let fault = format!("is `{}` in two tables; give each model its own alias", model.alias);
                return Err(ConfigError::invalid("model.alias", fault));
            }
            models.push(model);
        }
        Models::new(models)
            .ok_or_else(|| ConfigError::invalid("model", "is not set; add a `[[model]]` table that names an upstream"))
    }

    fn model(
        &self,
        raw: &RawModel,
        upstreams: &[UpstreamConfig],
        sources: &impl Sources,
    ) -> Result<Model, ConfigError> {
        check_alias(&raw.alias)?;
        let mut targets = targets(raw, upstreams)?.into_iter();
        let target = targets.next().ok_or_else(|| {
            let fault = format!("is empty for the alias `{}`; name 1 to {TARGETS_MAX} upstreams", raw.alias);
            ConfigError::invalid("model.upstreams", fault)
        })?;
        let own_prompt = prompt(raw.system_prompt.as_ref(), raw.system_prompt_file.as_ref(), sources)?;
        let system_prompt = match own_prompt {
            Some(own) => Some(own),
            None => prompt(self.system_prompt.as_ref(), self.system_prompt_file.as_ref(), sources)?,
        };
        Ok(Model {
            alias: raw.alias.clone(),
            target,
            fallbacks: targets.collect(),
            system_prompt,
            accepts_client_history: own_or_default(
                ["client_history", "model.client_history"],
                [&self.client_history, &raw.client_history],
                [("refuse", false), ("accept", true)],
            )?,
            client_system: own_or_default(
                ["client_system", "model.client_system"],
                [&self.client_system, &raw.client_system],
                [("refuse", ClientSystem::Refuse), ("append", ClientSystem::Append)],
            )?,
            shows_upstream_words: own_or_default(
                ["upstream_words", "model.upstream_words"],
                [&self.upstream_words, &raw.upstream_words],
                [("show", true), ("hide", false)],
            )?,
            max_output_tokens: raw.max_output_tokens,
            ceilings: ceilings(raw)?,
            truncation: truncation(raw.truncation.as_deref())?,
        })
    }
}

/// The provider of a kind of upstream.
fn provider(kind: &str) -> Result<&'static dyn Provider, ConfigError> {
    provider::by_name(kind).ok_or_else(|| {
        let kinds: Vec<_> = provider::PROVIDERS.iter().map(|provider| provider.name()).collect();
        ConfigError::invalid("upstream.kind", unknown(kind, &kinds))
    })
}

/// The key in a variable, without white space around it. Some platforms set a variable to the text
/// of a file, and most files end with a line end.
fn api_key(name: &str, sources: &impl Sources) -> Result<Zeroizing<String>, ConfigError> {
    let key = sources.variable(name).map(|text| Zeroizing::new(text.trim().to_owned()));
    key.filter(|key| !key.is_empty()).ok_or_else(|| ConfigError::invalid("upstream.api_key_env", unset_variable(name)))
}

/// The fault of a variable that is not set.
fn unset_variable(name: &str) -> String {
    format!("names {}, which is not set{}", shown::variable(name), shown::variable_hint(name))
}

/// The network settings of an upstream. The proxy may be in a variable, because it may contain a
/// password.
fn network<'a>(raw: &'a RawUpstream, sources: &impl Sources) -> Result<RawNetwork<'a>, ConfigError> {
    let proxy = match (&raw.proxy, &raw.proxy_env) {
        (Some(_), Some(_)) => {
            let fault = "and `proxy_env` are both set; set only one of them";
            return Err(ConfigError::invalid("upstream.proxy", fault));
        }
        (None, Some(name)) => Some(
            sources.variable(name).ok_or_else(|| ConfigError::invalid("upstream.proxy_env", unset_variable(name)))?,
        ),
        (proxy, None) => proxy.clone(),
    };
    let proxy = proxy.map(|text| Zeroizing::new(text.trim().to_owned()));
    let proxy_variable = raw.proxy_env.as_deref();
    Ok(RawNetwork {
        keys: if proxy_variable.is_some() { UPSTREAM_VARIABLE } else { UPSTREAM },
        owner: format!("of `{}`", raw.name),
        ca_file: raw.ca_file.as_deref(),
        proxy,
        proxy_variable,
    })
}

/// The addresses of an upstream, without trailing slashes. The built-in model has one empty
/// address.
fn base_urls(raw: &RawUpstream, provider: &dyn Provider) -> Result<Vec<String>, ConfigError> {
    let invalid = |fault: String| ConfigError::invalid("upstream.base_urls", fault);
    let own = provider.default_base_url();
    let urls = match (&raw.base_url, &raw.base_urls) {
        (Some(_), Some(_)) => return Err(invalid("and `base_url` are both set; set only one of them".to_owned())),
        (Some(url), None) => std::slice::from_ref(url),
        (None, Some(urls)) => urls.as_slice(),
        (None, None) => return Ok(vec![own.to_owned()]),
    };
    if own.is_empty() {
        let fault = format!("is set, but the kind `{}` has no address; remove it", raw.kind);
        return Err(ConfigError::invalid("upstream.base_url", fault));
    }
    if !(1..=ADDRESSES_MAX).contains(&urls.len()) {
        return Err(invalid(format!("has {} addresses; it must have 1 to {ADDRESSES_MAX}", urls.len())));
    }
    let mut checked: Vec<String> = Vec::new();
    for url in urls {
        let url = url.trim_end_matches('/');
        check_url(url)?;
        if checked.iter().any(|other| other == url) {
            return Err(invalid(format!("has {} twice; remove one of them", shown::url(url))));
        }
        checked.push(url.to_owned());
    }
    // Reasoning from one address is sent to any of them, so all must be the same provider's.
    if checked.len() > 1 && checked.iter().any(|url| url == own) {
        let fault = format!("mixes the provider's own address {own} with others; use a separate `[[upstream]]`");
        return Err(invalid(fault));
    }
    Ok(checked)
}

/// Accepts an `http:` or `https:` URL without credentials, query and fragment.
fn check_url(url: &str) -> Result<(), ConfigError> {
    let fault = match url.parse::<http::Uri>() {
        Err(error) => error.to_string(),
        // The parser drops a fragment, so that the result does not show it.
        Ok(_) if url.contains('#') => "remove the fragment, which is never sent".to_owned(),
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') && uri.query().is_none() => {
                return Ok(());
            }
            _ => "it must be an `http:` or `https:` URL without credentials and query".to_owned(),
        },
    };
    Err(ConfigError::invalid("upstream.base_url", format!("is {}; {fault}", shown::url(url))))
}

/// The host and port of a checked URL.
fn host(url: &str) -> String {
    url.parse::<http::Uri>().ok().and_then(|uri| Some(uri.authority()?.to_string())).unwrap_or_default()
}

fn concurrency(raw: &RawUpstream, wait: Option<Duration>) -> Result<Option<Concurrency>, ConfigError> {
    let Some(calls) = raw.max_concurrency else {
        return match raw.queue {
            Some(_) => Err(ConfigError::invalid("upstream.queue", "needs `upstream.max_concurrency`; set both")),
            None => Ok(None),
        };
    };
    if !(1..=CALLS_MAX).contains(&calls) {
        let fault = format!("is {calls}; it must be from 1 to {CALLS_MAX}");
        return Err(ConfigError::invalid("upstream.max_concurrency", fault));
    }
    let queue = raw.queue.unwrap_or_else(|| calls.saturating_mul(4));
    if queue > QUEUE_MAX {
        return Err(ConfigError::invalid("upstream.queue", format!("is {queue}; it must be from 0 to {QUEUE_MAX}")));
    }
    Ok(Some(Concurrency { calls, queue, wait: wait.unwrap_or(Duration::from_secs(10)) }))
}

fn check_alias(alias: &str) -> Result<(), ConfigError> {
    let is_name = alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte));
    if (1..=ALIAS_MAX_BYTES).contains(&alias.len()) && (alias == "*" || is_name) {
        return Ok(());
    }
    let start: String = alias.chars().take(64).collect();
    let fault = format!("is `{start}`; it must be 1 to {ALIAS_MAX_BYTES} of A-Z a-z 0-9 / : . _ -, or `*`");
    Err(ConfigError::invalid("model.alias", fault))
}

/// The targets of a model, in order of preference.
fn targets(raw: &RawModel, upstreams: &[UpstreamConfig]) -> Result<Vec<Target>, ConfigError> {
    let invalid = |fault: String| ConfigError::invalid("model.upstreams", fault);
    let (alias, count) = (&raw.alias, raw.upstreams.len());
    if count > TARGETS_MAX {
        return Err(invalid(format!("has {count} entries for the alias `{alias}`; the maximum is {TARGETS_MAX}")));
    }
    let mut targets: Vec<Target> = Vec::new();
    for entry in &raw.upstreams {
        let (name, model) = entry.parts();
        let upstream = upstreams.iter().find(|upstream| upstream.name == name).ok_or_else(|| {
            let known: Vec<_> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
            let known = known.join(", ");
            invalid(format!("names `{name}` for the alias `{alias}`, but the upstreams are: {known}"))
        })?;
        let model = model.unwrap_or(&raw.model);
        if targets.iter().any(|target| target.upstream == name && target.name == model) {
            return Err(invalid(format!("names `{name}` twice for the alias `{alias}`; remove one of them")));
        }
        targets.push(Target {
            upstream: name.to_owned(),
            provider: upstream.provider,
            provider_id: upstream.provider_id.clone(),
            profile: upstream.profile,
            prompt_cache: upstream.prompt_cache,
            name: model.to_owned(),
        });
    }
    Ok(targets)
}

/// The choice of an alias, or else the choice of the whole file. Both must be valid.
fn own_or_default<T: Copy, const N: usize>(
    [default_key, own_key]: [&'static str; 2],
    [default_name, own_name]: [&Option<String>; 2],
    values: [(&str, T); N],
) -> Result<T, ConfigError> {
    let default = choice(default_key, default_name.as_deref(), values)?;
    own_name.as_deref().map_or(Ok(default), |name| choice(own_key, Some(name), values))
}

/// The most that a turn may ask of a model.
fn ceilings(raw: &RawModel) -> Result<Ceilings, ConfigError> {
    let invalid = |fault: String| Err(ConfigError::invalid("model.max_output_tokens_most", fault));
    match (raw.max_output_tokens_most, raw.max_output_tokens) {
        (Some(0), _) => return invalid("is 0; the minimum is 1".to_owned()),
        (Some(most), Some(default)) if default > most => {
            let alias = &raw.alias;
            return invalid(format!("is {most} for the alias `{alias}`, below its `max_output_tokens` ({default})"));
        }
        _ => {}
    }
    let effort = raw.reasoning_effort_most.as_deref();
    let known = EFFORTS.map(|effort| (effort, effort));
    Ok(Ceilings {
        max_output_tokens: raw.max_output_tokens_most,
        reasoning_effort: effort
            .map(|effort| choice("model.reasoning_effort_most", Some(effort), known))
            .transpose()?,
    })
}

fn truncation(name: Option<&str>) -> Result<Truncation, ConfigError> {
    let Some(name) = name else { return Ok(Truncation::default()) };
    Truncation::from_name(name)
        .ok_or_else(|| ConfigError::invalid("model.truncation", unknown(name, &["refuse", "oldest", "summarize"])))
}

/// The system prompt from the text or the file, if one is set.
fn prompt(text: Option<&String>, file: Option<&String>, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
    match (text, file) {
        (Some(_), Some(_)) => {
            let fault = "and `system_prompt_file` are both set; set only one of them";
            Err(ConfigError::invalid("system_prompt", fault))
        }
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(path)) => Ok(Some(read(sources, "system_prompt_file", path)?.trim_end().to_owned())),
        (None, None) => Ok(None),
    }
}

/// The most upstreams of one model.
const TARGETS_MAX: usize = 8;
/// The longest alias.
const ALIAS_MAX_BYTES: usize = 256;
/// The most addresses of one upstream.
const ADDRESSES_MAX: usize = 64;
/// The largest limit on concurrent calls of an upstream.
const CALLS_MAX: usize = 65_536;
/// The most calls that may wait for an upstream.
const QUEUE_MAX: usize = 4 * CALLS_MAX;
