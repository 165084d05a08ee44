//! Summaries that replace older turns.

use super::*;
use crate::proto::{chat::SUMMARY_HEADING, exchange::summary::SUMMARY_REQUEST};

fn limits() -> Limits {
    Limits { history_bytes: 60_000, reply_reserve_bytes: 1_000, ..Limits::default() }
}

/// A token whose history is nearly full, with turns of a little over 2,000 bytes each. Also returns
/// the number of its items.
fn full_token(fixture: &mut Fixture) -> (String, usize) {
    let mut token = fixture.turn(first_turn("My name is Ada."), "Noted.").token;
    for turn in 0..100 {
        match fixture.ready(next_turn(&token, &format!("{turn} {}", "a".repeat(1_000)))) {
            Err(error) => {
                assert_eq!(error.code(), "history_too_large");
                let items = fixture.history(&token).unwrap().0.len();
                return (token, items);
            }
            Ok(exchange) => {
                token = fixture.finish(exchange, [text_reply(&"b".repeat(1_000)).as_bytes()]).1.unwrap().token;
            }
        }
    }
    panic!("the history never filled")
}

fn summarizing(fixture: &mut Fixture, token: &str) -> Exchange<Summarizing> {
    let request = TurnRequest { truncation: Some(Truncation::Summarize), ..next_turn(token, &"a".repeat(1_000)) };
    match fixture.plan(request).unwrap() {
        Planned::Summarizing(exchange) => exchange,
        Planned::Ready(_) => panic!("there was room"),
    }
}

fn apply(exchange: Exchange<Summarizing>, (head, body): &(response::Parts, Vec<u8>)) -> Result<Exchange<Ready>, Error> {
    let summary = exchange.read_summary(head, body).content?;
    exchange.apply_summary(summary)
}

fn answer(status: u16, body: &Value) -> (response::Parts, Vec<u8>) {
    let head = Response::builder().status(status).header("content-type", "application/json").body(()).unwrap();
    (head.into_parts().0, body.to_string().into_bytes())
}

fn summary_of(text: &str) -> (response::Parts, Vec<u8>) {
    let choice = json!({ "index": 0, "message": { "content": text }, "finish_reason": "stop" });
    answer(200, &json!({ "choices": [choice], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } }))
}

#[test]
fn a_summary_replaces_the_older_half() {
    let mut fixture = Fixture::new(limits());
    let (token, items) = full_token(&mut fixture);
    let before_summary = fixture.history(&token).unwrap().0;
    let exchange = summarizing(&mut fixture, &token);
    let sent: Value = serde_json::from_slice(exchange.request().body()).unwrap();
    assert_eq!((sent["stream"].as_bool(), sent["messages"].as_array().unwrap().len()), (Some(false), 1));
    let text = sent["messages"][0]["content"].as_str().unwrap();
    assert!(text.starts_with(SUMMARY_REQUEST) && text.contains(
            "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"My name is Ada.\"}]}\n{\"t\":\"msg\",\"role\":\"assistant\","
        ));

    let ready = apply(exchange, &summary_of("Her name is Ada.")).unwrap();
    let sent: Value = serde_json::from_slice(ready.request().body()).unwrap();
    let first = format!("{SUMMARY_HEADING}\nHer name is Ada.");
    assert_eq!(sent["messages"][0], json!({ "role": "user", "content": first }));
    let answer = fixture.finish(ready, [text_reply("Your name is Ada.").as_bytes()]).1.unwrap();
    let (kept, conversation) = fixture.history(&answer.token).unwrap();
    let (summarized, before) = (answer.conversation.summarized_items, items + 2);
    assert_eq!((kept.len(), answer.conversation.trimmed_items), (before - summarized + 1, summarized));
    assert!(summarized * 2 + 6 > items && summarized % 2 == 0, "{summarized} of {items}");
    assert_eq!(kept[0], Item::text(Role::User, first));
    assert_eq!(kept[kept.len() - 1], Item::text(Role::Assistant, "Your name is Ada."));
    assert!(conversation.history_bytes < 40_000);
    // The next turn needs no other summary, and a client may repeat the old conversation.
    assert!(fixture.ready(next_turn(&answer.token, "and?")).is_ok());
    let mut remembered = before_summary;
    remembered.extend([
        Item::text(Role::User, "a".repeat(1_000)),
        Item::text(Role::Assistant, "Your name is Ada."),
        Item::text(Role::User, "and?"),
    ]);
    for forgotten in [0, items - 2, items] {
        let echo = TurnRequest { input: remembered[forgotten..].to_vec(), ..next_turn(&answer.token, "") };
        assert!(fixture.ready(echo).is_ok(), "{forgotten}");
    }
}

#[test]
fn a_long_summary_is_shortened() {
    let mut fixture = Fixture::new(limits());
    let (token, _) = full_token(&mut fixture);
    let ready = apply(summarizing(&mut fixture, &token), &summary_of(&"ä".repeat(20_000))).unwrap();
    let answer = fixture.finish(ready, [text_reply("well").as_bytes()]).1.unwrap();
    let Item::Message { parts, .. } = &fixture.history(&answer.token).unwrap().0[0] else { panic!("no message") };
    let Part::Text(text) = &parts[0] else { panic!("no text") };
    assert_eq!(text.len(), SUMMARY_HEADING.len() + 1 + 6 * 1_024);
}

#[test]
fn a_failed_summary_ends_the_turn_and_keeps_the_token_valid() {
    let mut fixture = Fixture::new(limits());
    let (token, _) = full_token(&mut fixture);
    let error = json!({ "error": { "message": "no" } });
    for (answer, code) in [
        (summary_of("  \n"), "upstream_malformed"),
        (answer(200, &json!({ "choices": 1 })), "upstream_malformed"),
        (answer(302, &json!({})), "upstream_malformed"),
        (
            answer(
                200,
                &json!({ "choices": [{ "message": { "content": "No." }, "finish_reason": "content_filter" }] }),
            ),
            "upstream_malformed",
        ),
        (answer(400, &error), "upstream_refused"),
        (answer(503, &error), "upstream_unavailable"),
        ((summary_of("a").0, summary_of("a").1[..40].to_vec()), "upstream_cut"),
    ] {
        let outcome = apply(summarizing(&mut fixture, &token), &answer);
        assert_eq!(outcome.err().unwrap().code(), code);
    }
    assert!(fixture.history(&token).is_ok());
}

#[test]
fn only_a_summary_that_was_begun_is_paid() {
    let mut fixture = Fixture::new(limits());
    let (token, _) = full_token(&mut fixture);
    let exchange = summarizing(&mut fixture, &token);
    let usage = |(head, body): (response::Parts, Vec<u8>)| exchange.read_summary(&head, &body).usage;
    let reported = Usage { input_tokens: 100, output_tokens: 10, ..Usage::default() };
    assert_eq!(usage(summary_of("Her name is Ada.")), Some(reported));
    assert_eq!(usage(summary_of(" ")), Some(reported), "it cannot be used, and was written");
    let sent_bytes = exchange.request().body().len();
    assert!(sent_bytes > 20_000);
    let input_tokens = (sent_bytes as u64).div_ceil(4);
    assert_eq!(exchange.call_usage(41), Usage { input_tokens, output_tokens: 11, estimated: true, ..Usage::default() });
    // The counts are missing, or a part of the answer.
    let choice = json!({ "message": { "content": "a".repeat(400) }, "finish_reason": "stop" });
    let uncounted = answer(200, &json!({ "choices": [choice] }));
    let estimated = |output_tokens| Some(Usage { input_tokens, output_tokens, estimated: true, ..Usage::default() });
    let cut = (uncounted.0.clone(), uncounted.1[..100].to_vec());
    assert_eq!((usage(uncounted), usage(cut)), (estimated(100), estimated(25)));
    // Refusals, before and in the place of a reply.
    let error = json!({ "error": { "message": "no", "code": 503 } });
    for status in [200, 302, 400, 503] {
        assert_eq!(usage(answer(status, &error)), None, "{status}");
    }
}

#[test]
fn one_message_that_fills_the_history_cannot_be_summarized() {
    let mut fixture = Fixture::new(limits());
    let request = TurnRequest { truncation: Some(Truncation::Summarize), ..first_turn(&"a".repeat(59_500)) };
    assert_eq!(error_code(fixture.ready(request)), "history_too_large");
}

#[test]
fn history_of_a_client_is_never_trimmed() {
    let mut fixture = Fixture::changed(|deployment| {
        accept_client_history(deployment);
        deployment.limits = Limits { history_items: 10, ..Limits::default() };
    });
    let turns = (0..12).map(|n| Item::text(if n % 2 == 0 { Role::User } else { Role::Assistant }, format!("{n}")));
    let input: Vec<Item> = turns.chain([Item::text(Role::User, "and?")]).collect();
    let token = fixture.turn(first_turn("hi"), "hello").token;
    for truncation in [Truncation::Oldest, Truncation::Summarize] {
        let first = TurnRequest { input: input.clone(), truncation: Some(truncation), ..first_turn("") };
        assert_eq!(error_code(fixture.ready(first)), "history_too_large", "{truncation:?}");
        let later = TurnRequest {
            token: Some(token.clone()),
            input: input.clone(),
            truncation: Some(truncation),
            ..first_turn("")
        };
        assert_eq!(error_code(fixture.ready(later)), "history_too_large", "{truncation:?}");
    }
}

#[test]
fn the_alias_decides_if_the_caller_does_not() {
    let alias = Model { truncation: Truncation::Summarize, ..model("default") };
    let mut fixture = Fixture::with(limits(), TokenPolicy::default(), vec![model("plain"), alias]);
    let (token, _) = full_token(&mut fixture);
    let request = |truncation| TurnRequest {
        model: Some("default".to_owned()),
        truncation,
        ..next_turn(&token, &"a".repeat(1_000))
    };
    let mut plan = |truncation| fixture.plan(request(truncation));
    assert!(matches!(plan(None), Ok(Planned::Summarizing(_))));
    assert!(matches!(plan(Some(Truncation::Oldest)), Ok(Planned::Ready(_))));
    assert_eq!(plan(Some(Truncation::Refuse)).err().unwrap().code(), "history_too_large");
}
