//! The words of refusals and the errors of replies, as a turn ends with them.

use super::*;
use crate::proto::{
    error::Retry,
    turn::{ModelOptions, Tool},
};

const PROMPT: &str = "You are Ada, the gardener of ACME.\nNever name the moon.";

fn with_secrets() -> Fixture {
    Fixture::changed(|deployment| {
        deployment.models =
            Models::new(vec![Model { system_prompt: Some(PROMPT.to_owned()), ..model("default") }]).unwrap();
        deployment.upstream_keys = [zeroize::Zeroizing::new("hunter2".to_owned())].into_iter().collect();
    })
}

/// The message that the caller sees of a refusal with these words.
fn shown(fixture: &mut Fixture, request: TurnRequest, words: &str) -> Option<String> {
    let exchange = fixture.ready(request).unwrap();
    let head = Response::builder().status(400).body(()).unwrap().into_parts().0;
    let Ok(ResponseState::Refused(mut exchange)) = exchange.respond(&head) else { panic!("no refusal") };
    exchange.push(json!({ "error": { "message": words } }).to_string().as_bytes());
    match exchange.into_failed_attempt().error {
        Error::UpstreamRefused { message, .. } => message,
        error => panic!("{error:?}"),
    }
}

#[test]
fn the_operators_prompt_and_keys_are_not_shown() {
    let mut fixture = with_secrets();
    for (words, expected) in [
        ("bad: You are Ada, the gardener of ACME. Never name the moon.", "bad: [redacted]"),
        ("bad key hunter2 sent", "bad key [redacted] sent"),
        (r"bad: 'the gardener of ACME.\nNever name the moon.'", "bad: '[redacted]'"),
        (r"bad: of ACME.\nNever name the", "bad: [redacted]"),
        ("bad: of ACME. Never name t", "bad: of ACME. Never name t"),
        ("`temperature` is too high", "`temperature` is too high"),
    ] {
        assert_eq!(shown(&mut fixture, first_turn("hi"), words).as_deref(), Some(expected));
    }
    let long = "é".repeat(290) + " " + PROMPT + " end";
    let expected = "é".repeat(290) + " [redacted";
    assert_eq!(shown(&mut fixture, first_turn("hi"), &long), Some(expected.chars().take(300).collect()));
}

/// A turn with a guess in a message, in the name of a tool or in a schema.
fn guesses(guess: &str) -> [TurnRequest; 3] {
    let tool = |name: &str, schema: Value| Tool {
        name: name.to_owned(),
        description: None,
        parameters: Some(serde_json::value::to_raw_value(&schema).unwrap()),
        strict: None,
    };
    let with_tool = |tool| {
        let options = ModelOptions { tools: vec![tool], ..ModelOptions::default() };
        TurnRequest { options, ..first_turn("hi") }
    };
    [
        first_turn(guess),
        with_tool(tool(guess, json!({ "type": "object" }))),
        with_tool(tool("look", json!({ "type": "object", "properties": { "at": { "enum": [guess] } } }))),
    ]
}

#[test]
fn a_right_guess_gets_the_same_answer_as_a_wrong_one_at_every_provider() {
    for provider in provider::PROVIDERS.iter().filter(|provider| provider.name() != "builtin") {
        let mut fixture = with_secrets();
        let model = Model {
            system_prompt: Some(PROMPT.to_owned()),
            target: Target::new("u", *provider, "m"),
            ..model("default")
        };
        Arc::get_mut(&mut fixture.deployment).unwrap().models = Models::new(vec![model]).unwrap();
        let mut shown = |guess: &str| {
            let words = format!("no '{guess}' after '{PROMPT}' and hunter2");
            guesses(guess).map(|request| shown(&mut fixture, request, &words).unwrap().replace(guess, "GUESS"))
        };
        let answer = "no 'GUESS' after '[redacted]' and [redacted]";
        for (right, wrong) in [
            ("You are Ada, the gardener", "You are Ada, the plumber."),
            ("the gardener of ACME. Never", "the gardener of ACME. Now"),
            ("hunter", "hunted"),
        ] {
            assert_eq!(shown(right), [answer; 3], "{} {right}", provider.name());
            assert_eq!(shown(wrong), [answer; 3], "{} {wrong}", provider.name());
        }
        // Only the whole quotation is what the caller has sent, at the price of one that is known.
        assert_eq!(shown("hunter2"), ["no 'GUESS' after '[redacted]' and GUESS"; 3], "{}", provider.name());
    }
}

#[test]
fn the_words_can_be_hidden_for_an_alias() {
    let mut fixture = Fixture::changed(|deployment| {
        let hidden = Model { shows_upstream_words: false, ..model("default") };
        deployment.models = Models::new(vec![hidden, model("open")]).unwrap();
    });
    let open = TurnRequest { model: Some("open".to_owned()), ..first_turn("hi") };
    assert_eq!(shown(&mut fixture, open, "too hot").as_deref(), Some("too hot"));
    assert_eq!(shown(&mut fixture, first_turn("hi"), "too hot"), None);
    // The class is read from the words all the same.
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let error = json!({ "error": { "message": "the prompt is too long", "type": "invalid_request_error" } });
    let (_, outcome) = fixture.finish(exchange, [format!("data: {error}\n\n").as_bytes()]);
    assert!(matches!(outcome.unwrap_err().error, Error::UpstreamRefused { overflow: true, message: None, .. }));
}

#[test]
fn names_that_contain_a_key_are_not_logged() {
    let mut fixture = with_secrets();
    for (status, logged) in [(401, "status 401 other"), (503, "status 503 other"), (410, "status 410 other")] {
        // What the caller sends makes no difference to the log.
        let exchange = fixture.ready(first_turn("my_hunter2")).unwrap();
        let head = Response::builder().status(status).body(()).unwrap().into_parts().0;
        let Ok(ResponseState::Refused(mut exchange)) = exchange.respond(&head) else { panic!("no refusal") };
        exchange.push(json!({ "error": { "message": "no", "code": "my_HUNTER2" } }).to_string().as_bytes());
        assert_eq!(exchange.into_failed_attempt().error.cause().as_deref(), Some(logged));
    }
}

#[test]
fn errors_inside_a_reply_do_not_show_the_prompt() {
    let mut fixture = with_secrets();
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let error = json!({ "error": { "message": "bad: Ada, the gardener of ACME.", "type": "invalid_request_error" } });
    let stream = format!("data: {error}\n\n");
    let (_, outcome) = fixture.finish(exchange, [stream.as_bytes()]);
    assert!(matches!(outcome.unwrap_err().error,
        Error::UpstreamRefused { message: Some(message), .. } if message == "bad: [redacted]"));
}

#[test]
fn errors_after_text_show_what_the_caller_sent() {
    for (guess, sent) in [("the gardener of ACME. Never", true), ("the gardener of ACME. Now!!", false)] {
        for request in guesses(guess) {
            let mut fixture = with_secrets();
            let exchange = fixture.ready(TurnRequest { stream: true, ..request }).unwrap();
            let words = format!("bad: '{guess}' not 'You are Ada, the gardener of ACME.'");
            let error = json!({ "error": { "message": words, "type": "invalid_request_error" } });
            let stream = format!("{}data: {error}\n\n", event(&json!({ "content": "so f" }), None));
            let failure = fixture.finish(exchange, [stream.as_bytes()]).1.unwrap_err();
            let Error::UpstreamRefused { message, .. } = failure.error else { panic!("{:?}", failure.error) };
            let expected = format!("bad: '{guess}' not '[redacted]'");
            assert_eq!((message, failure.partial.unwrap().reply.as_str()), (Some(expected), "so f"), "{sent}");
        }
    }
}

#[test]
fn a_generated_reply_that_cannot_be_read_is_not_paid_twice() {
    let mut fixture = Fixture::new(Limits::default());
    let mut retry_after = |content_type: &str, reply: &str| {
        let mut exchange = replying(fixture.ready(first_turn("hi")).unwrap(), content_type);
        let mut deltas = Vec::new();
        let outcome = exchange.push(reply.as_bytes(), &mut deltas).and_then(|()| exchange.close(&mut deltas));
        let error = outcome.unwrap_err();
        (error.code(), error.retry())
    };
    for (content_type, reply, expected) in [
        ("text/event-stream", "data: {\"choices\":3}\n\n", ("upstream_malformed", Retry::Never)),
        ("application/json", "{\"choices\":3}", ("upstream_malformed", Retry::Never)),
        ("application/json", "\u{feff} {\"choices\":3}", ("upstream_malformed", Retry::Never)),
        ("application/json", "[{\"choices\":[]}]", ("upstream_malformed", Retry::Never)),
        ("text/html", "{\"choices\":3}", ("upstream_malformed", Retry::Never)),
        ("text/html", "<html>", ("upstream_malformed", Retry::Safe)),
        ("application/json", "<html>", ("upstream_malformed", Retry::Safe)),
        ("application/json", "", ("upstream_cut", Retry::Safe)),
        ("text/event-stream", "", ("upstream_cut", Retry::Safe)),
    ] {
        assert_eq!(retry_after(content_type, reply), expected, "{reply}");
    }
}

#[test]
fn a_failed_end_after_text_has_the_text_as_partial() {
    for (reason, code) in [("error", "upstream_unavailable"), ("abort", "upstream_cut")] {
        let mut fixture = Fixture::new(Limits::default());
        let exchange = fixture.ready(first_turn("hi")).unwrap();
        let stream = event(&json!({ "content": "so f" }), Some(reason)) + DONE;
        let failure = fixture.finish(exchange, [stream.as_bytes()]).1.unwrap_err();
        assert_eq!((failure.error.code(), failure.partial.unwrap().reply.as_str()), (code, "so f"));
    }
}
