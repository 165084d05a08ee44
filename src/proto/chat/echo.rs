//! What clients repeat: those that keep the conversation themselves send all of it again, each turn, beside the token.
//!
//! The token's items are the conversation; what a client says they were is only held against them, and left out. So
//! nothing forged enters, and nothing that differs is passed over: it is refused. A client may have forgotten the older
//! turns, and it may remember turns that were since trimmed from the token; what both have must be the same.
//!
//! Formats write the same turn in different shapes, so turns are compared by what they say: a reply by its text and its
//! calls, what a user brought by its texts, images and results. Reasoning is the provider's and is not compared.

use serde_json::{Map, Value};

use super::{
    item::{Item, Output, Part, Role},
    note::{is_elision, is_summary},
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
            Some(known) if known.says_the_same_as(turn) => {}
            // Only a trimmed turn can be unknown.
            None if !is_whole && !history.is_empty() => break,
            _ => return Err(turn.refused()),
        }
    }
    Ok(first_new)
}

/// What one side says before the other speaks again.
#[derive(Debug, Default)]
struct EchoTurn<'a> {
    by_model: bool,
    text: String,
    /// Images, calls and results, in their order.
    pieces: Vec<Piece<'a>>,
}

#[derive(Debug)]
enum Piece<'a> {
    Call {
        id: &'a str,
        name: &'a str,
        args: &'a str,
    },
    /// The URL, unless only a note is left of it.
    Image(Option<&'a str>),
    Result {
        id: &'a str,
        turn: EchoTurn<'a>,
    },
}

impl<'a> EchoTurn<'a> {
    fn take(&mut self, item: &'a Item) {
        match item {
            Item::Call { id, name, args } => self.pieces.push(Piece::Call { id, name, args }),
            Item::Message { parts, .. } => self.take_parts(parts),
            Item::Result { id, out, .. } => {
                let mut turn = Self::default();
                match out {
                    Output::Parts(parts) => turn.take_parts(parts),
                    Output::Text(text) => turn.text.push_str(text),
                }
                self.pieces.push(Piece::Result { id, turn });
            }
            Item::Think { .. } => {}
        }
    }

    fn take_parts(&mut self, parts: &'a [Part]) {
        for part in parts {
            match part {
                Part::Image(url) => self.pieces.push(Piece::Image(Some(url))),
                Part::Text(text) if is_elision(text) => self.pieces.push(Piece::Image(None)),
                Part::Text(text) => self.text.push_str(text),
            }
        }
    }

    /// Clients trim texts, and write arguments anew from what they read.
    fn says_the_same_as(&self, other: &Self) -> bool {
        self.by_model == other.by_model
            && self.text.trim() == other.text.trim()
            && self.pieces.len() == other.pieces.len()
            && self.pieces.iter().zip(&other.pieces).all(|(mine, theirs)| mine.is(theirs))
    }

    fn refused(&self) -> Error {
        if self.by_model {
            Error::RoleForbidden { role: "assistant".to_owned() }
        } else {
            Error::invalid(
                "the conversation that was sent along is not the one in the token; send what is new, and an older token \
                 to go on from an earlier turn",
            )
        }
    }
}

impl Piece<'_> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call { id, name, args }, Self::Call { id: other_id, name: other_name, args: other_args }) => {
                id == other_id && name == other_name && same_args(args, other_args)
            }
            (Self::Image(mine), Self::Image(theirs)) => mine.is_none() || theirs.is_none() || mine == theirs,
            (Self::Result { id, turn }, Self::Result { id: other_id, turn: other }) => {
                id == other_id && turn.says_the_same_as(other)
            }
            _ => false,
        }
    }
}

/// Whether arguments say the same. Where a format has them as an object, ours that are none were shown as the empty one.
///
/// A client may have written them anew, with other spaces and escapes. Read JSON takes many times its text, and so long
/// ones must be the same to the byte but for spaces.
fn same_args(ours: &str, theirs: &str) -> bool {
    if ours == theirs || without_spaces(ours).eq(without_spaces(theirs)) {
        return true;
    }
    if ours.len().max(theirs.len()) > REREAD_BYTES {
        return false;
    }
    let read = |text| serde_json::from_str::<Value>(text).ok();
    let is_object = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_object);
    let (mine, other) = (read(ours), read(theirs));
    mine.as_ref().zip(other.as_ref()).is_some_and(|(mine, other)| same_value(mine, other))
        || (!is_object(&mine) && other.is_some_and(|other| other == Value::Object(Map::new())))
}

/// Whether values say the same; JavaScript writes 1.0 as 1.
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
fn without_spaces(json: &str) -> impl Iterator<Item = u8> {
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

/// The longest arguments that are read to be compared.
const REREAD_BYTES: usize = 64 << 10;

fn side(item: &Item) -> Role {
    match item {
        Item::Call { .. } | Item::Message { role: Role::Assistant, .. } | Item::Think { .. } => Role::Assistant,
        Item::Message { role: Role::User, .. } | Item::Result { .. } => Role::User,
    }
}

fn turns(items: &[Item]) -> Vec<EchoTurn<'_>> {
    let mut turns: Vec<EchoTurn<'_>> = Vec::new();
    for item in items {
        let by_model = side(item) == Role::Assistant;
        match turns.last_mut() {
            Some(turn) if turn.by_model == by_model => turn.take(item),
            _ => {
                let mut turn = EchoTurn { by_model, ..EchoTurn::default() };
                turn.take(item);
                turns.push(turn);
            }
        }
    }
    turns
}

/// How many turns the items hold: each begins where the user speaks after the model, or results follow calls.
pub(super) fn count_turns(items: &[Item]) -> usize {
    let begins = |(at, item): (usize, &Item)| {
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        side(item) == Role::User && before.is_none_or(|before| side(before) == Role::Assistant)
    };
    items.iter().enumerate().filter(|place| begins(*place)).count()
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

    fn without_echo(history: &[Item], input: Vec<Item>, is_whole: bool) -> Result<Vec<Item>, Error> {
        first_new_item(history, &input, is_whole).map(|first_new| input[first_new..].to_vec())
    }

    fn skip(input: Vec<Item>) -> Result<Vec<Item>, Error> {
        without_echo(&history(), input, true)
    }

    #[test]
    fn a_repeated_conversation_leaves_what_is_new() {
        let parts = Output::Parts(vec![Part::Text("3".to_owned())]);
        let echo = [user("a"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), result(parts), model("C")];
        for forgotten in 0..echo.len() {
            let mut input = echo[forgotten..].to_vec();
            // A reply is known whole or not at all.
            if matches!(input[0], Item::Call { .. }) {
                continue;
            }
            input.extend([user("d"), user("e")]);
            assert_eq!(skip(input).unwrap(), [user("d"), user("e")], "{forgotten}");
        }
    }

    #[test]
    fn what_is_all_new_stays_as_it_is() {
        assert_eq!(skip(vec![user("a"), user("b")]).unwrap(), [user("a"), user("b")]);
        assert_eq!(without_echo(&[], vec![user("a")], true).unwrap(), [user("a")]);
    }

    #[test]
    fn what_the_model_never_said_is_refused() {
        for input in [
            vec![model("A")],
            vec![model("C"), user("d"), model("D"), user("e")],
            vec![user("a"), model("other"), user("b"), model("B"), call("{}"), user("d")],
            vec![model("before"), user("a"), model("A"), user("b"), model("B"), call(r#"{"x":1}"#), user("d")],
            vec![call(r#"{"x":2}"#), user("d")],
        ] {
            assert_eq!(skip(input.clone()).unwrap_err().code(), "role_forbidden", "{input:?}");
            let nothing = without_echo(&[], input, true).unwrap_err();
            assert_eq!(nothing.code(), "role_forbidden");
        }
    }

    #[test]
    fn arguments_that_are_no_object_are_known_as_the_empty_one() {
        let call = |args: &str| Item::Call { id: "c".to_owned(), name: "n".to_owned(), args: args.to_owned() };
        let is_known =
            |ours, theirs| without_echo(&[user("a"), call(ours)], vec![call(theirs), user("b")], true).is_ok();
        for ours in ["", "{", "[1]", "\"x\"", "{}"] {
            assert!(is_known(ours, ours) && is_known(ours, "{ }"), "{ours}");
            assert!(!is_known(ours, "{\"x\":1}") && !is_known("{\"x\":1}", ours) && !is_known(ours, "5"), "{ours}");
        }
    }

    #[test]
    fn what_the_user_never_said_is_refused_as_another_conversation() {
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
            assert_eq!(skip(input.clone()).unwrap_err().code(), "request_invalid", "{input:?}");
        }
    }

    #[test]
    fn only_a_trimmed_conversation_may_be_remembered_further_back() {
        let remembered = || vec![user("old"), model("OLD"), user("a"), model("A"), user("b")];
        let left = [user("a"), model("A")];
        assert_eq!(without_echo(&left, remembered(), false).unwrap(), [user("b")]);
        assert_eq!(without_echo(&left, remembered(), true).unwrap_err().code(), "role_forbidden");
    }

    #[test]
    fn a_summary_is_held_against_nothing() {
        let summary = user(&format!("{}\nThey greeted.", super::super::note::SUMMARY_LEAD));
        let history = [summary.clone(), user("b"), model("B"), user("c"), model("C")];
        let remembered = || vec![user("a"), model("A"), user("b"), model("B"), user("c"), model("C"), user("d")];
        for forgotten in 0..3 {
            let input = remembered().split_off(forgotten * 2);
            assert_eq!(without_echo(&history, input, false).unwrap(), [user("d")], "{forgotten}");
        }
        let mut forged = remembered();
        forged[3] = model("other");
        assert_eq!(without_echo(&history, forged, false).unwrap_err().code(), "role_forbidden");
        // Whoever writes such a message fools nobody: it stays a message of the user's.
        assert_eq!(
            without_echo(&[summary.clone(), model("A")], vec![summary, model("A"), user("b")], true).unwrap(),
            [user("b")]
        );
    }

    #[test]
    fn long_arguments_are_the_same_but_for_spaces() {
        let long = format!(r#"{{"a": "x \\\" y", "b": [{}1]}}"#, "1, ".repeat(50_000));
        let compact = long.replace(", ", ",").replace(": ", ":");
        assert!(same_args(&long, &compact) && same_args(&long, &long));
        assert!(!same_args(&long, &compact.replace("x ", "x  ")) && !same_args(&long, &long.replace("[1", "[2")));
        assert!(same_args(r#"{"a": "\u00e9"}"#, r#"{"a":"é"}"#) && !same_args(r#"{"a": "x y"}"#, r#"{"a":"xy"}"#));
        // As JavaScript writes what it read.
        assert!(same_args(r#"{"x":[1.0,1e3]}"#, r#"{"x":[1,1000]}"#) && !same_args(r#"{"x":1.0}"#, r#"{"x":1.5}"#));
    }

    #[test]
    fn an_image_is_known_by_its_note() {
        let picture = |part: Part| Item::Message {
            role: Role::User,
            parts: vec![Part::Text("look".to_owned()), part],
            cut: false,
        };
        let image = Part::Image("data:image/png;base64,AAAA".to_owned());
        let note = Part::Text(super::super::note::elision("data:image/png;base64,AAAA"));
        let input = vec![picture(image), model("A"), user("b")];
        assert_eq!(without_echo(&[picture(note), model("A")], input.clone(), true).unwrap(), [user("b")]);
        let other = Part::Image("https://e.test/b.png".to_owned());
        assert!(without_echo(&[picture(other), model("A")], input, true).is_err());
    }

    #[test]
    fn turns_are_counted_where_the_user_begins() {
        assert_eq!(count_turns(&history()), 3);
        assert_eq!(count_turns(&[user("a"), user("b"), model("A")]), 1);
        assert_eq!(count_turns(&[]), 0);
    }
}
