//! The models that clients may choose, as OpenAI's and Anthropic's SDKs read them.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{answer::Answer, config, hand::Hand};

fn ask(hand: &Hand, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    hand.ask(request.body(Full::<Bytes>::default()).unwrap()).answer()
}

/// A service with these aliases.
fn with_aliases(aliases: &[&str]) -> Hand {
    let models = aliases
        .iter()
        .map(|alias| format!("[[model]]\nalias = \"{alias}\"\nupstreams = [\"b\"]\nmodel = \"builtin\"\n"))
        .collect::<String>();
    Hand::of(config(&format!("issuer = \"acme\"\n[[upstream]]\nname = \"b\"\nkind = \"builtin\"\n{models}")))
}

fn entry(alias: &str) -> Value {
    json!({
        "id": alias, "object": "model", "created": 0, "owned_by": "acme",
        "type": "model", "display_name": alias, "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active",
    })
}

#[test]
fn models_are_listed_with_the_members_of_both_apis() {
    let hand = with_aliases(&["default", "openai/gpt-5"]);
    assert_eq!(
        ask(&hand, Method::GET, "/v1/models?limit=20").json(),
        json!({
            "object": "list", "data": [entry("default"), entry("openai/gpt-5")],
            "has_more": false, "first_id": "default", "last_id": "openai/gpt-5",
        })
    );
    assert_eq!(ask(&hand, Method::HEAD, "/v1/models").status, StatusCode::OK);
}

#[test]
fn one_model_is_found_by_its_name() {
    let hand = with_aliases(&["default", "openai/gpt-5:mini"]);
    for (path, alias) in [
        ("default", "default"),
        ("%64efault", "default"),
        ("openai/gpt-5:mini", "openai/gpt-5:mini"),
        ("openai%2Fgpt-5%3Amini?beta=true", "openai/gpt-5:mini"),
    ] {
        assert_eq!(ask(&hand, Method::GET, &format!("/v1/models/{path}")).json(), entry(alias));
    }
    // The catch-all alias has every name.
    let hand = with_aliases(&["default", "*"]);
    assert_eq!(ask(&hand, Method::GET, "/v1/models/gpt%2D9").json(), entry("gpt-9"));
}

#[test]
fn the_error_for_an_unknown_model_has_openais_format() {
    let hand = with_aliases(&["default", "other"]);
    let long = format!("/v1/models/{}", "x".repeat(300));
    for (path, code, param) in [
        ("/v1/models/gpt-9", "model_not_found", json!("model")),
        ("/v1/models/Default", "model_not_found", json!("model")),
        ("/v1/models/default/", "model_not_found", json!("model")),
        (long.as_str(), "model_not_found", json!("model")),
        ("/v1/models/", "not_found", Value::Null),
        ("/v1/models/%zz", "not_found", Value::Null),
        ("/v1/models/%ff", "not_found", Value::Null),
    ] {
        let answer = ask(&hand, Method::GET, path);
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::NOT_FOUND, "application/json"));
        assert_eq!(answer.header("x-should-retry"), "false");
        let error = serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].take();
        assert_eq!((&error["type"], &error["code"]), (&json!("invalid_request_error"), &json!(code)), "{path}");
        assert_eq!(error["param"], param);
        let message = error["message"].as_str().unwrap();
        assert!(code == "not_found" || message.contains("Available models: default, other."), "{message}");
    }
    let answer = ask(&hand, Method::DELETE, "/v1/models/default");
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    assert_eq!(ask(&hand, Method::GET, "/v1/modelsx").status, StatusCode::NOT_FOUND);
}

#[test]
fn errors_about_models_have_the_format_of_the_sdk() {
    let hand = with_aliases(&["default"]);
    for (path, method, status) in
        [("/v1/models", "DELETE", 405), ("/v1/models/default", "POST", 405), ("/v1/models/none", "GET", 404)]
    {
        let ask = |version: Option<&str>| {
            let request = Request::builder().method(method).uri(path).header("host", "localhost");
            let request =
                version.into_iter().fold(request, |request, version| request.header("anthropic-version", version));
            let answer = hand.ask(request.body(Full::<Bytes>::default()).unwrap()).answer();
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "application/json"), "{path}");
            serde_json::from_slice::<Value>(&answer.body).unwrap()
        };
        let openai = ask(None);
        assert_eq!(openai["error"]["type"], "invalid_request_error", "{openai}");
        assert_eq!(openai["error"].as_object().unwrap().len(), 4, "{openai}");
        let anthropic = ask(Some("2023-06-01"));
        let class = if status == 404 { "not_found_error" } else { "invalid_request_error" };
        assert_eq!((&anthropic["type"], &anthropic["error"]["type"]), (&json!("error"), &json!(class)), "{anthropic}");
    }
}
