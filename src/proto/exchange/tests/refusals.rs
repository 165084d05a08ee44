//! The words of refusals and the errors of replies, as a turn ends with them.

use super::*;
use crate::proto::error::Retry;

const PROMPT: &str = "You are Ada, the gardener of ACME.\nNever name the moon.";

fn with_secrets() -> Fixture {
    Fixture::changed(|deployment| {
        deployment.models =
            Models::new(vec![Model { system_prompt: Some(PROMPT.to_owned()), ..model("default") }]).unwrap();
        deployment.upstream_keys = [zeroize::Zeroizing::new("hunter2".to_owned())].into_iter().collect();
    })
}

/// The message that the caller sees of a refusal with these words.
fn shown(fixture: &mut Fixture, input: &str, words: &str) -> Option<String> {
    let exchange = fixture.ready(first_turn(input)).unwrap();
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
        (r"bad: 'the gardener of ACME.\nNever name the moon.'", r"bad: '[redacted]\n[redacted]'"),
        (r"bad: of ACME.\nNever name", "[redacted]"),
        ("`temperature` is too high", "`temperature` is too high"),
    ] {
        assert_eq!(shown(&mut fixture, "hi", words).as_deref(), Some(expected));
    }
}

#[test]
fn words_of_the_caller_are_shown_even_if_the_prompt_has_them() {
    let mut fixture = with_secrets();
    let words = "bad: the gardener of ACME";
    assert_eq!(shown(&mut fixture, "who is the gardener of ACME?", words).as_deref(), Some(words));
    assert_eq!(shown(&mut fixture, "who is it?", words).as_deref(), Some("bad:[redacted]"));
}

#[test]
fn errors_inside_a_reply_do_not_show_the_prompt() {
    let mut fixture = with_secrets();
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let error = json!({ "error": { "message": "bad: the gardener of ACME.", "type": "invalid_request_error" } });
    let stream = format!("data: {error}\n\n");
    let (_, outcome) = fixture.finish(exchange, [stream.as_bytes()]);
    assert!(matches!(outcome.unwrap_err().error,
        Error::UpstreamRefused { message: Some(message), .. } if message == "bad:[redacted]"));
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
