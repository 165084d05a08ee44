//! Errors in the configuration of JSON Web Tokens, and the reasons why a key is skipped.

use std::{error, fmt};

/// A JWT configuration that cannot identify callers safely. The server does not start.
///
/// `Display` is for the operator: a lower-case phrase with the value and the limit, as a part of a
/// longer message. [`Self::hint`] is the next step. Neither shows key material.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtConfigError {
    /// There is no audience, or an empty one. The server would accept tokens of the issuer that are
    /// for other services.
    Audience,
    /// The issuer violates this rule.
    Issuer(&'static str),
    /// The fixed key cannot verify credentials.
    Key(KeyFault),
    /// The key set is not a JWK set (RFC 7517 §5).
    KeySet(&'static str),
    /// The key set has both secrets and public keys. If the public keys are published, so are the
    /// secrets.
    MixedSet,
    /// No key of the set can verify credentials.
    NoUsableKey(Vec<SkippedKey>),
    /// Two different keys of the set have the same `kid`.
    RepeatedKid(String),
    /// The secret is the text of a PEM file or a key set, which is public.
    SecretIsDocument,
}

impl JwtConfigError {
    /// The next step for the operator.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Audience => "set the audience that the issuer writes into tokens for this service",
            Self::Issuer(_) => "copy the `iss` that the issuer writes into its tokens, character for character",
            Self::Key(fault) => fault.hint(),
            Self::KeySet(_) => "use the document that the issuer serves as its `jwks_uri`: {\"keys\": [ … ]}",
            Self::MixedSet => "use only the public keys, or put the secrets into a separate set",
            Self::NoUsableKey(_) => "check that the document is the issuer's current key set for signatures",
            Self::RepeatedKid(_) => "give each key of the set a different `kid`",
            Self::SecretIsDocument => "configure a PEM file or a key set as such, and use random bytes as a secret",
        }
    }
}

impl fmt::Display for JwtConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience => f.write_str("the JWT audience is empty"),
            Self::Issuer(rule) => write!(f, "the JWT issuer is not usable: {rule}"),
            Self::Key(fault) => write!(f, "the JWT key is not usable: {fault}"),
            Self::KeySet(rule) => write!(f, "the JWT key set cannot be read: {rule}"),
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

/// A key of a set that cannot be used; for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedKey {
    /// Its position in the set, counted from 1.
    pub position: usize,
    /// Its `kid`, if it can be read.
    pub kid: Option<String>,
    /// The reason.
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

/// The reason why a key cannot verify credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// A key of this kind and size does not verify this `alg`.
    Algorithm {
        /// The key's `alg`.
        found: String,
    },
    /// The RSA exponent is even, below 65537 (FIPS 186-5 §A.1.1) or above 2³³ − 1.
    Exponent,
    /// Invalid encoding, or a member of the wrong type.
    Malformed(String),
    /// The RSA modulus is even, or has less than 2048 or more than 4096 bits.
    Modulus {
        /// The length of the modulus.
        bits: usize,
    },
    /// The point is not on its curve.
    Point,
    /// The key includes its private part. With it, an attacker could sign credentials for any user.
    Private,
    /// A secret in a set from the network.
    RemoteSecret,
    /// The secret is shorter than the shortest tag (RFC 7518 §3.2), which has 32 bytes.
    SecretTooShort {
        /// The length of the secret.
        bytes: usize,
    },
    /// The kind of key or the curve is not supported.
    Unsupported(String),
    /// The key is not for the verification of signatures (`use` or `key_ops`).
    Use,
}

impl KeyFault {
    fn hint(&self) -> &'static str {
        match self {
            Self::Private => "use the public key: openssl pkey -in key.pem -pubout",
            Self::SecretTooShort { .. } => "use at least 32 random bytes at the issuer and here: openssl rand 32",
            _ => "use an RSA key of 2048 to 4096 bits, or a P-256, P-384 or Ed25519 key, as PEM `PUBLIC KEY`",
        }
    }
}

impl error::Error for KeyFault {}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { found } => write!(f, "alg `{found}` does not match the kind of key"),
            Self::Exponent => f.write_str("the RSA exponent is not an odd number from 65537 to 2^33 - 1"),
            Self::Malformed(rule) => f.write_str(rule),
            Self::Modulus { bits } => {
                write!(f, "the RSA modulus has {bits} bits; it must be odd and have 2048 to 4096 bits")
            }
            Self::Point => f.write_str("the point is not on its curve"),
            Self::Private => f.write_str("it includes the private key"),
            Self::RemoteSecret => f.write_str("a secret must not come from the network"),
            Self::SecretTooShort { bytes } => write!(f, "the secret has {bytes} bytes; it must have at least 32"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::Use => f.write_str("its `use` or `key_ops` does not include the verification of signatures"),
        }
    }
}
