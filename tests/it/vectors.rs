//! Each file of `tests/vectors/token/` gets the verdict in its header.
//!
//! A second implementation, in Python, wrote the files. The test therefore also shows that two
//! implementations of docs/token.md agree.

use std::fs;

use holdall::proto::{
    error::Error,
    token::{Claims, Codec, Kind, TokenContext, VerifiedToken},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::testkit::{Case, folder};

#[test]
fn each_vector_gets_its_verdict() {
    let mut codec = Codec::new().unwrap();
    let cases = cases();
    assert!(cases.len() > 500, "{} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case, &mut codec).err().map(|failure| format!("{}: {failure}", case.name)))
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn until_the_caller_check_all_refusals_are_the_same() {
    let mut codec = Codec::new().unwrap();
    let refusals: Vec<Error> = cases()
        .iter()
        .filter(|case| case.text("verdict") == "token_invalid")
        .map(|case| read(case, &mut codec).unwrap_err())
        .collect();
    assert!(refusals.iter().all(|error| error.to_string() == refusals[0].to_string()));
    assert!(refusals.iter().all(|error| error.retry() == refusals[0].retry()));
}

#[test]
fn the_worked_example_of_the_specification_is_a_vector() {
    let specification = fs::read_to_string(folder().join("../../../docs/token.md")).unwrap();
    let example = Case::named("accepted-worked-example-clear");
    assert!(specification.lines().any(|line| line == example.token));
}

/// All vectors, sorted by name.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt") && !path.ends_with("requirements.txt"))
        .map(|path| Case::open(&path))
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

/// Verifies a token and parses its items.
fn read(case: &Case, codec: &mut Codec) -> Result<VerifiedToken, Error> {
    let (keys, policy, limits) = (case.keys(), case.policy(), case.limits());
    let token = case.verify(TokenContext { keys: &keys, policy: &policy, limits: &limits }, codec)?;
    token.history().map(|_| token)
}

fn check(case: &Case, codec: &mut Codec) -> Result<(), String> {
    let verdict = case.text("verdict");
    match read(case, codec) {
        Ok(token) if verdict == "accepted" => check_contents(case, &token),
        Ok(_) => Err(format!("{verdict} expected, was accepted")),
        Err(error) if error.code() != verdict => {
            Err(format!("{verdict} expected, got {} ({:?})", error.code(), error.cause()))
        }
        Err(Error::TokenInvalid { fault }) => {
            let (found, expected) = (fault.to_string(), case.text("check"));
            found
                .starts_with(&format!("{expected}:"))
                .then_some(())
                .ok_or_else(|| format!("{expected} expected, got {found}"))
        }
        Err(_) => Ok(()),
    }
}

fn check_contents(case: &Case, token: &VerifiedToken) -> Result<(), String> {
    let kind = match token.kind() {
        Kind::Clear => "clear",
        Kind::Sealed => "sealed",
    };
    let digest: String = Sha256::digest(token.history_lines()).iter().map(|byte| format!("{byte:02x}")).collect();
    let found = [
        ("kind", json!(kind)),
        ("claims", claims(token.claims())),
        ("items", json!(token.items())),
        ("frames", json!(token.history_frames() + 1)),
        ("history_sha256", json!(digest)),
    ];
    for (key, value) in found {
        let expected = serde_json::from_str(case.text(key)).unwrap_or_else(|_| json!(case.text(key)));
        if value != expected {
            return Err(format!("{key}: {expected} expected, got {value}"));
        }
    }
    Ok(())
}

fn claims(claims: &Claims) -> Value {
    let mut value = json!({
        "iss": claims.issuer,
        "sub": claims.principal.subject(),
        "idp": claims.principal.idp(),
        "cid": claims.conversation.to_string(),
        "jti": claims.token_id.to_string(),
        "born": claims.born_at,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "turn": claims.turn,
        "model": claims.model,
        "use": {
            "in": claims.usage.input_tokens,
            "out": claims.usage.output_tokens,
            "cached": claims.usage.cached_tokens,
            "ms": claims.upstream_millis,
        },
    });
    if let Some(parent) = claims.parent {
        value["par"] = json!(parent.to_string());
    }
    if claims.asserted {
        value["asserted"] = json!(true);
    }
    value
}
