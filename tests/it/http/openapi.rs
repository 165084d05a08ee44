//! The description of the APIs: how it is served, and that its paths and methods exist.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::support::{answer::Answer, hand::Hand};

const KEPT: &str = include_str!("../../../docs/openapi.json");

fn ask(hand: &Hand, method: &str, path: &str, known: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(tag) = known {
        request = request.header("if-none-match", tag);
    }
    hand.ask(request.body(Full::<Bytes>::default()).unwrap()).answer()
}

#[test]
fn the_committed_document_is_served() {
    let hand = Hand::new("");
    for method in ["GET", "HEAD"] {
        let answer = ask(&hand, method, "/openapi.json", None);
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let answer = ask(&hand, "GET", "/openapi.json", None);
    assert!(answer.text() == KEPT, "not the committed document");
    let tag = answer.header("etag").to_owned();
    for (known, status) in [
        (tag.clone(), StatusCode::NOT_MODIFIED),
        (format!("W/{tag}"), StatusCode::NOT_MODIFIED),
        (format!("\"a\", {tag}"), StatusCode::NOT_MODIFIED),
        ("*".to_owned(), StatusCode::NOT_MODIFIED),
        ("\"a\"".to_owned(), StatusCode::OK),
        (tag.trim_matches('"').to_owned(), StatusCode::OK),
    ] {
        let answer = ask(&hand, "GET", "/openapi.json", Some(&known));
        assert_eq!((answer.status, answer.header("etag")), (status, tag.as_str()), "{known}");
        assert_eq!(answer.body.is_empty(), status == StatusCode::NOT_MODIFIED);
    }
}

#[test]
fn it_is_served_without_a_credential() {
    let digest = holdall::principal::KeyDigest::of("hk_ada").to_hex();
    let keys = format!("{{ keys = [{{ digest = \"{digest}\", user = \"ada\" }}] }}");
    let hand = Hand::new(&format!("identity = {{ mode = \"api_key\", api_key = {keys} }}"));
    assert_eq!(ask(&hand, "GET", "/openapi.json", None).status, StatusCode::OK);
    assert_eq!(ask(&hand, "GET", "/v1/usage", None).status, StatusCode::UNAUTHORIZED);
}

#[test]
fn every_path_has_exactly_the_methods_of_the_document() {
    let hand = Hand::new("");
    let document: Value = serde_json::from_str(KEPT).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{model}", "default");
        let mut described: BTreeSet<_> =
            operations.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        // `HEAD` works wherever `GET` does.
        if described.contains("GET") {
            described.insert("HEAD".to_owned());
        }
        let mut answered = BTreeSet::new();
        for method in [Method::DELETE, Method::GET, Method::HEAD, Method::PATCH, Method::POST, Method::PUT] {
            let answer = ask(&hand, method.as_str(), &path, None);
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            if answer.status == StatusCode::METHOD_NOT_ALLOWED {
                let allowed: BTreeSet<_> = answer.header("allow").split(", ").map(str::to_owned).collect();
                assert_eq!(allowed, described, "{method} {path}");
            } else {
                answered.insert(method.to_string());
            }
        }
        assert_eq!(answered, described, "{path}");
    }
}
