//! Wycheproof's vectors for JWS, keys and key sets, run through the key import and the signature
//! check.
//!
//! Their payloads are arbitrary bytes, so the claims are not checked.

use serde_json::{Value, json};

use super::{jwk::KeySetOrigin, jws::UnverifiedJws, keys::JwtKeys};

const SIGNATURES: &str = include_str!("../../../tests/vectors/wycheproof/json_web_signature_test.json");
const CRYPTO: &str = include_str!("../../../tests/vectors/wycheproof/json_web_crypto_test.json");
const KEYS: &str = include_str!("../../../tests/vectors/wycheproof/json_web_key_test.json");

/// Cases whose label does not apply here, each with the reason.
type Exceptions = &'static [(&'static [u64], &'static str)];

const ROCA: &str = "ROCA: a weak key that its issuer must replace; this server does not search for its structure";

#[test]
fn signatures_get_their_label() {
    let exceptions: Exceptions = &[
        (&[346, 350], "signed with PS384 while the key says PS256: the key's `alg` binds"),
        (&[347, 351], "ES512: jsonwebtoken does not support it; and the key says `ES521`"),
        (&[367, 370], "labelled invalid padding, but the text is the valid token"),
        (&[372, 373], "labelled valid with a `?` inside a segment: not canonical base64url"),
    ];
    assert_eq!(run(SIGNATURES, exceptions), 401);
}

#[test]
fn confused_and_embedded_keys_get_their_label() {
    // The other 34 of the 83 are encrypted tokens.
    assert_eq!(run(CRYPTO, &[(&[46], ROCA)]), 49);
}

#[test]
fn key_sets_get_their_label() {
    let exceptions: Exceptions = &[
        (&[4], "the second key of the name is not canonical base64url and is skipped; the rest is unambiguous"),
        (&[7], ROCA),
    ];
    assert_eq!(run(KEYS, exceptions), 26);
}

/// Runs every JWS case of `document` and returns their number. An exception must contradict its
/// label.
fn run(document: &str, exceptions: Exceptions) -> usize {
    let document: Value = serde_json::from_str(document).unwrap();
    let mut count = 0;
    for group in document["testGroups"].as_array().unwrap() {
        let keys = import(group);
        for test in group["tests"].as_array().unwrap().iter().filter(|test| test.get("jws").is_some()) {
            let id = test["tcId"].as_u64().unwrap();
            let jws = text(&test["jws"]);
            let verified = |keys: &JwtKeys| UnverifiedJws::parse(&jws).and_then(|jws| keys.verify_signature(&jws));
            let accepted = keys.as_ref().is_some_and(|keys| verified(keys).is_ok());
            let labelled = test["result"] == "valid";
            let excepted = exceptions.iter().any(|(ids, _)| ids.contains(&id));
            assert_eq!(accepted, labelled != excepted, "case {id}: {}", test["comment"]);
            count += 1;
        }
    }
    count
}

/// The keys of a group: the public keys if there are any. `None` if the import refuses them.
fn import(group: &Value) -> Option<JwtKeys> {
    let key = group.get("public").unwrap_or_else(|| &group["private"]);
    let set = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
    JwtKeys::from_jwks(&set.to_string(), KeySetOrigin::File).ok()
}

/// The compact form, or the text of the JSON serialization.
fn text(jws: &Value) -> String {
    jws.as_str().map_or_else(|| jws.to_string(), str::to_owned)
}
