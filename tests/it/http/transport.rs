//! Connections: HTTP versions, heads that are too large, too slow or malformed, and connection
//! limits.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{
    client::{Client, Raw, json_request},
    config,
    server::Running,
};

const HI: &str = "{\"input\":\"hi\"}";

/// A turn as bytes, with these header lines.
fn turn(headers: &str, body: &str) -> String {
    format!("POST /v1/turns HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
}

fn framed() -> String {
    turn(&format!("content-length: {}\r\n", HI.len()), HI)
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = Running::start(config("")).await;
    let mut raw = Raw::connect(server.address).await;
    for _ in 0..3 {
        raw.send(framed()).await;
        let answer = raw.until("\"finish_reason\":\"stop\"}").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nx-request-id: req_"));
    }
    // Pipelined requests get their responses in order.
    raw.send(format!("{}GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", framed())).await;
    let answers = raw.rest().await;
    assert!(answers.contains("\"token\":") && answers.ends_with("{\"status\":\"ok\"}"));
}

#[tokio::test]
async fn http2_works_without_tls() {
    let server = Running::start(config("")).await;
    let mut client = Client::connect_http2(server.address).await;
    let base = format!("http://{}", server.address);
    let at = |path: &str, body: &Value| {
        let mut request = json_request(path, body);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("{base}{path}").parse().unwrap();
        request
    };
    let first = client.send(at("/v1/turns", &json!({ "input": "My name is Ada." }))).await.json();
    let again = json!({ "input": "What is my name?", "token": first["token"] });
    assert!(client.send(at("/v1/turns", &again)).await.json()["reply"].as_str().unwrap().contains("Ada"));
    client.send(at("/v1/turns", &json!({}))).await.problem("request_invalid");
    let large = client.send(at("/v1/turns", &json!({ "input": "a".repeat(5 << 20) }))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    large.problem("body_too_large");

    let foreign = Request::get("http://evil.example/v1/usage").body(Full::default()).unwrap();
    client.send(foreign).await.problem("request_invalid");
    let mut spoofed = Request::get("http://evil.example/v1/usage").body(Full::default()).unwrap();
    spoofed.headers_mut().insert("host", "localhost".parse().unwrap());
    client.send(spoofed).await.problem("request_invalid");
    let mut wide = Request::get(format!("{base}/health")).body(Full::default()).unwrap();
    wide.headers_mut().insert("x-wide", "a".repeat(20_000).parse().unwrap());
    assert_eq!(client.send(wide).await.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_response_to_head_has_the_content_length_and_no_content() {
    let server = Running::start(config("")).await;
    let base = format!("http://{}", server.address);
    for mut client in [Client::connect(server.address).await, Client::connect_http2(server.address).await] {
        for (path, status) in [("/health", StatusCode::OK), ("/v1/turns", StatusCode::METHOD_NOT_ALLOWED)] {
            let ask = |method: Method| {
                let request = Request::builder().method(method).uri(format!("{base}{path}"));
                request.header("host", server.address.to_string()).body(Full::default()).unwrap()
            };
            let whole = client.send(ask(Method::GET)).await;
            let answer = client.send(ask(Method::HEAD)).await;
            assert_eq!((answer.status, whole.status), (status, status));
            assert_eq!(answer.header("content-length"), whole.body.len().to_string());
            assert!(answer.body.is_empty() && !whole.body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_head_over_its_limits_is_refused() {
    let server = Running::start(config("")).await;
    for (headers, status) in [
        (format!("x: {}\r\n", "a".repeat(17_000)), "431"),
        (format!("x: {}\r\n", "a".repeat(1 << 20)), "431"),
        ("x: a\r\n".repeat(101), "431"),
        ("x: a\r\n".repeat(80), "415"),
        (format!("x: {}\r\n", "a".repeat(12_000)), "415"),
    ] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(format!("POST /v1/turns HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{} {answer}", headers.len());
    }
    let mut raw = Raw::connect(server.address).await;
    raw.send(format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(70_000))).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn the_connection_of_a_silent_client_is_closed() {
    let server = Running::start(config("timeouts.head = \"50ms\"")).await;
    for start in
        ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\nhost: a\r\nx"]
    {
        let mut raw = Raw::connect(server.address).await;
        raw.send(start).await;
        let begun = Instant::now();
        raw.rest().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{start:?}");
    }
    // One byte at a time does not help.
    let mut raw = Raw::connect(server.address).await;
    let dripping = async {
        while timeout(Duration::from_millis(5), raw.0.readable()).await.is_err() {
            raw.send("x").await;
        }
    };
    timeout(Duration::from_secs(10), dripping).await.expect("never closed");
    // A connection that is idle after a request is closed as well.
    let mut raw = Raw::connect(server.address).await;
    raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(raw.rest().await.ends_with("{\"status\":\"ok\"}"));
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let server = Running::start(config("limits.connections = 1")).await;
    let mut first = Raw::connect(server.address).await;
    first.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    first.until("{\"status\":\"ok\"}").await;
    let mut second = Raw::connect(server.address).await;
    second.send("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let early = timeout(Duration::from_millis(50), second.0.readable()).await;
    assert!(early.is_err(), "answered over the cap");
    drop(first);
    assert!(second.rest().await.ends_with("{\"status\":\"ok\"}"));
}

#[tokio::test]
async fn the_connection_of_a_client_that_reads_nothing_is_closed() {
    let server = Running::start(config("timeouts.write = \"50ms\"\nlimits.message_bytes = 3000000")).await;
    let mut raw = Raw::connect(server.address).await;
    // Sixteen responses of more than a megabyte exceed the system's buffers.
    let body = json!({ "input": format!("Repeat {}", "a b ".repeat(250_000)) }).to_string();
    let ask = turn(&format!("content-length: {}\r\n", body.len()), &body);
    for _ in 0..16 {
        raw.send(&ask).await;
    }
    let received = raw.rest().await;
    assert!(received.len() < 16 * body.len());
}

#[tokio::test]
async fn an_unread_stream_is_dropped() {
    let server = Running::start(config("timeouts.write = \"50ms\"")).await;
    let mut client = Client::connect_http2(server.address).await;
    let at = |path: &str| format!("http://{}{path}", server.address).parse().unwrap();
    let mut ask = json_request("/v1/turns", &json!({ "input": "Write 100000 words", "stream": true }));
    *ask.uri_mut() = at("/v1/turns");
    let unread = client.open(ask).await.unwrap();
    let let_go = async {
        while server.service.requests_in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), let_go).await.expect("the request keeps its slot");
    // The connection still works. The unread response does not look complete.
    let mut health = Request::get("/health").body(Full::default()).unwrap();
    *health.uri_mut() = at("/health");
    assert_eq!(client.send(health).await.status, StatusCode::OK);
    assert!(unread.collect().await.is_err());
}

#[tokio::test]
async fn a_client_that_sends_too_much_can_read_the_error() {
    let server = Running::start(config("")).await;
    for headers in ["content-length: 67108864\r\n", "transfer-encoding: chunked\r\n"] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(turn(headers, "")).await;
        // The client sends all of it, even if the server no longer reads.
        for _ in 0..64 {
            raw.send(format!("100000\r\n{}\r\n", "a".repeat(1 << 20))).await;
        }
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{headers}{answer}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_does_not_have_to_send() {
    let server = Running::start(config("")).await;
    let mut raw = Raw::connect(server.address).await;
    raw.send(turn("content-length: 67108864\r\nexpect: 100-continue\r\n", "")).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 413 "));
    let mut raw = Raw::connect(server.address).await;
    raw.send(turn(&format!("content-length: {}\r\nexpect: 100-continue\r\n", HI.len()), "")).await;
    raw.until("100 Continue\r\n\r\n").await;
    raw.send(HI).await;
    raw.until("\"finish_reason\":\"stop\"}").await;
}

#[tokio::test]
async fn a_request_of_ambiguous_length_is_never_read_as_two() {
    let server = Running::start(config("")).await;
    let smuggled = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    for request in [
        turn("content-length: 5\r\ncontent-length: 6\r\n", smuggled),
        turn("content-length: 0\r\ntransfer-encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        turn("transfer-encoding: chunked, identity\r\n", smuggled),
        turn("transfer-encoding: xchunked\r\n", smuggled),
        turn("content-length: +5\r\n", smuggled),
        turn("content-length: 0x5\r\n", smuggled),
        turn("content-length : 5\r\n", smuggled),
        turn("content-length: 99999999999999999999\r\n", smuggled),
        turn("transfer-encoding: chunked\r\n", &format!("zz\r\n{smuggled}")),
        turn("x: a\r\n b\r\n", smuggled),
        format!("GET /health HTTP/1.1\nhost: a\r\0\n\n{smuggled}"),
        format!("GET /health HTTP/1.1\r\nhost: a\r\nx\0y: b\r\n\r\n{smuggled}"),
        format!("GET /health HTTP/9.9\r\nhost: a\r\n\r\n{smuggled}"),
    ] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(&request).await;
        raw.finish().await;
        let answers = raw.rest().await;
        assert!(answers.matches("HTTP/1.1 ").count() <= 1 && !answers.contains("\"ok\""), "{request}\n{answers}");
    }
}
