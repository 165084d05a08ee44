//! One peer's share of the slots: other peers are served while it holds its share.

use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    client::{Client, PATIENCE, Raw, beside},
    config,
    frames::{open, streams},
    server::Running,
};

/// The head of a turn whose body does not arrive.
const BODILESS: &str = "POST /v1/turns HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 1000\r\n\r\n";

/// Waits until this many requests are in flight.
async fn in_flight(server: &Running, count: usize) {
    let waiting = async {
        while server.service.requests_in_flight() != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the number of requests in flight does not change");
}

#[tokio::test]
async fn slow_bodies_of_one_peer_do_not_lock_out_others() {
    let server = Running::start(config("limits.concurrent_requests = 16\ntimeouts.body = \"2s\"")).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect_from(2, server.address).await;
        raw.send(BODILESS).await;
        slow.push(raw);
    }
    in_flight(&server, 4).await;
    // The fifth of 16 requests exceeds this peer's share, but not another peer's.
    let mut fifth = Raw::connect_from(2, server.address).await;
    fifth.send(format!("{BODILESS}{}", "x".repeat(1_000))).await;
    let refused = fifth.until("}").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"code\":\"overloaded\""), "{refused}");
    assert!(refused.contains("Too many concurrent requests from this address: the limit is 4."), "{refused}");
    beside(server.address, async {
        for raw in &mut slow {
            assert!(raw.rest().await.starts_with("HTTP/1.1 408 "));
        }
    })
    .await;
    in_flight(&server, 0).await;
    // A slot that was released can be taken again.
    let mut again = Raw::connect_from(2, server.address).await;
    again.send(BODILESS).await;
    in_flight(&server, 1).await;
}

#[tokio::test]
async fn a_share_counts_all_connections_and_streams_of_a_peer() {
    let server = Running::start(config("limits.requests_per_peer = 100\ntimeouts.body = \"1s\"")).await;
    let mut connections = Vec::new();
    let mut refused = 0;
    for _ in 0..2 {
        let mut raw = Raw::connect_from(2, server.address).await;
        raw.begin_http2(&[]).await;
        raw.send(streams(60).flat_map(|id| open(id, "/v1/turns")).collect::<Vec<_>>()).await;
        connections.push(raw);
    }
    beside(server.address, async {
        for raw in &mut connections {
            for _ in 0..60 {
                refused += usize::from(raw.text().await.contains("\"code\":\"overloaded\""));
            }
        }
    })
    .await;
    assert_eq!(refused, 20);
}

#[tokio::test]
async fn connections_of_one_peer_are_limited_if_configured() {
    let server = Running::start(config("limits.connections_per_peer = 8")).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::connect_from(2, server.address).await;
        raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.until("{\"status\":\"ok\"}").await;
        held.push(raw);
    }
    beside(server.address, async {
        for _ in 0..500 {
            let mut raw = Raw::connect_from(2, server.address).await;
            raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(raw.rest().await, "");
        }
    })
    .await;
    held.clear();
    // The server notices a closed connection after a moment.
    let again = async {
        loop {
            let mut raw = Raw::connect_from(2, server.address).await;
            raw.send("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            if raw.rest().await.ends_with("{\"status\":\"ok\"}") {
                break;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("the peer still gets no connection");
}

#[tokio::test]
async fn one_peer_has_a_quarter_of_the_connections_unless_it_is_a_listed_proxy() {
    let header = "identity = { mode = \"header\", header = { name = \"x-user\", peers = [\"127.0.0.2\"], \
                  secret = \"0123456789abcdef0123456789abcdef\" } }\n";
    for (settings, held_max) in [("", 2), ("trusted_proxies = [\"127.0.0.2\"]\n", 6), (header, 6)] {
        let server = Running::start(config(&format!("{settings}limits.connections = 8"))).await;
        let mut held = Vec::new();
        for number in 0..6 {
            let mut raw = Raw::connect_from(2, server.address).await;
            raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
            if number < held_max {
                raw.until("{\"status\":\"ok\"}").await;
                held.push(raw);
            } else {
                assert_eq!(raw.rest().await, "", "{settings}");
            }
        }
        // Another peer has a share of its own.
        let mut raw = Raw::connect_from(3, server.address).await;
        raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.until("{\"status\":\"ok\"}").await;
    }
}

#[tokio::test]
async fn a_flood_of_connections_times_out() {
    let server =
        Running::start(config("limits = { connections = 64, connections_per_peer = 64 }\ntimeouts.head = \"200ms\""))
            .await;
    let mut flood = Vec::new();
    for _ in 0..600 {
        flood.push(Raw::connect_from(2, server.address).await);
    }
    // Silent connections hold all slots until they time out one after the other. A waiting client
    // is served then.
    let mut client = Client::connect(server.address).await;
    let answer = client.turn(&json!({ "input": "My name is Ada." })).await;
    assert_eq!(answer.json()["conversation"]["turn"], 1);
    drop(flood);
}
