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
//! its calls.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::RawValue;

/// The message or the call that has the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Owner {
    /// The call with this id.
    Call(String),
    /// The message.
    Message,
}

/// State that goes back to its service.
#[derive(Debug)]
pub(in crate::proto) struct ServiceState<'a> {
    pub(in crate::proto) owner: Owner,
    pub(in crate::proto) members: Members<&'a RawValue>,
}

impl<'a> ServiceState<'a> {
    /// Reads the blob of a reasoning item. `None` for a blob of another form.
    pub(in crate::proto) fn from_blob(blob: &'a str) -> Option<Self> {
        let Blob { owner, id, members } = serde_json::from_str(blob).ok()?;
        let owner = match (owner, id) {
            (OwnerKind::Call, Some(id)) => Owner::Call(id),
            (OwnerKind::Message, None) => Owner::Message,
            _ => return None,
        };
        Some(Self { owner, members })
    }

    /// The id of the call that has the state.
    pub(in crate::proto) fn into_call_id(self) -> Option<String> {
        match self.owner {
            Owner::Call(id) => Some(id),
            Owner::Message => None,
        }
    }
}

/// The blob of the reasoning item with the state of `owner`.
pub(in crate::proto) fn state_blob<T: Serialize>(owner: Owner, members: &Members<T>) -> String {
    let (owner, id) = match owner {
        Owner::Call(id) => (OwnerKind::Call, Some(id)),
        Owner::Message => (OwnerKind::Message, None),
    };
    // Text, lists and raw JSON always serialize.
    serde_json::to_string(&Blob { owner, id, members }).unwrap_or_default()
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
pub(in crate::proto) struct Members<T>(pub(in crate::proto) Vec<(String, T)>);

/// Opaque members with the values that a service gave, or parts of them.
pub(in crate::proto) type OpaqueMembers<'a> = Members<Cow<'a, RawValue>>;

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Members<T> {
    /// The value of the member with this name, the last one if there are several.
    pub(in crate::proto) fn find(&self, name: &str) -> Option<&T> {
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

/// The most members of an object.
const MAX_MEMBERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_read_back() {
        let value: &RawValue = serde_json::from_str("{ \"a\": 1 }").unwrap();
        let members = Members(vec![("extra_content".to_owned(), value)]);
        let blob = state_blob(Owner::Call("c".to_owned()), &members);
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
