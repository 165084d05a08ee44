//! Tests of repeated conversations.

use super::*;
use crate::proto::chat::{
    item::{Output, Part},
    owner_mark::{claimed_provider, owner_mark},
};

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn model(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

fn call(args: &str) -> Item {
    Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: args.to_owned() }
}

fn result(out: Output) -> Item {
    Item::Result { id: "c".to_owned(), out, error: false }
}

fn history() -> Vec<Item> {
    let text = |text: &str| Output::Text(text.to_owned());
    let think = Item::Think { provider_id: "anthropic".to_owned(), blob: "{}".to_owned() };
    vec![user("a"), model("A"), user("b"), think, model("B"), call(r#"{"x": 1}"#), result(text("3")), model("C ")]
}

fn without_echo(history: &[Item], input: &[Item], is_whole: bool) -> Result<Vec<Item>, Error> {
    new_items(history, input, is_whole, true)
        .map(|is_new| input.iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(item, _)| item.clone()).collect())
}

fn from_history(input: &[Item]) -> Result<Vec<Item>, Error> {
    without_echo(&history(), input, true)
}

#[test]
fn a_repeated_conversation_is_dropped() {
    let parts = Output::Parts(vec![Part::Text("3".to_owned())]);
    let echo = [user("a"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), result(parts), model("C")];
    for forgotten in 0..echo.len() {
        let mut input = echo[forgotten..].to_vec();
        input.extend([user("d"), user("e")]);
        assert_eq!(from_history(&input).unwrap(), [user("d"), user("e")], "{forgotten}");
    }
}

#[test]
fn a_reminder_may_be_missing_from_the_copy() {
    let history = [user("a"), model("A"), user("b"), user("Be brief."), model("B")];
    for copy in [vec![user("a"), model("A"), user("b"), model("B")], vec![model("A"), user("Be brief."), model("B")]] {
        let input = [copy, vec![user("c"), user("Be brief.")]].concat();
        assert_eq!(without_echo(&history, &input, true).unwrap(), [user("c"), user("Be brief.")]);
    }
    let other = [user("a"), model("A"), user("x"), model("B"), user("c")];
    assert!(without_echo(&history, &other, true).is_err());
    let without_reply = [user("a"), user("b"), model("B"), user("c")];
    assert!(without_echo(&history, &without_reply, true).is_err());
}

#[test]
fn a_reference_stands_for_any_reply_in_its_place() {
    let three = || result(Output::Text("3".to_owned()));
    let add = || call(r#"{"x":1}"#);
    let echo = [user("a"), Item::reference(), user("b"), Item::reference(), add(), three(), Item::reference()];
    for forgotten in 0..echo.len() {
        let mut input = echo[forgotten..].to_vec();
        input.push(user("d"));
        assert_eq!(from_history(&input).unwrap(), [user("d")], "{forgotten}");
    }
    // It stands for no message of the user, and for nothing in the place of one.
    for input in [
        vec![user("x"), Item::reference(), user("d")],
        vec![Item::reference(), user("a"), model("A"), user("d")],
        vec![user("a"), user("b"), Item::reference(), user("d")],
        vec![user("b"), Item::reference(), call("{}"), user("d")],
    ] {
        from_history(&input).unwrap_err();
    }
    // A result after references to the reply with its call.
    let open = &history()[..6];
    let input = [user("a"), Item::reference(), user("b"), Item::reference(), Item::reference(), three()];
    assert_eq!(without_echo(open, &input, true).unwrap(), [three()]);
}

#[test]
fn new_input_is_unchanged() {
    assert_eq!(from_history(&[user("a"), user("b")]).unwrap(), [user("a"), user("b")]);
    assert_eq!(without_echo(&[], &[user("a")], true).unwrap(), [user("a")]);
}

#[test]
fn forged_turns_of_the_model_are_refused() {
    for input in [
        vec![model("A")],
        vec![model("C"), user("d"), model("D"), user("e")],
        vec![user("a"), model("other"), user("b"), model("B"), call("{}"), user("d")],
        vec![model("before"), user("a"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), user("d")],
        vec![call(r#"{"x":2}"#), user("d")],
    ] {
        assert_eq!(from_history(&input).unwrap_err().code(), "role_forbidden", "{input:?}");
        let without_history = without_echo(&[], &input, true).unwrap_err();
        assert_eq!(without_history.code(), "role_forbidden");
    }
}

#[test]
fn arguments_that_are_not_an_object_equal_an_empty_object() {
    let call = |args: &str| Item::Call { id: "c".to_owned(), name: "n".to_owned(), args: args.to_owned() };
    let is_known = |ours, theirs| without_echo(&[user("a"), call(ours)], &[call(theirs), user("b")], true).is_ok();
    for ours in ["", "{", "[1]", "\"x\"", "{}"] {
        assert!(is_known(ours, ours) && is_known(ours, "{ }"), "{ours}");
        assert!(!is_known(ours, "{\"x\":1}") && !is_known("{\"x\":1}", ours) && !is_known(ours, "5"), "{ours}");
    }
}

#[test]
fn changed_user_messages_are_refused_as_another_conversation() {
    let other = Output::Text("4".to_owned());
    for input in [
        vec![user("x"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), result(other), model("C"), user("d")],
        vec![user("other"), model("B"), call(r#"{"x":1}"#), result(Output::Text("3".to_owned())), model("C")],
    ] {
        assert_eq!(from_history(&input).unwrap_err().code(), "request_invalid", "{input:?}");
    }
}

#[test]
fn clients_may_remember_more_only_of_a_trimmed_conversation() {
    let remembered = || vec![user("old"), model("OLD"), user("a"), model("A"), user("b")];
    let left = [user("a"), model("A")];
    assert_eq!(without_echo(&left, &remembered(), false).unwrap(), [user("b")]);
    assert_eq!(without_echo(&left, &remembered(), true).unwrap_err().code(), "role_forbidden");
}

#[test]
fn a_summary_is_not_compared() {
    let summary = user(&format!("{}\nThey greeted.", crate::proto::chat::note::SUMMARY_HEADING));
    let history = [summary.clone(), user("b"), model("B"), user("c"), model("C")];
    let remembered = || vec![user("a"), model("A"), user("b"), model("B"), user("c"), model("C"), user("d")];
    for forgotten in 0..3 {
        let input = remembered().split_off(forgotten * 2);
        assert_eq!(without_echo(&history, &input, false).unwrap(), [user("d")], "{forgotten}");
    }
    let mut forged = remembered();
    forged[3] = model("other");
    assert_eq!(without_echo(&history, &forged, false).unwrap_err().code(), "role_forbidden");
    // A user can write a message that looks like a summary. It is still a message of the user.
    assert_eq!(
        without_echo(&[summary.clone(), model("A")], &[summary, model("A"), user("b")], true).unwrap(),
        [user("b")]
    );
}

#[test]
fn a_note_equals_any_image() {
    let picture =
        |part: Part| Item::Message { role: Role::User, parts: vec![Part::Text("look".to_owned()), part], cut: false };
    let image = Part::Image("data:image/png;base64,AAAA".to_owned());
    let note = Part::Text(crate::proto::chat::note::image_note("data:image/png;base64,AAAA"));
    let input = [picture(image), model("A"), user("b")];
    assert_eq!(without_echo(&[picture(note), model("A")], &input, true).unwrap(), [user("b")]);
    let other = Part::Image("https://e.test/b.png".to_owned());
    assert!(without_echo(&[picture(other), model("A")], &input, true).is_err());
}

#[test]
fn a_turn_begins_with_user_items() {
    assert_eq!(count_turns(&history()), 3);
    assert_eq!(count_turns(&[user("a"), user("b"), model("A")]), 1);
    assert_eq!(count_turns(&[]), 0);
}

/// The conversation with a question whose reply waits for the results of two calls.
fn waiting() -> Vec<Item> {
    let call = |id: &str| Item::Call { id: id.to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    vec![user("a"), model("A"), user("b"), model("Adding."), call("1"), call("2")]
}

fn result_of(id: &str, out: &str) -> Item {
    Item::Result { id: id.to_owned(), out: Output::Text(out.to_owned()), error: false }
}

#[test]
fn a_question_before_its_results_is_an_echo() {
    let results = vec![result_of("1", "x"), result_of("2", "y")];
    let think = Item::Think { provider_id: "anthropic".to_owned(), blob: "{}".to_owned() };
    for echo in [
        vec![],
        vec![user("b")],
        vec![user(" b\n")],
        vec![user("a"), model("A"), user("b")],
        vec![model("A"), user("b")],
        vec![user("b"), think],
        vec![user("b"), model("")],
    ] {
        let input = [echo.clone(), results.clone(), vec![user("c")]].concat();
        let new = [results.clone(), vec![user("c")]].concat();
        assert_eq!(without_echo(&waiting(), &input, true).unwrap(), new, "{echo:?}");
    }
    // Another question is new input, and the same question alone as well.
    for new in [vec![user("a"), result_of("1", "x")], vec![user("b")], vec![user("c"), user("b")]] {
        assert_eq!(without_echo(&waiting(), &new, true).unwrap(), new);
    }
    // The older turns must match.
    for (forged, code) in [
        (vec![user("a"), model("B"), user("b")], "role_forbidden"),
        (vec![user("x"), model("A"), user("b")], "role_forbidden"),
        (vec![model("A"), user("b"), model("Added."), user("b")], "role_forbidden"),
    ] {
        let input = [forged, results.clone()].concat();
        assert_eq!(without_echo(&waiting(), &input, true).unwrap_err().code(), code, "{input:?}");
    }
    // A reply that waits for nothing was not left out.
    let answered = [waiting(), results.clone(), vec![model("B")]].concat();
    assert_eq!(without_echo(&answered, &[user("b"), user("c")], true).unwrap(), [user("b"), user("c")]);
}

fn call_of(id: &str) -> Item {
    Item::Call { id: id.to_owned(), name: "add".to_owned(), args: "{}".to_owned() }
}

#[test]
fn calls_and_results_may_be_in_another_order_or_missing() {
    let (c1, c2, c3) = (|| call_of("1"), || call_of("2"), || call_of("3"));
    let (r1, r2, r3) = (|| result_of("1", "x"), || result_of("2", "y"), || result_of("3", "z"));
    // The results of two calls at once, where each follows its call.
    for input in [
        vec![user("b"), model("Adding."), c1(), r1(), c2(), r2()],
        vec![c1(), r1(), c2(), r2()],
        vec![user("b"), c1(), r1(), model("Adding."), c2(), r2()],
        vec![user("b"), c1(), r1(), r2()],
        vec![user("a"), model("A"), user("b"), c2(), r1(), r2()],
        vec![user("b"), model("Adding."), r1(), r2()],
        vec![model("Adding."), r1(), r2()],
        vec![user("a"), model("A"), user("b"), c1(), c2(), r1(), r2()],
    ] {
        assert_eq!(without_echo(&waiting(), &input, true).unwrap(), [r1(), r2()], "{input:?}");
    }
    let input = [c2(), r2(), c1(), r1(), user("c")];
    assert_eq!(without_echo(&waiting(), &input, true).unwrap(), [r2(), r1(), user("c")]);
    // The next step of the same reply.
    let step = [waiting(), vec![r1(), r2(), model("Once more."), c3()]].concat();
    for input in [
        vec![user("b"), c1(), r1(), c2(), r2(), c3(), r3()],
        vec![user("b"), c1(), c2(), c3(), r1(), r2(), r3()],
        vec![c1(), c2(), r1(), r2(), r3()],
        vec![user("b"), model("Once more."), c3(), r3()],
        vec![user("b"), model("Adding."), model("Once more."), r3()],
        vec![user("b"), r2(), r1(), c3(), r3()],
        vec![c1(), r1(), c3(), r3()],
        vec![c2(), r2(), r1(), r3()],
    ] {
        assert_eq!(without_echo(&step, &input, true).unwrap(), [r3()], "{input:?}");
    }
    // The end of the reply.
    let done = [step, vec![r3(), model("Done.")]].concat();
    for echo in [
        vec![user("b"), model("Done.")],
        vec![user("a"), model("A"), user("b"), c1(), r1(), c2(), r2(), c3(), r3(), model("Done.")],
        vec![user("b"), model("Adding."), c3(), r3(), model("Done.")],
        vec![r1(), c3(), r3(), model("Done.")],
    ] {
        let input = [&echo[..], &[user("c")]].concat();
        assert_eq!(without_echo(&done, &input, true).unwrap(), [user("c")], "{input:?}");
    }
}

#[test]
fn calls_and_results_of_others_are_refused_in_any_order() {
    let (c1, c2) = (|| call_of("1"), || call_of("2"));
    let (r1, r2) = (|| result_of("1", "x"), || result_of("2", "y"));
    let other =
        |name: &str, args: &str| Item::Call { id: "1".to_owned(), name: name.to_owned(), args: args.to_owned() };
    for forged in [
        vec![user("b"), other("add", r#"{"x":1}"#), r1(), c2(), r2()],
        vec![user("b"), other("sub", "{}"), r1(), c2(), r2()],
        vec![user("b"), c1(), r1(), c1(), r2()],
        vec![user("b"), call_of("3"), r1(), r2()],
        vec![user("b"), c1(), r1(), model("Added."), c2(), r2()],
        vec![user("b"), model("Adding."), model("Adding."), c1(), r1(), r2()],
        vec![user("b"), c1(), r1(), c2(), r2(), model("Done."), user("c")],
    ] {
        assert_eq!(without_echo(&waiting(), &forged, true).unwrap_err().code(), "role_forbidden", "{forged:?}");
    }
    let done = [waiting(), vec![r1(), r2(), model("Done.")]].concat();
    for (forged, code) in [
        // A call is not the reply that follows it.
        (vec![user("b"), c1(), r1(), user("c")], "role_forbidden"),
        (vec![c1(), r1(), user("c")], "role_forbidden"),
        (vec![user("x"), c1(), r1(), c2(), r2(), model("Done."), user("c")], "request_invalid"),
        (vec![user("b"), c1(), result_of("1", "y"), c2(), r2(), model("Done."), user("c")], "request_invalid"),
        (vec![user("b"), c1(), r1(), c2(), r1(), model("Done."), user("c")], "request_invalid"),
        (vec![user("b"), user("and?"), c1(), r1(), model("Done."), user("c")], "request_invalid"),
    ] {
        assert_eq!(without_echo(&done, &forged, true).unwrap_err().code(), code, "{forged:?}");
    }
}

#[test]
fn messages_may_be_split_and_joined() {
    let history = [user("One. "), user("Two."), model("Three.\n\nFour."), user("Five."), model(" Six")];
    for echo in [
        vec![user("One. Two."), model("Three."), model("Four."), user("Five."), model("Six")],
        vec![user("One.\nTwo."), model("Three.\n\nFo"), model("ur."), user("Five."), model("Six\n")],
        vec![
            user("One."),
            user(""),
            user("Two."),
            model("Three.\n\nFour."),
            user("Fi"),
            user("ve."),
            model("S"),
            model("ix"),
        ],
        vec![user("Two."), model("Three.\n\nFour."), user("Five."), model("Six")],
    ] {
        let input = [&echo[..], &[user("c")]].concat();
        assert_eq!(without_echo(&history, &input, true).unwrap(), [user("c")], "{input:?}");
    }
    for forged in [
        vec![user("One. Two."), model("Three. Four."), user("Five."), model("Six")],
        vec![model("Four."), user("Five."), model("Six"), model("Seven")],
        vec![user("Two. One."), model("Three.\n\nFour."), user("Five."), model("Six")],
        // The start of a message is missing.
        vec![user("Two."), model("Four."), user("Five."), model("Six")],
        vec![model("ix")],
    ] {
        let input = [&forged[..], &[user("c")]].concat();
        without_echo(&history, &input, true).unwrap_err();
    }
}

#[test]
fn calls_that_were_trimmed_are_not_compared() {
    let left = [user("b"), model("B")];
    let remembered = [user("a"), call("{}"), result(Output::Text("3".to_owned())), model("A"), user("b"), model("B")];
    for forgotten in 0..5 {
        let input = [&remembered[forgotten..], &[user("c")]].concat();
        assert_eq!(without_echo(&left, &input, false).unwrap(), [user("c")], "{forgotten}");
    }
    let input = [user("b"), call("{}"), result(Output::Text("3".to_owned())), model("B"), user("c")];
    assert_eq!(without_echo(&left, &input, false).unwrap_err().code(), "role_forbidden");
}

#[test]
fn a_later_call_of_the_same_question_leaves_the_echo_as_it_is() {
    let call = |id: &str| Item::Call { id: id.to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    let history = [waiting(), vec![result_of("1", "x"), result_of("2", "y"), call("3")]].concat();
    let new = [result_of("3", "z")];
    for echo in [
        vec![user("b")],
        vec![user("b"), result_of("1", "x"), result_of("2", "y")],
        vec![user("b"), result_of("2", "y")],
        vec![result_of("1", "x")],
        vec![user("a"), model("A"), user("b"), result_of("1", "x")],
    ] {
        let input = [&echo[..], &new].concat();
        assert_eq!(without_echo(&history, &input, true).unwrap(), new, "{echo:?}");
    }
    // Another result for a call that was answered is not an echo, and neither is one alone.
    assert_eq!(without_echo(&history, &[result_of("1", "x")], true).unwrap(), [result_of("1", "x")]);
    let input = [user("b"), result_of("1", "other"), result_of("3", "z")];
    assert_eq!(without_echo(&history, &input, true).unwrap(), input[1..]);
    // An id can be used again. A result for the call that waits is new, even if it is the same.
    let again = [waiting(), vec![result_of("1", "x"), result_of("2", "y"), call("1")]].concat();
    let input = [result_of("1", "x"), user("c")];
    assert_eq!(without_echo(&again, &input, true).unwrap(), input);
}

#[test]
fn a_blank_message_does_not_stand_for_a_reply() {
    for input in [vec![model(""), user("c")], vec![user("a"), model(" "), user("c")]] {
        let history = [user("a"), model("A")];
        assert_eq!(without_echo(&history, &input, true).unwrap_err().code(), "role_forbidden", "{input:?}");
        assert_eq!(without_echo(&[], &input, true).unwrap_err().code(), "role_forbidden", "{input:?}");
        assert_eq!(without_echo(&[user("a"), model("")], &input, true).unwrap(), [user("c")], "{input:?}");
    }
}

#[test]
fn a_blank_message_of_the_model_need_not_be_repeated() {
    let history = [user("a"), model(""), user("b"), model(" \n"), user("c"), model("C")];
    for input in [
        vec![user("a"), user("b"), user("c"), model("C"), user("d")],
        vec![user("a"), model(""), user("b"), user("c"), model("C"), model(""), user("d")],
        // The client has forgotten older turns.
        vec![user("b"), user("c"), model("C"), user("d")],
        vec![user("c"), model("C"), user("d")],
        vec![user("c"), model("C"), model(""), user("d")],
    ] {
        assert_eq!(without_echo(&history, &input, true).unwrap(), [user("d")], "{input:?}");
    }
    for input in [vec![user("a"), user("c"), model("C"), user("d")], vec![user("x"), user("c"), model("C"), user("d")]]
    {
        assert_eq!(without_echo(&history, &input, true).unwrap_err().code(), "request_invalid", "{input:?}");
    }
}

fn think(provider_id: &str, blob: &str) -> Item {
    Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

const SIGNED: &str = r#"{"type":"thinking","thinking":"h\"m é","signature":"EqQB/w=="}"#;
const REASONING: &str =
    r#"{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gAAA"}"#;
const MEMBERS: &str = r#"{"for":"message","members":{"reasoning_content":"hm","reasoning_details":[{"n":1.0}]}}"#;

#[test]
fn reasoning_of_the_token_may_be_repeated_as_it_was_shown() {
    for (provider, ours, theirs) in [
        ("anthropic", SIGNED, SIGNED),
        ("anthropic", SIGNED, r#"{ "signature": "EqQB/w==", "thinking": "h\"m \u00e9", "type": "thinking" }"#),
        // An API can hide the text, the ids and the encrypted part.
        ("anthropic", SIGNED, r#"{"type":"thinking","thinking":"","signature":"EqQB/w=="}"#),
        (
            "openai-responses",
            REASONING,
            r#"{"type":"reasoning","id":"rs_ours_0","summary":[{"type":"summary_text","text":"hm"}]}"#,
        ),
        (
            "openai-responses",
            REASONING,
            r#"{"type":"reasoning","summary":[],"encrypted_content":"gAAA","status":null,"content":[]}"#,
        ),
        ("openai", MEMBERS, r#"{"for":"message","members":{"reasoning_details":[{"n":1}]}}"#),
        // An API shows parts in its own form.
        (
            "openai-responses",
            r#"{"type":"reasoning","content":[{"type":"text","text":"hm","n":1},{"text":"so"}]}"#,
            r#"{"type":"reasoning","content":[{"type":"reasoning_text","text":"hm"},{"type":"reasoning_text","text":"so"}]}"#,
        ),
        // It says nothing, so there is nothing to compare.
        ("openai-responses", SIGNED, r#"{"type":"reasoning","id":"rs_9","summary":[ ]}"#),
        ("anthropic", SIGNED, ""),
    ] {
        for provider_id in [provider.to_owned(), format!("{provider}@a.test")] {
            let history = [user("a"), think(&provider_id, ours), model("A")];
            let input = [user("a"), think(provider, theirs), model("A"), user("b")];
            assert_eq!(without_echo(&history, &input, true).unwrap(), [user("b")], "{theirs}");
            // Without the message that it belongs to.
            assert_eq!(without_echo(&history, &input[1..2], true).unwrap(), [], "{theirs}");
        }
    }
}

#[test]
fn reasoning_with_the_mark_of_its_service_may_be_repeated() {
    let history = [user("a"), think("anthropic@a.test", SIGNED), model("A")];
    for (service, is_known) in [("anthropic@a.test", true), ("anthropic@b.test", false)] {
        let marked = claimed_provider("anthropic", Some(&owner_mark(service)));
        let input = [user("a"), think(&marked, SIGNED), model("A"), user("b")];
        assert_eq!(without_echo(&history, &input, true).is_ok(), is_known, "{service}");
    }
}

#[test]
fn other_reasoning_is_refused() {
    for (provider, ours, theirs) in [
        ("anthropic", SIGNED, r#"{"type":"thinking","thinking":"other","signature":"EqQB/w=="}"#),
        ("anthropic", SIGNED, r#"{"type":"thinking","thinking":"","signature":"other"}"#),
        ("anthropic", SIGNED, r#"{"type":"thinking","thinking":"h\"m é","signature":"EqQB/w==","more":1}"#),
        ("anthropic", SIGNED, r#"{"type":"redacted_thinking","data":"x"}"#),
        ("openai", SIGNED, SIGNED),
        ("openai", MEMBERS, r#"{"for":"message","members":{"reasoning_content":"other"}}"#),
        ("openai-responses", REASONING, r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"other"}]}"#),
        ("anthropic", SIGNED, "not JSON"),
        ("anthropic", r#"{"content":[{"text":"a"},{"text":"b"}]}"#, r#"{"content":[{"text":"a"}]}"#),
        ("anthropic", r#"{"content":[{"text":"a"}]}"#, r#"{"content":[{"text":"b"}]}"#),
    ] {
        let history = [user("a"), think("anthropic", ours), think("openai@a.test", ours), model("A")];
        let history = if provider == "openai" && ours == SIGNED {
            [history[0].clone(), history[1].clone(), model("A"), model("")]
        } else {
            history
        };
        let input = [user("a"), think(provider, theirs), model("A"), user("b")];
        assert_eq!(without_echo(&history, &input, true).unwrap_err().code(), "role_forbidden", "{theirs}");
        // A model that accepts history of clients leaves it out: the token has the conversation.
        assert_eq!(new_items(&history, &input, true, false), Ok(vec![false, false, false, true]), "{theirs}");
        // It may belong to a turn that was trimmed.
        assert_eq!(without_echo(&history, &input, false).unwrap(), [user("b")], "{theirs}");
        // Without a token there is nothing to compare with.
        assert_eq!(without_echo(&[], &input, true).unwrap_err().code(), "role_forbidden", "{theirs}");
    }
}

#[test]
fn reasoning_of_a_cut_reply_may_be_repeated() {
    let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text("so f".to_owned())], cut: true };
    let history = [user("a"), cut.clone()];
    assert_eq!(
        without_echo(&history, &[user("a"), think("anthropic", SIGNED), cut, user("b")], true).unwrap(),
        [user("b")]
    );
}

#[test]
fn reasoning_may_be_forgotten_but_not_reordered() {
    let blob = |n: usize| think("anthropic", &format!(r#"{{"thinking":"{n}"}}"#));
    let history = [user("a"), blob(1), model("A"), user("b"), blob(2), blob(3), model("B")];
    let echo = |thoughts: &[usize]| {
        let thoughts = thoughts.iter().map(|n| blob(*n));
        let input: Vec<Item> = [model("B")].into_iter().chain(thoughts).chain([user("c")]).collect();
        without_echo(&history, &input, true).map(|new| new.len()).map_err(|error| error.code())
    };
    for known in [&[][..], &[1], &[3], &[1, 3], &[2, 3], &[1, 2, 3]] {
        assert_eq!(echo(known), Ok(1), "{known:?}");
    }
    for other in [&[4][..], &[3, 2], &[1, 1], &[1, 2, 3, 4]] {
        assert_eq!(echo(other), Err("role_forbidden"), "{other:?}");
    }
}
