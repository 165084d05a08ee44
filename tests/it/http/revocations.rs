//! `POST /v1/revocations`: which callers may revoke which tokens, and the calls of the guard.

use holdall::{
    guard::{Charge, GuardPurpose, Revocation, TurnEnd},
    principal::KeyDigest,
    proto::principal::Principal,
};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    SECRET,
    answer::Answer,
    client::json_request,
    config,
    guard::{GuardCall, RecordingGuard},
    hand::Hand,
    upstream,
};

/// The SHA-256 digest of `abc` (FIPS 180-4, the standard's own example).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn recorded() -> (Hand<RecordingGuard>, RecordingGuard) {
    let guard = RecordingGuard::default();
    let keys = format!("keys = \"k1:{SECRET}\"\noperator_keys = [\"{ABC}\"]\n");
    let settings = format!("{keys}{}", upstream("openai", "http://model.test"));
    (Hand::guarded(config(&settings), guard.clone()), guard)
}

fn revoke(hand: &Hand<RecordingGuard>, body: &Value, headers: &[(&'static str, &str)]) -> Answer {
    let mut request: Request<_> = json_request("/v1/revocations", body);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    hand.ask(request).answer()
}

fn ada() -> Principal {
    Principal::new("ada", "none").unwrap()
}

#[test]
fn without_a_store_it_is_not_supported() {
    let hand = Hand::new("");
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    let answer = hand.post("/v1/revocations", json!({ "token": token, "user_id": "ada" }).to_string()).answer();
    let problem = answer.problem("unsupported");
    assert!(problem["detail"].as_str().unwrap().contains("HOLDALL_REDIS_URL"), "{problem:?}");
}

#[test]
fn a_token_revokes_itself_its_conversation_or_its_user() {
    let (hand, guard) = recorded();
    let answer = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello");
    let (token, conversation) = (&answer["token"], &answer["conversation"]["id"]);
    let told = |scope: &str| revoke(&hand, &json!({ "token": token, "scope": scope, "user_id": "ada" }), &[]).json();
    assert_eq!(told("conversation"), json!({ "revoked": { "scope": "conversation", "id": conversation } }));
    assert_eq!(told("user"), json!({ "revoked": { "scope": "user", "id": "ada" } }));
    let of_token = told("token");
    let id = of_token["revoked"]["id"].as_str().unwrap();
    let revoked = guard.revoked();
    assert_eq!(
        revoked,
        [
            Revocation::Conversation { id: conversation.as_str().unwrap().parse().unwrap() },
            Revocation::User { principal: ada() },
            Revocation::Token { id: id.parse().unwrap() },
        ]
    );
}

#[test]
fn an_expired_token_can_revoke_until_the_maximum_age_of_its_conversation() {
    let (hand, guard) = recorded();
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    let body = json!({ "token": token, "scope": "user", "user_id": "ada" });
    hand.clock.advance_seconds(8 * 86_400);
    revoke(&hand, &body, &[]).json();
    hand.clock.advance_seconds(23 * 86_400);
    assert_eq!(revoke(&hand, &body, &[]).status, StatusCode::GONE);
    assert_eq!(guard.revoked().len(), 1);
}

#[test]
fn tokens_of_others_get_one_error() {
    let (hand, guard) = recorded();
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    let strange = |body: &Value| {
        let mut problem = revoke(&hand, body, &[]).problem("token_invalid");
        problem.remove("request_id");
        problem
    };
    let garbage = strange(&json!({ "token": "garbage", "user_id": "eve" }));
    for body in [
        json!({ "token": token, "user_id": "eve" }),
        json!({ "token": token, "user_id": "Ada" }),
        json!({ "token": token }),
    ] {
        assert_eq!(strange(&body), garbage, "{body}");
    }
    for body in
        [json!({ "token_id": ID }), json!({ "conversation_id": ID }), json!({ "user_id": "ada", "idp": "none" })]
    {
        revoke(&hand, &body, &[]).problem("unauthenticated");
        revoke(&hand, &body, &[("authorization", "Bearer abd")]).problem("unauthenticated");
        revoke(&hand, &body, &[("authorization", "Bearer abc"), ("x-api-key", "abc")]).problem("request_invalid");
    }
    revoke(&hand, &json!({}), &[]).problem("request_invalid");
    assert!(guard.revoked().is_empty());
}

#[test]
fn an_operator_key_revokes_anything() {
    let (hand, guard) = recorded();
    assert!(bool::from(KeyDigest::from_hex(ABC).unwrap().ct_eq(&KeyDigest::of("abc"))));
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    for header in [("authorization", "Bearer abc"), ("authorization", "bearer  abc"), ("x-api-key", "abc")] {
        for (body, id) in [
            (json!({ "token_id": ID }), ID),
            (json!({ "conversation_id": ID }), ID),
            (json!({ "user_id": "ada", "idp": "none" }), "ada"),
            (json!({ "token": token, "scope": "user" }), "ada"),
        ] {
            assert_eq!(revoke(&hand, &body, &[header]).json()["revoked"]["id"], id, "{body}");
        }
        revoke(&hand, &json!({ "token": "garbage" }), &[header]).problem("token_invalid");
        revoke(&hand, &json!({ "token": token, "user_id": "eve" }), &[header]).problem("request_invalid");
    }
    let user = Revocation::User { principal: ada() };
    let id = ID.parse().unwrap();
    let each = [Revocation::Token { id }, Revocation::Conversation { id }, user.clone(), user];
    assert_eq!(guard.revoked(), [&each[..], &each, &each].concat());
}

#[test]
fn an_operator_cannot_revoke_a_user_of_another_provider() {
    let (hand, guard) = recorded();
    for idp in ["key", "jwt", "None", "jwt:https://login.example"] {
        let answer = revoke(&hand, &json!({ "user_id": "ada", "idp": idp }), &[("x-api-key", "abc")]);
        let detail = format!("`idp` is `{idp}`, but the users of this server have the identity provider `none`.");
        assert_eq!(answer.problem("request_invalid")["detail"], detail);
    }
    assert!(guard.revoked().is_empty());
}

#[test]
fn the_record_contains_the_conversation_and_no_credential() {
    let (hand, _) = recorded();
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    hand.log.take();
    revoke(&hand, &json!({ "token": token }), &[("x-api-key", "abc")]).json();
    let entries = hand.log.take();
    assert!(entries[0].conversation.is_some());
    let text = serde_json::to_string(&entries).unwrap();
    assert!(!text.contains("abc\"") && !text.contains(token.as_str().unwrap()) && !text.contains(SECRET), "{text}");
}

#[test]
fn users_have_limits_and_operators_have_none() {
    let (hand, guard) = recorded();
    let token = hand.whole_turn(&json!({ "input": "hi", "user_id": "ada" }), "hello")["token"].clone();
    guard.take();
    let body = json!({ "token": token, "user_id": "ada" });
    let answer = revoke(&hand, &body, &[]);
    let admitted = [GuardCall::Admit(GuardPurpose::Revoke), GuardCall::Settle(TurnEnd::Failed(Charge::default()))];
    assert_eq!((answer.header("ratelimit"), guard.take()), ("\"turns-60\";r=4;t=30", admitted.to_vec()));
    for body in [body, json!({ "token": token }), json!({ "token_id": ID })] {
        let answer = revoke(&hand, &body, &[("authorization", "Bearer abc")]);
        answer.json();
        assert_eq!((answer.header("ratelimit"), guard.take()), ("", vec![]), "{body}");
    }
}
