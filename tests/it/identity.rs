//! Identity: credentials, named and anonymous users, and what a stranger learns about a token.

mod api_keys;
mod header;
mod issuer;
mod proxies;
mod reload;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    SECRET,
    answer::Answer,
    client::json_request,
    config_with,
    hand::{Hand, post},
    upstream,
};

/// The secret that signs credentials in these tests. It is not a token key.
const CREDENTIAL_SECRET: &str = "a secret of more than thirty-two bytes";

/// A JSON Web Token with this header and payload (RFC 7515 §7.1).
fn jws(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let tag = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", encode(&tag))
}

fn claims(subject: &str) -> Value {
    json!({ "iss": "https://issuer.test", "aud": "holdall", "sub": subject, "exp": 1_795_003_600 })
}

/// A credential of this user.
fn credential(subject: &str) -> String {
    jws(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(subject), CREDENTIAL_SECRET.as_bytes())
}

/// A service that requires credentials of this issuer.
fn protected(issuer: &str) -> Hand {
    let identity = format!(
        "identity = {{ mode = \"jwt\", jwt = {{ issuer = \"{issuer}\", audience = [\"holdall\"], key_file = \"secret\" }} }}\n"
    );
    let settings = format!("{identity}{}", upstream("openai", "http://model.test"));
    Hand::of(config_with(&settings, &[("secret", CREDENTIAL_SECRET)]))
}

fn with<B>(mut request: Request<B>, headers: &[(&'static str, &str)]) -> Request<B> {
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// Sends a request with a bearer credential. The model replies `hello` if it is called.
fn ask(hand: &Hand, bearer: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {bearer}");
    let mut pending = hand.ask(with(json_request(path, body), &[("authorization", &bearer)]));
    if path == "/v1/turns" && pending.is_waiting() {
        hand.upstream.call().reply("hello");
    }
    pending.answer()
}

fn turn(hand: &Hand, bearer: &str, body: &Value) -> Answer {
    ask(hand, bearer, "/v1/turns", body)
}

#[test]
fn without_a_credential_only_probes_are_answered() {
    let hand = protected("https://issuer.test");
    let usage = || Request::get("/v1/usage").body(String::new()).unwrap();
    let turns = || json_request("/v1/turns", &json!({ "input": "hi" }));
    for answer in [
        hand.ask(usage()).answer(),
        hand.ask(turns()).answer(),
        hand.ask(json_request("/v1/history", &json!({ "token": "t" }))).answer(),
        hand.ask(with(turns(), &[("authorization", "Basic YTpi")])).answer(),
        hand.ask(with(turns(), &[("authorization", "Bearer nonsense")])).answer(),
        // The credential is checked before the body.
        hand.ask(post("/v1/turns").header("content-length", "99999999").body(String::new()).unwrap()).answer(),
    ] {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"holdall\"");
        let problem = answer.problem("unauthenticated");
        assert_eq!(
            problem["detail"],
            "The request has no valid credential. Send one as `Authorization: Bearer …` or `x-api-key`."
        );
    }
    let entries = hand.log.take();
    assert!(entries.iter().all(|entry| entry.cause.is_some()));
    assert!(!format!("{entries:?}").contains("nonsense"));
    let health = Request::get("/health").body(String::new()).unwrap();
    assert_eq!(hand.ask(health).answer().status, StatusCode::OK);
    let models = with(usage(), &[("x-api-key", &credential("alice"))]);
    assert_eq!(hand.ask(models).answer().status, StatusCode::OK);
    let model = || Request::get("/v1/models/default").body(String::new()).unwrap();
    let refused = hand.ask(model()).answer();
    assert_eq!((refused.status, refused.header("content-type")), (StatusCode::UNAUTHORIZED, "application/json"));
    assert!(refused.text().contains("\"code\":\"unauthenticated\""), "{}", refused.text());
    let model = with(model(), &[("x-api-key", &credential("alice"))]);
    assert_eq!(hand.ask(model).answer().status, StatusCode::OK);
}

#[test]
fn a_credential_names_the_user() {
    let hand = protected("https://issuer.test");
    let first = turn(&hand, &credential("alice"), &json!({ "input": "hi" })).json();
    assert_eq!(first["user_id"], "alice");
    let again = json!({ "input": "and?", "token": first["token"], "user_id": "alice" });
    assert_eq!(turn(&hand, &credential("alice"), &again).json()["conversation"]["turn"], 2);
    let other = json!({ "input": "and?", "token": first["token"], "user_id": "bob" });
    turn(&hand, &credential("alice"), &other).problem("request_invalid");
}

#[test]
fn two_credentials_are_refused() {
    let hand = protected("https://issuer.test");
    let (alice, bob) = (credential("alice"), credential("bob"));
    let bearer = |credential: &str| format!("Bearer {credential}");
    for headers in [
        [("authorization", bearer(&alice)), ("authorization", bearer(&bob))],
        [("authorization", bearer(&alice)), ("authorization", bearer(&alice))],
        [("authorization", bearer(&alice)), ("x-api-key", bob.clone())],
        [("x-api-key", alice.clone()), ("x-api-key", alice.clone())],
        [("authorization", "Basic YTpi".to_owned()), ("x-api-key", alice.clone())],
    ] {
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = hand.ask(with(json_request("/v1/turns", &json!({ "input": "hi" })), &headers)).answer();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        answer.problem("request_invalid");
    }
}

#[test]
fn all_invalid_credentials_get_the_same_answer() {
    let hand = protected("https://issuer.test");
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let altered = |member: &str, value: Value| {
        let mut claims = claims("alice");
        claims[member] = value;
        jws(&header, &claims, CREDENTIAL_SECRET.as_bytes())
    };
    let none = jws(&json!({ "alg": "none" }), &claims("alice"), CREDENTIAL_SECRET.as_bytes());
    for bearer in [
        altered("exp", json!(1_794_990_000)),
        altered("iss", json!("https://other.test")),
        altered("aud", json!("other")),
        altered("sub", Value::Null),
        altered("sub", json!("")),
        jws(&header, &claims("alice"), b"another secret of more than thirty-two bytes"),
        format!("{}.", none.rsplit_once('.').unwrap().0),
        none,
        "sk-made-up".to_owned(),
    ] {
        let problem = turn(&hand, &bearer, &json!({ "input": "hi" })).problem("unauthenticated");
        assert_eq!(
            problem["detail"],
            "The request has no valid credential. Send one as `Authorization: Bearer …` or `x-api-key`."
        );
    }
}

#[test]
fn tokens_and_credentials_are_not_interchangeable() {
    let hand = protected("https://issuer.test");
    let alice = credential("alice");
    let token = turn(&hand, &alice, &json!({ "input": "hi" })).json()["token"].as_str().unwrap().to_owned();
    turn(&hand, &token, &json!({ "input": "hi" })).problem("unauthenticated");
    turn(&hand, &alice, &json!({ "input": "hi", "token": alice })).problem("token_invalid");
    // Not even if one is signed with the other's key or has the other's type.
    let token_secret = BASE64_URL_SAFE_NO_PAD.decode(SECRET).unwrap();
    for typ in ["JWT", "holdall1", "holdall1s"] {
        let header = json!({ "alg": "HS256", "kid": "k1", "typ": typ });
        let forged = jws(&header, &claims("alice"), &token_secret);
        turn(&hand, &forged, &json!({ "input": "hi" })).problem("unauthenticated");
        turn(&hand, &alice, &json!({ "input": "hi", "token": forged })).problem("token_invalid");
        if typ != "JWT" {
            let retyped = jws(&header, &claims("alice"), CREDENTIAL_SECRET.as_bytes());
            turn(&hand, &retyped, &json!({ "input": "hi" })).problem("unauthenticated");
        }
    }
}

#[test]
fn users_cannot_swap_tokens() {
    let hand = protected("https://issuer.test");
    let users = ["alice", "bob", "Alice", "alice ", "аlice"];
    let tokens = users.map(|user| turn(&hand, &credential(user), &json!({ "input": "hi" })).json()["token"].clone());
    for (owner, token) in users.iter().zip(&tokens) {
        for user in users {
            let answer = turn(&hand, &credential(user), &json!({ "input": "and?", "token": token }));
            let history = ask(&hand, &credential(user), "/v1/history", &json!({ "token": token }));
            if user == *owner {
                answer.json();
                history.json();
            } else {
                answer.problem("token_invalid");
                history.problem("token_invalid");
            }
        }
    }
}

#[test]
fn users_of_different_sources_differ() {
    let (one, other, open) = (protected("https://issuer.test"), protected("https://other.test"), Hand::new(""));
    let mut claims = claims("alice");
    claims["iss"] = json!("https://other.test");
    let foreign = jws(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, CREDENTIAL_SECRET.as_bytes());
    let token = turn(&one, &credential("alice"), &json!({ "input": "hi" })).json()["token"].clone();
    turn(&other, &foreign, &json!({ "input": "and?", "token": token })).problem("token_invalid");
    let named = json!({ "input": "and?", "token": token, "user_id": "alice" });
    open.turn(&named).answer().problem("token_invalid");
    let open_token = open.whole_turn(&json!({ "input": "hi", "user_id": "alice" }), "hello")["token"].clone();
    turn(&one, &credential("alice"), &json!({ "input": "and?", "token": open_token })).problem("token_invalid");
    let anonymous = open.whole_turn(&json!({ "input": "hi" }), "hello");
    for subject in ["alice", anonymous["user_id"].as_str().unwrap()] {
        let body = json!({ "input": "and?", "token": anonymous["token"] });
        turn(&one, &credential(subject), &body).problem("token_invalid");
        ask(&one, &credential(subject), "/v1/history", &json!({ "token": anonymous["token"] }))
            .problem("token_invalid");
    }
}

#[test]
fn without_credentials_the_request_names_the_user() {
    let hand = Hand::new("");
    let first = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello");
    assert_eq!(first["user_id"], "ada");
    let continued = |user: Option<&str>| {
        let mut body = json!({ "input": "and?", "token": first["token"] });
        if let Some(user) = user {
            body["user_id"] = json!(user);
        }
        hand.turn(&body)
    };
    continued(Some("ada")).wait();
    for stranger in [None, Some("eve"), Some("Ada"), Some("ada ")] {
        continued(stranger).answer().problem("token_invalid");
    }
    // All credentials are ignored, so that SDKs with placeholder keys work.
    let made_up = [("authorization", "Bearer sk-a"), ("authorization", "Bearer sk-b"), ("x-api-key", "sk-c")];
    hand.ask(with(json_request("/v1/turns", &json!({ "input": "hi" })), &made_up)).wait();
}

#[test]
fn an_anonymous_user_is_identified_only_by_its_token() {
    let hand = Hand::new("");
    let first = hand.whole_turn(&json!({ "input": "hi", "token": null }), "hello");
    let other = hand.whole_turn(&json!({ "input": "hi" }), "hello");
    let name = first["user_id"].as_str().unwrap();
    assert!(name.starts_with("anon-") && name.len() == 37 && other["user_id"] != name);
    let second = hand.whole_turn(&json!({ "input": "and?", "token": first["token"] }), "yes");
    assert_eq!((&second["user_id"], &second["conversation"]["turn"]), (&first["user_id"], &json!(2)));
    hand.whole_turn(&json!({ "input": "and?", "token": first["token"], "user_id": name }), "yes");
    // The name does not give access without the token, or with another user's token.
    hand.turn(&json!({ "input": "hi", "user_id": name })).answer().problem("request_invalid");
    hand.turn(&json!({ "input": "hi", "user_id": name, "token": null })).answer().problem("request_invalid");
    hand.turn(&json!({ "input": "hi", "user_id": name, "token": other["token"] })).answer().problem("token_invalid");
    hand.turn(&json!({ "input": "hi", "user_id": "ada", "token": first["token"] })).answer().problem("token_invalid");
}

#[test]
fn a_stranger_learns_nothing_about_a_token() {
    let hand = Hand::new("ttl = \"1h\"");
    let token =
        hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].as_str().unwrap().to_owned();
    let (head, tail) = token.split_at(token.len() - 3);
    let flipped = format!("{head}{}", if tail == "AAA" { "BBB" } else { "AAA" });
    let refusal = |token: &str| {
        let answer = hand.turn(&json!({ "input": "and?", "token": token, "user_id": "eve" })).answer();
        let mut problem = answer.problem("token_invalid");
        problem.remove("request_id");
        let mut headers = answer.headers;
        headers.remove("x-request-id");
        headers.remove("request-id");
        (answer.status, format!("{headers:?}"), problem)
    };
    let fresh = refusal(&token);
    hand.clock.advance_seconds(100_000);
    for token in [token.as_str(), &flipped, head, "", "a", "a.b.c", "..", "é", &"a".repeat(100_000)] {
        assert_eq!(refusal(token), fresh);
    }
    let owner = hand.turn(&json!({ "input": "and?", "token": token, "user_id": "ada" })).answer();
    assert_eq!(owner.status, StatusCode::GONE);
    owner.problem("token_expired");
    let read = json!({ "token": token, "user_id": "ada" }).to_string();
    assert_eq!(hand.post("/v1/history", read).answer().json()["items"].as_array().unwrap().len(), 2);
}

#[test]
fn usage_is_that_of_the_credentials_user() {
    let hand = protected("https://issuer.test");
    let usage = |bearer: Option<&str>, path: &str| {
        let mut request = Request::get(path).body(String::new()).unwrap();
        if let Some(bearer) = bearer {
            request = with(request, &[("authorization", &format!("Bearer {bearer}"))]);
        }
        hand.ask(request).answer()
    };
    let alice = credential("alice");
    for path in ["/v1/usage", "/v1/usage?user_id=alice"] {
        assert_eq!(usage(Some(&alice), path).json()["user_id"], "alice");
    }
    usage(Some(&alice), "/v1/usage?user_id=bob").problem("request_invalid");
    usage(None, "/v1/usage?user_id=alice").problem("unauthenticated");
}
