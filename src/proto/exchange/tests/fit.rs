//! Room for the reply: reserved before the call, kept by the reply, and made by trimming.

use super::*;

/// The number of bytes of an item's line.
fn line(item: &Item) -> usize {
    item.line_bytes()
}

/// The number of bytes that a line has in addition to its text: for a user message, and for a cut
/// message of the model.
fn line_overhead() -> (usize, usize) {
    let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text(String::new())], cut: true };
    (line(&Item::text(Role::User, "")), line(&cut))
}

/// Text that does not compress. It depends only on the seed.
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
fn room_for_the_reply_is_reserved_before_the_call() {
    let limits = Limits { history_bytes: 10_000, reply_reserve_bytes: 1_000, ..Limits::default() };
    let most = 9_000 - line_overhead().0;
    for (bytes, fits) in [(most - 1, true), (most, true), (most + 1, false)] {
        match Fixture::new(limits.clone()).ready(first_turn(&"a".repeat(bytes))) {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(!fits);
                assert_eq!(
                    error.to_string(),
                    "The conversation with this turn has 10001 bytes; the limit is 10000. Send a shorter input, set \
                     `truncation`, or start a new conversation."
                );
            }
        }
    }
    // A reserve over the limit on replies counts as that limit.
    let small = Limits { reply_bytes: 500, ..limits };
    assert!(Fixture::new(small.clone()).ready(first_turn(&"a".repeat(most + 500))).is_ok());
    assert_eq!(error_code(Fixture::new(small).ready(first_turn(&"a".repeat(most + 501)))), "history_too_large");
}

#[test]
fn the_room_of_a_token_assumes_no_compression() {
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
        // The token is nearly full when a turn is refused, and every earlier token could be issued.
        assert_eq!(refused.code(), "history_too_large");
        assert!(length > 13_000 && length <= limits.token_bytes && turns > 5, "{length} {turns}");
        assert!(fixture.history(&token).is_ok());
    }
}

#[test]
fn the_item_of_the_reply_is_counted_in_advance() {
    let limits = |history_items| Limits { history_items, ..Limits::default() };
    let first = Fixture::new(limits(2)).turn(first_turn("hi"), "hello");
    for (items, fits) in [(3, false), (4, true), (5, true)] {
        let outcome = Fixture::new(limits(items)).ready(next_turn(&first.token, "and?"));
        assert_eq!(outcome.is_ok(), fits, "{items}");
        if let Err(error) = outcome {
            assert_eq!(
                error.to_string(),
                "The conversation with this turn has 4 items; the limit is 3. Send a shorter input, set `truncation`, \
                 or start a new conversation."
            );
        }
    }
    // Room for one item is not enough for a call, because a message may follow it.
    let mut fixture = Fixture::new(limits(4));
    let exchange = fixture.ready(next_turn(&first.token, "add")).unwrap();
    let answer = fixture.finish(exchange, [call_reply("", &[("c1", "{}")]).as_bytes()]).1.unwrap();
    assert_eq!((answer.finish, answer.output), (FinishReason::Length, vec![Item::text(Role::Assistant, "")]));
    assert_eq!(fixture.history(&answer.token).unwrap().0.len(), 4);
}

#[test]
fn a_reply_that_is_too_long_ends_after_a_whole_character() {
    let text = "a\"é\\世\n👋\u{1}b\u{7f}\u{2028}\r\u{8}\u{c}\t".repeat(3);
    let (_, frame) = line_overhead();
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
fn a_call_is_kept_completely_or_left_out() {
    let reply = call_reply("Adding. ", &[("c1", "{\"a\": \"\\u0001\"}"), ("c2", &format!("\"{}\"", "x".repeat(100)))]);
    let mut seen = Vec::new();
    for reply_bytes in (64..460).step_by(3) {
        let mut fixture = Fixture::new(Limits { reply_bytes, ..Limits::default() });
        let exchange = fixture.ready(first_turn("hi")).unwrap();
        let answer = fixture.finish(exchange, [reply.as_bytes()]).1.unwrap();
        let bytes: usize = answer.output.iter().map(line).sum();
        assert!(bytes <= reply_bytes, "{bytes} {reply_bytes}");
        let calls: Vec<_> = answer.output.iter().filter(|item| matches!(item, Item::Call { .. })).collect();
        let is_complete = answer.finish == FinishReason::ToolCalls;
        assert_eq!(is_complete, calls.len() == 2 && answer.reply == "Adding. ");
        assert!(is_complete || answer.finish == FinishReason::Length);
        seen.push(calls.len());
        // A call that was kept waits for its result, and the conversation can continue.
        let ids = &["c1", "c2"][..calls.len()];
        let next = if ids.is_empty() { next_turn(&answer.token, "and?") } else { results(&answer.token, ids) };
        assert!(fixture.ready(next).is_ok());
    }
    assert!(seen.is_sorted() && seen.contains(&0) && seen.contains(&1) && seen.contains(&2));
}

#[test]
fn every_reply_that_fits_can_be_issued() {
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
fn errors_after_the_room_is_full_are_ignored() {
    let mut fixture = Fixture::new(Limits { reply_bytes: 70, ..Limits::default() });
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let reply = event(&json!({ "content": "longer than there is room" }), None) + "data: {nonsense\n\n";
    let answer = fixture.finish(exchange, [reply.as_bytes()]).1.unwrap();
    assert_eq!((answer.reply.as_str(), answer.finish), ("longer", FinishReason::Length));
}

/// A conversation of turns with one call each. Returns its token and the number of its items.
fn long_conversation(fixture: &mut Fixture, turns: usize, bytes: usize) -> (String, usize) {
    let mut token = None;
    for number in 0..turns {
        let request =
            TurnRequest { token: token.take(), ..first_turn(&format!("turn {number}: {}", "a".repeat(bytes))) };
        let exchange = fixture.ready(request).unwrap();
        let call = fixture.finish(exchange, [call_reply("Adding.", &[("c1", "{}")]).as_bytes()]).1.unwrap();
        token = Some(fixture.turn(results(&call.token, &["c1"]), "done").token);
    }
    let token = token.unwrap();
    let items = fixture.history(&token).unwrap().0.len();
    (token, items)
}

#[test]
fn complete_oldest_turns_are_dropped_and_counted() {
    let (token, items) = long_conversation(&mut Fixture::new(Limits::default()), 8, 1_000);
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
    // It is the same conversation, and the number of dropped items is reported once.
    assert_eq!((conversation.claims.turn, conversation.trimmed_items), (17, 0));
    let mut large = Fixture::new(Limits::default());
    assert_eq!(large.turn(next_turn(&answer.token, "and?"), "yes").conversation.trimmed_items, 0);
}

#[test]
fn a_token_over_lowered_limits_is_invalid() {
    let (token, _) = long_conversation(&mut Fixture::new(Limits::default()), 8, 1_000);
    let mut fixture = Fixture::new(Limits { history_bytes: 8_000, reply_reserve_bytes: 1_000, ..Limits::default() });
    let ask = TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, "and?") };
    assert_eq!(error_code(fixture.ready(ask)), "token_invalid");
}

#[test]
fn a_turn_that_does_not_fit_by_itself_is_refused() {
    let limits = Limits { history_bytes: 5_000, reply_reserve_bytes: 1_000, ..Limits::default() };
    let mut fixture = Fixture::new(limits);
    let (token, _) = long_conversation(&mut fixture, 2, 100);
    let ask =
        |bytes: usize| TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, &"a".repeat(bytes)) };
    let most = 4_000 - line_overhead().0;
    assert!(fixture.ready(ask(most)).is_ok());
    assert_eq!(error_code(fixture.ready(ask(most + 1))), "history_too_large");
    // Trimming never separates a result from its call.
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
fn a_full_conversation_is_trimmed_only_as_much_as_needed() {
    let limits = Limits::default();
    let mut fixture = Fixture::new(limits.clone());
    let (token, items) = long_conversation(&mut fixture, 16, 250_000);
    let exchange = fixture
        .ready(TurnRequest { truncation: Some(Truncation::Oldest), ..next_turn(&token, &"b".repeat(230_000)) })
        .unwrap();
    let answer = fixture.finish(exchange, [text_reply("yes").as_bytes()]).1.unwrap();
    assert!((5..items / 2 + 5).contains(&answer.conversation.trimmed_items), "{}", answer.conversation.trimmed_items);
    // The kept history would fit into a token even without compression.
    assert!(answer.conversation.history_bytes > limits.token_bytes * 3 / 5, "{}", answer.conversation.history_bytes);
}
