//! Strict JSON objects: UTF-8, one object, each member name once.
//!
//! RFC 7519 §4 and RFC 7515 §4 allow a parser to use the last of two equal names. Two parsers could
//! then see two different credentials, so a repeated name is an error here. Values are parsed when
//! they are requested by type.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::proto::time::UnixSeconds;

/// The reason why a JSON text or member is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFault {
    /// The member is missing.
    Missing(&'static str),
    /// The text is another kind of value, not JSON, or repeats a member name.
    NotAnObject,
    /// The member has another type than the one that is required.
    WrongType(&'static str, &'static str),
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::NotAnObject => f.write_str("not a JSON object of unique members"),
            Self::WrongType(name, wanted) => write!(f, "`{name}` is not {wanted}"),
        }
    }
}

/// The members of an object. An absent member differs from null.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Parses `bytes`, which must be one object, with white space around it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, JsonFault> {
        // `from_slice` would accept invalid UTF-8 in values that are never requested.
        let text = std::str::from_utf8(bytes).map_err(|_| JsonFault::NotAnObject)?;
        serde_json::from_str(text).map_err(|_| JsonFault::NotAnObject)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn string(&self, name: &'static str) -> Result<Option<String>, JsonFault> {
        self.read(name, "a string")
    }

    pub(super) fn strings(&self, name: &'static str) -> Result<Option<Vec<String>>, JsonFault> {
        self.read(name, "an array of strings")
    }

    /// The elements of an array, each as JSON text.
    pub(super) fn elements(&self, name: &'static str) -> Result<Option<Vec<&'a RawValue>>, JsonFault> {
        self.read(name, "an array")
    }

    /// A string or an array of strings, as a list.
    pub(super) fn one_or_many(&self, name: &'static str) -> Result<Option<Vec<String>>, JsonFault> {
        match self.0.get(name) {
            Some(raw) if raw.get().starts_with('"') => Ok(self.string(name)?.map(|one| vec![one])),
            _ => self.read(name, "a string or an array of strings"),
        }
    }

    /// A time, as digits only. A fraction, an exponent or a sign is refused, not rounded.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<UnixSeconds>, JsonFault> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        let digits = Some(raw.get()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok().map(UnixSeconds))
            .filter(|&moment| moment <= UnixSeconds::MAX)
            .ok_or(JsonFault::WrongType(name, "a whole number of seconds up to the year 9999"))
            .map(Some)
    }

    fn read<T: Deserialize<'a>>(&self, name: &'static str, wanted: &'static str) -> Result<Option<T>, JsonFault> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| JsonFault::WrongType(name, wanted))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembers)
    }
}

struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of unique members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member name twice"));
            }
        }
        Ok(Members(members))
    }
}
