//! `holdall revoke`: revokes tokens directly at the limits store. No server needs to run.
//!
//! The command needs the same settings as the servers: the store, the name of the deployment, and
//! the keys to read a token. Anyone who can reach the store can revoke, for every user. If the
//! store does not know the deployment, the name is probably wrong, and the command writes nothing.

use std::path::PathBuf;

use super::{
    console::Console,
    error::CliError,
    owner::{parse_idp, principal, provider},
    render::{count, user},
    secret::token_key_line,
    settings::warn_of_variables,
    stored_token::StoredToken,
    system::System,
};
use crate::{
    config::{Config, OwnerSettings, StoreConfig, TokenSettings},
    guard::{Guard as _, Revocation, Revoked, Rules},
    proto::{
        api::native::{RevocationScope, revocation_answer},
        principal::Principal,
        token::{Claims, Id},
    },
    shell::{NativeGuard, Runtime},
};
use clap::ValueEnum;

/// The arguments of `revoke`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("target").required(true),
    after_help = "The store remembers a revocation for `--max-age` plus 1 minute. Use the same `--max-age` and `--issuer` as \
                  the servers.",
    override_usage = "holdall revoke [OPTIONS] --token-file <FILE>\n       \
                      holdall revoke [OPTIONS] --token-id <ID>\n       \
                      holdall revoke [OPTIONS] --conversation-id <ID>\n       \
                      holdall revoke [OPTIONS] --user <NAME>"
)]
pub(super) struct Args {
    /// Token file; `-` is standard input
    #[arg(short, long, alias = "token", value_name = "FILE", group = "target")]
    token_file: Option<PathBuf>,
    /// Scope with `--token-file`: this token only, all tokens of its conversation, or all tokens
    /// of its user
    #[arg(long, value_enum, default_value_t = Scope::Token, conflicts_with_all = ["token_id", "conversation_id", "user"])]
    scope: Scope,
    /// Token id, as `holdall token inspect` prints it
    #[arg(long, value_name = "ID", group = "target")]
    token_id: Option<String>,
    /// Conversation id, as the server's log shows it
    #[arg(long, value_name = "ID", group = "target")]
    conversation_id: Option<String>,
    /// User name; revokes all tokens that the user has now
    #[arg(long, value_name = "NAME", group = "target")]
    user: Option<String>,
    /// Identity provider of the user: `none`, `header`, `key` or `jwt:ISSUER` [default: that of the
    /// settings]
    #[arg(long, value_name = "IDP", requires = "user", value_parser = parse_idp)]
    idp: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: OwnerSettings,
}

// Plain comments: documentation here would turn the help into its long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    // This token only. Tokens of later turns stay valid.
    Token,
    // All tokens of the conversation.
    Conversation,
    // All tokens of the user that were issued until now.
    User,
}

/// Revokes, and prints the target.
///
/// # Errors
/// [`CliError`] if the target or a setting is not valid, or if the store refuses or does not
/// answer.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let console = Console::system();
    let (config, revocation) = args.load()?;
    let Config { guard, store, .. } = config;
    let store = store.ok_or_else(|| {
        CliError::new("revocation needs a limits store, and none is configured")
            .with_hint("set HOLDALL_REDIS_URL, or guard.redis_url in the file of --config, as on the servers")
    })?;
    let runtime = Runtime::new().map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    let revoked = runtime.block_on(revoke(guard, &store, revocation.clone()))?;
    console.print(&if args.json { to_json(&revocation, revoked) } else { to_text(&revocation, revoked) })
}

/// Revokes at the store.
async fn revoke(rules: Rules, store: &StoreConfig, revocation: Revocation) -> Result<Revoked, CliError> {
    let failed = |cause: String| CliError::new(format!("not revoked: {cause}"));
    let (servers_check, guard) = (rules.revocation, NativeGuard::without_log(rules, store).map_err(failed)?);
    if servers_check && !guard.knows_deployment().await.map_err(failed)? {
        let name = &store.namespace;
        return Err(failed(format!("the store does not know the deployment `{name}`")).with_hint(
            "pass --issuer (HOLDALL_ISSUER) as on the servers; after a loss of its data, the store knows a deployment \
             again from its next turn",
        ));
    }
    guard.revoke(revocation).await.map_err(|error| failed(error.cause().unwrap_or_else(|| error.to_string())))
}

impl Args {
    fn load(&self) -> Result<(Config, Revocation), CliError> {
        let settings = TokenSettings::from(self.settings.clone());
        if let Some(path) = &self.token_file {
            return self.of_token(StoredToken::load(path, &settings)?);
        }
        let revocation = match (&self.token_id, &self.conversation_id, &self.user) {
            (Some(text), ..) => Revocation::Token { id: parse_id("--token-id", text)? },
            (_, Some(text), _) => Revocation::Conversation { id: parse_id("--conversation-id", text)? },
            (.., user) => Revocation::User { principal: self.principal(user.as_deref().unwrap_or_default())? },
        };
        warn_of_variables(settings.variables_warning(&System)?);
        // No token is read, so any key serves if the settings have none.
        let mut builder = settings.builder(&System)?;
        if !builder.has_keys() {
            builder.set_keys(&token_key_line("unused")?);
        }
        Ok((builder.build_for_tokens(&System)?, revocation))
    }

    /// The user of `--user`.
    fn principal(&self, user: &str) -> Result<Principal, CliError> {
        let idp = provider(self.idp.as_deref(), &self.settings)?.ok_or_else(|| {
            CliError::new(format!("the identity provider of the user `{user}` is not known"))
                .with_hint("pass --idp, or the settings of the servers, such as --config FILE or --identity MODE")
        })?;
        principal(user, &idp)
    }

    fn of_token(&self, stored: StoredToken) -> Result<(Config, Revocation), CliError> {
        let Claims { principal, conversation, token_id, .. } = stored.open()?.claims().clone();
        let revocation = match self.scope {
            Scope::Conversation => Revocation::Conversation { id: conversation },
            Scope::Token => Revocation::Token { id: token_id },
            Scope::User => Revocation::User { principal },
        };
        Ok((stored.config, revocation))
    }
}

fn parse_id(flag: &str, text: &str) -> Result<Id, CliError> {
    text.parse().map_err(|_| {
        CliError::new(format!("{flag}: `{text}` is not an id; ids are UUIDs of version 7 in lower case with hyphens"))
    })
}

fn to_text(revocation: &Revocation, revoked: Revoked) -> String {
    let before = if revoked.was_revoked { ", which was revoked before" } else { "" };
    match revocation {
        Revocation::Conversation { id } => format!("revoked: all tokens of the conversation {id}{before}\n"),
        Revocation::Token { id } => format!("revoked: the token {id}{before}\n"),
        Revocation::User { principal } => {
            let until = revoked.until.map_or_else(|| "now".to_owned(), |until| until.to_string());
            let ended = revoked.live_conversations.map(|live| format!("; {} ended", count(live, "live conversation")));
            format!(
                "revoked: all tokens of the user {} issued until {until}{}\n",
                user(principal),
                ended.unwrap_or_default()
            )
        }
    }
}

/// The same object as the response of `POST /v1/revocations`.
fn to_json(revocation: &Revocation, revoked: Revoked) -> String {
    let (scope, id) = match revocation {
        Revocation::Conversation { id } => (RevocationScope::Conversation, id.to_string()),
        Revocation::Token { id } => (RevocationScope::Token, id.to_string()),
        Revocation::User { principal } => (RevocationScope::User, principal.subject().to_owned()),
    };
    let answer = revocation_answer(scope, &id, revoked.live_conversations);
    format!("{}\n", String::from_utf8_lossy(&answer))
}
