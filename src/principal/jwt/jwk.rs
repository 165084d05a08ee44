//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2) and sets of them.
//!
//! A key is taken only if everything that it says of itself agrees: kind, curve, `alg`, `use` and `key_ops`. Members that
//! are not known are ignored (RFC 7517 §4), equal names twice are not.

use super::{
    error::{JwtConfigError, KeyFault},
    json::{JsonFault, Members},
    jws::decode,
    key::VerifyingKey,
    keys::Origin,
};

/// One entry of a set: its `kid`, as far as it can be read, and the key.
pub(super) type Entry = (Option<String>, Result<VerifyingKey, KeyFault>);

/// The entries of the set `json`, in order.
pub(super) fn read_set(json: &str, origin: Origin) -> Result<Vec<Entry>, JwtConfigError> {
    let no_set = |_| JwtConfigError::KeySet("not a JSON object of unique members with an array `keys`");
    let members = Members::parse(json.as_bytes()).map_err(no_set)?;
    let elements = members.elements("keys").and_then(|keys| keys.ok_or(JsonFault::Missing("keys"))).map_err(no_set)?;
    Ok(elements.iter().map(|element| read_entry(element.get(), origin)).collect())
}

fn read_entry(json: &str, origin: Origin) -> Entry {
    let members = match Members::parse(json.as_bytes()) {
        Ok(members) => members,
        Err(fault) => return (None, Err(fault.into())),
    };
    (members.string("kid").ok().flatten(), read_key(&members, origin))
}

fn read_key(jwk: &Members<'_>, origin: Origin) -> Result<VerifyingKey, KeyFault> {
    check_purpose(jwk)?;
    let key = match required(jwk, "kty")?.as_str() {
        "EC" => elliptic(jwk)?,
        "OKP" => edwards(jwk)?,
        "RSA" => VerifyingKey::rsa(&public(jwk, "n")?, &public(jwk, "e")?)?,
        "oct" if origin == Origin::Remote => return Err(KeyFault::RemoteSecret),
        "oct" => VerifyingKey::secret(&bytes(jwk, "k")?)?,
        other => return Err(KeyFault::Unsupported(format!("kty `{other}`"))),
    };
    key.narrowed(jwk.string("kid")?, jwk.string("alg")?)
}

/// RFC 7517 §4.2 and §4.3: what a key says that it is for counts.
fn check_purpose(jwk: &Members<'_>) -> Result<(), KeyFault> {
    let signs = jwk.string("use")?.is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.strings("key_ops")?.is_none_or(|operations| operations.iter().any(|name| name == "verify"));
    if signs && verifies { Ok(()) } else { Err(KeyFault::Purpose) }
}

fn elliptic(jwk: &Members<'_>) -> Result<VerifyingKey, KeyFault> {
    let (curve, x, y) = (required(jwk, "crv")?, public(jwk, "x")?, public(jwk, "y")?);
    // Each coordinate has the full size (RFC 7518 §6.2.1.2); the length of the whole alone would let them share it.
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

/// A part of a public key, from an entry that holds nothing private (`d`: RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
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
