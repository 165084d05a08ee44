//! The settings that name the model and its service.

use toml::{Table, Value};

use crate::config::{ConfigBuilder, ConfigError, Sources, variables::settings};

settings! {
    /// The settings that name the model.
    pub struct ModelSettings in "Model" {
        /// Kind of the model service: builtin, openai, openai-responses or anthropic [default: builtin]
        upstream: Option<String> = "HOLDALL_UPSTREAM" (value_name = "KIND"),
        /// Its base URL, such as http://127.0.0.1:11434/v1 [default: the provider's]
        upstream_url: Option<String> = "HOLDALL_UPSTREAM_URL" (value_name = "URL"),
        /// Most calls that it takes at once; further ones wait, users in turns [default: no bound]
        upstream_concurrency: Option<u32> = "HOLDALL_UPSTREAM_CONCURRENCY" (value_name = "COUNT"),
        /// Name of the model; its key comes from HOLDALL_UPSTREAM_KEY, OPENAI_API_KEY or ANTHROPIC_API_KEY
        model: Option<String> = "HOLDALL_MODEL" (value_name = "NAME"),
        /// System prompt, applied anew each turn
        system_prompt: Option<String> = "HOLDALL_SYSTEM_PROMPT" (value_name = "TEXT"),
        /// The same from a file
        system_prompt_file: Option<String> = "HOLDALL_SYSTEM_PROMPT_FILE" (value_name = "FILE"),
        /// Milliseconds between two words of the built-in model
        builtin_pace_ms: Option<u32> = "HOLDALL_BUILTIN_PACE_MS" (value_name = "MS", hide = true),
    }
}

impl ModelSettings {
    /// The alias that is asked for, if one is.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Lays these settings over the builder's own.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] for settings that do not go together.
    pub fn apply(&self, builder: &mut ConfigBuilder, sources: &impl Sources) -> Result<(), ConfigError> {
        builder.set_some("system_prompt", self.system_prompt.as_deref());
        builder.set_some("system_prompt_file", self.system_prompt_file.as_deref());
        builder.set_some("builtin_pace_ms", self.builtin_pace_ms);
        let service_named = self.upstream.is_some() || self.upstream_url.is_some();
        match &self.model {
            _ if service_named || !builder.lists_models() => self.set_service(builder, sources),
            _ if self.upstream_concurrency.is_some() => Err(ConfigError::settings(
                "the configuration lists its upstreams; which of them is to be bounded is not said",
                "set max_concurrency in its [[upstream]] table instead",
            )),
            Some(alias) => builder.make_default(alias),
            None => Ok(()),
        }
    }

    /// One upstream, and the aliases `default` and the model's own name for it.
    pub(in crate::config) fn set_service(
        &self,
        builder: &mut ConfigBuilder,
        sources: &impl Sources,
    ) -> Result<(), ConfigError> {
        let kind = self.upstream.as_deref().unwrap_or("builtin");
        let builtin = kind == "builtin";
        if builtin && self.upstream_url.is_some() {
            return Err(ConfigError::settings(
                "the built-in model has no URL",
                "pass --upstream openai, openai-responses or anthropic, whichever the service at the URL speaks",
            ));
        }
        let model = match (&self.model, builtin) {
            (Some(model), true) if model != "builtin" => {
                return Err(ConfigError::settings(
                    format!("the built-in model is not called `{model}`"),
                    "name the service as well: --upstream openai, openai-responses or anthropic (HOLDALL_UPSTREAM)",
                ));
            }
            (Some(model), _) => model.as_str(),
            (None, true) => "builtin",
            (None, false) => {
                return Err(ConfigError::settings("no model is named", "pass --model NAME (HOLDALL_MODEL)"));
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
        builder.set("model", Value::Array(models.collect()));
        let mut upstream = table(upstream);
        if let Some(calls) = self.upstream_concurrency {
            upstream.insert("max_concurrency".to_owned(), i64::from(calls).into());
        }
        builder.set("upstream", Value::Array(vec![Value::Table(upstream)]));
        Ok(())
    }
}

fn table<const N: usize>(members: [(&str, Option<&str>); N]) -> Table {
    let present = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    present.collect()
}
