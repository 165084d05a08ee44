//! The compact form (RFC 7515 §7.1) of a credential, split but not verified yet.
//!
//! ```text
//! b64u(header) "." b64u(payload) "." b64u(signature)
//! └────────── signed ──────────┘
//! ```
//!
//! Header members that change how a credential is verified are refused: `crit` and `b64` (RFC
//! 7797), `zip`, and the members that carry or locate a key (`jwk`, `jku`, `x5u`, `x5c`). Other
//! unknown members are ignored, as RFC 7515 §4 requires: issuers send `x5t`, `nonce` and names of
//! their own, and without `crit` none of them may change the meaning. `typ` excludes other kinds of
//! JWT (RFC 8725 §3.11), conversation tokens among them.

use std::str::FromStr;

use jsonwebtoken::Algorithm;

use super::{
    fault::JwtFault,
    json::{JsonFault, Members},
};
use crate::proto::base64url;

/// The longest credential in bytes: the limit of all headers of a request.
const MAX_CREDENTIAL_BYTES: usize = 16 << 10;

/// The longest encoded header in bytes. The header is read before the length of the credential is
/// checked, so that a long conversation token gets its own error.
const MAX_HEADER_BYTES: usize = 4 << 10;

const REFUSED_MEMBERS: [&str; 7] = ["b64", "crit", "jku", "jwk", "x5c", "x5u", "zip"];

/// The parts of a credential, with its header parsed.
pub(super) struct UnverifiedJws<'a> {
    pub(super) header: Header,
    /// The signed bytes, as they arrived.
    pub(super) signed: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> UnverifiedJws<'a> {
    /// Splits `text` and parses its header.
    pub(super) fn parse(text: &'a str) -> Result<Self, JwtFault> {
        let (first, rest) = text.split_once('.').ok_or(JwtFault::Layout)?;
        let header = Header::parse(first)?;
        if text.len() > MAX_CREDENTIAL_BYTES {
            return Err(JwtFault::TooLarge { bytes: text.len(), limit: MAX_CREDENTIAL_BYTES });
        }
        let (payload, signature) = rest.split_once('.').ok_or(JwtFault::Layout)?;
        let signed = text.strip_suffix(signature).and_then(|text| text.strip_suffix('.')).ok_or(JwtFault::Layout)?;
        if signature.contains('.') {
            return Err(JwtFault::Layout);
        }
        Ok(Self { header, signed, payload, signature })
    }
}

/// The members of the header that select a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

impl Header {
    fn parse(encoded: &str) -> Result<Self, JwtFault> {
        if encoded.len() > MAX_HEADER_BYTES {
            return Err(JwtFault::HeaderTooLarge { bytes: encoded.len(), limit: MAX_HEADER_BYTES });
        }
        let json = decode(encoded).ok_or(JwtFault::Encoding { part: "header" })?;
        let members = Members::parse(&json).map_err(JwtFault::Header)?;
        check_type(members.string("typ").map_err(JwtFault::Header)?)?;
        if let Some(name) = REFUSED_MEMBERS.into_iter().find(|name| members.has(name)) {
            return Err(JwtFault::HeaderMember(name));
        }
        let name =
            members.string("alg").map_err(JwtFault::Header)?.ok_or(JwtFault::Header(JsonFault::Missing("alg")))?;
        let kid = members.string("kid").map_err(JwtFault::Header)?;
        Ok(Self { algorithm: algorithm(&name).ok_or(JwtFault::Algorithm)?, kid })
    }
}

/// Accepts plain JWTs and OAuth access tokens (RFC 9068 §2.1), and refuses all other types.
fn check_type(typ: Option<String>) -> Result<(), JwtFault> {
    match typ.map(|typ| typ.to_ascii_lowercase()).as_deref() {
        None | Some("jwt" | "at+jwt") => Ok(()),
        Some("holdall1" | "holdall1s") => Err(JwtFault::ConversationToken),
        Some(_) => Err(JwtFault::Type),
    }
}

/// The signature algorithm called `name` (RFC 7518 §3.1, RFC 8037 §3.1), if it is supported.
/// `Ed25519` is the name in RFC 9864 §2.2 for EdDSA on that curve, which is the only supported
/// curve of EdDSA.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { Algorithm::from_str(name).ok() }
}

/// Decodes canonical base64url without padding (RFC 7515 §2, RFC 4648 §3.5): each byte string has
/// exactly one text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    base64url::decode(text.as_bytes()).ok()
}
