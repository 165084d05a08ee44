//! `holdall token verify`: checks a token as the server would, and prints the exact cause of a
//! refusal.

use serde_json::json;

use crate::{
    cli::{
        console::Console,
        error::CliError,
        file::shell_word,
        owner::{parse_idp, principal},
        render::user,
        stored_token::{StoredToken, TokenArgs, codec, exact_cause},
    },
    config::TokenSettings,
    proto::{
        error::{Error, TokenFault},
        principal::{IDP_NONE, Principal},
        token::{RawToken, TokenHolder, TokenPurpose, VerifiedToken},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token verify`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
    /// User of the token [default: an anonymous user]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Identity provider of the user: `none`, `header`, `key` or `jwt:ISSUER` [default: none]
    #[arg(long, value_name = "IDP", requires = "user", value_parser = parse_idp)]
    idp: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: TokenSettings,
}

/// Prints the result. The exit code is 0 for a valid token and 1 otherwise.
///
/// # Errors
/// [`CliError`] if the token is not valid, or standard output fails.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let stored = args.token.load(&args.settings)?;
    let token = match check(&stored, &args.holder()?) {
        Ok(token) => token,
        Err(error) => {
            if args.json {
                let value = json!({ "ok": false, "code": error.code(), "cause": exact_cause(&error) });
                console.print(&format!("{value}\n"))?;
            }
            return Err(explain(&stored, &error));
        }
    };
    let claims = token.claims();
    let expires_at = claims.effective_expiry(&stored.config.deployment.policy).to_string();
    if args.json {
        let user = claims.principal.subject();
        let value = json!({ "ok": true, "user": user, "turn": claims.turn, "expires_at": expires_at });
        return console.print(&format!("{value}\n"));
    }
    console.print(&format!("valid: turn {} of user {}, expires {expires_at}\n", claims.turn, user(&claims.principal)))
}

impl Args {
    /// The caller to check the token for.
    fn holder(&self) -> Result<TokenHolder, CliError> {
        let Some(user) = &self.user else { return Ok(TokenHolder::Bearer) };
        principal(user, self.idp.as_deref().unwrap_or(IDP_NONE)).map(TokenHolder::Known)
    }
}

fn check(stored: &StoredToken, holder: &TokenHolder) -> Result<VerifiedToken, Error> {
    let deployment = &stored.config.deployment;
    let mut codec = codec().map_err(|error| Error::Internal { cause: error.to_string() })?;
    let token =
        RawToken::new(&stored.text, &deployment.limits)?.authenticate(deployment.token_context(), &mut codec)?;
    let now = SystemClock::new().now();
    let verified = token
        .verify(holder, TokenPurpose::Continue, &deployment.policy, now)?
        .unpack(&deployment.limits, &mut codec)?;
    verified.history()?;
    Ok(verified)
}

/// The error with the next step, where the token itself names it.
fn explain(stored: &StoredToken, error: &Error) -> CliError {
    let invalid = stored.invalid(error);
    match (error, stored.open()) {
        (Error::TokenExpired { .. }, _) => {
            invalid.with_hint(format!("{} prints the conversation", stored.command("token history")))
        }
        (Error::TokenInvalid { fault: TokenFault::Subject }, Ok(token)) => {
            let principal = &token.claims().principal;
            let command = stored.command(&verify_command(principal));
            invalid.with_hint(format!("the user of the token is {}: {command}", user(principal)))
        }
        (Error::TokenInvalid { fault: TokenFault::Issuer }, Ok(token)) => {
            let issuer = &token.claims().issuer;
            invalid.with_hint(format!("the deployment of the token is `{issuer}`; pass it with --issuer"))
        }
        _ => invalid,
    }
}

/// The command that checks a token for this user.
fn verify_command(principal: &Principal) -> String {
    match principal.idp() {
        _ if principal.is_anonymous() => "token verify".to_owned(),
        IDP_NONE => format!("token verify --user {}", shell_word(principal.subject())),
        idp => format!("token verify --user {} --idp {}", shell_word(principal.subject()), shell_word(idp)),
    }
}
