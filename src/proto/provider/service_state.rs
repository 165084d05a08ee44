//! Service state while its pieces arrive: [`ServiceState`](crate::proto::chat::ServiceState).
//!
//! A member that arrives complete is kept byte for byte, without tokens in it
//! ([`inner_token`](super::inner_token)). The pieces of a streamed member are joined: text is
//! appended, entries of a list by their type and index.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::proto::{
    chat::{Members, Owner, state_blob},
    error::Error,
    json::List,
};

/// The state of a message or a call, while its pieces arrive.
#[derive(Default)]
pub(super) struct StateBuilder(Members<Opaque>);

impl StateBuilder {
    /// Adds a member, or joins a further piece to it. An empty value is skipped. The
    /// caller limits the bytes.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for a list that is joined and has more than [`MAX_ENTRIES`].
    pub(super) fn add(&mut self, name: &str, piece: &RawValue) -> Result<(), Error> {
        if matches!(piece.get(), "null" | "\"\"" | "[]" | "{}") {
            return Ok(());
        }
        let members = &mut self.0.0;
        if let Some((_, value)) = members.iter_mut().find(|(other, _)| other == name) {
            return value.join(name, Opaque::Raw(piece.to_owned()), 0);
        }
        // The names are those of a profile, so there are few.
        members.push((name.to_owned(), Opaque::Raw(piece.to_owned())));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Leaves out the members for which `keeps` is false.
    pub(super) fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.0.0.retain(|(name, _)| keeps(name));
    }

    /// The blob of the reasoning item.
    pub(super) fn into_blob(self, owner: Owner) -> String {
        state_blob(owner, &self.0)
    }
}

/// A value that is parsed only as far as its pieces must be joined. Each level is parsed once, so
/// the work is linear in the bytes of the pieces.
enum Opaque {
    List(Vec<Entry>),
    Object(Vec<(String, Self)>),
    Raw(Box<RawValue>),
    Text(String),
}

/// An entry of a list.
struct Entry {
    key: EntryKey,
    value: Opaque,
}

/// The JSON of an entry's type and index, as the first piece of the entry has them.
#[derive(PartialEq, Eq)]
struct EntryKey {
    kind: Option<String>,
    index: Option<String>,
}

impl Opaque {
    /// Joins a further piece of the member `name`.
    fn join(&mut self, name: &str, mut piece: Self, depth: usize) -> Result<(), Error> {
        piece.open()?;
        // A later piece without a value is empty.
        if piece.is_null() || matches!(&piece, Self::Text(text) if text.is_empty()) {
            return Ok(());
        }
        self.open()?;
        match (&mut *self, piece) {
            (Self::Text(text), Self::Text(more)) if is_joined(name, depth) => text.push_str(&more),
            (Self::List(entries), Self::List(more)) => {
                return more.into_iter().try_for_each(|entry| add_entry(entries, entry, depth));
            }
            (Self::Object(members), Self::Object(more)) if depth < MAX_DEPTH => {
                return add_members(members, more, depth);
            }
            (value, piece) => *value = piece,
        }
        Ok(())
    }

    /// Parses one level, and the objects in a list.
    fn open(&mut self) -> Result<(), Error> {
        let Self::Raw(raw) = self else { return Ok(()) };
        let opened = match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get()).ok().map(Self::Text),
            Some(b'[') => {
                let list = serde_json::from_str::<List<&RawValue, MAX_ENTRIES>>(raw.get());
                let entries = list.map_err(|_| too_many_entries())?.0.into_iter().map(Entry::new);
                Some(Self::List(entries.collect::<Result<_, _>>()?))
            }
            Some(b'{') => serde_json::from_str::<Members<&RawValue>>(raw.get()).ok().map(|members| {
                let opaque = |(name, raw): (String, &RawValue)| (name, Self::Raw(raw.to_owned()));
                Self::Object(members.0.into_iter().map(opaque).collect())
            }),
            _ => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
        Ok(())
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Raw(raw) if raw.get() == "null")
    }

    /// The value of a member of an object. `null` is none.
    fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(other, _)| other == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Returns true if the entry has text that comes in pieces.
    fn has_text(&self) -> bool {
        JOINED_TEXTS.iter().any(|name| self.member(name).is_some())
    }
}

impl Entry {
    fn new(raw: &RawValue) -> Result<Self, Error> {
        let mut value = Opaque::Raw(raw.to_owned());
        if raw.get().starts_with('{') {
            value.open()?;
        }
        // The members of an object that was just parsed are raw.
        let json_of = |name: &str| match value.member(name) {
            Some(Opaque::Raw(raw)) => Some(raw.get().to_owned()),
            _ => None,
        };
        let key = EntryKey { kind: json_of("type"), index: json_of("index") };
        Ok(Self { key, value })
    }
}

/// Adds an entry to a list, or joins it to the entry that it continues: the one with the same type
/// and index, or else the last one with the same type.
fn add_entry(entries: &mut Vec<Entry>, entry: Entry, depth: usize) -> Result<(), Error> {
    let has_room = entries.len() < MAX_ENTRIES;
    let continued = match &entry.key {
        EntryKey { index: Some(_), .. } => entries.iter_mut().find(|other| other.key == entry.key),
        EntryKey { kind: Some(_), .. } if entry.value.has_text() => {
            entries.last_mut().filter(|other| other.key == entry.key && other.value.has_text())
        }
        EntryKey { .. } => None,
    };
    match continued.filter(|_| depth < MAX_DEPTH) {
        Some(other) => other.value.join("", entry.value, depth.saturating_add(1)),
        None if has_room => {
            entries.push(entry);
            Ok(())
        }
        None => Err(too_many_entries()),
    }
}

fn too_many_entries() -> Error {
    Error::malformed(format!("a list in an opaque member has more than {MAX_ENTRIES} entries"))
}

fn add_members(members: &mut Vec<(String, Opaque)>, more: Vec<(String, Opaque)>, depth: usize) -> Result<(), Error> {
    for (name, value) in more {
        if let Some((_, before)) = members.iter_mut().find(|(other, _)| *other == name) {
            before.join(&name, value, depth.saturating_add(1))?;
        } else if members.len() < MAX_MEMBERS {
            members.push((name, value));
        }
    }
    Ok(())
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(entries) => serializer.collect_seq(entries.iter().map(|entry| &entry.value)),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Returns true for a member whose text comes in pieces. Another text replaces the one before.
///
/// SDKs join all texts at the top of a message. A signature there comes once, or again complete.
fn is_joined(name: &str, depth: usize) -> bool {
    JOINED_TEXTS.contains(&name) || (depth == 0 && !name.ends_with("signature"))
}

/// The members inside others whose text comes in pieces.
const JOINED_TEXTS: &[&str] =
    &["data", "reasoning", "reasoning_content", "reasoning_text", "summary", "text", "thinking"];

/// The most members of an object that is joined.
const MAX_MEMBERS: usize = 128;

/// The most entries of a list whose pieces are joined, at any depth.
const MAX_ENTRIES: usize = 128;

/// The most levels that are joined. A deeper value replaces the one before.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &str, pieces: &[&str]) -> String {
        let mut state = StateBuilder::default();
        for piece in pieces {
            state.add(name, serde_json::from_str(piece).unwrap()).unwrap();
        }
        state.into_blob(Owner::Message)
    }

    fn message(members: &str) -> String {
        format!(r#"{{"for":"message","members":{members}}}"#)
    }

    #[test]
    fn a_complete_member_keeps_its_bytes() {
        let raw = r#"{ "b" : 1.50, "a":"\u00e9"}"#;
        assert_eq!(joined("extra_content", &[raw]), message(&format!(r#"{{"extra_content":{raw}}}"#)));
        assert_eq!(joined("extra_content", &["null", "\"\"", "[]", "{}"]), message("{}"));
    }

    #[test]
    fn streamed_text_is_appended() {
        let expected = message(r#"{"reasoning_content":"I \"see\""}"#);
        assert_eq!(joined("reasoning_content", &[r#""I ""#, "null", r#""\"se""#, r#""e\"""#]), expected);
    }

    #[test]
    fn a_later_signature_replaces_the_one_before() {
        let pieces = [r#"{"google":{"thought_signature":"a"}}"#, r#"{"google":{"thought_signature":"b","n":1}}"#];
        let expected = message(r#"{"extra_content":{"google":{"thought_signature":"b","n":1}}}"#);
        assert_eq!(joined("extra_content", &pieces), expected);
        assert_eq!(joined("thought_signature", &[r#""a""#, r#""b""#]), message(r#"{"thought_signature":"b"}"#));
    }

    #[test]
    fn entries_are_joined_by_type_and_index() {
        let pieces = [
            r#"[{"type":"reasoning.text","text":"I ","index":0,"signature":null}]"#,
            r#"[{"type":"reasoning.text","text":"see","index":0}]"#,
            r#"[{"type":"reasoning.encrypted","data":"x","index":1}]"#,
            r#"[{"type":"reasoning.text","signature":"s","index":0}]"#,
        ];
        let expected = r#"{"reasoning_details":[{"type":"reasoning.text","text":"I see","index":0,"signature":"s"},{"type":"reasoning.encrypted","data":"x","index":1}]}"#;
        assert_eq!(joined("reasoning_details", &pieces), message(expected));
    }

    #[test]
    fn thinking_without_an_index_continues_the_last_entry() {
        let piece = |text: &str| format!(r#"[{{"type":"thinking","thinking":[{{"type":"text","text":"{text}"}}]}}]"#);
        let expected = message(&format!(r#"{{"content":{}}}"#, piece("I see")));
        assert_eq!(joined("content", &[&piece("I "), &piece("see")]), expected);
        let other = r#"[{"type":"reference","reference_ids":[1]}]"#;
        let expected =
            r#"{"content":[{"type":"reference","reference_ids":[1]},{"type":"reference","reference_ids":[1]}]}"#;
        assert_eq!(joined("content", &[other, other]), message(expected));
    }

    /// Adds pieces, and returns the outcome of the last one.
    fn last_outcome(pieces: &[String]) -> Result<(), Error> {
        let mut state = StateBuilder::default();
        let mut add = |piece: &String| state.add("content", serde_json::from_str(piece).unwrap());
        let (last, before) = pieces.split_last().unwrap();
        before.iter().for_each(|piece| add(piece).unwrap());
        add(last)
    }

    #[test]
    fn lists_that_are_joined_are_bounded_at_every_depth() {
        let list = |entries: usize| format!("[{}]", vec!["1"; entries].join(","));
        let entry = |entries| format!(r#"[{{"index":0,"inner":{}}}]"#, list(entries));
        let object = |entries| format!(r#"{{"a":{{"b":{}}}}}"#, list(entries));
        let is_malformed = |outcome| matches!(outcome, Err(Error::UpstreamMalformed { .. }));
        for piece in [&list as &dyn Fn(usize) -> String, &entry, &object] {
            let (below, at, above) = ([piece(100), piece(27)], [piece(100), piece(28)], [piece(100), piece(29)]);
            assert_eq!((last_outcome(&below), last_outcome(&at)), (Ok(()), Ok(())));
            assert!(is_malformed(last_outcome(&above)));
            assert!(is_malformed(last_outcome(&[piece(1), piece(129)])));
            // A complete member is kept as it is.
            assert_eq!(last_outcome(&[piece(1_000)]), Ok(()));
        }
    }

    #[test]
    fn empty_pieces_open_nothing() {
        let mut value = Opaque::Raw(serde_json::from_str(r#"[{"type":"text","text":"a"}]"#).unwrap());
        for empty in ["null", "\"\""] {
            value.join("content", Opaque::Raw(serde_json::from_str(empty).unwrap()), 0).unwrap();
        }
        assert!(matches!(value, Opaque::Raw(_)));
    }

    #[test]
    fn type_and_index_are_read_once() {
        let piece = |number: usize| format!(r#"[{{"type":"reasoning.t\u0065xt","text":"{number}","index":0}}]"#);
        let mut value = Opaque::Raw(serde_json::from_str(&piece(0)).unwrap());
        for number in 1..1_000 {
            value.join("reasoning_details", Opaque::Raw(serde_json::from_str(&piece(number)).unwrap()), 0).unwrap();
        }
        let Opaque::List(entries) = &value else { panic!("a list") };
        let [entry] = entries.as_slice() else { panic!("one entry") };
        assert_eq!(entry.key.kind.as_deref(), Some(r#""reasoning.t\u0065xt""#), "the JSON of the first piece");
        assert!(matches!(entry.value.member("text"), Some(Opaque::Text(text)) if text.ends_with("998999")));
    }

    #[test]
    fn deep_values_are_replaced() {
        let deep = |inner: &str| format!("{}{inner}{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        let expected = message(&format!(r#"{{"extra_content":{}}}"#, deep("2")));
        assert_eq!(joined("extra_content", &[&deep("1"), &deep("2")]), expected);
    }
}
