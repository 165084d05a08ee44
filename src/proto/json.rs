//! Strict JSON parsing: objects, members that must not be `null`, and bounded lists. And texts as
//! they are inside JSON.
//!
//! A parsed element takes far more memory than its text. A list is therefore bounded while it is
//! parsed.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use serde_json::value::RawValue;

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

/// The members of an object that a type knows.
pub(in crate::proto) trait KnownMembers {
    /// Their names.
    const NAMES: &'static [&'static str];
}

/// A value that must be a JSON object, and the members of the object that its type does not know:
/// at most [`MAX_OTHERS`], without empty ones.
pub(in crate::proto) struct WithOthers<'a, T>(pub(in crate::proto) T, pub(in crate::proto) Others<'a>);

/// Members of a JSON object by name.
pub(in crate::proto) type Others<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

impl<'de: 'a, 'a, T: Deserialize<'de> + KnownMembers> Deserialize<'de> for WithOthers<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OthersVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + KnownMembers> Visitor<'de> for OthersVisitor<T> {
            type Value = (T, Others<'de>);

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut others = Vec::new();
                let known = OnlyKnown { map, names: T::NAMES, others: &mut others };
                T::deserialize(MapAccessDeserializer::new(known)).map(|value| (value, others))
            }
        }

        deserializer.deserialize_map(OthersVisitor(PhantomData)).map(|(value, others)| Self(value, others))
    }
}

/// The members of an object with known names. The others are set aside.
struct OnlyKnown<'de, 'o, A> {
    map: A,
    names: &'static [&'static str],
    others: &'o mut Others<'de>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OnlyKnown<'de, '_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Name(name)) = self.map.next_key()? {
            if self.names.contains(&&*name) {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            let value: &RawValue = self.map.next_value()?;
            // Of several members with one name, the last one counts.
            self.others.retain(|(other, _)| *other != name);
            if self.others.len() < MAX_OTHERS && !matches!(value.get(), "null" | "\"\"" | "[]" | "{}") {
                self.others.push((name, value));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The name of a member.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        // Only as text, so that the path of an error has the name.
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The most unknown members of an object that are read.
const MAX_OTHERS: usize = 32;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Known {
        a: Option<u8>,
    }

    impl KnownMembers for Known {
        const NAMES: &'static [&'static str] = &["a"];
    }

    /// The known member, and the names and values of the others.
    type Read = (Option<u8>, Vec<(String, String)>);

    fn read(json: &str) -> Result<Read, serde_json::Error> {
        let WithOthers(known, others) = serde_json::from_str::<WithOthers<'_, Known>>(json)?;
        let others = others.into_iter().map(|(name, value)| (name.into_owned(), value.get().to_owned()));
        Ok((known.a, others.collect()))
    }

    #[test]
    fn unknown_members_are_set_aside() {
        let other = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let json = r#"{"b": { "c" : 1.50 },"a":1,"b\u0063":"x","d":null,"e":"","f":[],"g":{}}"#;
        assert_eq!(read(json).unwrap(), (Some(1), vec![other("b", r#"{ "c" : 1.50 }"#), other("bc", "\"x\"")]));
        // The last one of a name counts.
        assert_eq!(read(r#"{"b":1,"c":2,"b":3}"#).unwrap(), (None, vec![other("c", "2"), other("b", "3")]));
        assert_eq!(read(r#"{"b":1,"b":null}"#).unwrap(), (None, vec![]));
        for wrong in ["[1]", r#"{"a":"x"}"#, r#"{"a":1,"a":2}"#, r#"{"b":}"#, "7"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn few_unknown_members_are_kept() {
        let members: Vec<_> = (0..1_000).map(|name| format!(r#""m{name}":1"#)).collect();
        let others = read(&format!("{{{},\"a\":1}}", members.join(","))).unwrap();
        assert_eq!((others.0, others.1.len()), (Some(1), MAX_OTHERS));
    }
}
