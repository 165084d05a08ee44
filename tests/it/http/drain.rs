//! Shutdown: requests in flight may end within the drain timeout, and no new ones start.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

use crate::support::{
    client::{Client, Raw, json_request},
    config,
    server::Running,
};

/// A pause between words that makes a reply longer than a test.
const SLOW: &str = "builtin_pace_ms = 20\n";

#[tokio::test]
async fn requests_in_flight_end_and_no_new_ones_start() {
    let mut server = Running::start(config(SLOW)).await;
    let mut idle = Raw::connect(server.address).await;
    idle.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.until("{\"status\":\"ok\"}").await;
    let mut silent = Raw::connect(server.address).await;
    let mut client = Client::connect(server.address).await;
    let mut waiting = Client::connect(server.address).await;
    let streamed = json_request("/v1/turns", &json!({ "input": "Count to 30", "stream": true }));
    let mut answer = client.open(streamed).await.unwrap();
    let whole = json!({ "input": "Count to 30" });
    let whole = tokio::spawn(async move { waiting.turn(&whole).await });
    while server.service.requests_in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: delta\n"));

    server.stop();
    // A connection without a request is closed immediately.
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    let late = TcpStream::connect(server.address).await;
    assert!(late.is_err(), "still listening");
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("event: done"));
    let whole = whole.await.unwrap();
    assert!(whole.json()["reply"].as_str().unwrap().ends_with(" 30"));
    timeout(Duration::from_secs(10), server.stopped()).await.expect("does not stop");
}

#[tokio::test]
async fn a_stream_that_does_not_end_gets_an_error_event() {
    let mut server = Running::start(config(&format!("{SLOW}timeouts.drain = \"50ms\""))).await;
    let mut client = Client::connect(server.address).await;
    let ask = json_request("/v1/turns", &json!({ "input": "Write 100000 words", "stream": true }));
    let mut answer = client.open(ask).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    let service = server.service.clone();
    server.stop();
    timeout(Duration::from_secs(10), server.stopped()).await.expect("does not stop");
    // The client gets an error event, with the part of the reply that arrived.
    let rest = answer.collect().await.unwrap().to_bytes();
    let (_, error) = std::str::from_utf8(&rest).unwrap().split_once("event: error\ndata: ").unwrap();
    assert!(error.contains("\"code\":\"internal\"") && error.contains("\"partial\":{\"reply\":"), "{error}");
    assert_eq!(service.requests_in_flight(), 0);
}

#[tokio::test]
async fn http2_connections_are_closed_as_well() {
    let mut server = Running::start(config(SLOW)).await;
    let mut client = Client::connect_http2(server.address).await;
    let mut ask = json_request("/v1/turns", &json!({ "input": "Count to 10", "stream": true }));
    *ask.uri_mut() = format!("http://{}/v1/turns", server.address).parse().unwrap();
    let mut answer = client.open(ask).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    server.stop();
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("event: done"));
    timeout(Duration::from_secs(10), server.stopped()).await.expect("does not stop");
}

#[tokio::test]
async fn readiness_ends_before_the_listener_closes() {
    let mut server = Running::start(config("timeouts.lame_duck = \"1s\"")).await;
    let mut kept = Client::connect(server.address).await;
    let hi = json!({ "input": "hi" });
    assert!(!kept.turn(&hi).await.headers.contains_key("connection"));
    server.stop();
    while !server.service.is_draining() {
        tokio::task::yield_now().await;
    }
    // A new connection gets one response until then.
    let mut late = Client::connect(server.address).await;
    for client in [&mut kept, &mut late] {
        let answer = client.turn(&hi).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), "close");
        assert!(client.try_send(json_request("/v1/turns", &hi)).await.is_err(), "the connection stays open");
    }
    let ready = Request::get("/ready").body(Full::default()).unwrap();
    let ready = Client::connect(server.address).await.send(ready).await;
    assert_eq!((ready.status, &ready.body[..]), (StatusCode::SERVICE_UNAVAILABLE, &br#"{"status":"draining"}"#[..]));
    let address = server.address;
    timeout(Duration::from_secs(10), server.stopped()).await.expect("does not stop");
    assert!(TcpStream::connect(address).await.is_err(), "still listening");
}
