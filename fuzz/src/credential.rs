//! Headers of requests as credentials: nobody is identified without the key or the signature.
//!
//! The first byte of an input selects the form of the rest:
//!
//! | byte | the rest |
//! |---|---|
//! | `s` | the header and the claims of a JSON Web Token, a line each; they are signed |
//! | other | header lines, `name: value` |

use std::net::{IpAddr, Ipv4Addr};

use holdall::{
    principal::{
        ApiKeys, AuthOutcome, AuthRequest, Authenticator, HeaderRule, Identity, KeyDigest, Networks,
        jwt::{JwtConfig, JwtKeys, JwtVerifier, KeySource},
    },
    proto::{error::Error, principal::Principal, time::UnixSeconds},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::reference::{NOW, SECRET, base64url, hmac};

/// Takes any bytes.
pub fn check(input: &[u8]) {
    match input.split_first() {
        Some((b's', token)) => check_token(token),
        Some((_, lines)) => check_headers(lines),
        None => {}
    }
}

fn check_token(token: &[u8]) {
    let Some(at) = token.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = (&token[..at], &token[at + 1..]);
    let signed = format!("{}.{}", base64url(header), base64url(claims));
    let credential = format!("Bearer {signed}.{}", base64url(&hmac(&SECRET, signed.as_bytes())));
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, credential.parse().expect("base64url"))]);
    let identified = identify(&jwt(), &headers);
    if (header, claims) == (HEADER.as_bytes(), CLAIMS.as_bytes()) {
        assert!(identified.is_ok(), "a valid credential is refused: {identified:?}");
    }
    let Ok(principal) = identified else { return };
    let header: Value = serde_json::from_slice(header).expect("a header that was accepted");
    let claims: Value = serde_json::from_slice(claims).expect("claims that were accepted");
    assert_eq!(header["alg"], "HS256");
    assert!(["b64", "crit", "jku", "jwk", "x5c", "x5u", "zip"].iter().all(|name| header.get(name).is_none()));
    assert_eq!(claims["iss"], ISSUER);
    let names = claims["aud"].as_array().map_or_else(|| vec![&claims["aud"]], |names| names.iter().collect());
    assert!(names.iter().any(|name| *name == AUDIENCE));
    assert!(claims["exp"].as_u64().is_some_and(|at| at > NOW - LEEWAY));
    for name in ["iat", "nbf"] {
        assert!(claims.get(name).is_none_or(|at| at.as_u64().is_some_and(|at| at <= NOW + LEEWAY)), "{name}");
    }
    assert_eq!(Some(principal.subject()), claims["sub"].as_str());
    assert_eq!(principal.idp(), format!("jwt:{ISSUER}"));
}

fn check_headers(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    // Without the secret, no input has a valid signature.
    assert!(identify(&jwt(), &headers).is_err());

    let credentials = ["authorization", "x-api-key"].iter().flat_map(|name| headers.get_all(*name));
    let credentials: Vec<&[u8]> = credentials.map(HeaderValue::as_bytes).collect();
    if let Ok(principal) = identify(&api_keys(), &headers) {
        assert_eq!(principal.subject(), "ada");
        assert!(matches!(credentials.as_slice(), [credential] if credential.ends_with(KEY.as_bytes())));
    }
    if let Ok(principal) = identify(&proxy(), &headers) {
        let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(values("x-secret"), [KEY.as_bytes()]);
        assert_eq!(values("x-user"), [principal.subject().as_bytes()]);
    }
}

fn identify(authenticator: &Authenticator, headers: &HeaderMap) -> Result<Principal, Error> {
    let request = AuthRequest {
        headers,
        peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        now: UnixSeconds(NOW),
        elapsed: std::time::Duration::ZERO,
        has_waited: false,
    };
    match authenticator.authenticate(&request) {
        Ok(AuthOutcome::Identified(Identity::Known(principal))) => Ok(principal),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            let cause = error.cause().unwrap_or_default();
            assert!(!cause.contains(KEY), "a secret in {cause:?}");
            Err(error)
        }
    }
}

fn jwt() -> Authenticator {
    let keys = KeySource::Fixed(JwtKeys::from_secret(&SECRET).expect("a secret"));
    let config = JwtConfig { issuer: ISSUER.to_owned(), audience: vec![AUDIENCE.to_owned()], keys };
    Authenticator::Jwt(JwtVerifier::new(config).expect("a verifier"))
}

fn api_keys() -> Authenticator {
    Authenticator::ApiKey(ApiKeys::new(vec![(KeyDigest::of(KEY), "ada".to_owned())]).expect("a key"))
}

fn proxy() -> Authenticator {
    let peers = Networks::new(["127.0.0.0/8"]).expect("a network");
    let (user, secret) = (HeaderName::from_static("x-user"), HeaderName::from_static("x-secret"));
    Authenticator::Header(HeaderRule::new(user, secret, peers, KeyDigest::of(KEY)).expect("a rule"))
}

const HEADER: &str = r#"{"alg":"HS256"}"#;
const CLAIMS: &str = r#"{"iss":"https://issuer.example","aud":"holdall","sub":"alice","exp":1795000300}"#;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "holdall";
const KEY: &str = "hk-0123456789abcdef0123456789abcdef";
/// The difference that clocks may have, in seconds.
const LEEWAY: u64 = 60;
