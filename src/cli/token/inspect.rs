//! `token inspect` and `token verify`: what a token says of itself, and whether it would be accepted.

use serde_json::json;

use crate::{
    cli::{
        console::Console,
        error::CliError,
        render::user,
        stored_token::{StoredToken, TokenSource, items},
    },
    proto::{
        time::UnixSeconds,
        token::{Claims, RawToken, TokenPolicy, UnverifiedToken},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// JSON instead; for a history, one item a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: TokenSource,
}

/// All that a token says, a line each or as a JSON object.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let stored = args.source.load()?;
    let token = stored.open()?;
    items(&token)?;
    let policy = &stored.config.deployment.policy;
    let view = View { stored: &stored, token: &token, policy, now: SystemClock::new().now() };
    console.print(&if args.json { view.to_json() } else { view.to_text() })
}

struct View<'a> {
    stored: &'a StoredToken,
    token: &'a UnverifiedToken,
    policy: &'a TokenPolicy,
    now: UnixSeconds,
}

impl View<'_> {
    fn kid(&self) -> String {
        let raw = RawToken::new(&self.stored.text, &self.stored.config.deployment.limits).ok();
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
            ("size", format!("{} bytes", self.stored.text.len())),
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
        let good_until = claims.good_until(self.policy);
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

fn good_until(claims: &Claims, policy: &TokenPolicy, now: UnixSeconds) -> String {
    let until = claims.good_until(policy);
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
