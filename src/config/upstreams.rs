//! The model services and the aliases that stand for their models: the tables `upstream` and `model`.

use std::time::Duration;

use super::{
    ConfigError, RawConfig, Sources, UpstreamConfig,
    check::read,
    raw::{RawModel, RawUpstream},
};
use crate::proto::{
    dialect::{self, door::Truncation},
    exchange::{Model, Models},
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
        let dialect = dialect::by_name(&raw.kind).ok_or_else(|| {
            let kinds: Vec<_> = dialect::DIALECTS.iter().map(|dialect| dialect.name()).collect();
            ConfigError::invalid("upstream.kind", format!("`{}` is none of {}", raw.kind, kinds.join(", ")))
        })?;
        let base_url =
            raw.base_url.as_deref().unwrap_or_else(|| dialect.default_base_url()).trim_end_matches('/').to_owned();
        let networked = !dialect.default_base_url().is_empty();
        if networked {
            check_url(&base_url)?;
        } else if raw.base_url.is_some() {
            return Err(ConfigError::invalid("upstream.base_url", format!("`{}` has no address", raw.kind)));
        }
        let own = base_url == dialect.default_base_url();
        let dialect = dialect.elsewhere().filter(|_| !own).unwrap_or(dialect);
        let api_key = match &raw.api_key_env {
            Some(name) => Some(sources.variable(name).ok_or_else(|| {
                ConfigError::invalid("upstream.api_key_env", format!("the variable {name} is not set"))
            })?),
            None => None,
        };
        if networked && api_key.is_none() && own {
            return Err(ConfigError::invalid("upstream", format!("{base_url} wants a key; set HOLDALL_UPSTREAM_KEY")));
        }
        Ok(UpstreamConfig {
            name: raw.name.clone(),
            dialect,
            provider: if own { dialect.name().to_owned() } else { format!("{}@{}", dialect.name(), host(&base_url)) },
            prompt_cache: raw.prompt_cache.unwrap_or(true),
            base_url,
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
        let [name] = raw.upstreams.as_slice() else {
            return Err(ConfigError::invalid("model.upstreams", format!("`{}` names exactly one upstream", raw.alias)));
        };
        let upstream = upstreams
            .iter()
            .find(|upstream| upstream.name == *name)
            .ok_or_else(|| ConfigError::invalid("model.upstreams", format!("there is no upstream called `{name}`")))?;
        let own = prompt(raw.system_prompt.as_ref(), raw.system_prompt_file.as_ref(), sources)?;
        let system_prompt = match own {
            Some(own) => Some(own),
            None => prompt(self.system_prompt.as_ref(), self.system_prompt_file.as_ref(), sources)?,
        };
        Ok(Model {
            alias: raw.alias.clone(),
            upstream: name.clone(),
            dialect: upstream.dialect,
            provider: upstream.provider.clone(),
            prompt_cache: upstream.prompt_cache,
            name: raw.model.clone(),
            system_prompt,
            max_output_tokens: raw.max_output_tokens,
            truncation: truncation(raw.truncation.as_deref())?,
        })
    }
}

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
