//! Every API with every kind of upstream: messages and tool calls arrive, in complete and in
//! streamed replies.

use serde_json::Value;

use crate::support::{config, hand::Hand, kind::Kind, wire::Wire};

/// A service with two models, `default` and `other`, at upstreams of these kinds.
fn hand(first: Kind, second: Kind) -> Hand {
    let service = |name: &str, kind: Kind| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nkind = \"{}\"\nbase_url = \"http://{name}.test\"\n\
             [[model]]\nalias = \"{name}\"\nupstreams = [\"{name}\"]\nmodel = \"m-1\"\n",
            kind.name()
        )
    };
    Hand::of(config(&format!("{}{}", service("default", first), service("other", second))))
}

/// Takes a turn. Returns the body that the upstream received, and the body that the client
/// received.
fn turn(
    hand: &Hand,
    wire: Wire,
    body: &Value,
    answer: impl FnOnce(&mut crate::support::fake::Call),
) -> (String, String) {
    let mut pending = hand.post(wire.path(), body.to_string());
    pending.wait();
    let mut call = hand.upstream.call();
    answer(&mut call);
    let received = pending.answer();
    assert_eq!(received.status, 200, "{wire:?}: {}", received.text());
    (String::from_utf8(call.request.body().to_vec()).unwrap(), received.text())
}

/// Asserts that the text contains these words in this order.
fn assert_in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        rest = rest.split_once(word).unwrap_or_else(|| panic!("`{word}` is missing, or out of order, in {text}")).1;
    }
}

#[test]
fn messages_pass_from_every_api_to_every_upstream() {
    for wire in Wire::ALL {
        for kind in Kind::ALL {
            for stream in [false, true] {
                let hand = hand(kind, kind);
                let first = wire.turn(None, None, "first-question", stream);
                let (sent, received) = turn(&hand, wire, &first, |call| kind.say(call, "first-answer"));
                assert!(sent.contains("first-question"), "{wire:?} {kind:?}");
                let (reply, token) =
                    wire.read(&received, stream).unwrap_or_else(|| panic!("{wire:?} {kind:?}: {received}"));
                assert_eq!(reply, "first-answer", "{wire:?} {kind:?}");
                let second = wire.turn(None, Some(&token), "second-question", stream);
                let (sent, received) = turn(&hand, wire, &second, |call| kind.say(call, "second-answer"));
                assert_in_order(&sent, &["first-question", "first-answer", "second-question"]);
                // A provider never receives a token or a response id.
                assert!(!sent.contains(&token) && !sent.contains("resp_"), "{sent}");
                assert_eq!(wire.read(&received, stream).unwrap().0, "second-answer");
            }
        }
    }
}

#[test]
fn tool_calls_and_results_pass_from_every_api_to_every_upstream() {
    for wire in Wire::ALL {
        for kind in Kind::ALL {
            for stream in [false, true] {
                let hand = hand(kind, kind);
                let ask = wire.with_tool(wire.turn(None, None, "add, please", stream));
                let (sent, received) = turn(&hand, wire, &ask, |call| kind.call_tool(call, "call-7", r#"{"a":3}"#));
                assert_in_order(&sent, &["\"add\"", "integer"]);
                let (call, token) =
                    wire.read_call(&received, stream).unwrap_or_else(|| panic!("{wire:?} {kind:?}: {received}"));
                assert_eq!(call, ["call-7", "add", r#"{"a":3}"#], "{wire:?} {kind:?}");
                let result = wire.with_tool(wire.result(&token, "call-7", "the-sum", stream));
                let (sent, received) = turn(&hand, wire, &result, |call| kind.say(call, "it-is-three"));
                assert_in_order(&sent, &["add, please", "call-7", "call-7", "the-sum"]);
                assert_eq!(wire.read(&received, stream).unwrap().0, "it-is-three", "{wire:?} {kind:?}");
            }
        }
    }
}

#[test]
fn a_conversation_can_change_api_and_provider_between_turns() {
    for (first, second) in [(0, 1), (1, 2), (2, 0)].map(|(a, b)| (Kind::ALL[a], Kind::ALL[b])) {
        let hand = hand(first, second);
        let mut token: Option<String> = None;
        for (turn_number, wire) in Wire::ALL.into_iter().cycle().take(8).enumerate() {
            let (alias, kind) = if turn_number % 2 == 0 { ("default", first) } else { ("other", second) };
            let stream = turn_number % 3 == 0;
            let mut body = wire.turn(None, token.as_deref(), &format!("question-{turn_number}"), stream);
            body["model"] = alias.into();
            let answer = format!("answer-{turn_number}");
            let (sent, received) = turn(&hand, wire, &body, |call| kind.say(call, &answer));
            let words: Vec<_> =
                (0..turn_number).flat_map(|n| [format!("question-{n}"), format!("answer-{n}")]).collect();
            assert_in_order(&sent, &words.iter().map(String::as_str).collect::<Vec<_>>());
            token = Some(wire.read(&received, stream).unwrap().1);
        }
    }
}
