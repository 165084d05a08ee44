//! What lies over the file: settings by flag and by variable, the same ones wherever the proxy runs.

mod callers;
mod model;

use super::{Config, ConfigBuilder, ConfigError, Exposure, Sources, variables::settings};

pub use self::{callers::CallerSettings, model::ModelSettings};

settings! {
    /// The settings that say which keys there are.
    pub struct KeySettings in "Tokens" {
        /// Configuration file, TOML; HOLDALL_CONFIG_TEXT can hold it instead
        config: Option<std::path::PathBuf> = "HOLDALL_CONFIG" (value_name = "FILE"),
        /// Token keys, one `kid:secret` a line, the first signs; HOLDALL_KEYS can hold them instead
        keys_file: Option<String> = "HOLDALL_KEYS_FILE" (value_name = "FILE"),
    }
}

settings! {
    /// The settings that tokens depend on.
    pub struct TokenSettings in "Tokens" {
        ..keys: KeySettings,
        /// Name of the deployment [default: holdall]
        issuer: Option<String> = "HOLDALL_ISSUER" (value_name = "NAME"),
        /// How long a token is good, such as 2h [default: 7d]
        ttl: Option<String> = "HOLDALL_TTL" (value_name = "SPAN"),
        /// How long a conversation can go on [default: 30d]
        max_age: Option<String> = "HOLDALL_MAX_AGE" (value_name = "SPAN"),
        /// Encrypt what tokens hold [default: true]
        seal: Option<bool> = "HOLDALL_SEAL" (
            value_name = "BOOL",
            value_parser = clap::builder::BoolishValueParser::new()
        ),
    }
}

impl TokenSettings {
    /// Keys alone; all else as the file has it.
    #[must_use]
    pub fn of_keys(keys: KeySettings) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Reads the file and lays these settings over it.
    ///
    /// # Errors
    /// Those of [`ConfigBuilder::open`].
    pub fn builder(&self, sources: &impl Sources) -> Result<ConfigBuilder, ConfigError> {
        let KeySettings { config, keys_file } = &self.keys;
        let mut builder = ConfigBuilder::open(config.as_deref(), sources)?;
        builder.set_some("keys_file", keys_file.as_deref());
        if keys_file.is_none() {
            builder.set_some("keys", sources.variable("HOLDALL_KEYS").as_ref().map(|keys| keys.as_str()));
        }
        builder.set_some("issuer", self.issuer.as_deref());
        builder.set_some("ttl", self.ttl.as_deref());
        builder.set_some("max_age", self.max_age.as_deref());
        builder.set_some("seal", self.seal);
        builder.set_some_in(
            "guard",
            "redis_url",
            sources.variable("HOLDALL_REDIS_URL").as_ref().map(|url| url.as_str()),
        );
        Ok(builder)
    }
}

settings! {
    /// The settings that say how the doors behave.
    pub struct ApiOptions in "Doors" {
        /// Assistant turns that clients bring: refuse or accept [default: refuse]
        client_history: Option<String> = "HOLDALL_CLIENT_HISTORY" (value_name = "WAY"),
        /// Keep a note in the token in the place of inline images [default: false]
        elide_inline_images: Option<bool> = "HOLDALL_ELIDE_INLINE_IMAGES" (
            value_name = "BOOL",
            value_parser = clap::builder::BoolishValueParser::new()
        ),
        /// Streams of the Responses door: hold or live [default: hold]
        responses_stream: Option<String> = "HOLDALL_RESPONSES_STREAM" (value_name = "WAY"),
    }
}

impl ApiOptions {
    fn apply(&self, builder: &mut ConfigBuilder) {
        builder.set_some("client_history", self.client_history.as_deref());
        builder.set_some("elide_inline_images", self.elide_inline_images);
        builder.set_some("responses_stream", self.responses_stream.as_deref());
    }
}

settings! {
    /// The settings that bound what one user may have. A store's URL may hold a password: that is a variable only.
    pub struct GuardSettings in "Limits on users" {
        /// Turns of one user in a period, such as 30/1m [default: no limit]
        rate: Option<String> = "HOLDALL_RATE" (value_name = "RATE"),
        /// Turns of these that may come at once [default: those of the period]
        burst: Option<u32> = "HOLDALL_BURST" (value_name = "TURNS"),
        /// Turns of one user under way at once [default: 8]
        turns_per_user: Option<u32> = "HOLDALL_TURNS_PER_USER" (value_name = "TURNS"),
        /// Take each token for one turn alone; needs HOLDALL_REDIS_URL [default: false]
        single_use: Option<bool> = "HOLDALL_SINGLE_USE" (
            value_name = "BOOL",
            value_parser = clap::builder::BoolishValueParser::new()
        ),
        /// Conversations of one user that are good at once; needs HOLDALL_REDIS_URL [default: no limit]
        live_conversations: Option<u32> = "HOLDALL_LIVE_CONVERSATIONS" (value_name = "COUNT"),
    }
}

impl GuardSettings {
    fn apply(&self, builder: &mut ConfigBuilder) {
        builder.set_some_in("guard", "rate", self.rate.as_deref());
        builder.set_some_in("guard", "burst", self.burst);
        builder.set_some_in("guard", "single_use", self.single_use);
        builder.set_some_in("guard", "live_conversations", self.live_conversations);
        builder.set_some_in("limits", "turns_per_user", self.turns_per_user);
    }
}

settings! {
    /// The settings that say how a stop goes: what platforms wait for differs, and most are set up by variables alone.
    pub struct StopSettings in "Stopping" {
        /// How long connections are still taken after SIGTERM, while /ready says 503 [default: none]
        lame_duck: Option<String> = "HOLDALL_LAME_DUCK" (value_name = "SPAN"),
        /// How long turns under way may go on after that [default: 30s]
        drain: Option<String> = "HOLDALL_DRAIN" (value_name = "SPAN"),
    }
}

impl StopSettings {
    fn apply(&self, builder: &mut ConfigBuilder) {
        builder.set_some_in("timeouts", "lame_duck", self.lame_duck.as_deref());
        builder.set_some_in("timeouts", "drain", self.drain.as_deref());
    }
}

settings! {
    /// The settings of a server: all that there are.
    pub struct ServeSettings in "Options" {
        ..model: ModelSettings,
        ..tokens: TokenSettings,
        ..callers: CallerSettings,
        ..apis: ApiOptions,
        ..guard: GuardSettings,
        ..stop: StopSettings,
        /// Address to listen on [default: 127.0.0.1:8787, or 0.0.0.0:$PORT where PORT is set]
        listen: Option<String> = "HOLDALL_LISTEN" (value_name = "ADDRESS", help_heading = None),
        /// Answers to events of AWS Lambda: auto, buffer or stream [default: auto, streamed to function URLs alone]
        lambda_response: Option<String> = "HOLDALL_LAMBDA_RESPONSE" (value_name = "WAY", help_heading = None),
        /// How often a call that failed is made again at the same upstream [default: 2]
        retries: Option<u32> = "HOLDALL_RETRIES" (value_name = "COUNT", help_heading = "Model"),
    }
}

impl ServeSettings {
    /// Lays these settings over the file and checks the whole; `dev_keys` stand in for all other token keys.
    ///
    /// # Errors
    /// The first thing that keeps a server from starting.
    pub fn load(
        &self,
        dev_keys: Option<&str>,
        exposure: Exposure,
        sources: &impl Sources,
    ) -> Result<Config, ConfigError> {
        let mut builder = self.tokens.builder(sources)?;
        builder.set_exposure(exposure);
        self.model.apply(&mut builder, sources)?;
        self.apis.apply(&mut builder);
        self.guard.apply(&mut builder);
        self.stop.apply(&mut builder);
        builder.set_some("retries", self.retries);
        if let Some(keys) = dev_keys {
            builder.set_keys(keys);
        }
        builder.set_some("listen", self.listen.as_deref());
        builder.set_some("lambda_response", self.lambda_response.as_deref());
        self.callers.apply(&mut builder, sources);
        builder.build(sources)
    }
}
