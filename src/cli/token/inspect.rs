//! `token inspect` and `token verify`: what a token says of itself, and whether it would be accepted.

use serde_json::json;

use super::{Loaded, Verify, codec, exact, items};
use crate::{
    cli::{CliError, console::Console},
    proto::{
        error::{Error, TokenFault},
        principal::{IDP_NONE, Principal},
        time::UnixSeconds,
        token::{Claims, RawToken, TokenHolder, TokenPolicy, TokenPurpose, UnverifiedToken, VerifiedToken},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// All that a token says, a line each or as a JSON object.
pub(super) fn inspect(loaded: &Loaded, json: bool) -> Result<String, CliError> {
    let token = loaded.open()?;
    items(&token)?;
    let view = View { loaded, token: &token, policy: &loaded.config.deployment.policy, now: SystemClock::new().now() };
    Ok(if json { view.to_json() } else { view.to_text() })
}

struct View<'a> {
    loaded: &'a Loaded,
    token: &'a UnverifiedToken,
    policy: &'a TokenPolicy,
    now: UnixSeconds,
}

impl View<'_> {
    fn kid(&self) -> String {
        let raw = RawToken::new(&self.loaded.text, &self.loaded.config.deployment.limits).ok();
        raw.and_then(RawToken::named_key).map(|(kid, _)| kid.to_string()).unwrap_or_default()
    }

    fn to_text(&self) -> String {
        let (token, claims) = (self.token, self.token.claims());
        let typ = token.kind().typ();
        let kind = if typ == "holdall1" { "clear: anyone can read it" } else { "sealed: only key holders can read it" };
        let parent = claims.parent.map_or_else(|| "nothing, it is the first".to_owned(), |parent| parent.to_string());
        let issuer = match claims.issuer == self.policy.issuer {
            true => claims.issuer.clone(),
            false => format!("{} (the settings say {}: refused here)", claims.issuer, self.policy.issuer),
        };
        let usage = claims.usage;
        let rows = [
            ("kind", format!("{typ}, {kind}")),
            ("key", self.kid()),
            ("deployment", issuer),
            ("user", user(&claims.principal)),
            ("conversation", claims.conversation.to_string()),
            ("token", claims.token_id.to_string()),
            ("continues", parent),
            ("turn", claims.turn.to_string()),
            ("model", claims.model.clone()),
            ("began", claims.born_at.to_string()),
            ("issued", claims.issued_at.to_string()),
            ("good until", good_until(claims, self.policy, self.now)),
            ("readable until", claims.born_at.plus(self.policy.max_age_seconds).to_string()),
            (
                "history",
                format!(
                    "{} items, {} bytes in {} frame{}",
                    token.items(),
                    token.history_lines().len(),
                    token.history_frames(),
                    if token.history_frames() == 1 { "" } else { "s" },
                ),
            ),
            ("size", format!("{} bytes", self.loaded.text.len())),
            (
                "model tokens",
                format!(
                    "{} in ({} of them cached), {} out",
                    usage.input_tokens, usage.cached_tokens, usage.output_tokens
                ),
            ),
            ("checked", "tag, frames, claims, items".to_owned()),
            ("not checked", "whose it is: `holdall token verify --user NAME` does that".to_owned()),
        ];
        rows.iter().map(|(name, value)| format!("{name:<14}  {value}\n")).collect()
    }

    fn to_json(&self) -> String {
        let (token, claims) = (self.token, self.token.claims());
        let good_until = claims.effective_expiry(self.policy);
        let value = json!({
            "typ": token.kind().typ(),
            "kid": self.kid(),
            "iss": claims.issuer,
            "sub": claims.principal.subject(),
            "idp": claims.principal.idp(),
            "cid": claims.conversation,
            "jti": claims.token_id,
            "par": claims.parent,
            "turn": claims.turn,
            "model": claims.model,
            "started_at": claims.born_at.to_string(),
            "issued_at": claims.issued_at.to_string(),
            "expires_at": good_until.to_string(),
            "expired": self.now >= good_until,
            "items": token.items(),
            "frames": token.history_frames(),
            "history_bytes": token.history_lines().len(),
            "token_bytes": self.loaded.text.len(),
            "usage": {
                "input_tokens": claims.usage.input_tokens,
                "output_tokens": claims.usage.output_tokens,
                "cached_tokens": claims.usage.cached_tokens,
                "upstream_ms": claims.upstream_millis,
            },
        });
        format!("{value}\n")
    }
}

/// Prints the verdict; the exit code says it too.
pub(super) fn verify(args: &Verify, console: Console) -> Result<(), CliError> {
    let loaded = args.source.load()?;
    let caller = match &args.user {
        None => TokenHolder::Bearer,
        Some(user) => TokenHolder::Known(
            Principal::new(user.as_str(), args.idp.as_deref().unwrap_or(IDP_NONE))
                .map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))?,
        ),
    };
    match check(&loaded, &caller) {
        Ok(token) => {
            let claims = token.claims();
            let until = claims.effective_expiry(&loaded.config.deployment.policy);
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
            Err(explain(&loaded, &error))
        }
    }
}

fn check(loaded: &Loaded, caller: &TokenHolder) -> Result<VerifiedToken, Error> {
    let deployment = &loaded.config.deployment;
    let mut codec = codec().map_err(|error| Error::Internal { cause: error.to_string() })?;
    let token =
        RawToken::new(&loaded.text, &deployment.limits)?.authenticate(deployment.token_context(), &mut codec)?;
    let verified = token.verify(caller, TokenPurpose::Continue, &deployment.policy, SystemClock::new().now())?;
    verified.history()?;
    Ok(verified)
}

fn explain(loaded: &Loaded, error: &Error) -> CliError {
    let refused = loaded.refused(error);
    match (error, loaded.open()) {
        (Error::TokenInvalid { fault: TokenFault::Subject }, Ok(token)) => {
            let principal = &token.claims().principal;
            refused.hint(format!("it is of {}", user(principal)))
        }
        (Error::TokenInvalid { fault: TokenFault::Issuer }, Ok(token)) => {
            refused.hint(format!("it is of {}; pass --issuer to check it as one of those", token.claims().issuer))
        }
        _ => refused,
    }
}

/// A user, and who vouches for it.
pub(in crate::cli) fn user(principal: &Principal) -> String {
    match principal.idp() {
        _ if principal.is_anonymous() => format!("{} (whoever has the token)", principal.subject()),
        IDP_NONE => format!("{} (vouched for by nobody)", principal.subject()),
        idp => format!("{} (vouched for by {idp})", principal.subject()),
    }
}

fn good_until(claims: &Claims, policy: &TokenPolicy, now: UnixSeconds) -> String {
    let until = claims.effective_expiry(policy);
    if now < until {
        format!("{until}, {} from now", span(until.0.saturating_sub(now.0)))
    } else {
        format!("{until}: expired {} ago", span(now.0.saturating_sub(until.0)))
    }
}

/// A time span in its two largest units.
fn span(seconds: u64) -> String {
    let parts = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let shown: Vec<_> = parts.iter().skip_while(|(_, count)| *count == 0).take(2).collect();
    if shown.is_empty() {
        return "0 s".to_owned();
    }
    shown.iter().map(|(unit, count)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (60, "1 m 0 s"), (3_600, "1 h 0 m"), (604_799, "6 d 23 h"), (604_800, "7 d 0 h")]
        {
            assert_eq!(span(seconds), told);
        }
    }
}
