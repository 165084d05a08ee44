//! Clients that do not read what they asked for, or as slowly as they can.

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

/// Waits until the server has let go of what the attack began.
async fn let_go(server: &Running) {
    let waiting = async {
        while server.service.requests_in_flight() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("requests stay under way");
}

#[tokio::test]
async fn streams_without_a_window_are_let_go_and_their_connection_ends() {
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
            let_go(&server).await;
            // It answers pings, and would stay.
            raw.blamed().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_window_that_opens_byte_by_byte_is_no_way_to_stay() {
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
        timeout(PATIENCE, dripping).await.expect("never let go");
    })
    .await;
}

#[tokio::test]
async fn an_answer_taken_byte_by_byte_ends_in_time() {
    // Twice the one and the other are what a client may take for all of its answer, which no pause of this one's shows.
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
                DATA => panic!("it took the whole answer"),
                RST_STREAM => break,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn answers_that_nobody_takes_keep_their_places() {
    // Ten places, of which one peer may have four.
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
    // Others have places left; and the four come back once they were waited for long enough.
    let answer: Value = client.turn(&json!({ "input": "hi" })).await.json();
    assert!(answer["token"].is_string());
    let_go(&server).await;
}

/// What asks for a history that no socket's buffers hold.
async fn long_history(client: &mut Client) -> String {
    let answer = client.turn(&json!({ "input": "a ".repeat(100_000) })).await.json();
    json!({ "token": answer["token"], "user_id": answer["user_id"] }).to_string()
}

/// A history of nearly four megabytes in a request of a few kilobytes: what a client asks for without effort.
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
async fn unread_answers_take_no_memory_for_long() {
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
        // Each is in the log once it was let go; the connection is still there.
        for _ in 0..30 {
            server.until("\"path\":\"/v1/history\"");
        }
        held.push(raw);
        grown.push(server.memory("VmRSS").saturating_sub(before) / answer_bytes);
    }
    // Memory that was freed is not always given back, but it is used again.
    assert!(grown.iter().all(|answers| *answers < 60), "of 180 answers {grown:?} are kept");
    drop(held);
}
