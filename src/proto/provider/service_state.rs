//! Service state: the opaque members of messages and calls that a service wants back, such as
//! `extra_content` or `reasoning_content`.
//!
//! The state of one message or call is one reasoning item. Its blob names the message or call:
//!
//! ```json
//! {"for":"call","id":"call_1","members":{"extra_content":{"google":{"thought_signature":"AbC"}}}}
//! {"for":"message","members":{"reasoning_content":"The user wants …"}}
//! ```
//!
//! The state of a call comes directly before the call, that of a message after its text and before
//! its calls. A member that arrives complete is kept byte for byte, without tokens in it
//! ([`inner_token`](super::inner_token)). The pieces of a streamed member are joined: text is
//! appended, entries of a list by their type and index.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::RawValue;

use super::reply_json::MAX_BLOCKS;
use crate::proto::{error::Error, json::List};

/// The message or the call that has the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The call with this id.
    Call(String),
    /// The message.
    Message,
}

/// State that goes back to its service.
#[derive(Debug)]
pub(super) struct ServiceState<'a> {
    pub(super) owner: Owner,
    pub(super) members: Members<&'a RawValue>,
}

impl<'a> ServiceState<'a> {
    /// Reads the blob of a reasoning item. `None` for a blob of another form.
    pub(super) fn from_blob(blob: &'a str) -> Option<Self> {
        let Blob { owner, id, members } = serde_json::from_str(blob).ok()?;
        let owner = match (owner, id) {
            (OwnerKind::Call, Some(id)) => Owner::Call(id),
            (OwnerKind::Message, None) => Owner::Message,
            _ => return None,
        };
        Some(Self { owner, members })
    }

    /// The id of the call that has the state.
    pub(super) fn into_call_id(self) -> Option<String> {
        match self.owner {
            Owner::Call(id) => Some(id),
            Owner::Message => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Blob<T> {
    #[serde(rename = "for")]
    owner: OwnerKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    members: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OwnerKind {
    Call,
    Message,
}

/// Members of a JSON object, in order.
#[derive(Clone, Debug)]
pub(super) struct Members<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Members<T> {
    /// The value of the member with this name, the last one if there are several.
    pub(super) fn find(&self, name: &str) -> Option<&T> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for Members<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<&'a RawValue> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members in an object")));
                    }
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

/// The state of a message or a call, while its pieces arrive.
#[derive(Default)]
pub(super) struct StateBuilder(Members<Opaque>);

impl StateBuilder {
    /// Adds a member, or joins a further piece to it. An empty value is skipped. The
    /// caller limits the bytes.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for a member with too many entries.
    pub(super) fn add(&mut self, name: &str, piece: &RawValue) -> Result<(), Error> {
        if matches!(piece.get(), "null" | "\"\"" | "[]" | "{}") {
            return Ok(());
        }
        let members = &mut self.0.0;
        if let Some((_, value)) = members.iter_mut().find(|(other, _)| other == name) {
            value.join(name, Opaque::Raw(piece.to_owned()), 0);
            return value.check_entries();
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
        let (owner, id) = match owner {
            Owner::Call(id) => (OwnerKind::Call, Some(id)),
            Owner::Message => (OwnerKind::Message, None),
        };
        // Text, lists and raw JSON always serialize.
        serde_json::to_string(&Blob { owner, id, members: self.0 }).unwrap_or_default()
    }
}

/// A value that is parsed only as far as its pieces must be joined.
enum Opaque {
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Raw(Box<RawValue>),
    Text(String),
}

impl Opaque {
    /// Joins a further piece of the member `name`.
    fn join(&mut self, name: &str, piece: Self, depth: usize) {
        self.open();
        let mut piece = piece;
        piece.open();
        match (&mut *self, piece) {
            (Self::Text(text), Self::Text(more)) if JOINED_TEXTS.contains(&name) => text.push_str(&more),
            // A later piece without a value is empty.
            (_, Self::Text(more)) if more.is_empty() => {}
            (_, Self::Raw(raw)) if raw.get() == "null" => {}
            (Self::List(entries), Self::List(more)) => {
                more.into_iter().for_each(|entry| add_entry(entries, entry, depth))
            }
            (Self::Object(members), Self::Object(more)) if depth < MAX_DEPTH => add_members(members, more, depth),
            (value, piece) => *value = piece,
        }
    }

    /// Parses one level.
    fn open(&mut self) {
        let Self::Raw(raw) = self else { return };
        let raw_of = |raw: &RawValue| Self::Raw(raw.to_owned());
        let opened = match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get()).ok().map(Self::Text),
            Some(b'[') => serde_json::from_str::<List<&RawValue, MAX_BLOCKS>>(raw.get())
                .ok()
                .map(|list| Self::List(list.0.into_iter().map(raw_of).collect())),
            Some(b'{') => serde_json::from_str::<Members<&RawValue>>(raw.get())
                .ok()
                .map(|members| Self::Object(members.0.into_iter().map(|(name, raw)| (name, raw_of(raw))).collect())),
            _ => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
    }

    fn check_entries(&self) -> Result<(), Error> {
        match self {
            Self::List(entries) if entries.len() > MAX_BLOCKS => {
                Err(Error::malformed(format!("an opaque member has more than {MAX_BLOCKS} entries")))
            }
            _ => Ok(()),
        }
    }

    /// The JSON of a member of an object.
    fn member(&self, name: &str) -> Option<String> {
        let Self::Object(members) = self else { return None };
        let (_, value) = members.iter().find(|(other, _)| other == name)?;
        serde_json::to_string(value).ok().filter(|json| json != "null")
    }

    /// Returns true if the entry has text that comes in pieces.
    fn has_text(&self) -> bool {
        JOINED_TEXTS.iter().any(|name| self.member(name).is_some())
    }
}

/// Adds an entry to a list, or joins it to the entry that it continues: the one with the same type
/// and index, or else the last one with the same type.
fn add_entry(entries: &mut Vec<Opaque>, mut entry: Opaque, depth: usize) {
    entry.open();
    let (kind, index) = (entry.member("type"), entry.member("index"));
    let is_same = |other: &mut &mut Opaque| {
        other.open();
        other.member("type") == kind && other.member("index") == index
    };
    let continued = match (&entry, &index) {
        (Opaque::Object(_), Some(_)) => entries.iter_mut().find_map(|mut other| is_same(&mut other).then_some(other)),
        (Opaque::Object(_), None) if kind.is_some() && entry.has_text() => {
            entries.last_mut().and_then(|mut other| (is_same(&mut other) && other.has_text()).then_some(other))
        }
        _ => None,
    };
    match continued {
        Some(other) if depth < MAX_DEPTH => other.join("", entry, depth.saturating_add(1)),
        _ => entries.push(entry),
    }
}

fn add_members(members: &mut Vec<(String, Opaque)>, more: Vec<(String, Opaque)>, depth: usize) {
    for (name, value) in more {
        if let Some((_, before)) = members.iter_mut().find(|(other, _)| *other == name) {
            before.join(&name, value, depth.saturating_add(1));
        } else if members.len() < MAX_MEMBERS {
            members.push((name, value));
        }
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(entries) => serializer.collect_seq(entries),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The members whose text comes in pieces. Another text replaces the one before.
const JOINED_TEXTS: &[&str] =
    &["data", "reasoning", "reasoning_content", "reasoning_text", "summary", "text", "thinking"];

/// The most members of an object.
const MAX_MEMBERS: usize = 128;

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

    #[test]
    fn deep_values_are_replaced() {
        let deep = |inner: &str| format!("{}{inner}{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        let expected = message(&format!(r#"{{"extra_content":{}}}"#, deep("2")));
        assert_eq!(joined("extra_content", &[&deep("1"), &deep("2")]), expected);
    }

    #[test]
    fn blobs_are_read_back() {
        let mut state = StateBuilder::default();
        state.add("extra_content", serde_json::from_str("{ \"a\": 1 }").unwrap()).unwrap();
        let blob = state.into_blob(Owner::Call("c".to_owned()));
        assert_eq!(blob, r#"{"for":"call","id":"c","members":{"extra_content":{ "a": 1 }}}"#);
        let read = ServiceState::from_blob(&blob).unwrap();
        assert_eq!(read.owner, Owner::Call("c".to_owned()));
        assert_eq!(read.members.find("extra_content").unwrap().get(), "{ \"a\": 1 }");
        for other in
            [r#"{"type":"thinking"}"#, r#"{"for":"call","members":{}}"#, "[]", "", r#"{"for":"x","members":{}}"#]
        {
            assert!(ServiceState::from_blob(other).is_none(), "{other}");
        }
    }
}
