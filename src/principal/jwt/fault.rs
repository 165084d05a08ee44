//! The reasons why a credential is refused, for the operator's log. The caller does not learn them.
//!
//! No reason quotes the credential: it is either a secret or the text of an attacker.

use std::fmt;

use super::json::JsonFault;
use crate::proto::{error::Error, time::UnixSeconds};

/// The check that a credential failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JwtFault {
    Algorithm,
    Audience,
    Claims(JsonFault),
    ConversationToken,
    Early { claim: &'static str, at: UnixSeconds, now: UnixSeconds },
    Encoding { part: &'static str },
    Expired { at: UnixSeconds, now: UnixSeconds },
    Header(JsonFault),
    HeaderMember(&'static str),
    HeaderTooLarge { bytes: usize, limit: usize },
    Issuer,
    Layout,
    NoKey,
    NoKeySet,
    Signature,
    Subject(&'static str),
    TooLarge { bytes: usize, limit: usize },
    Type,
    UnknownKey,
}

impl fmt::Display for JwtFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm => f.write_str("header: `alg` is not a supported signature algorithm"),
            Self::Audience => f.write_str("aud: none of the configured audiences"),
            Self::Claims(fault) => write!(f, "claims: {fault}"),
            Self::ConversationToken => f.write_str("a conversation token was presented as the credential"),
            Self::Early { claim, at, now } => write!(f, "{claim}: in the future: {at}, now {now}"),
            Self::Encoding { part } => write!(f, "{part}: not canonical base64url"),
            Self::Expired { at, now } => write!(f, "exp: expired at {at}, now {now}"),
            Self::Header(fault) => write!(f, "header: {fault}"),
            Self::HeaderMember(name) => write!(f, "header: `{name}` is not accepted"),
            Self::HeaderTooLarge { bytes, limit } => write!(f, "header: {bytes} bytes, limit {limit}"),
            Self::Issuer => f.write_str("iss: not the configured issuer"),
            Self::Layout => f.write_str("layout: not three parts with two dots"),
            Self::NoKey => f.write_str("key: none of the configured keys has this `kid` and `alg`"),
            Self::NoKeySet => f.write_str("key: the issuer's key set has not been fetched"),
            Self::Signature => f.write_str("signature: does not match"),
            Self::Subject(rule) => write!(f, "sub: {rule}"),
            Self::TooLarge { bytes, limit } => write!(f, "credential is {bytes} bytes, limit {limit}"),
            Self::Type => f.write_str("header: `typ` is neither `JWT` nor `at+jwt`"),
            Self::UnknownKey => f.write_str("key: none of the issuer's keys has this `kid`"),
        }
    }
}

impl From<JwtFault> for Error {
    fn from(fault: JwtFault) -> Self {
        Self::Unauthenticated { cause: fault.to_string() }
    }
}
