//! Keys of an issuer, as a key set, as PEM and as a secret: the outcome is the same however a set
//! arrives, a set from the network holds no secret, and the log stays readable.

use holdall::principal::jwt::{JwtKeys, KeyDocument, KeySetOrigin};
use serde_json::Value;

/// Takes any bytes.
pub fn check(input: &[u8]) {
    let _ = JwtKeys::from_secret(input).map(|keys| assert!(input.len() >= 32 && keys.count() == 1));
    let mut document = KeyDocument::with_length(Some(input.len() as u64)).expect("a short document");
    for piece in input.chunks(7) {
        document.push(piece).expect("a short document");
    }
    let Ok(text) = document.finish() else { return assert!(std::str::from_utf8(input).is_err()) };
    assert_eq!(text.as_bytes(), input);
    match JwtKeys::from_pem(&text) {
        Ok(keys) => assert!(keys.count() == 1 && text.contains("PUBLIC KEY-----")),
        Err(error) => assert_readable(&error.to_string()),
    }
    for origin in [KeySetOrigin::File, KeySetOrigin::Remote] {
        match JwtKeys::from_jwks(&text, origin) {
            Ok(keys) => check_set(&text, &keys, origin),
            Err(error) => assert_readable(&error.to_string()),
        }
    }
}

/// Every entry of a set is a key or is named as skipped. Entries with a private part are skipped.
fn check_set(text: &str, keys: &JwtKeys, origin: KeySetOrigin) {
    assert!(keys.count() > 0);
    keys.skipped().iter().for_each(|skipped| assert_readable(&skipped.to_string()));
    // Numbers that are too large for a value are no fault of a set.
    let Ok(set) = serde_json::from_str::<Value>(text) else { return };
    let entries = set["keys"].as_array().expect("the keys of a set");
    assert_eq!(keys.count() + keys.skipped().len(), entries.len());
    let is_skipped = |position: usize| keys.skipped().iter().any(|skipped| skipped.position == position);
    for (position, entry) in (1..).zip(entries) {
        let is_secret = entry["kty"] == "oct";
        let is_refused = (is_secret && origin == KeySetOrigin::Remote) || (!is_secret && entry.get("d").is_some());
        assert!(!is_refused || is_skipped(position), "key {position} of {text}");
    }
}

fn assert_readable(message: &str) {
    assert!(!message.is_empty() && message.chars().count() < 2_000, "{message:?}");
}
