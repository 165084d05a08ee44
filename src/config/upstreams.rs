//! The model services and the aliases that stand for their models: the tables `upstream` and `model`.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Concurrency, ConfigError, RawConfig, Sources, UpstreamConfig,
    check::read,
    raw::{RawModel, RawUpstream},
};
use crate::proto::{
    deployment::{Model, Models, Target},
    provider::{self, Provider},
    turn::Truncation,
};

impl RawConfig {
    pub(super) fn upstreams(&self, sources: &impl Sources) -> Result<Vec<UpstreamConfig>, ConfigError> {
        let mut upstreams: Vec<UpstreamConfig> = Vec::new();
        for raw in &self.upstream {
            let upstream = self.upstream(raw, sources)?;
            if upstreams.iter().any(|other| other.name == upstream.name) {
                return Err(ConfigError::invalid("upstream.name", format!("`{}` stands twice", upstream.name)));
            }
            upstreams.push(upstream);
        }
        Ok(upstreams)
    }

    fn upstream(&self, raw: &RawUpstream, sources: &impl Sources) -> Result<UpstreamConfig, ConfigError> {
        let provider = provider::by_name(&raw.kind).ok_or_else(|| {
            let kinds: Vec<_> = provider::PROVIDERS.iter().map(|provider| provider.name()).collect();
            ConfigError::invalid("upstream.kind", format!("`{}` is none of {}", raw.kind, kinds.join(", ")))
        })?;
        let base_urls = base_urls(raw, provider)?;
        let base_url = base_urls.first().map_or("", String::as_str);
        let networked = !base_url.is_empty();
        let own = base_url == provider.default_base_url();
        let provider = provider.for_compatible_services().filter(|_| !own).unwrap_or(provider);
        let api_key = raw.api_key_env.as_deref().map(|name| api_key(name, sources)).transpose()?;
        if networked && api_key.is_none() && own {
            return Err(ConfigError::invalid("upstream", format!("{base_url} wants a key; set HOLDALL_UPSTREAM_KEY")));
        }
        Ok(UpstreamConfig {
            name: raw.name.clone(),
            provider,
            provider_id: if own {
                provider.name().to_owned()
            } else {
                format!("{}@{}", provider.name(), host(base_url))
            },
            prompt_cache: raw.prompt_cache.unwrap_or(true),
            concurrency: concurrency(raw, self.timeouts.queue)?,
            base_urls,
            api_key,
            connect_timeout: self.timeouts.connect.unwrap_or(Duration::from_secs(5)),
            builtin_pace: Duration::from_millis(self.builtin_pace_ms),
        })
    }

    pub(super) fn models(&self, upstreams: &[UpstreamConfig], sources: &impl Sources) -> Result<Models, ConfigError> {
        let mut models: Vec<Model> = Vec::new();
        for raw in &self.model {
            let model = self.model(raw, upstreams, sources)?;
            if models.iter().any(|other| other.alias == model.alias) {
                return Err(ConfigError::invalid("model.alias", format!("`{}` stands twice", model.alias)));
            }
            models.push(model);
        }
        Models::new(models).ok_or_else(|| ConfigError::invalid("model", "there is none; name an upstream"))
    }

    fn model(
        &self,
        raw: &RawModel,
        upstreams: &[UpstreamConfig],
        sources: &impl Sources,
    ) -> Result<Model, ConfigError> {
        let named = (1..=256).contains(&raw.alias.len())
            && (raw.alias == "*"
                || raw.alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte)));
        if !named {
            return Err(ConfigError::invalid("model.alias", "is 1 to 256 of A-Z a-z 0-9 / : . _ -, or `*`"));
        }
        let mut targets = targets(raw, upstreams)?.into_iter();
        let target = targets
            .next()
            .ok_or_else(|| ConfigError::invalid("model.upstreams", format!("`{}` names no upstream", raw.alias)))?;
        let own = prompt(raw.system_prompt.as_ref(), raw.system_prompt_file.as_ref(), sources)?;
        let system_prompt = match own {
            Some(own) => Some(own),
            None => prompt(self.system_prompt.as_ref(), self.system_prompt_file.as_ref(), sources)?,
        };
        Ok(Model {
            alias: raw.alias.clone(),
            target,
            fallbacks: targets.collect(),
            system_prompt,
            max_output_tokens: raw.max_output_tokens,
            truncation: truncation(raw.truncation.as_deref())?,
        })
    }
}

/// Where the model is served, in the order of preference.
fn targets(raw: &RawModel, upstreams: &[UpstreamConfig]) -> Result<Vec<Target>, ConfigError> {
    let invalid = |fault: String| ConfigError::invalid("model.upstreams", fault);
    if raw.upstreams.len() > TARGETS_MOST {
        return Err(invalid(format!("`{}` names more than {TARGETS_MOST} upstreams", raw.alias)));
    }
    let mut targets: Vec<Target> = Vec::new();
    for entry in &raw.upstreams {
        let (name, model) = entry.parts();
        let upstream = upstreams
            .iter()
            .find(|upstream| upstream.name == name)
            .ok_or_else(|| invalid(format!("there is no upstream called `{name}`")))?;
        let model = model.unwrap_or(&raw.model);
        if targets.iter().any(|target| target.upstream == name && target.name == model) {
            return Err(invalid(format!("`{}` names `{name}` twice", raw.alias)));
        }
        targets.push(Target {
            upstream: name.to_owned(),
            provider: upstream.provider,
            provider_id: upstream.provider_id.clone(),
            prompt_cache: upstream.prompt_cache,
            name: model.to_owned(),
        });
    }
    Ok(targets)
}

/// The key in a variable. Platforms hand out files as they are, and most files end with the end of a line.
fn api_key(name: &str, sources: &impl Sources) -> Result<Zeroizing<String>, ConfigError> {
    sources
        .variable(name)
        .map(|text| Zeroizing::new(text.trim().to_owned()))
        .filter(|key| !key.is_empty())
        .ok_or_else(|| ConfigError::invalid("upstream.api_key_env", format!("the variable {name} is not set")))
}

/// The addresses of an upstream, without trailing slashes; an empty one for what needs no network.
fn base_urls(raw: &RawUpstream, provider: &dyn Provider) -> Result<Vec<String>, ConfigError> {
    let invalid = |fault: String| ConfigError::invalid("upstream.base_urls", fault);
    let own = provider.default_base_url();
    let urls = match (&raw.base_url, &raw.base_urls) {
        (Some(_), Some(_)) => return Err(invalid("set either base_url or base_urls, not both".to_owned())),
        (Some(url), None) => std::slice::from_ref(url),
        (None, Some(urls)) => urls.as_slice(),
        (None, None) => return Ok(vec![own.to_owned()]),
    };
    if own.is_empty() {
        return Err(ConfigError::invalid("upstream.base_url", format!("`{}` has no address", raw.kind)));
    }
    if !(1..=ADDRESSES_MOST).contains(&urls.len()) {
        return Err(invalid(format!("names {} addresses; 1 to {ADDRESSES_MOST} are allowed", urls.len())));
    }
    let mut checked: Vec<String> = Vec::new();
    for url in urls {
        let url = url.trim_end_matches('/');
        check_url(url)?;
        if checked.iter().any(|other| other == url) {
            return Err(invalid(format!("`{url}` stands twice")));
        }
        checked.push(url.to_owned());
    }
    // What one of them answers, any of them is sent the next time.
    if checked.len() > 1 && checked.iter().any(|url| url == own) {
        return Err(invalid(format!("{own} is a provider's own address, and goes with no other")));
    }
    Ok(checked)
}

fn concurrency(raw: &RawUpstream, wait: Option<Duration>) -> Result<Option<Concurrency>, ConfigError> {
    let Some(calls) = raw.max_concurrency else {
        return match raw.queue {
            Some(_) => Err(ConfigError::invalid("upstream.queue", "goes with upstream.max_concurrency")),
            None => Ok(None),
        };
    };
    if !(1..=CALLS_MOST).contains(&calls) {
        return Err(ConfigError::invalid("upstream.max_concurrency", format!("is from 1 to {CALLS_MOST}")));
    }
    let queue = raw.queue.unwrap_or_else(|| calls.saturating_mul(4));
    if queue > 4 * CALLS_MOST {
        return Err(ConfigError::invalid("upstream.queue", format!("is at most {}", 4 * CALLS_MOST)));
    }
    Ok(Some(Concurrency { calls, queue, wait: wait.unwrap_or(Duration::from_secs(10)) }))
}

/// The most upstreams that one model names.
const TARGETS_MOST: usize = 8;
/// The most addresses of one upstream.
const ADDRESSES_MOST: usize = 64;
/// The most calls at once that an upstream can be held to.
const CALLS_MOST: usize = 65_536;

fn truncation(name: Option<&str>) -> Result<Truncation, ConfigError> {
    let Some(name) = name else { return Ok(Truncation::default()) };
    Truncation::from_name(name).ok_or_else(|| {
        ConfigError::invalid("model.truncation", format!("`{name}` is none of refuse, oldest, summarize"))
    })
}

/// Host and port of a URL that was checked.
fn host(url: &str) -> String {
    url.parse::<http::Uri>().ok().and_then(|uri| Some(uri.authority()?.to_string())).unwrap_or_default()
}

fn prompt(text: Option<&String>, file: Option<&String>, sources: &impl Sources) -> Result<Option<String>, ConfigError> {
    match (text, file) {
        (Some(_), Some(_)) => {
            Err(ConfigError::invalid("system_prompt", "set either system_prompt or system_prompt_file, not both"))
        }
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(path)) => Ok(Some(read(sources, "system_prompt_file", path)?.trim_end().to_owned())),
        (None, None) => Ok(None),
    }
}

/// An upstream is an `http:` or `https:` URL without credentials, query or fragment.
fn check_url(url: &str) -> Result<(), ConfigError> {
    let fault = match url.parse::<http::Uri>() {
        Err(error) => error.to_string(),
        // Left out by the parser, and so not to be found in what it gives.
        Ok(_) if url.contains('#') => "a fragment is not sent".to_owned(),
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') && uri.query().is_none() => {
                return Ok(());
            }
            _ => "not an http: or https: URL without credentials and query".to_owned(),
        },
    };
    Err(ConfigError::invalid("upstream.base_url", format!("`{url}`: {fault}")))
}
