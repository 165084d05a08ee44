//! Ids of tokens and conversations: UUIDv7 (RFC 9562 §5.7), in one text form.
//!
//! The text form is lower case with hyphens. The `uuid` crate also reads other forms, so a text is
//! accepted only if it equals the form that is written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use uuid::{Builder, Uuid, Variant, fmt::Hyphenated};

use super::TokenFault;
use crate::proto::time::UnixSeconds;

/// A UUIDv7 (RFC 9562 §5.7), written in lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(Uuid);

impl Id {
    /// An id of this moment. It uses 74 of the random bits.
    #[must_use]
    pub fn new(now: UnixSeconds, random: [u8; 16]) -> Self {
        let [_, _, _, _, _, _, random @ ..] = random;
        Self(Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid())
    }
}

impl FromStr for Id {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let id = Uuid::try_parse(text).map_err(|_| TokenFault::Claims)?;
        let is_v7 = id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122;
        let is_written_form = id.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]) == text;
        if is_v7 && is_written_form { Ok(Self(id)) } else { Err(TokenFault::Claims) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUIDv7")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(|_| E::custom("not a UUIDv7"))
            }
        }

        deserializer.deserialize_str(IdVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "019b7669-1000-7aaa-8101-010101010101";

    #[test]
    fn an_id_holds_its_time_version_and_variant() {
        let random = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let id = Id::new(UnixSeconds(1_795_219_200), random);
        assert_eq!(id.to_string(), "01a1fb67-1800-7708-890a-0b0c0d0e0f10");
        assert_eq!(Id::new(UnixSeconds(1), [0xFF; 16]).to_string(), "00000000-03e8-7fff-bfff-ffffffffffff");
        assert_eq!(Id::new(UnixSeconds(0), [0; 16]).to_string(), "00000000-0000-7000-8000-000000000000");
    }

    #[test]
    fn only_the_written_form_is_read() {
        assert_eq!(TEXT.parse::<Id>().unwrap().to_string(), TEXT);
        let without_hyphens = TEXT.replace('-', "");
        for other in [
            TEXT.to_uppercase(),
            TEXT.replace("7aaa", "7Aaa"),
            TEXT.replace("7aaa", "4aaa"),
            TEXT.replace("-81", "-c1"),
            TEXT.replace("-81", "-01"),
            format!("{{{TEXT}}}"),
            format!("urn:uuid:{TEXT}"),
            format!(" {TEXT}"),
            format!("{TEXT}0"),
            TEXT[1..].to_owned(),
            TEXT.replacen('-', "0", 1),
            without_hyphens,
            String::new(),
        ] {
            assert!(other.parse::<Id>().is_err(), "{other}");
        }
    }
}
