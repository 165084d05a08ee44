//! Room: reserved before the model is called, kept by the reply, made by leaving out the oldest.

use super::*;

/// The bytes of an item's line.
fn line(item: &Item) -> usize {
    item.line_bytes()
}

/// The line around a user's text, and around the model's where it may be cut.
fn around() -> (usize, usize) {
    let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text(String::new())], cut: true };
    (line(&Item::text(Role::User, "")), line(&cut))
}

/// Text that does not compress, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(letters[usize::try_from(state >> 58).unwrap()])
    };
    (0..bytes).map(|_| letter()).collect()
}

#[test]
fn the_replys_room_is_reserved_before_the_model_is_called() {
    let limits = Limits { history_bytes: 10_000, reply_reserve_bytes: 1_000, ..Limits::default() };
    let most = 9_000 - around().0;
    for (bytes, begins) in [(most - 1, true), (most, true), (most + 1, false)] {
        match Fixture::new(limits.clone()).ready(first_turn(&"a".repeat(bytes))) {
            Ok(_) => assert!(begins),
            Err(error) => {
                assert!(!begins);
                assert_eq!(error.to_string(), "conversation with this turn is 10001 bytes, limit 10000");
            }
        }
    }
    // A reserve above what a reply may be asks for no more than that.
    let small = Limits { reply_bytes: 500, ..limits };
    assert!(Fixture::new(small.clone()).ready(first_turn(&"a".repeat(most + 500))).is_ok());
    assert_eq!(error_code(Fixture::new(small).ready(first_turn(&"a".repeat(most + 501)))), "history_too_large");
}

#[test]
fn the_room_of_a_token_counts_what_does_not_compress() {
    for seal in [false, true] {
        let limits = Limits { token_bytes: 20_000, reply_reserve_bytes: 1_000, ..Limits::default() };
        let policy = TokenPolicy { seal, ..TokenPolicy::default() };
        let mut fixture = Fixture::with(limits.clone(), policy, vec![model("default")]);
        let mut token = fixture.turn(first_turn("hi"), "hello").token;
        let (mut turns, mut length) = (0, token.len());
        let refused = loop {
            match fixture.ready(next_turn(&token, &noise(turns, 700))) {
                Err(error) => break error,
                Ok(exchange) => {
                    let answer =
                        fixture.finish(exchange, [text_reply(&noise(turns + 1_000, 700)).as_bytes()]).1.unwrap();
                    (token, turns) = (answer.token, turns + 1);
                    length = token.len();
                }
            }
        };
        // It is refused with the token nearly full, and every token on the way could be issued.
        assert_eq!(refused.code(), "history_too_large");
        assert!(length > 13_000 && length <= limits.token_bytes && turns > 5, "{length} {turns}");
        assert!(fixture.history(&token).is_ok());
    }
}

#[test]
fn items_are_counted_with_the_reply_to_come() {
    let limits = |history_items| Limits { history_items, ..Limits::default() };
    let first = Fixture::new(limits(2)).turn(first_turn("hi"), "hello");
    for (items, begins) in [(3, false), (4, true), (5, true)] {
        let outcome = Fixture::new(limits(items)).ready(next_turn(&first.token, "and?"));
        assert_eq!(outcome.is_ok(), begins, "{items}");
        if let Err(error) = outcome {
            assert_eq!(error.to_string(), "conversation with this turn is 4 items, limit 3");
        }
    }
    // With room for one item more there is none for a call.
    let mut fixture = Fixture::new(limits(4));
    let exchange = fixture.ready(next_turn(&first.token, "add")).unwrap();
    let answer = fixture.finish(exchange, [call_reply("", &[("c1", "{}")]).as_bytes()]).1.unwrap();
    assert_eq!((answer.finish, answer.output), (FinishReason::Length, vec![Item::text(Role::Assistant, "")]));
    assert_eq!(fixture.history(&answer.token).unwrap().0.len(), 4);
}

#[test]
fn a_reply_that_outgrows_its_room_ends_at_a_characters_end() {
    let text = "a\"é\\世\n👋\u{1}b\u{7f}\u{2028}\r\u{8}\u{c}\t".repeat(3);
    let (_, frame) = around();
    for reply_bytes in frame..frame + 130 {
        let mut fixture = Fixture::new(Limits { reply_bytes, ..Limits::default() });
        let exchange = fixture.ready(first_turn("hi")).unwrap();
        let (deltas, outcome) = fixture.finish(exchange, [text_reply(&text).as_bytes()]);
        let answer = outcome.unwrap();
        let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text(answer.reply.clone())], cut: true };
        assert!(text.starts_with(&answer.reply) && line(&cut) <= reply_bytes);
        if answer.finish == FinishReason::Length {
            let longer: String = text.chars().take(answer.reply.chars().count() + 1).collect();
            let longer = Item::Message { role: Role::Assistant, parts: vec![Part::Text(longer)], cut: true };
            assert!(line(&longer) > reply_bytes, "there was room left");
        } else {
            assert_eq!((answer.finish, &answer.reply), (FinishReason::Stop, &text));
        }
        let shown: String = deltas.iter().map(|delta| if let Delta::Text(text) = delta { text } else { "" }).collect();
        assert_eq!(shown, answer.reply);
        assert_eq!(fixture.history(&answer.token).unwrap().0[1], Item::text(Role::Assistant, answer.reply));
    }
}

#[test]
fn a_call_is_kept_whole_or_not_at_all() {
    let reply = call_reply("Adding. ", &[("c1", "{\"a\": \"\\u0001\"}"), ("c2", &format!("\"{}\"", "x".repeat(100)))]);
    let mut seen = Vec::new();
    for reply_bytes in (64..460).step_by(3) {
        let mut fixture = Fixture::new(Limits { reply_bytes, ..Limits::default() });
        let exchange = fixture.ready(first_turn("hi")).unwrap();
        let answer = fixture.finish(exchange, [reply.as_bytes()]).1.unwrap();
        let bytes: usize = answer.output.iter().map(line).sum();
        assert!(bytes <= reply_bytes, "{bytes} {reply_bytes}");
        let calls: Vec<_> = answer.output.iter().filter(|item| matches!(item, Item::Call { .. })).collect();
        let whole = answer.finish == FinishReason::ToolCalls;
        assert_eq!(whole, calls.len() == 2 && answer.reply == "Adding. ");
        assert!(whole || answer.finish == FinishReason::Length);
        seen.push(calls.len());
        // What was kept waits for its result, and the conversation goes on.
        let ids = &["c1", "c2"][..calls.len()];
        let next = if ids.is_empty() { next_turn(&answer.token, "and?") } else { results(&answer.token, ids) };
        assert!(fixture.ready(next).is_ok());
    }
    assert!(seen.is_sorted() && seen.contains(&0) && seen.contains(&1) && seen.contains(&2));
}

#[test]
fn every_reply_that_is_taken_can_be_issued() {
    for seal in [false, true] {
        for (number, token_bytes) in (8_000..9_200).step_by(61).enumerate() {
            let limits = Limits { token_bytes, reply_reserve_bytes: 100, ..Limits::default() };
            let policy = TokenPolicy { seal, ..TokenPolicy::default() };
            let mut fixture = Fixture::with(limits, policy, vec![model("default")]);
            let seed = u64::try_from(number).unwrap();
            let exchange = fixture.ready(first_turn(&noise(seed, 1 + 50 * number))).unwrap();
            let answer = fixture.finish(exchange, [text_reply(&noise(seed + 99, 20_000)).as_bytes()]).1.unwrap();
            assert_eq!(answer.finish, FinishReason::Length);
            assert!(answer.token.len() <= token_bytes);
            assert!(fixture.history(&answer.token).is_ok());
        }
    }
}

#[test]
fn what_breaks_after_the_room_is_full_is_not_looked_at() {
    let mut fixture = Fixture::new(Limits { reply_bytes: 70, ..Limits::default() });
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let reply = event(&json!({ "content": "longer than there is room" }), None) + "data: nonsense\n\n";
    let answer = fixture.finish(exchange, [reply.as_bytes()]).1.unwrap();
    assert_eq!((answer.reply.as_str(), answer.finish), ("longer", FinishReason::Length));
}

/// A conversation of turns with a call each, and the number of its items.
fn long(fixture: &mut Fixture, turns: usize, bytes: usize) -> (String, usize) {
    let mut token = None;
    for number in 0..turns {
        let ask = TurnRequest { token: token.take(), ..first_turn(&format!("turn {number}: {}", "a".repeat(bytes))) };
        let exchange = fixture.ready(ask).unwrap();
        let call = fixture.finish(exchange, [call_reply("Adding.", &[("c1", "{}")]).as_bytes()]).1.unwrap();
        token = Some(fixture.turn(results(&call.token, &["c1"]), "done").token);
    }
    let token = token.unwrap();
    let items = fixture.history(&token).unwrap().0.len();
    (token, items)
}

#[test]
fn the_oldest_turns_go_whole_and_are_counted() {
    let (token, items) = long(&mut Fixture::new(Limits::default()), 8, 1_000);
    let mut fixture = Fixture::new(Limits { history_bytes: 12_000, reply_reserve_bytes: 5_000, ..Limits::default() });
    assert_eq!(error_code(fixture.ready(next_turn(&token, "and?"))), "history_too_large");
    let exchange =
        fixture.ready(TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, "and?") }).unwrap();
    let answer = fixture.finish(exchange, [text_reply("yes").as_bytes()]).1.unwrap();
    let trimmed = answer.conversation.trimmed_items;
    assert!(trimmed > 0 && trimmed.is_multiple_of(5), "{trimmed}");
    let (kept, conversation) = fixture.history(&answer.token).unwrap();
    assert_eq!(kept.len(), items - trimmed + 2);
    let first = Item::text(Role::User, format!("turn {}: {}", trimmed / 5, "a".repeat(1_000)));
    assert_eq!(kept[0], first);
    // It is the same conversation, and what was left out is told once.
    assert_eq!((conversation.claims.turn, conversation.trimmed_items), (17, 0));
    let mut roomy = Fixture::new(Limits::default());
    assert_eq!(roomy.turn(next_turn(&answer.token, "and?"), "yes").conversation.trimmed_items, 0);
}

#[test]
fn a_token_over_limits_that_were_lowered_is_not_taken() {
    let (token, _) = long(&mut Fixture::new(Limits::default()), 8, 1_000);
    let mut fixture = Fixture::new(Limits { history_bytes: 8_000, reply_reserve_bytes: 1_000, ..Limits::default() });
    let ask = TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, "and?") };
    assert_eq!(error_code(fixture.ready(ask)), "token_invalid");
}

#[test]
fn a_turn_that_does_not_fit_alone_is_refused_all_the_same() {
    let limits = Limits { history_bytes: 5_000, reply_reserve_bytes: 1_000, ..Limits::default() };
    let mut fixture = Fixture::new(limits);
    let (token, _) = long(&mut fixture, 2, 100);
    let ask =
        |bytes: usize| TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, &"a".repeat(bytes)) };
    let most = 4_000 - around().0;
    assert!(fixture.ready(ask(most)).is_ok());
    assert_eq!(error_code(fixture.ready(ask(most + 1))), "history_too_large");
    // A result cannot be trimmed away from its call, however old that is.
    let exchange = fixture.ready(next_turn(&token, "add")).unwrap();
    let call = fixture
        .finish(exchange, [call_reply("", &[("c9", &format!("\"{}\"", "x".repeat(2_000)))]).as_bytes()])
        .1
        .unwrap();
    let mut answer = results(&call.token, &["c9"]);
    answer.truncation = Some(Truncation::Oldest);
    answer.input = vec![Item::Result { id: "c9".to_owned(), out: Output::Text("y".repeat(2_500)), error: false }];
    assert_eq!(error_code(fixture.ready(answer)), "history_too_large");
}

#[test]
fn a_full_conversation_is_trimmed_at_once_and_not_by_more_than_it_must() {
    let limits = Limits::default();
    let mut fixture = Fixture::new(limits.clone());
    let (token, items) = long(&mut fixture, 16, 250_000);
    let exchange = fixture
        .ready(TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, &"b".repeat(230_000)) })
        .unwrap();
    let answer = fixture.finish(exchange, [text_reply("yes").as_bytes()]).1.unwrap();
    assert!((5..items / 2 + 5).contains(&answer.conversation.trimmed_items), "{}", answer.conversation.trimmed_items);
    // What is kept is what surely fits a token, whether it compresses or not.
    assert!(answer.conversation.history_bytes > limits.token_bytes * 3 / 5, "{}", answer.conversation.history_bytes);
}
