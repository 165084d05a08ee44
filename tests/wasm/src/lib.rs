//! Complete turns in a WebAssembly module without imports: native API, token, built-in model, fresh
//! token.

use std::{sync::Arc, time::Duration};

use holdall::{
    config::{RawConfig, Sources},
    proto::{
        api::{Api as _, native::Native},
        deployment::{ApiSettings, Deployment},
        exchange::{Caller, Entropy, Exchange, Planned, PresentedHistory, ResponseState},
        provider::{builtin_answer, builtin_content_type},
        time::UnixSeconds,
        token::Codec,
        turn::Answer,
        usage::Spent,
    },
};

const SETTINGS: &str = r#"
    keys = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    [[upstream]]
    name = "builtin"
    kind = "builtin"
    [[model]]
    alias = "default"
    upstreams = ["builtin"]
    model = "builtin"
"#;

/// The time of all turns: 2026-11-21.
const NOW: UnixSeconds = UnixSeconds(1_795_219_200);

/// Takes `count` turns of one conversation. Returns the number of turns, or 0 after a failure.
#[unsafe(no_mangle)]
pub extern "C" fn turns(count: u32) -> u32 {
    converse(count).unwrap_or(0)
}

fn converse(count: u32) -> Option<u32> {
    let config = RawConfig::parse(SETTINGS, toml::Table::new()).ok()?.check(&NoSources).ok()?;
    let deployment = Arc::new(config.deployment);
    let mut codec = Codec::new()?;
    let (mut token, mut turn) = ("null".to_owned(), 0);
    for number in 0..count {
        let body = format!(r#"{{"token": {token}, "input": "this is message {number}", "user_id": "alice"}}"#);
        let answer = take_turn(&deployment, &body, u8::try_from(number % 256).ok()?, &mut codec)?;
        token = format!("\"{}\"", answer.token);
        turn = u32::try_from(answer.conversation.claims.turn).ok()?;
    }
    let history = PresentedHistory::open(&deployment, token.trim_matches('"'), &alice(), NOW, &mut codec).ok()?;
    let (items, _) = history.read(&deployment.limits, &mut codec).ok()?;
    (items.len() == usize::try_from(count).ok()?.checked_mul(2)?).then_some(turn)
}

fn take_turn(deployment: &Arc<Deployment>, body: &str, random: u8, codec: &mut Codec) -> Option<Answer> {
    let entropy =
        Entropy { token_id: [random; 16], conversation: [random; 16], user: [random; 16], nonce: [random; 24] };
    let request = Native.parse_request(body, &ApiSettings::default()).ok()?.turn;
    let opened = Exchange::open(Arc::clone(deployment), request, &alice(), NOW, &entropy, codec).ok()?;
    let Planned::Ready(exchange) = opened.plan(codec).ok()? else { return None };
    let sent = exchange.request();
    let head = http::Response::builder().header("content-type", builtin_content_type(false)).body(()).ok()?;
    let ResponseState::Replying(mut exchange) = exchange.respond(&head.into_parts().0).ok()? else { return None };
    let mut deltas = Vec::new();
    for piece in builtin_answer(sent.body()).ok()? {
        exchange.push(&piece, &mut deltas).ok()?;
    }
    exchange.close(&mut deltas).ok()?;
    let spent = Spent { usage: exchange.call_usage(), elapsed: Duration::ZERO };
    exchange.finish(spent, codec).ok()
}

fn alice() -> Caller {
    Caller::Unauthenticated { user_id: Some("alice".to_owned()) }
}

/// Sources without files and variables.
struct NoSources;

impl Sources for NoSources {
    fn file(&self, path: &str) -> Result<zeroize::Zeroizing<String>, String> {
        Err(format!("there is no {path}"))
    }

    fn variable(&self, _name: &str) -> Option<zeroize::Zeroizing<String>> {
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn conversations_continue() {
        assert_eq!(super::turns(20), 20);
    }

    /// Shows that the runner notices a failure. Tests print nothing on this target, so silence must
    /// not count as success.
    #[test]
    fn this_one_fails() {
        assert_eq!(super::turns(1), 2);
    }
}
