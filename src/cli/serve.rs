//! `holdall serve`: the proxy until it is told to stop; SIGHUP reads the settings anew.

use clap::builder::BoolishValueParser;
use toml::{Table, Value};

use super::{
    CliError,
    console::Console,
    keys,
    settings::{Draft, ModelSettings, System, TokenSettings},
};
use crate::{
    config::Config,
    proto::key::KeyId,
    shell::{self, NativeService, Runtime, Signal, Signals, StartError, StderrLog},
};

/// The arguments of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on [default: 127.0.0.1:8787, or 0.0.0.0:$PORT where PORT is set]
    #[arg(long, env = "HOLDALL_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// Make a key for this run: tokens die with the process
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    model: ModelSettings,
    #[command(flatten)]
    tokens: TokenSettings,
    #[command(flatten)]
    callers: CallerSettings,
    #[command(flatten)]
    doors: DoorSettings,
}

/// The settings that say who may call.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Callers")]
struct CallerSettings {
    /// Who vouches for callers: none or jwt [default: none]
    #[arg(long, env = "HOLDALL_IDENTITY", value_name = "MODE")]
    identity: Option<String>,
    /// `iss` of callers' JSON Web Tokens
    #[arg(long, env = "HOLDALL_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// Accepted `aud`, several parted by commas
    #[arg(long, env = "HOLDALL_JWT_AUDIENCE", value_name = "TEXT", value_delimiter = ',')]
    jwt_audience: Vec<String>,
    /// Key set to check them with
    #[arg(long, env = "HOLDALL_JWT_JWKS_FILE", value_name = "FILE")]
    jwt_jwks_file: Option<String>,
    /// A single key instead: PEM, or the bytes of a shared secret
    #[arg(long, env = "HOLDALL_JWT_KEY_FILE", value_name = "FILE")]
    jwt_key_file: Option<String>,
    /// Origins whose pages may call, parted by commas [default: none]
    #[arg(long, env = "HOLDALL_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// Let anyone who reaches the port name any user
    #[arg(long, env = "HOLDALL_DANGEROUS_OPEN", value_parser = BoolishValueParser::new())]
    dangerous_open: bool,
}

/// The settings that say how the doors behave.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Doors")]
struct DoorSettings {
    /// Assistant turns that clients bring: refuse or accept [default: refuse]
    #[arg(long, env = "HOLDALL_CLIENT_HISTORY", value_name = "WAY")]
    client_history: Option<String>,
    /// Keep a note in the token in the place of inline images [default: false]
    #[arg(long, env = "HOLDALL_ELIDE_INLINE_IMAGES", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    elide_inline_images: Option<bool>,
    /// Streams of the Responses door: hold or live [default: hold]
    #[arg(long, env = "HOLDALL_RESPONSES_STREAM", value_name = "WAY")]
    responses_stream: Option<String>,
}

impl DoorSettings {
    fn lay(&self, draft: &mut Draft) {
        draft.set_some("client_history", self.client_history.as_deref());
        draft.set_some("elide_inline_images", self.elide_inline_images);
        draft.set_some("responses_stream", self.responses_stream.as_deref());
    }
}

impl CallerSettings {
    /// The table `identity`, empty where nothing is set.
    fn identity(&self) -> Table {
        let mut jwt = Table::new();
        let mut set = |key: &str, value: Option<Value>| value.map(|value| jwt.insert(key.to_owned(), value));
        set("issuer", self.jwt_issuer.as_deref().map(Value::from));
        set("audience", (!self.jwt_audience.is_empty()).then(|| self.jwt_audience.clone().into()));
        set("jwks_file", self.jwt_jwks_file.as_deref().map(Value::from));
        set("key_file", self.jwt_key_file.as_deref().map(Value::from));
        let mut identity = Table::new();
        if let Some(mode) = &self.identity {
            identity.insert("mode".to_owned(), mode.as_str().into());
        }
        if !jwt.is_empty() {
            identity.insert("jwt".to_owned(), jwt.into());
        }
        identity
    }
}

impl Args {
    fn load(&self, dev_keys: Option<&str>) -> Result<Config, CliError> {
        let mut draft = self.tokens.draft(&System)?;
        self.model.lay(&mut draft, &System)?;
        self.doors.lay(&mut draft);
        if let Some(keys) = dev_keys {
            draft.set_keys(keys);
        }
        draft.set_some("listen", self.listen.as_deref());
        let callers = &self.callers;
        draft.set_some("cors_origins", (!callers.cors_origins.is_empty()).then(|| callers.cors_origins.clone()));
        draft.set_some("dangerous_open", callers.dangerous_open.then_some(true));
        let identity = callers.identity();
        draft.set_some("identity", (!identity.is_empty()).then_some(identity));
        draft.check(&System)
    }
}

/// Serves until SIGTERM or SIGINT, and then until requests under way have ended.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let dev_keys = if args.dev { Some(keys::new_entry("dev")?) } else { None };
    let dev_keys = dev_keys.as_ref().map(|keys| keys.as_str());
    let config = args.load(dev_keys)?;
    let runtime = Runtime::new().map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(serve(args, config, dev_keys))
}

async fn serve(args: &Args, config: Config, dev_keys: Option<&str>) -> Result<(), CliError> {
    let console = Console::system();
    let listen = config.listen;
    config.warnings.iter().for_each(|warning| console.warn(warning));
    if dev_keys.is_some() {
        console.warn("--dev made a key for this run; every token dies with this process");
    }
    let models: Vec<_> = config.core.models.as_slice().iter().map(|model| format!("{model:?}")).collect();
    let mut signals = Signals::watch().map_err(|error| CliError::new(format!("cannot watch signals: {error}")))?;
    let fixed = config.fixed();
    let server = shell::start(config, Box::new(StderrLog)).await.map_err(|error| match error {
        StartError::Listen(error) => CliError::new(format!("cannot listen on {listen}: {error}"))
            .hint("another process may hold the port; pass --listen"),
        error @ (StartError::Guard(_) | StartError::Upstreams(_)) => CliError::new(error.to_string()),
    })?;
    let address = server.address().map_err(|error| CliError::new(error.to_string()))?;
    server.notes().iter().for_each(|note| console.warn(note));
    console.say(&format!("holdall {} listens on http://{address}", env!("CARGO_PKG_VERSION")));
    models.iter().for_each(|model| console.say(&format!("  model {model}")));
    let service = server.service();
    let stop = async {
        while signals.next().await == Signal::Reload {
            reload(args, dev_keys, &fixed, &service, console);
        }
        console.say("stopping; requests under way may end");
    };
    server.run(stop).await;
    Ok(())
}

/// Takes what the settings say now; a fault in them, or a change of what only a start can change, leaves everything as
/// it was.
fn reload(args: &Args, dev_keys: Option<&str>, fixed: &str, service: &NativeService, console: Console) {
    match args.load(dev_keys) {
        // The new models would ask upstreams that are not there, and the old rules would guard the new keys.
        Ok(config) if config.fixed() != fixed => {
            let error = CliError::new("not reloaded, all stays as it was: upstreams or identity rules have changed");
            console.error(&error.hint("restart the server to change those"));
        }
        Ok(config) => {
            let keys: Vec<_> = config.core.keys.ids().map(KeyId::to_string).collect();
            service.reload(config.core);
            console.say(&format!("reloaded; keys {}", keys.join(", ")));
        }
        Err(error) => console.error(&CliError::new(format!("not reloaded, all stays as it was: {error}"))),
    }
}
