//! `holdall serve`: the proxy until it is told to stop; SIGHUP reads the settings anew.

use clap::builder::BoolishValueParser;

use super::{
    CliError,
    callers::CallerSettings,
    console::Console,
    keys,
    settings::{Draft, ModelSettings, System, TokenSettings},
};
use crate::{
    config::{Config, Fixed},
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
    /// How often a call that failed is made again at the same upstream [default: 2]
    #[arg(long, env = "HOLDALL_RETRIES", value_name = "COUNT", help_heading = "Model")]
    retries: Option<u32>,
    #[command(flatten)]
    tokens: TokenSettings,
    #[command(flatten)]
    callers: CallerSettings,
    #[command(flatten)]
    doors: DoorSettings,
    #[command(flatten)]
    guard: GuardSettings,
    #[command(flatten)]
    stop: StopSettings,
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

/// The settings that bound what one user may have. A store's URL may hold a password: that is a variable only.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits on users")]
struct GuardSettings {
    /// Turns of one user in a period, such as 30/1m [default: no limit]
    #[arg(long, env = "HOLDALL_RATE", value_name = "RATE")]
    rate: Option<String>,
    /// Turns of these that may come at once [default: those of the period]
    #[arg(long, env = "HOLDALL_BURST", value_name = "TURNS")]
    burst: Option<u32>,
    /// Turns of one user under way at once [default: 8]
    #[arg(long, env = "HOLDALL_TURNS_PER_USER", value_name = "TURNS")]
    turns_per_user: Option<u32>,
    /// Take each token for one turn alone; needs HOLDALL_REDIS_URL [default: false]
    #[arg(long, env = "HOLDALL_SINGLE_USE", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    single_use: Option<bool>,
    /// Conversations of one user that are good at once; needs HOLDALL_REDIS_URL [default: no limit]
    #[arg(long, env = "HOLDALL_LIVE_CONVERSATIONS", value_name = "COUNT")]
    live_conversations: Option<u32>,
}

/// The settings that say how a stop goes: what platforms wait for differs, and most are set up by variables alone.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Stopping")]
struct StopSettings {
    /// How long connections are still taken after SIGTERM, while /ready says 503 [default: none]
    #[arg(long, env = "HOLDALL_LAME_DUCK", value_name = "SPAN")]
    lame_duck: Option<String>,
    /// How long turns under way may go on after that [default: 30s]
    #[arg(long, env = "HOLDALL_DRAIN", value_name = "SPAN")]
    drain: Option<String>,
}

impl StopSettings {
    fn lay(&self, draft: &mut Draft) {
        draft.set_some_in("timeouts", "lame_duck", self.lame_duck.as_deref());
        draft.set_some_in("timeouts", "drain", self.drain.as_deref());
    }
}

impl GuardSettings {
    fn lay(&self, draft: &mut Draft) {
        draft.set_some_in("guard", "rate", self.rate.as_deref());
        draft.set_some_in("guard", "burst", self.burst);
        draft.set_some_in("guard", "single_use", self.single_use);
        draft.set_some_in("guard", "live_conversations", self.live_conversations);
        draft.set_some_in("limits", "turns_per_user", self.turns_per_user);
    }
}

impl DoorSettings {
    fn lay(&self, draft: &mut Draft) {
        draft.set_some("client_history", self.client_history.as_deref());
        draft.set_some("elide_inline_images", self.elide_inline_images);
        draft.set_some("responses_stream", self.responses_stream.as_deref());
    }
}

impl Args {
    fn load(&self, dev_keys: Option<&str>) -> Result<Config, CliError> {
        let mut draft = self.tokens.draft(&System)?;
        self.model.lay(&mut draft, &System)?;
        self.doors.lay(&mut draft);
        self.guard.lay(&mut draft);
        self.stop.lay(&mut draft);
        draft.set_some("retries", self.retries);
        if let Some(keys) = dev_keys {
            draft.set_keys(keys);
        }
        draft.set_some("listen", self.listen.as_deref());
        self.callers.lay(&mut draft, &System);
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
fn reload(args: &Args, dev_keys: Option<&str>, fixed: &Fixed, service: &NativeService, console: Console) {
    match args.load(dev_keys) {
        // The new models would ask upstreams that are not there, and users of one mode are not those of another.
        Ok(config) if !fixed.pinned_changes(&config.fixed()).is_empty() => {
            let changed = fixed.pinned_changes(&config.fixed()).join(", ");
            let error = CliError::new(format!("not reloaded, all stays as it was; changed: {changed}"));
            console.error(&error.hint("restart the server to change that"));
        }
        Ok(config) => {
            let later = fixed.kept_changes(&config.fixed());
            let keys: Vec<_> = config.core.keys.ids().map(KeyId::to_string).collect();
            config.warnings.iter().for_each(|warning| console.warn(warning));
            service.reload(config.core, config.access);
            service.guard().set_rules(config.guard);
            if !later.is_empty() {
                console.warn(&format!("takes effect at a restart: {}", later.join(", ")));
            }
            console.say(&format!("reloaded; keys {}", keys.join(", ")));
        }
        Err(error) => console.error(&CliError::new(format!("not reloaded, all stays as it was: {error}"))),
    }
}
