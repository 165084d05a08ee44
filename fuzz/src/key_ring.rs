//! Texts of key rings: the keys are those that a second reader finds, and no error shows a secret.

use std::collections::BTreeSet;

use holdall::KeyRing;

use super::reference::from_base64url;

/// Takes any text.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let entries = entries(text);
    match KeyRing::parse(text) {
        Ok(ring) => {
            let ids: Vec<&str> = ring.ids().map(|id| id.as_str()).collect();
            let expected: Vec<&str> =
                entries.iter().filter_map(|entry| entry.split_once(':')).map(|(id, _)| id).collect();
            assert_eq!(ids, expected);
            assert!(is_valid(&entries), "{text:?}");
            for entry in &entries {
                let secret = entry.split_once(':').and_then(|(_, secret)| from_base64url(secret)).expect("a secret");
                assert!(ring.holds(&secret), "a key that the ring does not hold");
            }
            assert_hidden(&entries, &format!("{ring:?}"));
        }
        Err(error) => {
            assert!(!is_valid(&entries), "{error}: {text:?}");
            assert_hidden(&entries, &format!("{error} {error:?}"));
        }
    }
}

fn entries(text: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        entries.extend(line.split(',').map(str::trim).filter(|entry| !entry.is_empty()));
    }
    entries
}

/// True if the entries are a key ring: at least one, and no id or secret twice.
fn is_valid(entries: &[&str]) -> bool {
    let (mut ids, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let is_new = |entry: &&str| {
        let Some((id, secret)) = entry.split_once(':') else { return false };
        let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let Some(mut secret) = from_base64url(secret) else { return false };
        let is_secret = (32..=64).contains(&secret.len());
        // HMAC pads a secret with zeros.
        secret.resize(64, 0);
        is_id && is_secret && ids.insert(id.to_owned()) && secrets.insert(secret)
    };
    !entries.is_empty() && entries.iter().all(is_new)
}

/// No piece of a secret is in a text for the log.
fn assert_hidden(entries: &[&str], shown: &str) {
    for (id, secret) in entries.iter().filter_map(|entry| entry.split_once(':')) {
        let pieces = secret.as_bytes().windows(16).filter_map(|piece| std::str::from_utf8(piece).ok());
        // An id is shown, and may be the same text.
        let mut secrets = pieces
            .filter(|piece| !entries.iter().any(|entry| entry.split(':').next().is_some_and(|id| id.contains(piece))));
        assert!(!secrets.any(|piece| shown.contains(piece)), "the secret of `{id}` is in {shown:?}");
    }
}
