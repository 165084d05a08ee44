//! JSON Web Tokens as credentials (RFC 7519, RFC 8725): one issuer, its keys, and its users.
//!
//! ```text
//! credential ─▶ jws: split, header ─▶ keys: candidates ─▶ signature ─▶ claims ─▶ sub
//!                                       ▲                              iss, aud, exp, nbf, iat
//!                  a file, or remote: the issuer's published keys,
//!                  fetched on a schedule
//! ```
//!
//! The crate jsonwebtoken does only the cryptography: its own `decode` accepts unknown `crit`,
//! `b64`, any `typ`, fractional times and a missing `sub`. The algorithm follows from the key, not
//! from the credential. A credential can neither embed a key nor cause a fetch of one by URL. A
//! conversation token is never a credential, even if it was signed with the same secret.

mod claims;
mod document;
mod error;
mod fault;
mod json;
mod jwk;
mod jws;
mod key;
mod keys;
mod pem;
mod remote;
mod schedule;
mod verifier;

pub use self::{
    document::KeyDocument,
    error::{JwtConfigError, KeyFault, SkippedKey},
    jwk::KeySetOrigin,
    keys::JwtKeys,
    remote::RemoteKeys,
    verifier::{JwtConfig, JwtVerifier, KeySource},
};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof_tests;
