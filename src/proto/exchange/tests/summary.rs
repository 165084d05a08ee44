//! A summary in the place of older turns.

use super::*;
use crate::proto::{chat::SUMMARY_LEAD, exchange::summary::SUMMARY_REQUEST};

fn limits() -> Limits {
    Limits { history_bytes: 60_000, reply_reserve_bytes: 1_000, ..Limits::default() }
}

/// A token whose history is nearly full: turns of a bit more than 2,000 bytes each.
fn full(desk: &mut Desk) -> (String, usize) {
    let mut token = desk.turn(say("My name is Ada."), "Noted.").token;
    for turn in 0..100 {
        match desk.begin(go_on(&token, &format!("{turn} {}", "a".repeat(1_000)))) {
            Err(error) => {
                assert_eq!(error.code(), "history_too_large");
                let items = desk.history(&token).unwrap().0.len();
                return (token, items);
            }
            Ok(exchange) => {
                token = desk.finish(exchange, [said(&"b".repeat(1_000)).as_bytes()]).1.unwrap().token;
            }
        }
    }
    panic!("the history never filled")
}

fn summarizing(desk: &mut Desk, token: &str) -> Exchange<Summarizing> {
    let request = TurnRequest { truncation: Some(Truncation::Summarize), ..go_on(token, &"a".repeat(1_000)) };
    let entropy = desk.entropy();
    let nobody = Caller::Unauthenticated { user_id: None };
    match Exchange::begin(Arc::clone(&desk.deployment), request, &nobody, desk.now, &entropy, &mut desk.codec).unwrap()
    {
        Planned::Summarizing(exchange) => exchange,
        Planned::Ready(_) => panic!("there was room"),
    }
}

fn go_on_with(
    exchange: Exchange<Summarizing>,
    (head, body): &(response::Parts, Vec<u8>),
) -> Result<Exchange<Ready>, Error> {
    let summary = exchange.summary(head, body)?;
    exchange.go_on(summary, MILLIS)
}

fn answer(status: u16, body: &Value) -> (response::Parts, Vec<u8>) {
    let head = HttpResponse::builder().status(status).header("content-type", "application/json").body(()).unwrap();
    (head.into_parts().0, body.to_string().into_bytes())
}

fn summary_of(text: &str) -> (response::Parts, Vec<u8>) {
    let choice = json!({ "index": 0, "message": { "content": text }, "finish_reason": "stop" });
    answer(200, &json!({ "choices": [choice], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } }))
}

#[test]
fn a_summary_takes_the_place_of_the_older_half() {
    let mut desk = Desk::new(limits());
    let (token, items) = full(&mut desk);
    let before_summary = desk.history(&token).unwrap().0;
    let exchange = summarizing(&mut desk, &token);
    let sent: Value = serde_json::from_slice(exchange.request().body()).unwrap();
    assert_eq!((sent["stream"].as_bool(), sent["messages"].as_array().unwrap().len()), (Some(false), 1));
    let text = sent["messages"][0]["content"].as_str().unwrap();
    assert!(text.starts_with(SUMMARY_REQUEST) && text.contains(
            "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"My name is Ada.\"}]}\n{\"t\":\"msg\",\"role\":\"assistant\","
        ));

    let ready = go_on_with(exchange, &summary_of("Her name is Ada.")).unwrap();
    let sent: Value = serde_json::from_slice(ready.request().body()).unwrap();
    let first = format!("{SUMMARY_LEAD}\nHer name is Ada.");
    assert_eq!(sent["messages"][0], json!({ "role": "user", "content": first }));
    let told = desk.finish(ready, [said("Your name is Ada.").as_bytes()]).1.unwrap();
    let (kept, conversation) = desk.history(&told.token).unwrap();
    let (taken, before) = (told.conversation.summarized_items, items + 2);
    assert_eq!((kept.len(), told.conversation.trimmed_items), (before - taken + 1, taken));
    assert!(taken * 2 + 6 > items && taken % 2 == 0, "{taken} of {items}");
    assert_eq!(kept[0], Item::text(Role::User, first));
    assert_eq!(kept[kept.len() - 1], Item::text(Role::Assistant, "Your name is Ada."));
    assert!(conversation.history_bytes < 40_000);
    // Both calls are on the bill.
    assert_eq!((told.usage.input_tokens, told.usage.output_tokens), (107, 15));
    // The conversation goes on from there without another summary, and who repeats the old one is understood.
    assert!(desk.begin(go_on(&told.token, "and?")).is_ok());
    let mut remembered = before_summary;
    remembered.extend([
        Item::text(Role::User, "a".repeat(1_000)),
        Item::text(Role::Assistant, "Your name is Ada."),
        Item::text(Role::User, "and?"),
    ]);
    for forgotten in [0, items - 2, items] {
        let echo = TurnRequest { input: remembered[forgotten..].to_vec(), ..go_on(&told.token, "") };
        assert!(desk.begin(echo).is_ok(), "{forgotten}");
    }
}

#[test]
fn only_as_much_of_a_summary_is_kept_as_has_room() {
    let mut desk = Desk::new(limits());
    let (token, _) = full(&mut desk);
    let ready = go_on_with(summarizing(&mut desk, &token), &summary_of(&"ä".repeat(20_000))).unwrap();
    let told = desk.finish(ready, [said("well").as_bytes()]).1.unwrap();
    let Item::Message { parts, .. } = &desk.history(&told.token).unwrap().0[0] else { panic!("no message") };
    let Part::Text(text) = &parts[0] else { panic!("no text") };
    assert_eq!(text.len(), SUMMARY_LEAD.len() + 1 + 6 * 1_024);
}

#[test]
fn what_is_no_summary_ends_the_turn_and_leaves_the_token_good() {
    let mut desk = Desk::new(limits());
    let (token, _) = full(&mut desk);
    let refusal = json!({ "error": { "message": "no" } });
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
        (answer(400, &refusal), "upstream_refused"),
        (answer(503, &refusal), "upstream_unavailable"),
        ((summary_of("a").0, summary_of("a").1[..40].to_vec()), "upstream_cut"),
    ] {
        let outcome = go_on_with(summarizing(&mut desk, &token), &answer);
        assert_eq!(outcome.err().unwrap().code(), code);
    }
    assert!(desk.history(&token).is_ok());
}

#[test]
fn one_message_that_fills_the_history_cannot_be_summarized() {
    let mut desk = Desk::new(limits());
    let request = TurnRequest { truncation: Some(Truncation::Summarize), ..say(&"a".repeat(59_500)) };
    assert_eq!(code(desk.begin(request)), "history_too_large");
}

#[test]
fn what_a_client_brings_of_both_sides_is_never_cut_into() {
    let mut desk = Desk::changed(|deployment| {
        deployment.accepts_client_history = true;
        deployment.limits = Limits { history_items: 10, ..Limits::default() };
    });
    let said = (0..12).map(|n| Item::text(if n % 2 == 0 { Role::User } else { Role::Assistant }, format!("{n}")));
    let input: Vec<Item> = said.chain([Item::text(Role::User, "and?")]).collect();
    let token = desk.turn(say("hi"), "hello").token;
    for truncation in [Truncation::Oldest, Truncation::Summarize] {
        let first = TurnRequest { input: input.clone(), truncation: Some(truncation), ..say("") };
        assert_eq!(code(desk.begin(first)), "history_too_large", "{truncation:?}");
        let later =
            TurnRequest { token: Some(token.clone()), input: input.clone(), truncation: Some(truncation), ..say("") };
        assert_eq!(code(desk.begin(later)), "history_too_large", "{truncation:?}");
    }
}

#[test]
fn an_alias_says_what_happens_where_the_caller_does_not() {
    let alias = Model { truncation: Truncation::Summarize, ..model("default") };
    let mut desk = Desk::with(limits(), TokenPolicy::default(), vec![model("plain"), alias]);
    let (token, _) = full(&mut desk);
    let request =
        |truncation| TurnRequest { model: Some("default".to_owned()), truncation, ..go_on(&token, &"a".repeat(1_000)) };
    let entropy = desk.entropy();
    let nobody = Caller::Unauthenticated { user_id: None };
    let mut begin = |truncation| {
        Exchange::begin(Arc::clone(&desk.deployment), request(truncation), &nobody, desk.now, &entropy, &mut desk.codec)
    };
    assert!(matches!(begin(None), Ok(Planned::Summarizing(_))));
    assert!(matches!(begin(Some(Truncation::Oldest)), Ok(Planned::Ready(_))));
    assert_eq!(begin(Some(Truncation::Refuse)).err().unwrap().code(), "history_too_large");
}
