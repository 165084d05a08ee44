//! Public keys as PEM text (RFC 7468): `PUBLIC KEY` of each supported kind, and `RSA PUBLIC KEY`.
//!
//! The DER is read strictly. Certificates and private keys are refused, and not searched for a key.

use pkcs1::RsaPublicKey;
use spki::{
    ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode, Document, pem::PemLabel},
};

use super::{error::KeyFault, key::VerifyingKey};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads the key in `pem`, which must contain one block.
pub(super) fn read(pem: &str) -> Result<VerifyingKey, KeyFault> {
    let malformed = |_| KeyFault::Malformed("it is not a single PEM block with DER".to_owned());
    let (label, der) = Document::from_pem(pem.trim()).map_err(malformed)?;
    match label {
        RsaPublicKey::PEM_LABEL => rsa(der.as_bytes()),
        <SubjectPublicKeyInfoRef<'_> as PemLabel>::PEM_LABEL => spki(der.as_bytes()),
        private if private.ends_with("PRIVATE KEY") => Err(KeyFault::Private),
        other => Err(KeyFault::Unsupported(format!("PEM `{other}`"))),
    }
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7; curves: RFC 5480 §2.1.1, Ed25519: RFC 8410
/// §4).
fn spki(der: &[u8]) -> Result<VerifyingKey, KeyFault> {
    let malformed = || KeyFault::Malformed("its DER is not a public key".to_owned());
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed())?;
    let key = info.subject_public_key.as_bytes().ok_or_else(malformed)?;
    let parameters = info.algorithm.parameters;
    let curve = || parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match info.algorithm.oid {
        RSA_ENCRYPTION => rsa(key),
        EC_PUBLIC_KEY if curve() == Some(P_256) => VerifyingKey::p256(key),
        EC_PUBLIC_KEY if curve() == Some(P_384) => VerifyingKey::p384(key),
        ED25519 if parameters.is_none() => VerifyingKey::ed25519(key),
        other => Err(KeyFault::Unsupported(format!("a key of type {other} with these parameters"))),
    }
}

/// Reads an `RSAPublicKey` (RFC 8017 §A.1.1).
fn rsa(der: &[u8]) -> Result<VerifyingKey, KeyFault> {
    let key = RsaPublicKey::from_der(der).map_err(|_| KeyFault::Malformed("its DER is not an RSA key".to_owned()))?;
    VerifyingKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}
