//! The rules of the key ring, and the Wycheproof vectors for the functions that the token uses.

use super::*;
use crate::proto::token::testing::{WycheproofTest, wycheproof};

fn secret(byte: u8, bytes: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![byte; bytes])
}

fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

/// A key with a secret of any length. The ring accepts 32 to 64 bytes, but the vectors also have 16
/// and 65.
fn key_of_any_length(secret: &[u8]) -> SigningKey {
    let mut key = SigningKey::new(id("k1"), &[7; 32]).unwrap();
    key.mac = Hmac::new_from_slice(secret).unwrap();
    if SECRET_BYTES.contains(&secret.len()) {
        assert_eq!(SigningKey::new(id("k1"), secret).unwrap().tag(b"message"), key.tag(b"message"));
    }
    key
}

#[test]
fn tags_agree_with_wycheproof() {
    let check = |test: &WycheproofTest| {
        let (message, expected) = (test.bytes("msg"), test.bytes("tag"));
        let key = key_of_any_length(&test.bytes("key"));
        let agrees = key.tag(&message).starts_with(&expected);
        assert_eq!(agrees, test.is_valid(), "{}", test.name());
        // Half of the vectors are tags truncated to 16 bytes. The verifier accepts none of them.
        let whole = expected.len() == TAG_BYTES;
        assert_eq!(key.verify(&message, &expected), test.is_valid() && whole, "{}", test.name());
    };
    let tests = wycheproof(include_str!("../../../tests/vectors/wycheproof/hmac_sha256_test.json"));
    assert_eq!((tests.len(), tests.iter().filter(|test| test.is_valid()).count()), (174, 66));
    tests.iter().for_each(check);
}

#[test]
fn derived_keys_agree_with_wycheproof() {
    let tests = wycheproof(include_str!("../../../tests/vectors/wycheproof/hkdf_sha256_test.json"));
    assert_eq!((tests.len(), tests.iter().filter(|test| test.is_valid()).count()), (86, 83));
    for test in tests {
        let mut out = vec![0; test.number("size")];
        let derived = derive(&test.bytes("salt"), &test.bytes("ikm"), &test.bytes("info"), &mut out);
        assert_eq!(derived.is_some(), test.is_valid(), "{}", test.name());
        assert!(derived.is_none() || out == test.bytes("okm"), "{}", test.name());
    }
}

#[test]
fn a_tag_of_any_other_length_is_refused() {
    let key = SigningKey::new(id("k1"), &[1; 32]).unwrap();
    let tag = key.tag(b"message");
    assert!(key.verify(b"message", &tag));
    for bytes in 0..TAG_BYTES {
        assert!(!key.verify(b"message", &tag[..bytes]));
    }
    assert!(!key.verify(b"message", &[&tag[..], &[0]].concat()));
}

#[test]
fn secrets_of_32_to_64_bytes_are_accepted() {
    for bytes in [0, 1, 31, 32, 33, 63, 64, 65, 1_000] {
        let ring = KeyRing::new([(id("k1"), secret(1, bytes))]);
        let expected = KeyError::SecretLength { id: id("k1"), bytes };
        assert_eq!(ring.err(), (!(32..=64).contains(&bytes)).then_some(expected));
    }
}

#[test]
fn a_ring_without_keys_is_refused() {
    assert_eq!(KeyRing::new([]).unwrap_err(), KeyError::Empty);
    assert_eq!(KeyRing::parse(" # k1:AAAA \n,\n").unwrap_err(), KeyError::Empty);
}

#[test]
fn a_repeated_id_is_refused() {
    let ring = KeyRing::new([(id("k1"), secret(1, 32)), (id("k2"), secret(2, 32)), (id("k1"), secret(3, 32))]);
    assert_eq!(ring.unwrap_err(), KeyError::RepeatedId(id("k1")));
}

#[test]
fn one_secret_under_two_ids_is_refused_also_with_trailing_zeros() {
    for bytes in [32, 33, 64] {
        let mut padded = secret(1, 32);
        padded.resize(bytes, 0);
        let ring = KeyRing::new([(id("k1"), secret(1, 32)), (id("k2"), padded)]);
        assert_eq!(ring.unwrap_err(), KeyError::RepeatedSecret(id("k1"), id("k2")));
    }
}

#[test]
fn a_ring_compares_secrets_as_hmac_does() {
    let long = [7; 100];
    let ring =
        KeyRing::new([(id("k1"), secret(1, 32)), (id("k2"), Zeroizing::new(Sha256::digest(long).to_vec()))]).unwrap();
    for (other, held) in [
        (&[1; 32][..], true),
        (&[&[1; 32][..], &[0; 5]].concat(), true),
        (&[1; 31], false),
        (&[1; 33], false),
        (&[2; 32], false),
        (&[], false),
        // Longer than a block: HMAC hashes it first.
        (&long, true),
    ] {
        assert_eq!(ring.holds(other), held, "{} bytes", other.len());
    }
}

#[test]
fn entries_are_separated_by_commas_and_line_ends() {
    let (one, two) = (base64url::encode(&[1; 32]), base64url::encode(&[2; 40]));
    for text in [format!("k1:{one},k0:{two}"), format!("# keys\n  k1:{one} \r\n\n#k9:x\nk0:{two},\n")] {
        let ring = KeyRing::parse(&text).unwrap();
        assert_eq!(ring.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["k1", "k0"]);
        assert_eq!(ring.current().tag(b""), SigningKey::new(id("k1"), &[1; 32]).unwrap().tag(b""));
    }
}

#[test]
fn a_broken_entry_is_named_by_its_number() {
    let one = base64url::encode(&[1; 32]);
    for (entry, error) in [
        ("k2", KeyError::Entry(2)),
        ("k2:AAA=", KeyError::Entry(2)),
        ("k2:+/+/", KeyError::Entry(2)),
        (":AAAA", KeyError::Id),
        ("k 2:AAAA", KeyError::Id),
        ("k2:AAAA", KeyError::SecretLength { id: id("k2"), bytes: 3 }),
    ] {
        assert_eq!(KeyRing::parse(&format!("k1:{one},{entry}")).unwrap_err(), error, "{entry}");
    }
}

#[test]
fn ids_are_1_to_32_plain_characters() {
    for good in ["a", "Az09_-", &"k".repeat(32)] {
        assert!(KeyId::new(good).is_ok());
    }
    for bad in ["", "k.1", "k 1", "ké", "k\"", "k:1", &"k".repeat(33)] {
        assert_eq!(KeyId::new(bad), Err(KeyError::Id), "{bad}");
    }
}

#[test]
fn debug_and_errors_show_no_secret() {
    let ring = KeyRing::new([(id("k1"), secret(0xAB, 32)), (id("k0"), secret(0xCD, 32))]).unwrap();
    assert_eq!(format!("{ring:?}"), "KeyRing { current: KeyId(\"k1\"), retired: 1, .. }");
    let error = KeyRing::parse("k1:c2VjcmV0").unwrap_err();
    assert_eq!(error.to_string(), "the secret of key k1 has 6 bytes; it must have 32 to 64");
}
