//! `holdall token inspect`: everything that a token says about itself.

use serde_json::json;

use crate::{
    cli::{
        console::Console,
        error::CliError,
        render::{count, user},
        stored_token::{StoredToken, TokenArgs, items},
    },
    config::TokenSettings,
    proto::{
        time::UnixSeconds,
        token::{Claims, TokenPolicy, UnpackedToken},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: TokenSettings,
}

/// Prints one line per property, or one JSON object.
///
/// # Errors
/// [`CliError`] if no token can be read, or standard output fails.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let stored = args.token.load(&args.settings)?;
    let token = stored.open()?;
    items(&token)?;
    let policy = &stored.config.deployment.policy;
    let report = Report { stored: &stored, token: &token, policy, now: SystemClock::new().now() };
    console.print(&if args.json { report.to_json() } else { report.to_text() })
}

struct Report<'a> {
    stored: &'a StoredToken,
    token: &'a UnpackedToken,
    policy: &'a TokenPolicy,
    now: UnixSeconds,
}

impl Report<'_> {
    fn key_id(&self) -> String {
        self.stored.key_id().unwrap_or_default()
    }

    fn to_text(&self) -> String {
        let claims = self.token.claims();
        let parent = claims.parent.map_or_else(|| "none, this is the first turn".to_owned(), |id| id.to_string());
        let readable_until = claims.born_at.plus(self.policy.max_age_seconds).to_string();
        let verify = self.stored.command("token verify --user NAME");
        let rows = [
            ("kind", self.kind()),
            ("key", self.key_id()),
            ("deployment", self.deployment()),
            ("user", user(&claims.principal)),
            ("conversation", claims.conversation.to_string()),
            ("token", claims.token_id.to_string()),
            ("parent token", parent),
            ("turn", claims.turn.to_string()),
            ("model", claims.model.clone()),
            ("started", claims.born_at.to_string()),
            ("issued", claims.issued_at.to_string()),
            ("expires", expiry(claims, self.policy, self.now)),
            ("readable until", readable_until),
            ("history", self.history()),
            ("size", format!("{} bytes", self.stored.text.len())),
            ("model tokens", self.usage()),
            ("asserted", asserted(claims).to_owned()),
            ("checked", "tag, frames, claims, items".to_owned()),
            ("not checked", format!("the user; {verify} checks it")),
        ];
        rows.iter().map(|(name, value)| format!("{name:<14}  {value}\n")).collect()
    }

    fn kind(&self) -> String {
        match self.token.kind().typ() {
            typ @ "holdall1" => format!("{typ}, clear: anyone can read it"),
            typ => format!("{typ}, sealed: only key holders can read it"),
        }
    }

    fn deployment(&self) -> String {
        let (issuer, configured) = (&self.token.claims().issuer, &self.policy.issuer);
        if issuer == configured {
            return issuer.clone();
        }
        format!("{issuer} (not valid here: the settings say {configured})")
    }

    fn history(&self) -> String {
        let (items, frames) = (self.token.items() as u64, self.token.history_frames() as u64);
        let bytes = self.token.history_lines().len();
        format!("{}, {bytes} bytes in {}", count(items, "item"), count(frames, "frame"))
    }

    fn usage(&self) -> String {
        let usage = self.token.claims().usage;
        format!("{} in ({} of them cached), {} out", usage.input_tokens, usage.cached_tokens, usage.output_tokens)
    }

    fn to_json(&self) -> String {
        let (token, claims) = (self.token, self.token.claims());
        let expires_at = claims.effective_expiry(self.policy);
        let value = json!({
            "typ": token.kind().typ(),
            "kid": self.key_id(),
            "iss": claims.issuer,
            "sub": claims.principal.subject(),
            "idp": claims.principal.idp(),
            "cid": claims.conversation,
            "jti": claims.token_id,
            "par": claims.parent,
            "turn": claims.turn,
            "model": claims.model,
            "asserted": claims.asserted,
            "started_at": claims.born_at.to_string(),
            "issued_at": claims.issued_at.to_string(),
            "expires_at": expires_at.to_string(),
            "expired": self.now >= expires_at,
            "items": token.items(),
            "frames": token.history_frames(),
            "history_bytes": token.history_lines().len(),
            "token_bytes": self.stored.text.len(),
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

/// The claim `asserted`, in words.
fn asserted(claims: &Claims) -> &'static str {
    if claims.asserted { "yes, a client brought turns of the model without proof" } else { "no" }
}

/// The moment of expiry, and the time until or since then.
fn expiry(claims: &Claims, policy: &TokenPolicy, now: UnixSeconds) -> String {
    let expires_at = claims.effective_expiry(policy);
    if now < expires_at {
        format!("{expires_at}, in {}", span(expires_at.0.saturating_sub(now.0)))
    } else {
        format!("{expires_at}, expired {} ago", span(now.0.saturating_sub(expires_at.0)))
    }
}

/// A time span in its two largest units.
fn span(seconds: u64) -> String {
    let parts = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("min", seconds / 60 % 60), ("s", seconds % 60)];
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
    fn a_span_has_at_most_two_units() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_600, "1 h 0 min"),
            (604_799, "6 d 23 h"),
            (604_800, "7 d 0 h"),
        ] {
            assert_eq!(span(seconds), shown);
        }
    }
}
