//! HTTP/2 attacks that cost the sender little: resets, endless frames, growing header blocks,
//! streams that stay open.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::support::{
    binary::Binary,
    client::{PATIENCE, Raw, beside},
    config,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
        PING, PRIORITY, RST_STREAM, SETTINGS, field, frame, get, open, post, request, reset, settings, streams, string,
        window_update,
    },
    server::Running,
};

/// A turn whose reply is longer than every test.
const ENDLESS: &str = "builtin_pace_ms = 20\n";

fn endless() -> String {
    json!({ "input": "Write 2000 words", "stream": true }).to_string()
}

/// Waits until the attack has no request in flight.
async fn all_let_go(server: &Running) {
    let waiting = async {
        // The well-behaved client may have one request in flight.
        while server.service.requests_in_flight() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("requests stay in flight");
}

#[tokio::test]
async fn streams_that_are_reset_immediately_end_their_connection() {
    let server = Running::start(config(ENDLESS)).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        // CVE-2023-44487: the limit on concurrent streams has no effect.
        let attack: Vec<_> = streams(20_000).flat_map(|id| [get(id, "/v1/models"), reset(id)].concat()).collect();
        raw.send(attack).await;
        assert_eq!(raw.blamed().await, ENHANCE_YOUR_CALM);
    })
    .await;
}

#[tokio::test]
async fn turns_that_are_reset_are_dropped() {
    let server = Running::start(config(ENDLESS)).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        for id in streams(100) {
            raw.send(post(id, "/v1/turns", &endless())).await;
            // Reset after its turn has started, which the count of resets does not include.
            raw.next(HEADERS).await.expect("no turn");
            raw.send(reset(id)).await;
        }
        all_let_go(&server).await;
    })
    .await;
}

#[tokio::test]
async fn streams_that_the_server_is_made_to_reset_end_their_connection() {
    let server = Running::start(config(ENDLESS)).await;
    // CVE-2025-8671: each error affects only its stream, which no longer counts afterwards.
    type Fault = fn(u32) -> Vec<u8>;
    let faults: [(&str, Fault); 4] = [
        ("no increment", |id| window_update(id, 0)),
        ("too large an increment", |id| window_update(id, 0x7FFF_FFFF)),
        ("data after its end", |id| frame(DATA, 0, id, b"x")),
        ("a second head", |id| frame(HEADERS, END_HEADERS, id, &field("x", "y"))),
    ];
    for (name, fault) in faults {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            let mut resets = 0;
            let mut blamed = None;
            for id in streams(500) {
                raw.send([post(id, "/v1/turns", &endless()), fault(id)].concat()).await;
                // Until this stream or the connection ends.
                while blamed.is_none() {
                    match raw.frame().await {
                        None => blamed = Some(0),
                        Some(end) if end.kind == GOAWAY => blamed = Some(end.code()),
                        Some(end) if end.kind == RST_STREAM && end.stream == id => break,
                        Some(_) => {}
                    }
                }
                if blamed.is_some() {
                    break;
                }
                resets += 1;
            }
            assert!(blamed.is_some(), "{name}: {resets} streams were reset, and the connection is open");
            assert!(resets <= 64, "{name}: {resets} streams reset");
            all_let_go(&server).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_endless_head_ends_its_connection() {
    let server = Running::start(config("")).await;
    let (head, filler) = (request("GET", "/health", &[]), field("x", &"a".repeat(16_000)));
    // CVE-2024-27316: large, small, and empty pieces.
    for piece in [filler.as_slice(), &filler[..0], &field("x", "")] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            raw.send(frame(HEADERS, END_STREAM, 1, &head)).await;
            let pieces = frame(CONTINUATION, 0, 1, piece).repeat(64);
            for _ in 0..64 {
                raw.send(&pieces).await;
            }
            assert_ne!(raw.blamed().await, 0, "{} bytes", piece.len());
        })
        .await;
    }
}

#[tokio::test]
async fn a_head_that_expands_is_refused() {
    let server = Running::start(config("")).await;
    // A field of 4,000 bytes in the table (RFC 7541 §6.2.1), which is then repeated by one byte
    // each.
    let remembered = [vec![0x40], string("x"), string(&"a".repeat(4_000))].concat();
    for times in [10, 10_000] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            let block = [request("GET", "/health", &[]), remembered.clone(), vec![0x80 | 62; times]].concat();
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
            // Rejected with a status or by closing the connection.
            match raw.next(HEADERS).await {
                // `:status` 431, Huffman-coded.
                Some(head) => assert_eq!(head.payload, [0x48, 0x83, 0x69, 0x90, 0xFF]),
                None => assert_eq!(times, 10_000),
            }
        })
        .await;
    }
    for (name, block) in [
        ("an index that names nothing", vec![0xFF, 0xFF, 0xFF, 0x7F]),
        ("an index without an end", vec![0xFF; 1_000]),
        ("a table larger than allowed", vec![0x3F, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a name longer than the block", [&[0, 0x7F, 0xFF, 0xFF, 0x7F], &b"x"[..]].concat()),
    ] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
            assert_ne!(raw.blamed().await, 0, "{name}");
        })
        .await;
    }
}

#[tokio::test]
async fn frames_without_effect_do_not_block_others() {
    let server = Running::start(config("timeouts.write = \"200ms\"\ntimeouts.head = \"500ms\"")).await;
    for (name, nothing) in [
        ("settings", settings(&[(INITIAL_WINDOW_SIZE, 65_535)])),
        ("settings of no kind", settings(&[(0xFF, 1)])),
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("answers to no ping", frame(PING, ACK, 0, &[0; 8])),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("frames of no kind", frame(0xEE, 0, 0, &[0; 8])),
    ] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            // The responses are not read. They must not accumulate, and the connection ends.
            let many = nothing.repeat(1_000);
            for _ in 0..200 {
                raw.send(&many).await;
            }
            raw.rest().await;
        })
        .await;
        assert_eq!(server.service.requests_in_flight(), 0, "{name}");
    }
}

#[tokio::test]
async fn floods_take_no_memory() {
    let server = Binary::serve(&["--dev"]);
    beside(server.address, async {}).await;
    let before = server.memory("VmHWM");
    let remembered = [vec![0x40], string("x"), string(&"a".repeat(4_000))].concat();
    let unfolding = |id| {
        let block = [request("GET", "/health", &[]), remembered.clone(), vec![0x80 | 62; 10_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, id, &block)
    };
    for flood in [
        frame(PING, 0, 0, &[0; 8]).repeat(50_000),
        settings(&[(INITIAL_WINDOW_SIZE, 65_535)]).repeat(50_000),
        (1..50_000).flat_map(|by| frame(PRIORITY, 0, 2 * by + 1, &[0, 0, 0, 0, 1])).collect(),
        (1..50_000).flat_map(|by| window_update(2 * by + 1, 1)).collect(),
        streams(10_000).flat_map(|id| [open(id, "/v1/turns"), reset(id)].concat()).collect(),
        streams(10_000).flat_map(|id| get(id, "/v1/models")).collect(),
        streams(60).flat_map(unfolding).collect(),
        frame(CONTINUATION, 0, 1, &field("x", &"a".repeat(16_000))).repeat(1_000),
    ] {
        let flood = Arc::new(flood);
        let attacks = (0..8).map(|_| {
            let (address, flood) = (server.address, Arc::clone(&flood));
            tokio::spawn(async move {
                let mut raw = Raw::connect_http2(address, &[]).await;
                // Until the server reads no more. The responses are not read.
                let _ = timeout(Duration::from_secs(1), raw.0.write_all(&flood)).await;
            })
        });
        let attacks: Vec<_> = attacks.collect();
        beside(server.address, async {
            for attack in attacks {
                attack.await.unwrap();
            }
        })
        .await;
    }
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 << 20, "{grown}");
}

#[tokio::test]
async fn empty_frames_do_not_keep_a_body_open() {
    let server = Running::start(config("timeouts.body = \"300ms\"\ntimeouts.head = \"500ms\"")).await;
    for piece in [&b""[..], b" "] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            raw.send(open(1, "/v1/turns")).await;
            let many = frame(DATA, 0, 1, piece).repeat(100);
            let dripping = async {
                // Until the connection is closed. The server may end the stream before.
                while timeout(Duration::from_millis(1), raw.0.readable()).await.is_err() || raw.frame().await.is_some()
                {
                    raw.send(&many).await;
                }
            };
            timeout(PATIENCE, dripping).await.expect("never closed");
        })
        .await;
        assert_eq!(server.service.requests_in_flight(), 0);
    }
}

#[tokio::test]
async fn windows_and_sizes_beyond_the_protocol_end_the_connection() {
    let server = Running::start(config("")).await;
    let large = [&[0xFF, 0xFF, 0xFF, DATA, 0, 0, 0, 0, 1][..], &[0; 64]].concat();
    for (name, attack) in [
        ("the connection's window", window_update(0, 0x7FFF_FFFF)),
        ("no increment", window_update(0, 0)),
        ("a stream's first window", settings(&[(INITIAL_WINDOW_SIZE, 0x8000_0000)])),
        ("a frame of 16 MiB", large),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a ping of nine bytes", frame(PING, 0, 0, &[0; 9])),
        ("data before a head", frame(DATA, 0, 1, b"x")),
        ("a server's stream", get(2, "/health")),
        ("an older stream", [get(3, "/health"), get(1, "/health")].concat()),
    ] {
        beside(server.address, async {
            let mut raw = Raw::connect_http2(server.address, &[]).await;
            raw.send(attack).await;
            assert_ne!(raw.blamed().await, 0, "{name}");
        })
        .await;
    }
}

#[tokio::test]
async fn bytes_beyond_the_window_are_not_accepted() {
    let server = Running::start(config("")).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        raw.send(open(1, "/v1/turns")).await;
        // 64 MiB, regardless of the server's window.
        let pieces = frame(DATA, 0, 1, &[b' '; 16_384]).repeat(64);
        for _ in 0..64 {
            raw.send(&pieces).await;
        }
        assert_ne!(raw.blamed().await, 0);
    })
    .await;
    assert_eq!(server.service.requests_in_flight(), 0);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let server = Running::start(config("timeouts.body = \"1s\"")).await;
    beside(server.address, async {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        let attack: Vec<_> = streams(65).flat_map(|id| open(id, "/v1/turns")).collect();
        raw.send(attack).await;
        let refused = raw.next(RST_STREAM).await.expect("closed");
        assert_eq!((refused.stream, refused.code()), (129, 7), "not REFUSED_STREAM");
        // The other streams time out, since their bodies do not arrive.
        let mut told = 0;
        while told < 64 {
            let problem = raw.text().await;
            assert!(problem.contains("\"code\":\"request_timeout\""), "{problem}");
            told += 1;
        }
        all_let_go(&server).await;
    })
    .await;
}

#[tokio::test]
async fn there_is_no_upgrade_to_http2() {
    let server = Running::start(config("")).await;
    let mut raw = Raw::connect(server.address).await;
    let upgrade = "connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    raw.send(format!("GET /health HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n")).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    // `CONNECT` does not work either.
    let mut raw = Raw::connect_http2(server.address, &[]).await;
    let connect = [field(":method", "CONNECT"), field(":authority", "localhost:80")].concat();
    raw.send(frame(HEADERS, END_HEADERS, 1, &connect)).await;
    assert!(raw.text().await.contains("\"code\":\"not_found\""));
}

#[tokio::test]
async fn an_idle_connection_is_closed_though_its_client_answers_pings() {
    let server = Running::start(config("timeouts.head = \"200ms\"")).await;
    for before in [Vec::new(), get(1, "/health")] {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        raw.send(before).await;
        assert_eq!(raw.blamed().await, 0);
    }
    // A head that stops midway, or within a frame.
    let head = frame(HEADERS, END_STREAM, 1, &request("GET", "/health", &[]));
    for half in [&head[..], &head[..20], &head[..5]] {
        let mut raw = Raw::connect_http2(server.address, &[]).await;
        raw.send(half).await;
        raw.rest().await;
    }
}
