//! Web pages may call the server only if their origin is listed. No page reaches a developer's
//! server through a name of its own.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::support::{answer::Answer, client::json_request, hand::Hand};

const ORIGIN: &str = "https://app.example";

fn with_origins() -> Hand {
    Hand::new("cors_origins = [\"https://app.example\", \"http://localhost:3000\"]")
}

fn preflight(hand: &Hand, origin: &str, method: &str, headers: &str) -> Answer {
    let request = Request::options("/v1/turns")
        .header("host", "localhost")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers);
    hand.ask(request.body(Full::<Bytes>::default()).unwrap()).answer()
}

fn cors(headers: &HeaderMap) -> usize {
    headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count()
}

#[test]
fn a_listed_origin_may_send_the_headers_of_sdks() {
    let wanted = "authorization,content-type,x-api-key,x-stainless-lang,X-Stainless-Retry-Count,cookie,x-forwarded-for";
    for origin in [ORIGIN, "http://localhost:3000"] {
        let answer = preflight(&with_origins(), origin, "POST", wanted);
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("vary"), "origin");
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "authorization, content-type, x-api-key, x-stainless-lang, X-Stainless-Retry-Count"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[test]
fn headers_that_sdks_send_from_a_browser_are_allowed() {
    // Sent by openai 7.55 and @anthropic-ai/sdk 1.11 in a page, by default or by an option.
    let wanted = [
        "accept, authorization, content-type, openai-organization, openai-project, x-stainless-arch, x-stainless-lang, \
         x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, \
         x-stainless-runtime-version, x-stainless-timeout, x-stainless-helper-method",
        "anthropic-beta, anthropic-dangerous-direct-browser-access, anthropic-version, anthropic-workspace-id, x-api-key, \
         x-stainless-helper",
        "Idempotency-Key, OpenAI-Beta, user-agent, x-client-request-id",
    ];
    for wanted in wanted {
        let answer = preflight(&with_origins(), ORIGIN, "POST", wanted);
        assert_eq!(answer.header("access-control-allow-headers"), wanted);
    }
}

#[test]
fn other_origins_get_no_permission() {
    let hand = with_origins();
    for origin in ["https://evil.example", "https://app.example.evil", "https://app.example:8443", "null", "*", ""] {
        let answer = preflight(&hand, origin, "POST", "content-type");
        assert_eq!((answer.status, cors(&answer.headers)), (StatusCode::METHOD_NOT_ALLOWED, 0), "{origin}");
    }
    for method in ["DELETE", "PUT", "post"] {
        assert_eq!(preflight(&hand, ORIGIN, method, "").status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let nobody = preflight(&Hand::new(""), ORIGIN, "POST", "content-type");
    assert_eq!((nobody.status, cors(&nobody.headers)), (StatusCode::METHOD_NOT_ALLOWED, 0));
}

#[test]
fn a_listed_page_may_read_responses_and_errors_with_their_headers() {
    let hand = with_origins();
    let ask = |origin: &str, body| {
        let mut request = json_request("/v1/turns", &body);
        request.headers_mut().insert("origin", origin.parse().unwrap());
        hand.ask(request)
    };
    let mut asked = ask(ORIGIN, json!({ "input": "hi", "stream": true }));
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("hello");
    let head = asked.head().head;
    assert_eq!(head.headers["access-control-allow-origin"], ORIGIN);
    let exposed = head.headers["access-control-expose-headers"].to_str().unwrap();
    for name in ["x-request-id", "request-id", "retry-after", "x-should-retry", "ratelimit", "x-holdall-ignored"] {
        assert!(exposed.split(", ").any(|listed| listed == name), "{name}");
    }
    let error = ask(ORIGIN, json!({}));
    let error = error.answer();
    error.problem("request_invalid");
    assert_eq!(error.header("access-control-allow-origin"), ORIGIN);
    let foreign = ask("https://evil.example", json!({})).answer();
    assert_eq!((cors(&foreign.headers), foreign.header("vary")), (0, "origin"));
}

fn models(hand: &Hand, uri: &str, host: Option<&str>) -> StatusCode {
    let mut request = Request::builder().method(Method::GET).uri(uri);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    hand.ask(request.body(Full::<Bytes>::default()).unwrap()).answer().status
}

#[test]
fn on_loopback_only_loopback_hosts_are_accepted() {
    let hand = Hand::new("");
    for host in
        ["localhost", "localhost:8787", "LocalHost", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:80", "a.localhost"]
    {
        assert_eq!(models(&hand, "/v1/models", Some(host)), StatusCode::OK, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8787",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "0.0.0.0",
        "192.168.0.1",
        "[::2]",
        "[::1",
        "",
        ":8787",
        "localhost:80:evil",
        "[::1].evil.com",
        "user@localhost",
        "evil.com/.localhost",
    ] {
        assert_eq!(models(&hand, "/v1/models", Some(host)), StatusCode::BAD_REQUEST, "{host}");
    }
    assert_eq!(models(&hand, "/v1/models", None), StatusCode::BAD_REQUEST);
}

#[test]
fn the_authority_and_the_host_header_must_both_be_loopback() {
    let hand = Hand::new("");
    assert_eq!(models(&hand, "http://localhost:8787/v1/models", None), StatusCode::OK);
    assert_eq!(models(&hand, "http://evil.example/v1/models", Some("localhost")), StatusCode::BAD_REQUEST);
    assert_eq!(models(&hand, "http://localhost/v1/models", Some("evil.example")), StatusCode::BAD_REQUEST);
}

#[test]
fn probes_may_use_any_host() {
    let hand = Hand::new("");
    assert_eq!(models(&hand, "/health", Some("10.1.2.3:8787")), StatusCode::OK);
    assert_eq!(models(&hand, "/ready", None), StatusCode::OK);
}

#[test]
fn with_an_identity_rule_any_host_is_accepted() {
    let hand = Hand::new("dangerous_open = true\nlisten = \"0.0.0.0:0\"");
    assert_eq!(models(&hand, "/v1/models", Some("chat.example")), StatusCode::OK);
}
