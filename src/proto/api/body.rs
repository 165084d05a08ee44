//! Rules that all request parsers share: bounds of lists, and checks of options. Every list is
//! bounded while it is parsed, because a parsed element takes far more memory than its text.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use serde_json::{Number, Value, value::RawValue};

use super::json_fault;
use crate::proto::{error::Error, json::Object, turn::Truncation};
pub(super) use crate::proto::{
    excerpt::excerpt,
    json::{List, at_most, each_of_at_most},
};

/// The maximum number of messages in a request, and of parts in a message. Clients that repeat a
/// whole conversation stay below it.
pub(super) const ELEMENTS: usize = 16_384;
/// The maximum number of tools in a request. Model services have lower limits, and check them.
pub(super) const TOOLS: usize = 1_024;
/// The maximum number of texts that end a reply. OpenAI accepts 4, Anthropic more.
pub(super) const STOPS: usize = 16;

/// Parses a body, which must be one JSON object. The error names the member at fault.
pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de str) -> Result<T, Error> {
    serde_json::from_str::<Object<T>>(body)
        .map(|object| object.0)
        .map_err(|error| json_fault::explain::<Object<T>>("", body, &error))
}

/// Parses the JSON of one member that stayed unparsed until its type was known.
pub(super) fn parse_member<'de, T: Deserialize<'de>>(name: impl fmt::Display, json: &'de RawValue) -> Result<T, Error> {
    serde_json::from_str(json.get()).map_err(|error| json_fault::explain::<T>(&name.to_string(), json.get(), &error))
}

/// The text of a member that may have any type. `None` for another value.
pub(super) fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// The error for the member `name` with the JSON text `found`, which must be `wanted`.
pub(super) fn wrong_type(name: &str, wanted: &str, found: &str) -> Error {
    Error::invalid(format!("`{name}` must be {wanted}, not {}.", json_fault::kind(found)))
}

/// The error for a feature that the format has and the server does not support.
pub(super) fn unsupported(detail: impl Into<String>) -> Error {
    Error::Unsupported { detail: detail.into() }
}

/// The value of a member that accepts only the values `known`.
pub(super) fn one_of(member: &str, name: Option<&str>, known: &[&'static str]) -> Result<Option<&'static str>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = known.iter().copied().find(|known| *known == name);
    found.map(Some).ok_or_else(|| Error::invalid(format!("`{member}` must be one of: {}.", known.join(", "))))
}

/// True for a valid name of a schema: 1 to 64 of `[A-Za-z0-9_-]`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// True if a member has a value without effect: it asks for nothing. So does an object whose
/// members all ask for nothing.
pub(super) fn has_no_effect(member: &RawValue) -> bool {
    fn is_empty(value: &Value) -> bool {
        match value {
            Value::Array(list) => list.is_empty(),
            Value::Bool(value) => !value,
            Value::Null => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Object(members) => members.values().all(is_empty),
            Value::String(text) => text.is_empty(),
        }
    }
    let text = member.get();
    text.len() <= EMPTY_BYTES && serde_json::from_str(text).is_ok_and(|value| is_empty(&value))
}

/// The longest text of a value without effect. Longer ones are not read.
const EMPTY_BYTES: usize = 256;

/// Accepts 1 as the number of replies, `n`. `message` is the one for another number.
pub(super) fn one_reply(n: Option<&RawValue>, message: &str) -> Result<(), Error> {
    match n.map(RawValue::get) {
        None => Ok(()),
        Some(n) if n.parse::<f64>() == Ok(1.0) => Ok(()),
        Some(number) if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Err(unsupported(message))
        }
        Some(other) => Err(wrong_type("n", "1", other)),
    }
}

/// A number from 0 to `most`.
pub(super) fn number_to(most: u32, name: &str, number: Option<Number>) -> Result<Option<Number>, Error> {
    let fits = |number: &Number| number.as_f64().is_some_and(|number| (0.0..=f64::from(most)).contains(&number));
    match number {
        Some(number) if !fits(&number) => Err(Error::invalid(format!("`{name}` must be a number from 0 to {most}."))),
        number => Ok(number),
    }
}

/// A whole number of at least 1, such as a bound of a reply. A larger number than the type can hold
/// is the largest one.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtLeastOne(u32);

impl From<AtLeastOne> for u32 {
    fn from(AtLeastOne(number): AtLeastOne) -> Self {
        number
    }
}

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = AtLeastOne;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 1")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AtLeastOne, E> {
                match number {
                    0 => Err(E::invalid_value(Unexpected::Unsigned(0), &self)),
                    number => Ok(AtLeastOne(u32::try_from(number).unwrap_or(u32::MAX))),
                }
            }

            /// Some languages write whole numbers with a fraction of 0.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<AtLeastOne, E> {
                if number < 1.0 || number.fract() != 0.0 {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and positive")]
                self.visit_u64(number as u64)
            }
        }

        deserializer.deserialize_u64(NumberVisitor)
    }
}

/// The texts that end a reply. None is empty.
pub(super) fn stops(name: &str, texts: Vec<String>) -> Result<Vec<String>, Error> {
    if texts.iter().any(String::is_empty) {
        return Err(Error::invalid(format!("`{name}` must not have an empty text.")));
    }
    Ok(texts)
}

/// The token of a request: the one at its top, or else that of the model's last message. Programs
/// append the message of an answer, which has the token, to the messages of their next request.
/// An empty token is like none.
pub(super) fn token(top: Option<String>, in_message: Option<Cow<'_, str>>) -> Result<Option<String>, Error> {
    let is_given = |token: &str| !token.is_empty();
    match (top.filter(|token| is_given(token)), in_message.filter(|token| is_given(token))) {
        (Some(top), Some(in_message)) if top != in_message => Err(Error::invalid(
            "`conversation_token` differs from the token in the last message of the model, so the request names two \
            conversations or two of its turns. Send one token, and the messages that belong to it.",
        )),
        (top, in_message) => Ok(top.or_else(|| in_message.map(Cow::into_owned))),
    }
}

/// The action if a conversation exceeds its limits.
pub(super) fn truncation(name: Option<&str>) -> Result<Option<Truncation>, Error> {
    name.map(|name| {
        Truncation::from_name(name)
            .ok_or_else(|| Error::invalid("`truncation` must be \"refuse\", \"oldest\" or \"summarize\"."))
    })
    .transpose()
}
