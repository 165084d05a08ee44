//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2) and key sets.
//!
//! A key is used only if its kind, curve, `alg`, `use` and `key_ops` agree with each other. Unknown
//! members are ignored (RFC 7517 §4). A repeated member name makes the key unusable.

use super::{
    error::{JwtConfigError, KeyFault},
    json::{JsonFault, Members},
    jws::decode,
    key::VerifyingKey,
};

/// The origin of a key set. It decides whether the set may contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetOrigin {
    /// A file of the operator. Secrets (`kty` `oct`) of at least 32 bytes are accepted.
    File,
    /// A document from the network. Secrets are skipped.
    Remote,
}

/// One entry of a key set: its `kid`, if it can be read, and the key or its fault.
pub(super) type Entry = (Option<String>, Result<VerifyingKey, KeyFault>);

/// Reads the entries of the key set `json`, in order.
pub(super) fn read_set(json: &str, origin: KeySetOrigin) -> Result<Vec<Entry>, JwtConfigError> {
    let not_a_set = |_| JwtConfigError::KeySet("not a JSON object of unique members with an array `keys`");
    let members = Members::parse(json.as_bytes()).map_err(not_a_set)?;
    let elements =
        members.elements("keys").and_then(|keys| keys.ok_or(JsonFault::Missing("keys"))).map_err(not_a_set)?;
    Ok(elements.iter().map(|element| read_entry(element.get(), origin)).collect())
}

fn read_entry(json: &str, origin: KeySetOrigin) -> Entry {
    let members = match Members::parse(json.as_bytes()) {
        Ok(members) => members,
        Err(fault) => return (None, Err(fault.into())),
    };
    (members.string("kid").ok().flatten(), read_key(&members, origin))
}

fn read_key(jwk: &Members<'_>, origin: KeySetOrigin) -> Result<VerifyingKey, KeyFault> {
    check_use(jwk)?;
    let key = match required(jwk, "kty")?.as_str() {
        "EC" => elliptic(jwk)?,
        "OKP" => edwards(jwk)?,
        "RSA" => VerifyingKey::rsa(&public(jwk, "n")?, &public(jwk, "e")?)?,
        "oct" if origin == KeySetOrigin::Remote => return Err(KeyFault::RemoteSecret),
        "oct" => VerifyingKey::secret(&bytes(jwk, "k")?)?,
        other => return Err(KeyFault::Unsupported(format!("kty `{other}`"))),
    };
    key.with_name(jwk.string("kid")?, jwk.string("alg")?)
}

/// Checks that the key may verify signatures (`use`: RFC 7517 §4.2, `key_ops`: §4.3).
fn check_use(jwk: &Members<'_>) -> Result<(), KeyFault> {
    let signs = jwk.string("use")?.is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.strings("key_ops")?.is_none_or(|operations| operations.iter().any(|name| name == "verify"));
    if signs && verifies { Ok(()) } else { Err(KeyFault::Use) }
}

fn elliptic(jwk: &Members<'_>) -> Result<VerifyingKey, KeyFault> {
    let (curve, x, y) = (required(jwk, "crv")?, public(jwk, "x")?, public(jwk, "y")?);
    // Each coordinate has the full size (RFC 7518 §6.2.1.2). The check of the total length does not
    // ensure that they are equally long.
    if x.len() != y.len() {
        return Err(KeyFault::Point);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    match curve.as_str() {
        "P-256" => VerifyingKey::p256(&point),
        "P-384" => VerifyingKey::p384(&point),
        other => Err(KeyFault::Unsupported(format!("curve `{other}`"))),
    }
}

fn edwards(jwk: &Members<'_>) -> Result<VerifyingKey, KeyFault> {
    match required(jwk, "crv")?.as_str() {
        "Ed25519" => VerifyingKey::ed25519(&public(jwk, "x")?),
        other => Err(KeyFault::Unsupported(format!("curve `{other}`"))),
    }
}

/// A part of a public key. Fails for an entry with a private part (`d`: RFC 7518 §6.2.2, §6.3.2,
/// RFC 8037 §2).
fn public(jwk: &Members<'_>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    if jwk.has("d") { Err(KeyFault::Private) } else { bytes(jwk, name) }
}

fn bytes(jwk: &Members<'_>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    decode(&required(jwk, name)?).ok_or_else(|| JsonFault::WrongType(name, "canonical base64url").into())
}

fn required(jwk: &Members<'_>, name: &'static str) -> Result<String, KeyFault> {
    Ok(jwk.string(name)?.ok_or(JsonFault::Missing(name))?)
}

impl From<JsonFault> for KeyFault {
    fn from(fault: JsonFault) -> Self {
        Self::Malformed(fault.to_string())
    }
}
