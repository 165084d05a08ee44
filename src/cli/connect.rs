//! The server of `chat` and `send`: a running one, or one in this process.
//!
//! A server in this process listens on a free loopback port, and the client calls it over HTTP. So
//! every turn takes the same path. This server writes no log. Its errors show the causes that a log
//! would contain, because here the caller is the operator.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::{
    error::CliError,
    file::{is_standard_input, shell_word},
    home::{self, LOCAL_USER},
    settings::warn_of_variables,
    system::System,
};
use crate::{
    config::{Authorities, Config, Exposure, ModelSettings, TokenSettings},
    proto::token::{Codec, RawToken},
    service::{Entry, Log},
    shell::{
        self, Runtime,
        client::{Client, ClientError, History, Refusal, TurnRequest},
    },
};

/// The arguments for the server and the user.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectArgs {
    /// URL of a running server [default: a server in this process, for this command only]
    #[arg(long, env = "HOLDALL_URL", value_name = "URL")]
    url: Option<String>,
    /// Credential for `--url`; the variable is safer, because other users can see arguments
    #[arg(long, env = "HOLDALL_BEARER", value_name = "CREDENTIAL")]
    bearer: Option<String>,
    /// User name [default: local, or with `--url` the user of the credential]
    #[arg(long, env = "HOLDALL_USER", value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    model: ModelSettings,
    #[command(flatten)]
    tokens: TokenSettings,
}

/// Parses the path of a token file that the command also writes. `-` is an error.
pub(super) fn token_file_parser() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_standard_input(&path) {
        true => Err("the command writes the new token to this file, so it cannot be standard input"),
        false => Ok(path),
    })
}

/// A server and a client for it.
pub(super) struct Connection {
    /// A short description of the model, or of the server's URL.
    pub(super) model: String,
    runtime: Runtime,
    client: Client,
    user: Option<String>,
    alias: Option<String>,
    /// The causes of errors, if the server runs in this process.
    causes: Option<Causes>,
}

/// Pairs of a request id and the cause of its error.
type Causes = Receiver<(String, Option<String>)>;

impl Connection {
    /// Starts a server in this process, or prepares a client for the server at `--url`.
    ///
    /// `token`, if there is one, names the model of the conversation. `pace_millis` is the pause
    /// between two words of the built-in model, if the settings have no other value.
    ///
    /// # Errors
    /// [`CliError`] if a setting is not valid, or if the server cannot start.
    pub(super) fn open(args: &ConnectArgs, token: Option<&str>, pace_millis: u32) -> Result<Self, CliError> {
        let runtime = Runtime::new().map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
        warn_of_variables(args.tokens.variables_warning(&System)?);
        let alias = args.model.alias().map(str::to_owned);
        if let Some(url) = &args.url {
            let is_tls = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
            let authorities = is_tls.then(|| Authorities::of_environment(&System)).transpose()?.unwrap_or_default();
            let client = client(url, args.bearer.as_deref(), authorities)?;
            let model = alias.as_deref().map_or_else(|| url.clone(), |alias| format!("{alias} at {url}"));
            return Ok(Self { model, runtime, client, user: args.user.clone(), alias, causes: None });
        }
        let config = args.local_config(pace_millis)?;
        let model = describe_model(&config, alias.as_deref(), token);
        let (url, causes) = start_local(&runtime, config)?;
        let client = client(&url, None, Authorities::default())?;
        let user = Some(args.user.clone().unwrap_or_else(|| LOCAL_USER.to_owned()));
        Ok(Self { model, runtime, client, user, alias, causes: Some(causes) })
    }

    /// The runtime and the client on it.
    pub(super) fn parts(&self) -> (&Runtime, &Client) {
        (&self.runtime, &self.client)
    }

    /// A request for a turn.
    pub(super) fn request<'a>(&'a self, token: Option<&'a str>, input: &'a str) -> TurnRequest<'a> {
        let mut request = TurnRequest::new(token, input);
        (request.user_id, request.model) = (self.user.as_deref(), self.alias.as_deref());
        request
    }

    /// The conversation in a token, as the server reads it.
    ///
    /// # Errors
    /// [`ClientError`] if the server refuses the token or does not answer.
    pub(super) fn history(&self, token: &str) -> Result<History, ClientError> {
        self.runtime.block_on(self.client.history(token, self.user.as_deref()))
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// [`ClientError`] if it does not.
    pub(super) fn probe(&self) -> Result<(), ClientError> {
        self.runtime.block_on(self.client.models()).map(drop)
    }

    /// The error for the user, with the next step. `path` is the file of the token that was sent.
    pub(super) fn explain(&self, error: &ClientError, path: &Path) -> CliError {
        match error {
            ClientError::Refused(refusal) => {
                let message = match self.cause(refusal).filter(|cause| !refusal.detail.contains(cause)) {
                    Some(cause) => format!("{} Cause: {cause}", refusal.detail),
                    None => refusal.detail.clone(),
                };
                let error = CliError::new(message);
                match self.hint(refusal, path) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            }
            ClientError::Unreachable { .. } => CliError::new(error.to_string())
                .with_hint("check the URL, and that a server runs there; `holdall serve` starts one"),
            ClientError::Cut { .. } => {
                CliError::new(error.to_string()).with_hint("the chat is unchanged; send the message again")
            }
            _ => CliError::new(error.to_string()),
        }
    }

    fn hint(&self, refusal: &Refusal, path: &Path) -> Option<String> {
        let (path, is_local) = (shell_word(path), self.causes.is_some());
        match (refusal.code.as_str(), refusal.retry.as_str()) {
            ("token_expired", _) => {
                Some(format!("the file is unchanged; `holdall token history {path}` prints the conversation"))
            }
            ("token_invalid", _) => Some(match &self.user {
                Some(user) if is_local => {
                    format!(
                        "the file is unchanged; `holdall token verify --user {} {path}` prints the cause",
                        shell_word(user)
                    )
                }
                _ => "the file is unchanged; its token may belong to another user, or to a server with other keys"
                    .to_owned(),
            }),
            ("unauthenticated", _) => Some("set HOLDALL_BEARER, or pass --bearer".to_owned()),
            ("upstream_refused" | "upstream_unavailable", "never") if is_local => {
                Some("check the API key, the account, the model name and the URL of the model service".to_owned())
            }
            ("upstream_unavailable", "safe") if is_local => {
                Some("the chat is unchanged; check that the model service runs".to_owned())
            }
            // The message says when to retry.
            (_, "safe" | "after") => Some("the chat is unchanged".to_owned()),
            _ => None,
        }
    }

    /// The cause of a refusal from the server in this process.
    fn cause(&self, refusal: &Refusal) -> Option<String> {
        let causes = self.causes.as_ref()?;
        // Another thread logs the request right after the response.
        while let Ok((request_id, cause)) = causes.recv_timeout(CAUSE_WAIT) {
            if request_id == refusal.request_id {
                return cause;
            }
        }
        None
    }
}

impl ConnectArgs {
    /// The configuration of a server in this process.
    fn local_config(&self, pace_millis: u32) -> Result<Config, CliError> {
        let mut builder = self.tokens.builder(&System)?;
        self.model.apply(&mut builder, &System)?;
        if !builder.has_keys() {
            builder.set("keys_file", &*home::create_keys_file()?.to_string_lossy());
        }
        if !builder.has("builtin_pace_ms") {
            builder.set("builtin_pace_ms", i64::from(pace_millis));
        }
        builder.set_exposure(Exposure::Local);
        Ok(builder.build(&System)?)
    }
}

/// Starts a server in this process. Returns its URL and the causes of its errors.
fn start_local(runtime: &Runtime, config: Config) -> Result<(String, Causes), CliError> {
    let (sender, causes) = mpsc::channel();
    let cannot_start = |error: &dyn std::error::Error| CliError::new(format!("cannot start the server: {error}"));
    let started = runtime.block_on(shell::start(config, Box::new(CauseLog(sender))));
    let server = started.map_err(|error| cannot_start(&error))?;
    let url = format!("http://{}", server.address().map_err(|error| cannot_start(&error))?);
    runtime.spawn(server.run(std::future::pending()));
    Ok((url, causes))
}

fn client(url: &str, bearer: Option<&str>, authorities: Authorities) -> Result<Client, CliError> {
    Client::new(url, bearer, authorities).map_err(|error| CliError::new(error.to_string()))
}

/// A log that only passes on the causes of errors.
struct CauseLog(Sender<(String, Option<String>)>);

impl Log for CauseLog {
    fn record(&self, entry: &Entry) {
        if entry.code.is_some() {
            // This fails only when the command is ending.
            let _ = self.0.send((entry.request_id.clone(), entry.cause.clone()));
        }
    }
}

/// The model of the next turn: of the alias, else of the token, else the default one.
fn describe_model(config: &Config, alias: Option<&str>, token: Option<&str>) -> String {
    let of_token = || {
        let raw = RawToken::new(token?, &config.deployment.limits).ok()?;
        let token = raw.authenticate(config.deployment.token_context(), &mut Codec::new()?).ok()?;
        Some(token.claims().model.clone())
    };
    let alias = alias.map(str::to_owned).or_else(of_token);
    let models = config.deployment.models.as_slice();
    let named = models.iter().find(|model| Some(&model.alias) == alias.as_ref());
    let Some(model) = named.or_else(|| models.first()) else { return String::new() };
    if model.target.provider.name() == "builtin" {
        return "the built-in model (no network, simple answers)".to_owned();
    }
    format!("{} at {}", model.target.name, model.target.upstream)
}

/// The longest wait for the cause of an error that the client has already received.
const CAUSE_WAIT: Duration = Duration::from_secs(1);
