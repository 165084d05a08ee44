//! `holdall serve`: the proxy until it is told to stop; SIGHUP reads the settings anew.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use toml::{Table, Value};

use super::{
    CliError,
    settings::{SettingsArgs, System},
};
use crate::{
    config::Config,
    proto::{key, token},
    shell::{self, NativeService, StderrLog},
};

/// The arguments of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Address to listen on [default: 127.0.0.1:8787; PORT alone means 0.0.0.0:$PORT]
    #[arg(long, env = "HOLDALL_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
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
    #[arg(long, env = "HOLDALL_DANGEROUS_OPEN")]
    dangerous_open: bool,
    /// Make a key for this run: tokens die with the process
    #[arg(long)]
    dev: bool,
}

impl Args {
    fn load(&self, dev_keys: Option<&str>) -> Result<Config, CliError> {
        let mut above = Table::new();
        let text = |value: &str| Value::String(value.to_owned());
        let list = |values: &[String]| Value::Array(values.iter().map(|value| text(value)).collect());
        if let Some(keys) = dev_keys {
            above.insert("keys".to_owned(), text(keys));
        }
        if let Some(listen) = &self.listen {
            above.insert("listen".to_owned(), text(listen));
        }
        if !self.cors_origins.is_empty() {
            above.insert("cors_origins".to_owned(), list(&self.cors_origins));
        }
        if self.dangerous_open {
            above.insert("dangerous_open".to_owned(), Value::Boolean(true));
        }
        let mut jwt = Table::new();
        for (key, value) in
            [("issuer", &self.jwt_issuer), ("jwks_file", &self.jwt_jwks_file), ("key_file", &self.jwt_key_file)]
        {
            if let Some(value) = value {
                jwt.insert(key.to_owned(), text(value));
            }
        }
        if !self.jwt_audience.is_empty() {
            jwt.insert("audience".to_owned(), list(&self.jwt_audience));
        }
        let mut identity = Table::new();
        if let Some(mode) = &self.identity {
            identity.insert("mode".to_owned(), text(mode));
        }
        if !jwt.is_empty() {
            identity.insert("jwt".to_owned(), Value::Table(jwt));
        }
        if !identity.is_empty() {
            above.insert("identity".to_owned(), Value::Table(identity));
        }
        self.settings.load(above, &System)
    }
}

/// Serves until SIGTERM or SIGINT, and then until requests under way have ended.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let dev_keys = if args.dev { Some(throwaway_keys()?) } else { None };
    let config = args.load(dev_keys.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(serve(args, config, dev_keys))
}

async fn serve(args: &Args, config: Config, dev_keys: Option<String>) -> Result<(), CliError> {
    let listen = config.listen;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    if dev_keys.is_some() {
        eprintln!("warning: --dev made a key for this run; every token dies with this process");
    }
    let models: Vec<_> = config.core.models.as_slice().iter().map(|model| format!("{model:?}")).collect();
    let signals = |error: std::io::Error| CliError::new(format!("cannot watch signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(signals)?;
    let server = shell::start(config, Box::new(StderrLog)).await.map_err(|error| {
        CliError::new(format!("cannot listen on {listen}: {error}"))
            .hint("another process may hold the port; pass --listen")
    })?;
    let address = server.address().map_err(|error| CliError::new(error.to_string()))?;
    eprintln!("holdall {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    models.iter().for_each(|model| eprintln!("  model {model}"));
    let service = server.service();
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => reload(args, dev_keys.as_deref(), &service),
            }
        }
        eprintln!("stopping; requests under way may end");
    };
    server.run(stop).await;
    Ok(())
}

/// Takes what the settings say now; a fault in them leaves everything as it was.
fn reload(args: &Args, dev_keys: Option<&str>, service: &Arc<NativeService>) {
    match args.load(dev_keys) {
        Ok(config) => {
            let keys: Vec<_> = config.core.keys.ids().map(key::KeyId::as_str).map(str::to_owned).collect();
            service.reload(config.core);
            eprintln!("reloaded; keys {}", keys.join(", "));
        }
        Err(error) => eprintln!("error: not reloaded, all stays as it was: {error}"),
    }
}

fn throwaway_keys() -> Result<String, CliError> {
    let mut secret = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(|error| CliError::new(format!("no random bytes: {error}")))?;
    Ok(format!("dev:{}", token::encode_base64url(&*secret)))
}
