//! Strict JSON parsing: objects, members that must not be `null`, and bounded lists. And texts as
//! they are inside JSON.
//!
//! A parsed element takes far more memory than its text. A list is therefore bounded while it is
//! parsed.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// `text` as it is between the quotation marks of a JSON string.
pub(in crate::proto) fn escaped(text: &str) -> String {
    // Strings always serialize.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// A list of at most `MOST` elements.
pub(in crate::proto) struct List<T, const MOST: usize>(pub(in crate::proto) Vec<T>);

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for ListVisitor<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                at_most(MOST, seq).map(List)
            }
        }

        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Parses a list of at most `most` elements.
///
/// # Errors
/// An error that names the bound, as soon as the list exceeds it.
pub(in crate::proto) fn at_most<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    most: usize,
    seq: A,
) -> Result<Vec<T>, A::Error> {
    let mut list = Vec::new();
    each_of_at_most(most, seq, |element| list.push(element))?;
    Ok(list)
}

/// Parses a list of at most `most` elements, and calls `take` with each.
///
/// # Errors
/// As [`at_most`].
pub(in crate::proto) fn each_of_at_most<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    most: usize,
    mut seq: A,
    mut take: impl FnMut(T),
) -> Result<(), A::Error> {
    let mut taken = 0_usize;
    while let Some(element) = seq.next_element()? {
        if taken == most {
            return Err(de::Error::custom(format_args!("more than {most} entries in a list")));
        }
        taken = taken.saturating_add(1);
        take(element);
    }
    Ok(())
}

/// A value that must be a JSON object.
///
/// Derived deserializers also accept an array with the values of the members in order. This type
/// does not.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Parses a member that can be absent but not `null`. Use it with `#[serde(default)]`.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Parses a complete JSON text, which must be an object.
///
/// # Errors
/// The error of the parser.
pub(crate) fn object_from_str<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0)
}
