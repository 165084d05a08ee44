//! Whom `chat` and `send` talk to: a server that runs somewhere, or one of our own in this process.
//!
//! Ours listens on a loopback port that the system picks and is spoken to over HTTP like any other, so that there is one
//! way for a turn to go. It has no log; the causes that a log would show come with its errors instead, since here the
//! caller is the operator.

use std::{
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use super::{CliError, home, settings::System};
use crate::{
    config::{Config, Exposure, ModelSettings, TokenSettings},
    proto::token::{Codec, RawToken},
    service::{Entry, Log},
    shell::{
        self, Runtime,
        client::{Client, ClientError, History, Refusal, TurnRequest},
    },
};

/// The arguments that say whom to talk to, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConnectArgs {
    /// Talk to the server at URL; without it one runs in this process, for this command alone
    #[arg(long, env = "HOLDALL_URL", value_name = "URL")]
    url: Option<String>,
    /// Credential for --url; rather set the variable, since arguments can be seen
    #[arg(long, env = "HOLDALL_BEARER", value_name = "TOKEN")]
    bearer: Option<String>,
    /// User to speak as [default: local; with --url whoever the credential names]
    #[arg(long, env = "HOLDALL_USER", value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    model: ModelSettings,
    #[command(flatten)]
    tokens: TokenSettings,
}

/// A server to talk to.
pub(super) struct Proxy {
    /// Who answers, in a few words.
    pub(super) model: String,
    runtime: Runtime,
    client: Client,
    user: Option<String>,
    alias: Option<String>,
    /// The causes of our own server's errors.
    causes: Option<Receiver<(String, Option<String>)>>,
}

impl Proxy {
    /// Starts or finds the server. `pace_millis` is for the built-in model, where the settings name none.
    ///
    /// `token`, if there is one, tells which model the conversation is with.
    pub(super) fn open(args: &ConnectArgs, token: Option<&str>, pace_millis: u32) -> Result<Self, CliError> {
        let runtime = Runtime::new().map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
        let alias = args.model.alias().map(str::to_owned);
        if let Some(url) = &args.url {
            let client = Client::new(url, args.bearer.as_deref()).map_err(|error| CliError::new(error.to_string()))?;
            let model = alias.as_deref().map_or_else(|| url.clone(), |alias| format!("{alias} at {url}"));
            return Ok(Self { model, runtime, client, user: args.user.clone(), alias, causes: None });
        }
        let mut builder = args.tokens.builder(&System)?;
        args.model.apply(&mut builder, &System)?;
        if !builder.has_keys() {
            builder.set("keys_file", &*home::make_keys()?.to_string_lossy());
        }
        if !builder.has("builtin_pace_ms") {
            builder.set("builtin_pace_ms", i64::from(pace_millis));
        }
        builder.set_exposure(Exposure::Local);
        let config = builder.build(&System)?;
        let model = describe_model(&config, alias.as_deref(), token);
        let (sender, causes) = mpsc::channel();
        let cannot = |error: &dyn std::error::Error| CliError::new(format!("cannot start the server: {error}"));
        let server =
            runtime.block_on(shell::start(config, Box::new(CauseLog(sender)))).map_err(|error| cannot(&error))?;
        let url = format!("http://{}", server.address().map_err(|error| cannot(&error))?);
        runtime.spawn(server.run(std::future::pending()));
        let client = Client::new(&url, None).map_err(|error| CliError::new(error.to_string()))?;
        let user = Some(args.user.clone().unwrap_or_else(|| OWN_USER.to_owned()));
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

    /// What a token holds.
    pub(super) fn history(&self, token: &str) -> Result<History, ClientError> {
        self.runtime.block_on(self.client.history(token, self.user.as_deref()))
    }

    /// Asks the server for anything, to see whether it answers.
    pub(super) fn probe(&self) -> Result<(), ClientError> {
        self.runtime.block_on(self.client.models()).map(drop)
    }

    /// The error as a person may read it, with the next step for a token that is in the file `path`.
    pub(super) fn explain(&self, error: &ClientError, path: &Path) -> CliError {
        match error {
            ClientError::Refused(refusal) => {
                let news = self.cause(refusal).filter(|cause| !refusal.detail.contains(cause));
                let cause = news.map(|cause| format!(" ({cause})")).unwrap_or_default();
                let told = CliError::new(format!("{}{cause}", refusal.detail));
                match self.hint(refusal, path) {
                    Some(hint) => told.hint(hint),
                    None => told,
                }
            }
            ClientError::Unreachable { .. } => {
                CliError::new(error.to_string()).hint("see that a server runs there; `holdall serve` starts one")
            }
            ClientError::Cut { .. } => CliError::new(error.to_string()).hint("nothing is lost; say it again"),
            _ => CliError::new(error.to_string()),
        }
    }

    fn hint(&self, refusal: &Refusal, path: &Path) -> Option<String> {
        let path = path.display();
        match (refusal.code.as_str(), refusal.retry.as_str(), refusal.retry_after_seconds) {
            ("token_expired", ..) => Some(format!("{path} stays; `holdall token history {path}` reads it")),
            ("token_invalid", ..) => Some(match &self.user {
                Some(user) if self.causes.is_some() => {
                    format!("{path} stays; `holdall token verify --user {user} {path}` looks closer")
                }
                _ => format!("{path} stays; it may be another user's, or of a server with other keys"),
            }),
            ("unauthenticated", ..) => Some("pass --bearer, or set HOLDALL_BEARER".to_owned()),
            ("upstream_refused", "never", _) if self.causes.is_some() => {
                Some("see that the key, the model's name and the URL fit together".to_owned())
            }
            ("upstream_unavailable", "safe", _) if self.causes.is_some() => {
                Some("nothing is lost; see that the model service runs, and say it again".to_owned())
            }
            (_, "safe", _) => Some("nothing is lost; say it again".to_owned()),
            (_, "after", Some(seconds)) => Some(format!("nothing is lost; say it again in {seconds} s")),
            _ => None,
        }
    }

    /// What our own server would have logged of a refused request.
    fn cause(&self, refusal: &Refusal) -> Option<String> {
        let causes = self.causes.as_ref()?;
        // The record is written right after the answer, on another thread.
        while let Ok((request_id, cause)) = causes.recv_timeout(CAUSE_WAIT) {
            if request_id == refusal.request_id {
                return cause;
            }
        }
        None
    }
}

/// Sends on the causes of errors.
struct CauseLog(Sender<(String, Option<String>)>);

impl Log for CauseLog {
    fn record(&self, entry: &Entry) {
        if entry.code.is_some() {
            // The command may have come to its end.
            let _ = self.0.send((entry.request_id.clone(), entry.cause.clone()));
        }
    }
}

/// The alias that the next turn goes to, and what stands behind it.
fn describe_model(config: &Config, asked: Option<&str>, token: Option<&str>) -> String {
    let of_token = || {
        let verified = RawToken::new(token?, &config.deployment.limits).ok()?;
        let token = verified.authenticate(config.deployment.token_context(), &mut Codec::new()?).ok()?;
        Some(token.claims().model.clone())
    };
    let alias = asked.map(str::to_owned).or_else(of_token);
    let models = config.deployment.models.as_slice();
    let named = models.iter().find(|model| Some(&model.alias) == alias.as_ref());
    let Some(model) = named.or_else(|| models.first()) else { return String::new() };
    if model.target.provider.name() == "builtin" {
        return "the built-in model, which needs no network and knows little".to_owned();
    }
    format!("{} at {}", model.target.name, model.target.upstream)
}

/// The user of a server in this process.
pub(super) const OWN_USER: &str = "local";
/// How long to wait for the cause of an error that has been told already.
const CAUSE_WAIT: Duration = Duration::from_secs(1);
