//! Retries and fallbacks: until when a turn can be retried, and the request for the next target.

use super::*;

/// A model with targets of these kinds, in order. Each upstream has the name of its kind.
fn model_at(kinds: &[&str]) -> Model {
    let mut targets = kinds.iter().map(|kind| target(kind, kind));
    let target = targets.next().unwrap();
    Model { target, fallbacks: targets.collect(), ..model("default") }
}

fn fixture(kinds: &[&str]) -> Fixture {
    Fixture::with(Limits::default(), TokenPolicy::default(), vec![model_at(kinds)])
}

fn sent(exchange: &Exchange<Ready>) -> Value {
    serde_json::from_slice(exchange.request().body()).unwrap()
}

/// A turn without a stream.
fn unstreamed(text: &str) -> TurnRequest {
    TurnRequest { stream: false, ..first_turn(text) }
}

fn anthropic_reply(text: &str) -> String {
    json!({
        "type": "message", "stop_reason": "end_turn", "usage": {},
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "EqQB" },
            { "type": "text", "text": text },
        ],
    })
    .to_string()
}

#[test]
fn each_target_gets_a_request_in_its_own_format() {
    let mut fixture = fixture(&["openai", "anthropic", "openai-responses"]);
    let mut exchange = fixture.ready(first_turn("hi")).unwrap();
    let (before, uri) = (exchange.request(), |exchange: &Exchange<Ready>| exchange.request().uri().path().to_owned());
    assert_eq!((exchange.upstream(), uri(&exchange).as_str()), ("openai", "/chat/completions"));
    assert_eq!(exchange.request().body(), before.body(), "the request is the same each time");
    assert_eq!(exchange.fallbacks_left(), 2);
    assert!(exchange.next_target());
    assert_eq!((exchange.upstream(), uri(&exchange).as_str()), ("anthropic", "/v1/messages"));
    assert_eq!(exchange.fallbacks_left(), 1);
    assert!(exchange.next_target());
    assert_eq!((exchange.upstream(), uri(&exchange).as_str()), ("openai-responses", "/responses"));
    assert_eq!(exchange.fallbacks_left(), 0);
    assert!(!exchange.next_target());
    assert_eq!(exchange.upstream(), "openai-responses");
}

#[test]
fn a_fallback_gets_the_same_request_as_a_first_target() {
    for kind in ["openai", "anthropic", "openai-responses"] {
        let single = sent(&fixture(&[kind]).ready(first_turn("hi")).unwrap());
        for other in ["openai", "anthropic", "openai-responses"].into_iter().filter(|other| *other != kind) {
            let mut exchange = fixture(&[other, kind]).ready(first_turn("hi")).unwrap();
            assert!(exchange.next_target());
            assert_eq!(sent(&exchange), single, "{other}, then {kind}");
        }
    }
}

#[test]
fn a_target_that_cannot_express_the_turn_is_skipped() {
    // The Responses format has no stop sequences.
    let mut fixture = fixture(&["openai", "openai-responses", "anthropic", "openai-responses"]);
    let options = crate::proto::turn::ModelOptions { stop: vec!["END".to_owned()], ..Default::default() };
    let mut exchange = fixture.ready(TurnRequest { options, ..first_turn("hi") }).unwrap();
    assert!(exchange.next_target());
    assert_eq!((exchange.upstream(), exchange.fallbacks_left()), ("anthropic", 1));
    assert!(!exchange.next_target());
    assert_eq!((exchange.upstream(), exchange.fallbacks_left()), ("anthropic", 0));
}

#[test]
fn reasoning_belongs_to_the_provider_that_answered() {
    let mut fixture = fixture(&["openai-responses", "anthropic"]);
    let mut exchange = fixture.ready(unstreamed("hi")).unwrap();
    assert!(exchange.next_target());
    let mut exchange = replying(exchange, "application/json");
    let mut deltas = Vec::new();
    exchange.push(anthropic_reply("hello").as_bytes(), &mut deltas).unwrap();
    let answer = fixture.close(exchange, &mut deltas).unwrap();
    let Item::Think { provider_id, .. } = &answer.output[0] else { panic!("no reasoning") };
    assert_eq!(provider_id, "anthropic");
    // Only that provider gets it back.
    let mut next = fixture.ready(TurnRequest { stream: false, ..next_turn(&answer.token, "and?") }).unwrap();
    assert!(!sent(&next).to_string().contains("EqQB"));
    assert!(next.next_target());
    assert!(sent(&next).to_string().contains("EqQB"));
}

#[test]
fn a_turn_can_be_retried_until_a_delta_is_handed_out() {
    let mut fixture = fixture(&["openai", "anthropic"]);
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let before = exchange.request();
    let mut exchange = replying(exchange, "text/event-stream");
    let mut deltas = Vec::new();
    exchange.push(b": a comment\n\n", &mut deltas).unwrap();
    assert!(exchange.can_retry() && !exchange.has_started());
    exchange.push(event(&json!({ "role": "assistant", "content": "" }), None).as_bytes(), &mut deltas).unwrap();
    assert!(exchange.can_retry() && exchange.has_started(), "the model has started, and nothing was shown");
    let exchange = exchange.into_retry().unwrap();
    assert_eq!(exchange.request().body(), before.body());
    let mut exchange = replying(exchange, "text/event-stream");
    exchange.push(event(&json!({ "content": "a" }), None).as_bytes(), &mut deltas).unwrap();
    assert!(!exchange.can_retry() && exchange.has_started());
    assert!(exchange.into_retry().is_none());
}

#[test]
fn a_buffered_reply_can_be_retried_until_its_end() {
    let mut fixture = fixture(&["openai", "anthropic"]);
    let exchange = fixture.ready(first_turn("hi")).unwrap().buffered();
    let mut exchange = replying(exchange, "text/event-stream");
    let mut deltas = Vec::new();
    exchange.push(event(&json!({ "content": "a" }), None).as_bytes(), &mut deltas).unwrap();
    assert_eq!(exchange.close(&mut deltas), Err(Error::UpstreamCut));
    assert!(exchange.has_started());
    let mut exchange = exchange.into_retry().unwrap();
    assert!(exchange.next_target());
    assert_eq!(exchange.upstream(), "anthropic");
}

#[test]
fn a_body_has_started_with_its_first_byte() {
    let mut fixture = fixture(&["openai"]);
    let mut exchange = replying(fixture.ready(unstreamed("hi")).unwrap(), "application/json");
    assert!(!exchange.has_started());
    exchange.push(b"{", &mut Vec::new()).unwrap();
    assert!(exchange.has_started() && exchange.can_retry());
}

#[test]
fn a_retry_drops_the_text_of_the_failed_attempt() {
    let mut fixture = fixture(&["openai"]);
    let mut exchange = replying(fixture.ready(unstreamed("hi")).unwrap(), "text/event-stream");
    exchange.push(event(&json!({ "content": "lost" }), None).as_bytes(), &mut Vec::new()).unwrap();
    let again = exchange.into_retry().unwrap();
    let (_, answer) = fixture.finish(again, [text_reply("kept").as_bytes()]);
    let answer = answer.unwrap();
    assert_eq!((answer.reply.as_str(), answer.conversation.claims.turn), ("kept", 1));
    let history = fixture.history(&answer.token).unwrap().0;
    assert_eq!(history, [Item::text(Role::User, "hi"), Item::text(Role::Assistant, "kept")]);
}

#[test]
fn an_error_answer_leads_back_to_the_ready_turn() {
    let mut fixture = fixture(&["openai", "anthropic"]);
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let before = exchange.request();
    let head = Response::builder().status(503).body(()).unwrap().into_parts().0;
    let Ok(ResponseState::Refused(exchange)) = exchange.respond(&head) else { panic!("not an error") };
    let FailedAttempt { error, exchange, .. } = exchange.into_failed_attempt();
    assert_eq!(error.code(), "upstream_unavailable");
    assert_eq!(exchange.request().body(), before.body());
    let head = Response::builder().status(302).body(()).unwrap().into_parts().0;
    let Err(failed) = exchange.respond(&head) else { panic!("a redirect is not a reply") };
    let FailedAttempt { error, mut exchange, .. } = *failed;
    assert_eq!(error.code(), "upstream_malformed");
    assert!(exchange.next_target());
    assert_eq!(exchange.fallbacks_left(), 0);
}

#[test]
fn the_turn_starts_at_the_target_that_wrote_the_summary() {
    let limits = Limits { history_bytes: 60_000, reply_bytes: 4_096, reply_reserve_bytes: 4_096, ..Limits::default() };
    let mut fixture =
        Fixture::with(limits, TokenPolicy::default(), vec![model_at(&["openai", "anthropic", "openai-responses"])]);
    let mut token = fixture.turn(first_turn("My name is Ada."), "Hello.").token;
    let exchange = loop {
        let text = (0..500).map(|n| format!("{} {n} ", token.len())).collect::<String>();
        let request = TurnRequest { truncation: Some(Truncation::Summarize), ..next_turn(&token, &text) };
        match fixture.plan(request).unwrap() {
            Planned::Ready(exchange) => {
                token = fixture.finish(exchange, [text_reply("well").as_bytes()]).1.unwrap().token
            }
            Planned::Summarizing(exchange) => break exchange,
        }
    };
    let mut exchange = exchange;
    assert_eq!((exchange.upstream(), exchange.fallbacks_left()), ("openai", 2));
    assert!(exchange.next_target());
    assert_eq!((exchange.upstream(), exchange.request().uri().path()), ("anthropic", "/v1/messages"));
    let head = Response::builder().header("content-type", "application/json").body(()).unwrap().into_parts().0;
    let summary = exchange.read_summary(&head, anthropic_reply("Her name is Ada.").as_bytes()).content.ok().unwrap();
    let mut ready = exchange.apply_summary(summary).unwrap();
    assert_eq!((ready.upstream(), ready.fallbacks_left()), ("anthropic", 1));
    assert!(sent(&ready)["messages"][0].to_string().contains("Her name is Ada."));
    assert!(ready.next_target() && ready.upstream() == "openai-responses");
    assert!(sent(&ready).to_string().contains("Her name is Ada."));
}
