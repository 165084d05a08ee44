//! Callers with API keys.

use http::StatusCode;
use serde_json::json;

use super::{Hand, ask, turn, with};
use crate::support::{client::json_request, config, upstream};

/// A service that accepts `hk_ada`, `hk_ada_phone` and `hk_bob`, and the operator key
/// `hk_operator`.
fn protected() -> Hand {
    let keys: Vec<_> = [("hk_ada", "ada"), ("hk_ada_phone", "ada"), ("hk_bob", "bob")]
        .map(|(key, user)| {
            let digest = holdall::principal::KeyDigest::of(key).to_hex();
            format!("{{ digest = \"{digest}\", user = \"{user}\" }}")
        })
        .into();
    let operator = holdall::principal::KeyDigest::of("hk_operator").to_hex();
    let identity = format!("identity = {{ mode = \"api_key\", api_key = {{ keys = [{}] }} }}", keys.join(", "));
    let settings = format!("operator_keys = [\"{operator}\"]\n{identity}\n{}", upstream("openai", "http://model.test"));
    Hand::of(config(&settings))
}

#[test]
fn all_keys_of_a_user_identify_the_user() {
    let hand = protected();
    let first = turn(&hand, "hk_ada", &json!({ "input": "hi" })).json();
    assert_eq!(first["user_id"], "ada");
    let next = json!({ "input": "and?", "token": first["token"] });
    assert_eq!(turn(&hand, "hk_ada_phone", &next).json()["conversation"]["turn"], 2);
    turn(&hand, "hk_bob", &next).problem("token_invalid");
    turn(&hand, "hk_ada", &json!({ "input": "hi", "user_id": "bob" })).problem("request_invalid");
    let models = |header: &'static str, value: &'static str| {
        let request = http::Request::get("/v1/models").body(String::new()).unwrap();
        hand.ask(with(request, &[(header, value)])).answer().status
    };
    assert_eq!(models("x-api-key", "hk_bob"), StatusCode::OK);
    assert_eq!(models("x-api-key", "hk_eve"), StatusCode::UNAUTHORIZED);
}

#[test]
fn a_user_that_is_not_an_operator_gets_a_clear_error() {
    let hand = protected();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for body in [json!({ "conversation_id": id }), json!({ "token_id": id }), json!({ "user_id": "ada", "idp": "key" })]
    {
        let problem = ask(&hand, "hk_ada", "/v1/revocations", &body).problem("request_invalid");
        assert_eq!(problem["detail"], "Only an operator key can revoke by id. Send the token.");
        ask(&hand, "hk_eve", "/v1/revocations", &body).problem("unauthenticated");
        hand.ask(json_request("/v1/revocations", &body)).answer().problem("unauthenticated");
    }
}

#[test]
fn all_unknown_keys_get_the_same_answer() {
    let hand = protected();
    let token = turn(&hand, "hk_ada", &json!({ "input": "hi" })).json()["token"].as_str().unwrap().to_owned();
    let digest = holdall::principal::KeyDigest::of("hk_ada").to_hex();
    // A token, a digest and an operator key do not identify a user.
    for bearer in [&token, &digest, "hk_operator", "hk_ad", "hk_ada_", "HK_ADA", "a.b.c"] {
        let problem = turn(&hand, bearer, &json!({ "input": "hi" })).problem("unauthenticated");
        assert_eq!(
            problem["detail"],
            "The request has no valid credential. Send one as `Authorization: Bearer …` or `x-api-key`."
        );
    }
    for key in ["hk_ada", "hk_operator"] {
        turn(&hand, "hk_ada", &json!({ "input": "hi", "token": key })).problem("token_invalid");
    }
    for headers in [
        [("authorization", "Bearer hk_ada"), ("x-api-key", "hk_bob")],
        [("x-api-key", "hk_ada"), ("x-api-key", "hk_ada")],
    ] {
        let request = with(json_request("/v1/turns", &json!({ "input": "hi" })), &headers);
        hand.ask(request).answer().problem("request_invalid");
    }
    let entries = format!("{:?}", hand.log.take());
    assert!(
        !entries.contains("hk_") && !entries.contains(&token[..40]) && entries.contains("no API key has this digest")
    );
}

#[test]
fn an_anonymous_token_is_refused_if_callers_are_identified() {
    let (open, hand) = (Hand::new(""), protected());
    let anonymous = open.whole_turn(&json!({ "input": "hi" }), "hello");
    let named = json!({ "input": "and?", "token": anonymous["token"] });
    turn(&hand, "hk_ada", &named).problem("token_invalid");
    hand.ask(json_request("/v1/turns", &named)).answer().problem("unauthenticated");
    ask(&hand, "hk_ada", "/v1/history", &json!({ "token": anonymous["token"] })).problem("token_invalid");
}
