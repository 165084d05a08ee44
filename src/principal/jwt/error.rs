//! What stops the start when callers are to be told by JSON Web Tokens, and why a single key is passed over.

use std::{error, fmt};

/// A JWT configuration that cannot tell callers apart safely.
///
/// `Display` is for the operator: lower case, no full stop, the fact, then value and bound. [`Self::hint`] is the next
/// step. Neither shows key material.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtConfigError {
    /// There is no audience, or an empty one: every token of the issuer would be good here, whomever it was made for.
    Audience,
    /// The issuer breaks this rule.
    Issuer(&'static str),
    /// The fixed key cannot verify.
    Key(KeyFault),
    /// The key set is not a JWK set (RFC 7517 §5).
    KeySet(&'static str),
    /// The key set holds secrets beside public keys: whatever publishes the second publishes the first.
    MixedSet,
    /// No key of the set can verify.
    NoUsableKey(Vec<SkippedKey>),
    /// Two different keys of the set have one `kid`.
    RepeatedKid(String),
    /// The secret is the text of a key document, which anyone may know.
    SecretIsDocument,
}

impl JwtConfigError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Audience => "name the audience that the issuer writes into tokens for this service",
            Self::Issuer(_) => "copy the `iss` that the issuer writes into its tokens, character for character",
            Self::Key(fault) => fault.hint(),
            Self::KeySet(_) => "give the document that the issuer serves as its `jwks_uri`: {\"keys\": [ … ]}",
            Self::MixedSet => "verify with the public keys, or put the secrets into a set of their own",
            Self::NoUsableKey(_) => "check that the document is the issuer's current key set for signatures",
            Self::RepeatedKid(_) => "give each key of the set a `kid` of its own",
            Self::SecretIsDocument => "give a PEM or a key set as such, and a secret as random bytes",
        }
    }
}

impl fmt::Display for JwtConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience => f.write_str("the JWT audience is empty"),
            Self::Issuer(rule) => write!(f, "the JWT issuer is not usable: {rule}"),
            Self::Key(fault) => write!(f, "the JWT key is not usable: {fault}"),
            Self::KeySet(rule) => write!(f, "the JWT key set is not readable: {rule}"),
            Self::MixedSet => f.write_str("the JWT key set holds both secrets and public keys"),
            Self::NoUsableKey(skipped) => {
                write!(f, "the JWT key set has no usable key among {}", skipped.len())?;
                skipped.first().map_or(Ok(()), |first| write!(f, "; {first}"))
            }
            Self::RepeatedKid(kid) => write!(f, "the JWT key set has two different keys with the kid `{kid}`"),
            Self::SecretIsDocument => f.write_str("the JWT secret is the text of a PEM file or a key set"),
        }
    }
}

impl error::Error for JwtConfigError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Key(fault) => Some(fault),
            _ => None,
        }
    }
}

/// A key of a set that is left out of verification; for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedKey {
    /// Its place in the set, counted from 1.
    pub position: usize,
    /// Its `kid`, if it has one that can be read.
    pub kid: Option<String>,
    /// What is wrong with it.
    pub fault: KeyFault,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.position)?;
        if let Some(kid) = &self.kid {
            write!(f, " (kid `{kid}`)")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// Why one key cannot verify credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// The `alg` is not one that a key of this kind and size verifies.
    Algorithm {
        /// The key's `alg`.
        found: String,
    },
    /// The RSA exponent is even, below 65537 (FIPS 186-5 §A.1.1) or above 2³³ − 1.
    Exponent,
    /// Broken encoding, or a member of the wrong type.
    Malformed(String),
    /// The RSA modulus is even, or has too few or too many bits.
    Modulus {
        /// Its length.
        bits: usize,
    },
    /// The point is not on its curve.
    Point,
    /// The private half is there too. It has no business here, and who has it can be any user.
    Private,
    /// The key is for something else than verifying signatures.
    Purpose,
    /// A secret in a set that came over the network.
    RemoteSecret,
    /// The secret is shorter than the smallest tag (RFC 7518 §3.2).
    SecretTooShort {
        /// Its length.
        bytes: usize,
    },
    /// A kind of key or a curve that is not known here.
    Unsupported(String),
}

impl KeyFault {
    fn hint(&self) -> &'static str {
        match self {
            Self::Private => "give the public half: openssl pkey -in key.pem -pubout",
            Self::SecretTooShort { .. } => "use at least 32 random bytes at the issuer and here: openssl rand 32",
            _ => "give an RSA key of 2048 to 4096 bits, or a P-256, P-384 or Ed25519 key, as PEM `PUBLIC KEY`",
        }
    }
}

impl error::Error for KeyFault {}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { found } => write!(f, "alg `{found}` is not one that a key of this kind verifies"),
            Self::Exponent => f.write_str("the RSA exponent is not an odd number from 65537 to 2^33 - 1"),
            Self::Malformed(rule) => f.write_str(rule),
            Self::Modulus { bits } => write!(f, "the RSA modulus has {bits} bits, wanted odd and 2048 to 4096 bits"),
            Self::Point => f.write_str("the point is not on its curve"),
            Self::Private => f.write_str("it holds the private half"),
            Self::Purpose => f.write_str("its use or key_ops is not the verifying of signatures"),
            Self::RemoteSecret => f.write_str("a secret that came over the network is none"),
            Self::SecretTooShort { bytes } => write!(f, "the secret is {bytes} bytes, at least 32 are needed"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
        }
    }
}
