//! `holdall revoke`: ends the use of tokens before their time, at the store itself: no server need run.
//!
//! It takes the settings that the servers have: the store, the deployment's name, which its keys at the store hang on, and
//! for a token the keys. Whoever can reach the store may revoke; whose the token is does not matter here. A deployment that
//! the store does not know is taken for a name that was mistaken, and nothing is written.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::{
    CliError,
    console::Console,
    keys::new_entry,
    settings::{System, for_tokens},
    token::{Loaded, read, user},
};
use crate::{
    config::{Config, StoreConfig, TokenSettings},
    guard::{Guard as _, Revocation, Rules},
    proto::{
        principal::Principal,
        time::UnixSeconds,
        token::{Claims, Id},
    },
    shell::{NativeGuard, Runtime},
};

/// The arguments of `revoke`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    after_help = "The revocation is remembered for --max-age and a minute: give it, and --issuer, as the servers have them.",
    override_usage = "holdall revoke <-t FILE|--token-id ID|--conversation-id ID|--user NAME --idp SOURCE>"
)]
pub(super) struct Args {
    /// File that holds the token; `-` for standard input
    #[arg(short, long = "token", value_name = "FILE", group = "what")]
    token: Option<PathBuf>,
    /// How much of what the token stands for
    #[arg(long, value_enum, default_value_t = Scope::Token, conflicts_with_all = ["token_id", "conversation_id", "user"])]
    scope: Scope,
    /// Id of a token, as `holdall token inspect` shows it
    #[arg(long, value_name = "ID", group = "what")]
    token_id: Option<String>,
    /// Id of a conversation, as the log shows it
    #[arg(long, value_name = "ID", group = "what")]
    conversation_id: Option<String>,
    /// User whose tokens are to be good no more, as far as they were issued until now
    #[arg(long, value_name = "NAME", group = "what", requires = "idp")]
    user: Option<String>,
    /// Who vouches for the user: none, header, key, or `jwt:` and the issuer
    #[arg(long, value_name = "SOURCE", requires = "user")]
    idp: Option<String>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: TokenSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// This token; those that came of it stay good
    Token,
    /// All tokens of its conversation
    Conversation,
    /// All tokens of its user that were issued until now
    User,
}

/// Revokes, and says what was.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let (config, revocation) = args.load()?;
    let Config { guard, store, .. } = config;
    let store = store.ok_or_else(|| {
        CliError::new("nothing is revoked without a store that all instances share")
            .hint("set HOLDALL_REDIS_URL, or guard.redis_url in the file of --config, as the servers have it")
    })?;
    let runtime = Runtime::new().map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    let until = runtime.block_on(revoke(guard, &store, revocation.clone()))?;
    console.print(&told(&revocation, until, args.json))
}

async fn revoke(rules: Rules, store: &StoreConfig, revocation: Revocation) -> Result<Option<UnixSeconds>, CliError> {
    let failed = |cause: String| CliError::new(format!("not revoked: {cause}"));
    let (looks, guard) = (rules.revocation, NativeGuard::without_log(rules, store).map_err(failed)?);
    if looks && !guard.knows_deployment().await.map_err(failed)? {
        let name = &store.namespace;
        return Err(failed(format!("the store knows no deployment called `{name}`")).hint(
            "pass --issuer (HOLDALL_ISSUER) as the servers have it; a store that came back empty has known none since",
        ));
    }
    guard.revoke(revocation).await.map_err(|error| failed(error.cause().unwrap_or_else(|| error.to_string())))
}

impl Args {
    fn load(&self) -> Result<(Config, Revocation), CliError> {
        if let Some(path) = &self.token {
            let text = read(path)?.trim().to_owned();
            let loaded = Loaded { text, config: for_tokens(&self.settings, false, &System)? };
            let Claims { principal, conversation, token_id, .. } = loaded.open()?.claims().clone();
            let revocation = match self.scope {
                Scope::Conversation => Revocation::Conversation { id: conversation },
                Scope::Token => Revocation::Token { id: token_id },
                Scope::User => Revocation::User { principal },
            };
            return Ok((loaded.config, revocation));
        }
        let id = |name: &str, text: &str| {
            text.parse::<Id>().map_err(|_| CliError::new(format!("{name}: `{text}` is no id of ours (UUIDv7)")))
        };
        let revocation = match (&self.token_id, &self.conversation_id, &self.user) {
            (Some(text), ..) => Revocation::Token { id: id("--token-id", text)? },
            (_, Some(text), _) => Revocation::Conversation { id: id("--conversation-id", text)? },
            (.., user) => {
                let (user, idp) = (user.as_deref().unwrap_or_default(), self.idp.as_deref().unwrap_or_default());
                let principal = Principal::new(user, idp);
                let principal = principal.map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))?;
                Revocation::User { principal }
            }
        };
        // No token is read, so any key will do where the settings have none.
        let mut builder = self.settings.builder(&System)?;
        if !builder.has_keys() {
            builder.set_keys(&new_entry("unused")?);
        }
        Ok((builder.build_for_tokens(&System)?, revocation))
    }
}

fn told(revocation: &Revocation, until: Option<UnixSeconds>, as_json: bool) -> String {
    match revocation {
        Revocation::Conversation { id } if as_json => answer("conversation", &id.to_string()),
        Revocation::Conversation { id } => format!("revoked: conversation {id}, with all of its tokens\n"),
        Revocation::Token { id } if as_json => answer("token", &id.to_string()),
        Revocation::Token { id } => format!("revoked: token {id}\n"),
        Revocation::User { principal } if as_json => answer("user", principal.subject()),
        Revocation::User { principal } => {
            let until = until.map_or_else(|| "now".to_owned(), |until| until.to_string());
            format!("revoked: all tokens of {} that were issued until {until}\n", user(principal))
        }
    }
}

fn answer(scope: &str, id: &str) -> String {
    format!("{}\n", json!({ "revoked": { "scope": scope, "id": id } }))
}
