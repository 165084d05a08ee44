//! `token verify`: whether a token would be accepted, with the exact cause if not.

use serde_json::json;

use crate::{
    cli::{
        console::Console,
        error::CliError,
        render::user,
        stored_token::{StoredToken, TokenSource, codec, exact},
    },
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
    /// User whose token it is to be; without one, only an anonymous user's token is good
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Who vouches for the user: none, header, key, or `jwt:` and the issuer [default: none]
    #[arg(long, value_name = "SOURCE", requires = "user")]
    idp: Option<String>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: TokenSource,
}

/// Prints the verdict; the exit code says it too.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let stored = args.source.load()?;
    let caller = match &args.user {
        None => TokenHolder::Bearer,
        Some(user) => TokenHolder::Known(
            Principal::new(user.as_str(), args.idp.as_deref().unwrap_or(IDP_NONE))
                .map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))?,
        ),
    };
    match check(&stored, &caller) {
        Ok(token) => {
            let claims = token.claims();
            let until = claims.good_until(&stored.config.deployment.policy);
            if args.json {
                let value = json!({ "ok": true, "user": claims.principal.subject(), "turn": claims.turn,
                    "expires_at": until.to_string() });
                return console.print(&format!("{value}\n"));
            }
            console.print(&format!("ok: turn {} of {}, good until {until}\n", claims.turn, user(&claims.principal)))
        }
        Err(error) => {
            if args.json {
                let value = json!({ "ok": false, "code": error.code(), "cause": exact(&error) });
                console.print(&format!("{value}\n"))?;
            }
            Err(explain(&stored, &error))
        }
    }
}

fn check(stored: &StoredToken, caller: &TokenHolder) -> Result<VerifiedToken, Error> {
    let deployment = &stored.config.deployment;
    let mut codec = codec().map_err(|error| Error::Internal { cause: error.to_string() })?;
    let token =
        RawToken::new(&stored.text, &deployment.limits)?.authenticate(deployment.token_context(), &mut codec)?;
    let verified = token.verify(caller, TokenPurpose::Continue, &deployment.policy, SystemClock::new().now())?;
    verified.history()?;
    Ok(verified)
}

fn explain(stored: &StoredToken, error: &Error) -> CliError {
    let refused = stored.refused(error);
    match (error, stored.open()) {
        (Error::TokenInvalid { fault: TokenFault::Subject }, Ok(token)) => {
            let principal = &token.claims().principal;
            refused.with_hint(format!("it is of {}", user(principal)))
        }
        (Error::TokenInvalid { fault: TokenFault::Issuer }, Ok(token)) => {
            refused.with_hint(format!("it is of {}; pass --issuer to check it as one of those", token.claims().issuer))
        }
        _ => refused,
    }
}
