//! Clients that do not read their responses, or read them as slowly as possible.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    binary::Binary,
    client::{Client, PATIENCE, Raw, beside},
    config,
    frames::{DATA, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, post, streams, window_update},
    server::Running,
};

const IMPATIENT: &str = "timeouts.write = \"200ms\"\ntimeouts.head = \"1s\"\nlimits.turns_per_user = 1000\n";

/// `:status` 200 (RFC 7541, appendix A).
const OK: u8 = 0x88;

fn endless() -> String {
    json!({ "input": "Write 4000 words", "stream": true }).to_string()
}

/// Waits until the server has dropped the requests of the attack.
async fn all_dropped(server: &Running) {
    let waiting = async {
        while server.service.requests_in_flight() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("requests stay in flight");
}

#[tokio::test]
async fn streams_without_a_window_are_dropped_and_their_connection_ends() {
    let server = Running::start(config(IMPATIENT)).await;
    for (window, body) in [
        (0, endless()),
        (1, endless()),
        (0, json!({ "input": "hi" }).to_string()),
        (1, json!({ "input": "hi" }).to_string()),
        (65_535, endless()),
    ] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[(INITIAL_WINDOW_SIZE, window)]).await;
            let attack: Vec<_> = streams(60).flat_map(|id| post(id, "/v1/turns", &body)).collect();
            raw.send(attack).await;
            raw.next(HEADERS).await.expect("no answer");
            all_dropped(&server).await;
            // The client answers pings, so hyper alone would keep the connection.
            raw.blamed().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_window_that_opens_byte_by_byte_does_not_keep_a_turn() {
    let server = Running::start(config(IMPATIENT)).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[(INITIAL_WINDOW_SIZE, 1)]).await;
        raw.send(post(1, "/v1/turns", &endless())).await;
        let dripping = async {
            while let Some(frame) = raw.frame().await {
                if frame.kind == DATA {
                    raw.send(window_update(1, 1)).await;
                }
                if server.service.requests_in_flight() == 0 {
                    break;
                }
            }
        };
        timeout(PATIENCE, dripping).await.expect("the turn does not end");
    })
    .await;
}

#[tokio::test]
async fn a_response_that_is_read_byte_by_byte_times_out() {
    // A client may take `timeouts.total` and `timeouts.write` together for its complete response.
    // This client never pauses, so only that limit ends it.
    let server = Running::start(config("timeouts.total = \"300ms\"\ntimeouts.write = \"1s\"\n")).await;
    let ask = long_history(&mut Client::connect(server.address).await).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[(INITIAL_WINDOW_SIZE, 1)]).await;
        raw.send(post(1, "/v1/history", &ask)).await;
        loop {
            let frame = raw.frame().await.expect("closed");
            match frame.kind {
                DATA if frame.flags & END_STREAM == 0 => {
                    raw.send([window_update(0, 1), window_update(1, 1)].concat()).await;
                }
                DATA => panic!("the client got the complete response"),
                RST_STREAM => break,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn unread_responses_keep_their_slots() {
    // Ten slots, of which one peer may hold four.
    let limits = "limits.concurrent_requests = 10\nlimits.requests_per_peer = 4\ntimeouts.write = \"1s\"\n";
    let server = Running::start(config(limits)).await;
    let mut client = Client::connect(server.address).await;
    let ask = long_history(&mut client).await;
    let mut raw = Raw::connect_from(2, server.address).await;
    raw.begin_http2(&[(INITIAL_WINDOW_SIZE, 1)]).await;
    raw.send(streams(6).flat_map(|id| post(id, "/v1/history", &ask)).collect::<Vec<_>>()).await;
    let mut statuses = Vec::new();
    while statuses.len() < 6 {
        statuses.push(raw.next(HEADERS).await.expect("closed").payload[0]);
    }
    assert_eq!(statuses.iter().filter(|status| **status == OK).count(), 4, "{statuses:?}");
    assert_eq!(server.service.requests_in_flight(), 4);
    // Other peers still get slots. The four slots are free after the timeout.
    let answer: Value = client.turn(&json!({ "input": "hi" })).await.json();
    assert!(answer["token"].is_string());
    all_dropped(&server).await;
}

/// A request for a history that is larger than the buffers of a socket.
async fn long_history(client: &mut Client) -> String {
    let answer = client.turn(&json!({ "input": "a ".repeat(100_000) })).await.json();
    json!({ "token": answer["token"], "user_id": answer["user_id"] }).to_string()
}

/// A request of a few kilobytes for a history of nearly four megabytes, which costs the client
/// little.
async fn large_history(client: &mut Client) -> String {
    let mut turn = json!({ "input": "a ".repeat(120_000) });
    for _ in 0..12 {
        let answer = client.turn(&turn).await.json();
        turn["token"] = answer["token"].clone();
        turn["user_id"] = answer["user_id"].clone();
    }
    json!({ "token": turn["token"], "user_id": turn["user_id"] }).to_string()
}

#[tokio::test]
async fn unread_responses_do_not_keep_memory() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("holdall.toml");
    std::fs::write(&settings, "timeouts.write = \"500ms\"\ntimeouts.head = \"10s\"\n").unwrap();
    let mut server = Binary::serve(&["--dev", "--config", settings.to_str().unwrap()]);
    let mut client = Client::connect(server.address).await;
    let ask = large_history(&mut client).await;
    let whole = client.post("/v1/history", &serde_json::from_str(&ask).unwrap()).await;
    server.until("\"path\":\"/v1/history\"");
    let answer_bytes = whole.body.len() as u64;
    assert!(answer_bytes > 2 << 20, "{answer_bytes}");

    let before = server.memory("VmRSS");
    let (mut held, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut raw = Raw::connect_http2(server.address, &[(INITIAL_WINDOW_SIZE, 1)]).await;
        for id in streams(30) {
            raw.send(post(id, "/v1/history", &ask)).await;
            raw.next(HEADERS).await.expect("closed");
        }
        // Each request is in the log after it was dropped. The connection still exists.
        for _ in 0..30 {
            server.until("\"path\":\"/v1/history\"");
        }
        held.push(raw);
        grown.push(server.memory("VmRSS").saturating_sub(before) / answer_bytes);
    }
    // Freed memory is not always returned to the system, but it is reused.
    assert!(grown.iter().all(|answers| *answers < 60), "of 180 answers {grown:?} are kept");
    drop(held);
}
