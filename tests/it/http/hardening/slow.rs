//! HTTP/1 clients that are slow, send endless data, or never read.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::support::{
    binary::Binary,
    client::{Client, PATIENCE, Raw, beside},
    config,
    server::Running,
};

/// The head of a turn with these header lines.
fn head(headers: &str) -> String {
    format!("POST /v1/turns HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n")
}

/// Sends `drop` repeatedly, with pauses, until the server closes the connection. Returns the bytes
/// that the server sent.
async fn drip(raw: &mut Raw, drop: &str) -> String {
    let dripping = async {
        while timeout(Duration::from_millis(10), raw.0.readable()).await.is_err() {
            raw.send(drop).await;
        }
    };
    timeout(PATIENCE, dripping).await.expect("never closed");
    raw.rest().await
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let server = Running::start(config("timeouts.body = \"300ms\"")).await;
    for (headers, drop) in [
        ("content-length: 100000\r\n", " "),
        ("transfer-encoding: chunked\r\n", "1\r\n \r\n"),
        ("transfer-encoding: chunked\r\n", "1;a=b\r\n \r\n"),
    ] {
        beside(server.address, async {
            let mut raw = Raw::connect(server.address).await;
            raw.send(head(headers)).await;
            let answer = drip(&mut raw, drop).await;
            assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{headers}{answer}");
        })
        .await;
    }
    // The same for the body of a rejected request.
    beside(server.address, async {
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n").await;
        assert!(drip(&mut raw, " ").await.starts_with("HTTP/1.1 404 "));
    })
    .await;
    assert_eq!(server.service.requests_in_flight(), 0);
}

#[tokio::test]
async fn a_slow_head_times_out() {
    let server = Running::start(config("timeouts.head = \"300ms\"")).await;
    for (start, drop) in [
        ("GET /health HTTP/1.1\r\n", "x: y\r\n"),
        ("GET /health HTTP/1.1\r\nhost: a\r\nx: ", "y"),
        ("GET /", "a"),
        ("", "\r\n"),
        ("", "P"),
    ] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(start).await;
        drip(&mut raw, drop).await;
    }
    // The same between two requests.
    let mut raw = Raw::connect(server.address).await;
    raw.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.until("{\"status\":\"ok\"}").await;
    assert_eq!(drip(&mut raw, "\r\n").await, "");
}

#[tokio::test]
async fn an_unread_streamed_response_is_dropped() {
    let server = Running::start(config("timeouts.write = \"200ms\"")).await;
    beside(server.address, async {
        let body = json!({ "input": "Write 200000 words", "stream": true }).to_string();
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::connect(server.address).await;
            raw.send(format!("{}{body}", head(&format!("content-length: {}\r\n", body.len())))).await;
            held.push(raw);
        }
        let let_go = async {
            while server.service.requests_in_flight() > 1 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, let_go).await.expect("the requests keep their slots");
    })
    .await;
}

#[tokio::test]
async fn endless_pipelined_requests_wait_at_the_client() {
    let server = Running::start(config("timeouts.write = \"300ms\"")).await;
    let many = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    // A client that reads gets the responses in order.
    beside(server.address, async {
        let mut raw = Raw::connect(server.address).await;
        let (mut reader, mut writer) = raw.0.split();
        let read = async {
            let (mut bytes, mut piece) = (0, vec![0; 65_536]);
            while bytes < 1 << 20 {
                bytes += reader.read(&mut piece).await.unwrap();
            }
        };
        let write = async {
            loop {
                writer.write_all(many.as_bytes()).await.unwrap();
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    })
    .await;
    // The connection of a client that does not read is closed.
    beside(server.address, async {
        let mut raw = Raw::connect(server.address).await;
        for _ in 0..200 {
            raw.send(&many).await;
        }
        raw.rest().await;
    })
    .await;
}

#[tokio::test]
async fn endless_heads_and_bodies_take_no_memory() {
    let server = Binary::serve(&["--dev"]);
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.turn(&json!({ "input": "hi" })).await.json()["conversation"]["turn"], 1);
    let before = server.memory("VmHWM");
    let filler = "a".repeat(1 << 20);
    for start in [
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx: ".to_owned(),
        "GET /".to_owned(),
        format!("{}2;", head("transfer-encoding: chunked\r\n")),
        head("content-length: 67108864\r\n"),
        format!("{}4000000\r\n", head("transfer-encoding: chunked\r\n")),
    ] {
        let mut attacks = Vec::new();
        for _ in 0..8 {
            let (start, filler) = (start.clone(), filler.clone());
            let address = server.address;
            attacks.push(tokio::spawn(async move {
                let mut raw = Raw::connect(address).await;
                raw.send(start).await;
                for _ in 0..64 {
                    raw.send(&filler).await;
                }
                let answer = raw.rest().await;
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
            }));
        }
        beside(server.address, async {
            for attack in attacks {
                attack.await.unwrap();
            }
        })
        .await;
    }
    // The client sent 40 times 64 MiB. A body may have 4 MiB.
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 128 << 20, "{grown}");
}
