//! Tests with tokens from PyJWT, key sets with the same keys, and the errors that callers see.

use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use std::time::Duration;

use super::{jws, *};
use crate::{
    principal::{
        authenticator::Authenticator,
        identity::{AuthOutcome, AuthRequest, Identity},
    },
    proto::{error::Error, principal::Principal, time::UnixSeconds},
};

/// See `tests/vectors/jwt/generate.py`.
const CASES: &str = include_str!("../../../tests/vectors/jwt/cases.json");

#[derive(Deserialize)]
struct Document {
    now: u64,
    issuer: String,
    audience: Vec<String>,
    keys: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    keys: String,
    token: String,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Verdict {
    Accepted { subject: String },
    Refused { cause: String },
}

impl Document {
    fn read() -> Self {
        serde_json::from_str(CASES).unwrap()
    }

    fn keys(&self, name: &str) -> JwtKeys {
        let source = &self.keys[name];
        if let Some(pem) = source["pem"].as_str() {
            JwtKeys::from_pem(pem).unwrap()
        } else if let Some(hex) = source["secret_hex"].as_str() {
            JwtKeys::from_secret(&unhex(hex)).unwrap()
        } else {
            JwtKeys::from_jwks(&source["jwks"].to_string(), KeySetOrigin::File).unwrap()
        }
    }

    fn verifier(&self, keys: JwtKeys) -> JwtVerifier {
        let (issuer, audience, keys) = (self.issuer.clone(), self.audience.clone(), KeySource::Fixed(keys));
        JwtVerifier::new(JwtConfig { issuer, audience, keys }).unwrap()
    }

    /// The entry of the set `public` with this kid.
    fn jwk(&self, kid: &str) -> Value {
        let keys = self.keys["public"]["jwks"]["keys"].as_array().unwrap();
        keys.iter().find(|key| key["kid"] == kid).unwrap().clone()
    }

    fn secret_jwk(&self) -> Value {
        self.keys["secrets"]["jwks"]["keys"][0].clone()
    }
}

/// The user of `credential`, if it is valid now.
fn verify(verifier: &JwtVerifier, credential: &str, now: u64) -> Result<Principal, Error> {
    verifier.check(credential, UnixSeconds(now)).map_err(Error::from)
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// `value` with a member set, or removed if the member is null.
fn with(mut value: Value, name: &str, member: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    if member.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), member)
    };
    value
}

fn set(keys: &[Value]) -> Result<JwtKeys, JwtConfigError> {
    JwtKeys::from_jwks(&json!({ "keys": keys }).to_string(), KeySetOrigin::File)
}

/// The fault of the only key of a set.
fn fault(key: &Value) -> KeyFault {
    match set(std::slice::from_ref(key)) {
        Err(JwtConfigError::NoUsableKey(skipped)) => skipped[0].fault.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn tokens_made_by_pyjwt_get_their_verdict() {
    let document = Document::read();
    assert!(document.cases.len() > 250);
    for case in &document.cases {
        let verifier = document.verifier(document.keys(&case.keys));
        let found = verify(&verifier, &case.token, document.now);
        match (&case.verdict, found) {
            (Verdict::Accepted { subject }, Ok(principal)) => {
                assert_eq!(principal, Principal::new(subject, "jwt:https://issuer.example").unwrap(), "{}", case.name);
            }
            (Verdict::Refused { cause }, Err(error)) => {
                let found = error.cause().unwrap();
                assert!(found.contains(cause), "{}: wanted `{cause}`, found `{found}`", case.name);
                assert_eq!(error.code(), "unauthenticated", "{}", case.name);
            }
            (_, found) => panic!("{}: {found:?}", case.name),
        }
    }
}

#[test]
fn any_changed_character_is_refused() {
    let document = Document::read();
    for name in ["HS256 with a fixed secret", "ES256 with a kid", "EdDSA with a kid", "RS256 with a kid"] {
        let case = document.cases.iter().find(|case| case.name == name).unwrap();
        let verifier = document.verifier(document.keys(&case.keys));
        for (at, byte) in case.token.bytes().enumerate() {
            let other = if byte == b'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &case.token[..at], &case.token[at + 1..]);
            assert!(verify(&verifier, &changed, document.now).is_err(), "{name}, character {at}");
        }
    }
}

#[test]
fn a_credential_expires_once() {
    let document = Document::read();
    let case = &document.cases[0];
    let verifier = document.verifier(document.keys(&case.keys));
    let expiry = document.now + 600 + 60;
    let accepted = |now| verify(&verifier, &case.token, now).is_ok();
    assert!(accepted(expiry - 1));
    assert!(!accepted(expiry));
    assert!(!accepted(UnixSeconds::MAX.0));
    let issued = document.now - 10;
    assert!(accepted(issued - 60));
    assert!(!accepted(issued - 61));
}

#[test]
fn the_caller_does_not_learn_the_cause() {
    let document = Document::read();
    let verifier = document.verifier(document.keys("secret-64"));
    let messages = ["", "a.b.c", &document.cases[0].token]
        .map(|credential| verify(&verifier, credential, document.now).unwrap_err().to_string());
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
}

#[test]
fn the_credential_is_in_exactly_one_of_two_headers() {
    let document = Document::read();
    let case = &document.cases[0];
    let now = UnixSeconds(document.now);
    let authenticator = Authenticator::Jwt(document.verifier(document.keys(&case.keys)));
    let ask = |headers: &HeaderMap| {
        let request = AuthRequest { headers, peer: None, now, elapsed: Duration::ZERO, has_waited: false };
        authenticator.authenticate(&request).map(|outcome| match outcome {
            AuthOutcome::Identified(identity) => identity,
            AuthOutcome::Wait(_) => panic!("fixed keys cause no wait"),
        })
    };
    let alice = Identity::Known(Principal::new("alice", "jwt:https://issuer.example").unwrap());

    let mut bearer = HeaderMap::new();
    bearer.insert("authorization", HeaderValue::try_from(format!("Bearer {}", case.token)).unwrap());
    assert_eq!(ask(&bearer), Ok(alice.clone()));
    let mut key = HeaderMap::new();
    key.insert("x-api-key", HeaderValue::try_from(&case.token).unwrap());
    assert_eq!(ask(&key), Ok(alice));

    bearer.extend(key);
    assert_eq!(ask(&bearer).unwrap_err().code(), "request_invalid");
    assert_eq!(ask(&HeaderMap::new()).unwrap_err().code(), "unauthenticated");
}

#[test]
fn issuer_and_audience_are_required() {
    let document = Document::read();
    let made = |issuer: &str, audience: &[&str]| {
        let audience = audience.iter().map(ToString::to_string).collect();
        let keys = KeySource::Fixed(document.keys("rsa-pem"));
        JwtVerifier::new(JwtConfig { issuer: issuer.to_owned(), audience, keys }).err()
    };
    assert_eq!(made("https://issuer.example", &["holdall"]), None);
    assert_eq!(made(&"i".repeat(508), &["holdall"]), None);
    for audience in [&[][..], &[""], &["holdall", ""]] {
        assert_eq!(made("https://issuer.example", audience), Some(JwtConfigError::Audience));
    }
    for issuer in ["", "https://issuer.example\n", &"i".repeat(509)] {
        assert!(matches!(made(issuer, &["holdall"]), Some(JwtConfigError::Issuer(_))), "{issuer}");
    }
}

#[test]
fn secrets_of_less_than_32_bytes_are_refused() {
    assert!(JwtKeys::from_secret(&[7; 32]).is_ok());
    for bytes in [0, 1, 31] {
        let refused = JwtKeys::from_secret(&vec![7; bytes]).unwrap_err();
        assert_eq!(refused, JwtConfigError::Key(KeyFault::SecretTooShort { bytes }));
        assert_eq!(
            refused.to_string(),
            format!("the JWT key is not usable: the secret has {bytes} bytes; it must have at least 32")
        );
        assert!(refused.hint().contains("openssl rand 32"));
    }
}

#[test]
fn a_public_key_document_is_refused_as_a_secret() {
    let document = Document::read();
    for text in [document.keys["rsa-pem"]["pem"].as_str().unwrap(), &document.keys["public"]["jwks"].to_string()] {
        for text in [text.to_owned(), format!("\n {text}")] {
            assert_eq!(JwtKeys::from_secret(text.as_bytes()).unwrap_err(), JwtConfigError::SecretIsDocument);
        }
    }
}

#[test]
fn pem_texts_without_exactly_one_public_key_are_refused() {
    let document = Document::read();
    let pem = document.keys["p256-pem"]["pem"].as_str().unwrap();
    assert!(JwtKeys::from_pem(&format!("\n{pem}\n\n")).is_ok());

    let private = pem.replace("PUBLIC KEY", "PRIVATE KEY");
    let refused = JwtKeys::from_pem(&private).unwrap_err();
    assert_eq!(refused, JwtConfigError::Key(KeyFault::Private));
    assert!(refused.hint().contains("openssl pkey"));

    let certificate = pem.replace("PUBLIC KEY", "CERTIFICATE");
    let mislabelled = pem.replace("PUBLIC KEY", "RSA PUBLIC KEY");
    let two = pem.repeat(2);
    let flipped = pem.replacen("MFkwEwYHKoZI", "MFkwEwYHKoZJ", 1);
    for text in ["", "foo", &certificate, &mislabelled, &two, &flipped, pem.get(..80).unwrap()] {
        assert!(matches!(JwtKeys::from_pem(text), Err(JwtConfigError::Key(_))), "{text}");
    }
}

#[test]
fn an_ed25519_pem_has_no_parameters() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = jws::decode(Document::read().jwk("ed-1")["x"].as_str().unwrap()).unwrap();
    // SEQUENCE { SEQUENCE { OID 1.3.101.112, parameters }, BIT STRING }, without and with NULL as
    // the parameters (RFC 8410 §3).
    let without = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", &key[..]].concat();
    let with_null = [b"\x30\x2c\x30\x07\x06\x03\x2b\x65\x70\x05\x00\x03\x21\x00", &key[..]].concat();
    let read = |der: &[u8]| {
        JwtKeys::from_pem(&format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der)))
    };
    assert!(read(&without).is_ok());
    assert!(matches!(read(&with_null), Err(JwtConfigError::Key(KeyFault::Unsupported(_)))));
}

#[test]
fn keys_that_contradict_themselves_are_skipped() {
    let document = Document::read();
    let [rsa, p256, p384, ed] = ["rsa-1", "p256-1", "p384-1", "ed-1"].map(|kid| document.jwk(kid));
    for key in [&rsa, &p256, &p384, &ed] {
        assert!(set(std::slice::from_ref(key)).is_ok());
        assert_eq!(fault(&with(key.clone(), "use", json!("enc"))), KeyFault::Use);
        assert_eq!(fault(&with(key.clone(), "key_ops", json!(["sign"]))), KeyFault::Use);
        assert_eq!(fault(&with(key.clone(), "d", json!("AAAA"))), KeyFault::Private);
        for alg in ["HS256", "none", "ES512", "RSA-OAEP", "", "rs256"] {
            assert_eq!(fault(&with(key.clone(), "alg", json!(alg))), KeyFault::Algorithm { found: alg.to_owned() });
        }
        for (name, value) in [("kty", json!(1)), ("kty", Value::Null), ("use", json!(1)), ("alg", json!(["RS256"]))] {
            assert!(matches!(fault(&with(key.clone(), name, value)), KeyFault::Malformed(_)), "{name}");
        }
        for kty in ["oct", "rsa", "RSA ", "AKP", ""] {
            let refused = fault(&with(key.clone(), "kty", json!(kty)));
            assert!(matches!(refused, KeyFault::Unsupported(_) | KeyFault::Malformed(_)), "{kty}");
        }
    }
    assert_eq!(fault(&with(p256.clone(), "alg", json!("ES384"))), KeyFault::Algorithm { found: "ES384".to_owned() });
    assert_eq!(fault(&with(p256.clone(), "crv", json!("P-384"))), KeyFault::Point);
    assert_eq!(fault(&with(p256.clone(), "x", p256["y"].clone())), KeyFault::Point);
    // The bytes of a valid point, but one coordinate is too short and the other too long.
    let [x, y] = ["x", "y"].map(|name| jws::decode(p256[name].as_str().unwrap()).unwrap());
    let (shorter, longer) = (encode(&x[..31]), encode(&[&x[31..], &y].concat()));
    assert_eq!(fault(&with(with(p256.clone(), "x", json!(shorter)), "y", json!(longer))), KeyFault::Point);
    assert!(matches!(fault(&with(p256, "crv", json!("secp256k1"))), KeyFault::Unsupported(_)));
    assert_eq!(fault(&with(ed.clone(), "x", json!("AAAA"))), KeyFault::Point);
    assert!(matches!(fault(&with(ed, "crv", json!("Ed448"))), KeyFault::Unsupported(_)));
    assert_eq!(fault(&json!(["RSA"])), KeyFault::Malformed("not a JSON object of unique members".to_owned()));
}

#[test]
fn rsa_keys_have_2048_to_4096_bits_and_a_safe_exponent() {
    let rsa = Document::read().jwk("rsa-1");
    let modulus = |bytes: &[u8]| fault(&with(rsa.clone(), "n", json!(encode(bytes))));
    let [mut short, mut long] = [vec![0xff; 256], vec![0xff; 513]];
    short[0] = 0x7f;
    long[0] = 1;
    assert_eq!(modulus(&short), KeyFault::Modulus { bits: 2047 });
    assert_eq!(modulus(&long), KeyFault::Modulus { bits: 4097 });
    assert_eq!(modulus(&[0xfe; 256]), KeyFault::Modulus { bits: 2048 });
    assert_eq!(modulus(&[]), KeyFault::Modulus { bits: 0 });
    for exponent in [&[][..], &[0], &[1], &[3], &[1, 0, 0], &[1, 0, 2], &[2, 0, 0, 0, 1], &[1; 100]] {
        assert_eq!(fault(&with(rsa.clone(), "e", json!(encode(exponent)))), KeyFault::Exponent, "{exponent:?}");
    }
    for (n, e) in
        [(&[0xff; 256][..], &[1, 0, 1][..]), (&[0xff; 512], &[0, 1, 0, 1]), (&[0xff; 300], &[1, 255, 255, 255, 255])]
    {
        assert!(set(&[with(with(rsa.clone(), "n", json!(encode(n))), "e", json!(encode(e)))]).is_ok());
    }
}

#[test]
fn skipped_keys_are_reported_with_their_reason() {
    let document = Document::read();
    let keys = [document.jwk("rsa-1"), with(document.jwk("ed-1"), "use", json!("enc")), json!({"kty": "AKP"})];
    let keys = set(&keys).unwrap();
    let lines: Vec<_> = keys.skipped().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "key 2 (kid `ed-1`): its `use` or `key_ops` does not include the verification of signatures",
            "key 3: kty `AKP` is not supported"
        ]
    );
}

#[test]
fn a_set_without_usable_keys_stops_the_start() {
    let document = Document::read();
    assert_eq!(set(&[]).unwrap_err(), JwtConfigError::NoUsableKey(Vec::new()));
    let refused = set(&[with(document.jwk("rsa-1"), "use", json!("enc"))]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the JWT key set has no usable key among 1; \
         key 1 (kid `rsa-1`): its `use` or `key_ops` does not include the verification of signatures"
    );
    for text in ["", "[]", "{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "{\"keys\":[]}x"] {
        let refused = JwtKeys::from_jwks(text, KeySetOrigin::File).unwrap_err();
        assert!(matches!(refused, JwtConfigError::KeySet(_)), "{text}");
    }
}

#[test]
fn one_kid_for_two_keys_stops_the_start() {
    let document = Document::read();
    let (rsa, p256) = (document.jwk("rsa-1"), document.jwk("p256-1"));
    let repeated = Some(JwtConfigError::RepeatedKid("rsa-1".to_owned()));
    assert_eq!(set(&[rsa.clone(), with(p256.clone(), "kid", json!("rsa-1"))]).err(), repeated);
    assert_eq!(set(&[rsa.clone(), p256.clone()]).err(), None);
    // The same key again, or a key that is not for signatures, is not a contradiction.
    assert_eq!(set(&[rsa.clone(), with(rsa.clone(), "alg", json!("PS256"))]).err(), None);
    assert_eq!(set(&[rsa, with(with(p256, "kid", json!("rsa-1")), "use", json!("enc"))]).err(), None);
}

#[test]
fn secrets_from_the_network_or_with_public_keys_are_refused() {
    let document = Document::read();
    let (secret, public) = (document.secret_jwk(), document.jwk("rsa-1"));
    assert_eq!(set(&[secret.clone(), public.clone()]).unwrap_err(), JwtConfigError::MixedSet);

    let both = json!({ "keys": [secret, public] }).to_string();
    let remote = JwtKeys::from_jwks(&both, KeySetOrigin::Remote).unwrap();
    assert_eq!(remote.skipped()[0].fault, KeyFault::RemoteSecret);
    assert_eq!(remote.secrets().count(), 0);
}

#[test]
fn the_raw_secrets_can_be_compared_with_token_keys() {
    let document = Document::read();
    let secret: Vec<u8> = (0..64).collect();
    let verifier = document.verifier(document.keys("secrets"));
    assert_eq!(verifier.hmac_secrets().collect::<Vec<_>>(), [&secret[..], &secret[..32]]);
    assert_eq!(document.verifier(document.keys("public")).hmac_secrets().count(), 0);
}

#[test]
fn debug_shows_no_key_material() {
    let keys = JwtKeys::from_secret(b"a secret that is never shown 0123").unwrap();
    assert_eq!(
        format!("{keys:?}"),
        "JwtKeys { keys: [VerifyingKey { kid: None, algorithms: [HS256], .. }], skipped: 0 }"
    );
    assert!(!format!("{:?}", Document::read().verifier(keys)).contains("never shown"));
}

fn encode(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}
