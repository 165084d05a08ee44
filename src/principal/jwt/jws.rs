//! The compact form (RFC 7515 §7.1) of a credential, taken apart but not yet believed.
//!
//! ```text
//! b64u(header) "." b64u(payload) "." b64u(signature)
//! └────────── signed ──────────┘
//! ```
//!
//! Header members that change what is verified or with which key are refused by name: `crit` and `b64` (RFC 7797),
//! `zip`, and the places that bring or fetch a key (`jwk`, `jku`, `x5u`, `x5c`). The remaining ones that are not known
//! here are ignored, as RFC 7515 §4 demands: issuers send `x5t`, `nonce` and names of their own, and without `crit` none
//! of them may change the meaning. `typ` keeps other kinds of JWT out (RFC 8725 §3.11), conversation tokens first.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;

use super::{
    fault::JwtFault,
    json::{JsonFault, Members},
};

/// The longest credential: what the whole header block of a request may have (design §7).
const MAX_CREDENTIAL_BYTES: usize = 16 << 10;

/// The longest encoded header. Read before the credential's own length is checked, so that a long conversation token is
/// told from a long credential.
const MAX_HEADER_BYTES: usize = 4 << 10;

const REFUSED_MEMBERS: [&str; 7] = ["b64", "crit", "jku", "jwk", "x5c", "x5u", "zip"];

/// A credential in its parts, the header read.
pub(super) struct UnverifiedJws<'a> {
    pub(super) header: Header,
    /// The bytes under the signature, as they arrived.
    pub(super) signed: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> UnverifiedJws<'a> {
    /// Splits `text` and reads its header.
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

/// What of the header takes part in choosing a key.
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

/// Plain JWTs and OAuth access tokens (RFC 9068 §2.1) pass; ID-token-like or foreign types do not.
fn check_type(typ: Option<String>) -> Result<(), JwtFault> {
    match typ.map(|typ| typ.to_ascii_lowercase()).as_deref() {
        None | Some("jwt" | "at+jwt") => Ok(()),
        Some("holdall1" | "holdall1s") => Err(JwtFault::ConversationToken),
        Some(_) => Err(JwtFault::Type),
    }
}

/// The algorithm called `name` (RFC 7518 §3.1, RFC 8037 §3.1), if it is a signature and known here. `Ed25519` is what
/// RFC 9864 §2.2 calls EdDSA on that curve, and EdDSA is never another curve here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { Algorithm::from_str(name).ok() }
}

/// Canonical base64url without padding (RFC 7515 §2, RFC 4648 §3.5): one text for each byte string.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
