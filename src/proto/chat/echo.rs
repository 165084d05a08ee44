//! Repeated conversations. Some clients keep the conversation themselves, and send all of it in
//! each turn, together with the token.
//!
//! Only the items of the token are the conversation. The client's copy is compared with them and
//! then dropped, so a client cannot forge history. A difference is an error. A client may have
//! forgotten older turns, and it may remember turns that were trimmed from the token. The turns
//! that both have must be the same.
//!
//! APIs write the same turn in different forms. So turns are compared by their content: a reply by
//! its text and its calls, and input by its texts, images and results. Reasoning is not compared.

use serde_json::{Map, Value};

use super::{
    item::{Item, Output, Part, Role},
    note::{is_image_note, is_summary},
};
use crate::proto::error::Error;

/// The index after the model's last item in `input`; 0 if the model has no item there.
#[must_use]
pub fn after_last_reply(input: &[Item]) -> usize {
    input.iter().rposition(|item| side(item) == Role::Assistant).map_or(0, |last| last.saturating_add(1))
}

/// Compares what `input` repeats with `history`. Returns the index of the first new item.
///
/// `is_whole` is true if nothing was trimmed from `history`. A client cannot remember more then.
///
/// # Errors
/// [`Error::RoleForbidden`] for a turn of the model that `history` does not have, and
/// [`Error::RequestInvalid`] for such a turn of the user.
pub(super) fn first_new_item(history: &[Item], input: &[Item], is_whole: bool) -> Result<usize, Error> {
    let first_new = after_last_reply(input);
    // Clients do not repeat a summary, and the turns that it replaced cannot be compared.
    let (kept, is_whole) = match history.split_first() {
        Some((first, kept)) if is_summary(first) => (kept, false),
        _ => (history, is_whole),
    };
    let (theirs, ours) = (turns(input.get(..first_new).unwrap_or_default()), turns(kept));
    let mut ours = ours.iter().rev();
    for turn in theirs.iter().rev() {
        match ours.next() {
            Some(known) if known.has_content_of(turn) => {}
            // Only a trimmed turn can be unknown.
            None if !is_whole && !history.is_empty() => break,
            _ => return Err(turn.mismatch()),
        }
    }
    Ok(first_new)
}

/// The content of one side, user or model, between two turns of the other side.
#[derive(Debug, Default)]
struct EchoTurn<'a> {
    by_model: bool,
    text: String,
    /// Images, calls and results, in order.
    pieces: Vec<Piece<'a>>,
}

#[derive(Debug)]
enum Piece<'a> {
    Call {
        id: &'a str,
        name: &'a str,
        args: &'a str,
    },
    /// The URL. None if only a note of the image is left.
    Image(Option<&'a str>),
    Result {
        id: &'a str,
        turn: EchoTurn<'a>,
    },
}

impl<'a> EchoTurn<'a> {
    fn add(&mut self, item: &'a Item) {
        match item {
            Item::Call { id, name, args } => self.pieces.push(Piece::Call { id, name, args }),
            Item::Message { parts, .. } => self.add_parts(parts),
            Item::Result { id, out, .. } => {
                let mut turn = Self::default();
                match out {
                    Output::Parts(parts) => turn.add_parts(parts),
                    Output::Text(text) => turn.text.push_str(text),
                }
                self.pieces.push(Piece::Result { id, turn });
            }
            Item::Think { .. } => {}
        }
    }

    fn add_parts(&mut self, parts: &'a [Part]) {
        for part in parts {
            match part {
                Part::Image(url) => self.pieces.push(Piece::Image(Some(url))),
                Part::Text(text) if is_image_note(text) => self.pieces.push(Piece::Image(None)),
                Part::Text(text) => self.text.push_str(text),
            }
        }
    }

    /// Returns true if both have the same content. Clients trim texts, and parse and rewrite the
    /// arguments of calls.
    fn has_content_of(&self, other: &Self) -> bool {
        self.by_model == other.by_model
            && self.text.trim() == other.text.trim()
            && self.pieces.len() == other.pieces.len()
            && self.pieces.iter().zip(&other.pieces).all(|(piece, other)| piece.has_content_of(other))
    }

    /// The error for a turn that differs from the conversation in the token.
    fn mismatch(&self) -> Error {
        if self.by_model {
            Error::RoleForbidden { role: "assistant".to_owned() }
        } else {
            Error::invalid(
                "The messages in the request differ from the conversation in the token. Send only new messages. To continue \
                from an earlier turn, send the token of that turn.",
            )
        }
    }
}

impl Piece<'_> {
    fn has_content_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call { id, name, args }, Self::Call { id: other_id, name: other_name, args: other_args }) => {
                id == other_id && name == other_name && same_args(args, other_args)
            }
            (Self::Image(url), Self::Image(other)) => url.is_none() || other.is_none() || url == other,
            (Self::Result { id, turn }, Self::Result { id: other_id, turn: other }) => {
                id == other_id && turn.has_content_of(other)
            }
            _ => false,
        }
    }
}

/// Returns true if both arguments have the same content. `ours` is from the token.
///
/// Some APIs show arguments as a JSON object. Arguments that are not an object were shown there as
/// an empty object. A client may have rewritten the arguments, with other whitespace and escapes.
/// Parsed JSON takes many times the memory of its text, so long arguments may differ only in
/// whitespace.
fn same_args(ours: &str, theirs: &str) -> bool {
    if ours == theirs || without_whitespace(ours).eq(without_whitespace(theirs)) {
        return true;
    }
    if ours.len().max(theirs.len()) > MAX_PARSED_BYTES {
        return false;
    }
    let parse = |text| serde_json::from_str::<Value>(text).ok();
    let is_object = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_object);
    let (ours, theirs) = (parse(ours), parse(theirs));
    ours.as_ref().zip(theirs.as_ref()).is_some_and(|(ours, theirs)| same_value(ours, theirs))
        || (!is_object(&ours) && theirs.is_some_and(|theirs| theirs == Value::Object(Map::new())))
}

/// Returns true for equal values. Numbers are compared by value, because JavaScript writes 1.0 as
/// 1.
fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same_value(one, other)))
        }
        _ => one == other,
    }
}

/// JSON text without the whitespace between its tokens (RFC 8259 §2).
fn without_whitespace(json: &str) -> impl Iterator<Item = u8> {
    let (mut in_string, mut escaped) = (false, false);
    json.bytes().filter(move |byte| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    })
}

/// The longest arguments that are parsed for a comparison, in bytes.
const MAX_PARSED_BYTES: usize = 64 << 10;

/// The side that an item comes from: results come from the user.
fn side(item: &Item) -> Role {
    match item {
        Item::Call { .. } | Item::Message { role: Role::Assistant, .. } | Item::Think { .. } => Role::Assistant,
        Item::Message { role: Role::User, .. } | Item::Result { .. } => Role::User,
    }
}

/// The content of the items, grouped by side.
fn turns(items: &[Item]) -> Vec<EchoTurn<'_>> {
    let mut turns: Vec<EchoTurn<'_>> = Vec::new();
    for item in items {
        let by_model = side(item) == Role::Assistant;
        match turns.last_mut() {
            Some(turn) if turn.by_model == by_model => turn.add(item),
            _ => {
                let mut turn = EchoTurn { by_model, ..EchoTurn::default() };
                turn.add(item);
                turns.push(turn);
            }
        }
    }
    turns
}

/// The number of turns in the items. A turn begins with the first user item, and with each user
/// item after an item of the model. Results of calls also begin a turn.
pub(super) fn count_turns(items: &[Item]) -> usize {
    let begins = |(at, item): (usize, &Item)| {
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        side(item) == Role::User && before.is_none_or(|before| side(before) == Role::Assistant)
    };
    items.iter().enumerate().filter(|item| begins(*item)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        first_new_item(history, input, is_whole).map(|first_new| input[first_new..].to_vec())
    }

    fn new_items(input: &[Item]) -> Result<Vec<Item>, Error> {
        without_echo(&history(), input, true)
    }

    #[test]
    fn a_repeated_conversation_is_dropped() {
        let parts = Output::Parts(vec![Part::Text("3".to_owned())]);
        let echo = [user("a"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), result(parts), model("C")];
        for forgotten in 0..echo.len() {
            let mut input = echo[forgotten..].to_vec();
            // A client forgets a reply completely or not at all.
            if matches!(input[0], Item::Call { .. }) {
                continue;
            }
            input.extend([user("d"), user("e")]);
            assert_eq!(new_items(&input).unwrap(), [user("d"), user("e")], "{forgotten}");
        }
    }

    #[test]
    fn new_input_is_unchanged() {
        assert_eq!(new_items(&[user("a"), user("b")]).unwrap(), [user("a"), user("b")]);
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
            assert_eq!(new_items(&input).unwrap_err().code(), "role_forbidden", "{input:?}");
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
            vec![
                user("x"),
                model("A"),
                user("b"),
                model("B"),
                call(r#"{"x":1}"#),
                result(other),
                model("C"),
                user("d"),
            ],
            vec![user("other"), model("B"), call(r#"{"x":1}"#), result(Output::Text("3".to_owned())), model("C")],
        ] {
            assert_eq!(new_items(&input).unwrap_err().code(), "request_invalid", "{input:?}");
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
        let summary = user(&format!("{}\nThey greeted.", super::super::note::SUMMARY_HEADING));
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
    fn long_arguments_may_differ_only_in_whitespace() {
        let long = format!(r#"{{"a": "x \\\" y", "b": [{}1]}}"#, "1, ".repeat(50_000));
        let compact = long.replace(", ", ",").replace(": ", ":");
        assert!(same_args(&long, &compact) && same_args(&long, &long));
        assert!(!same_args(&long, &compact.replace("x ", "x  ")) && !same_args(&long, &long.replace("[1", "[2")));
        assert!(same_args(r#"{"a": "\u00e9"}"#, r#"{"a":"é"}"#) && !same_args(r#"{"a": "x y"}"#, r#"{"a":"xy"}"#));
        // JavaScript rewrites numbers like this.
        assert!(same_args(r#"{"x":[1.0,1e3]}"#, r#"{"x":[1,1000]}"#) && !same_args(r#"{"x":1.0}"#, r#"{"x":1.5}"#));
    }

    #[test]
    fn a_note_equals_any_image() {
        let picture = |part: Part| Item::Message {
            role: Role::User,
            parts: vec![Part::Text("look".to_owned()), part],
            cut: false,
        };
        let image = Part::Image("data:image/png;base64,AAAA".to_owned());
        let note = Part::Text(super::super::note::image_note("data:image/png;base64,AAAA"));
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
}
