//! HTTP/1 requests that two servers could read differently: rejected, or read as the standard
//! requires.

use serde_json::json;

use crate::support::{
    client::{Raw, beside},
    config,
    server::Running,
};

/// The smuggled request. Its response would contain `ok`.
const SMUGGLED: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A turn with these header lines, and these bytes after its head.
fn turn(headers: &str, rest: &str) -> String {
    format!("POST /v1/turns HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n{rest}")
}

fn chunked(body: &str) -> String {
    turn("transfer-encoding: chunked\r\n", body)
}

/// All bytes of the responses to a request, after which the client closes its side.
async fn answers(server: &Running, request: &str) -> String {
    let mut raw = Raw::connect(server.address).await;
    raw.send(request).await;
    raw.finish().await;
    raw.rest().await
}

/// Checks that a request gets at most one response, takes no turn, and smuggles no request.
async fn refused(server: &Running, request: &str) {
    let answers = answers(server, request).await;
    let shown: String = request.chars().take(300).collect();
    assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{shown:?}\n{answers}");
    assert!(!answers.contains("HTTP/1.1 200") && !answers.contains("\"ok\""), "{shown:?}\n{answers}");
}

#[tokio::test]
async fn contradictory_and_invalid_lengths_are_refused() {
    let server = Running::start(config("")).await;
    beside(server.address, async {
        for headers in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "content-length: 5, 6\r\n",
            "content-length: 5\r\ncontent-length: 05\r\ncontent-length: 6\r\n",
            "content-length: -5\r\n",
            "content-length: 5 5\r\n",
            "content-length: 1e1\r\n",
            "content-length: \r\n",
            "content-length: 18446744073709551616\r\n",
            "content-length\t: 5\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: chunked, gzip\r\n",
            "transfer-encoding: \"chunked\"\r\n",
            "transfer-encoding: chunked;q=1\r\n",
            "transfer-encoding: chunked\x0b\r\n",
            "transfer-encoding: \r\n",
            "transfer-encoding : chunked\r\n",
            "transfer-encoding:\r\n chunked\r\n",
            "x: y\r\n transfer-encoding: chunked\r\n",
            "transfer-encoding\0: chunked\r\n",
        ] {
            refused(&server, &turn(headers, &format!("0\r\n\r\n{SMUGGLED}"))).await;
        }
    })
    .await;
}

#[tokio::test]
async fn malformed_chunks_are_refused() {
    let server = Running::start(config("")).await;
    beside(server.address, async {
        for size in [
            "-1",
            "+5",
            "0x5",
            "5 5",
            "",
            " ",
            "g",
            "5\n",
            "\u{b}5",
            "FFFFFFFFFFFFFFFF",
            "FFFFFFFFFFFFFFFFF",
            "10000000000000005",
        ] {
            refused(&server, &chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}"))).await;
        }
        for body in [
            // A missing or wrong line end after a chunk; data beyond a chunk; a chunk that is too
            // short.
            format!("2\r\n{{}}0\r\n\r\n{SMUGGLED}"),
            format!("2\r\n{{}}\n0\r\n\r\n{SMUGGLED}"),
            format!("2\r\n{{}}\r0\r\n\r\n{SMUGGLED}"),
            format!("2\r\n{{}}{{}}\r\n0\r\n\r\n{SMUGGLED}"),
            format!("40\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"),
            // Extensions with a line end (CVE-2025-22871 and similar).
            format!("2;a\n{{}}\r\n0\r\n\r\n{SMUGGLED}"),
            format!("2;a=\"\n\"\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"),
            format!("0;a\n\r\n{SMUGGLED}"),
            // The bytes after the last chunk are not a trailer.
            format!("2\r\n{{}}\r\n0\r\nGET /health HTTP/1.1\r\n{SMUGGLED}"),
            format!("2\r\n{{}}\r\n0\r\nx\r\n\r\n{SMUGGLED}"),
        ] {
            refused(&server, &chunked(&body)).await;
        }
        // Endless extensions and trailers.
        for endless in
            [format!("2;{}", "a".repeat(1 << 20)), format!("2\r\n{{}}\r\n0\r\n{}", "x: y\r\n".repeat(1 << 17))]
        {
            refused(&server, &chunked(&endless)).await;
        }
        refused(&server, &chunked(&"1;a=b\r\n \r\n".repeat(1 << 17))).await;
    })
    .await;
    assert_eq!(server.service.requests_in_flight(), 0);
}

#[tokio::test]
async fn trailers_have_no_effect() {
    let server = Running::start(config("")).await;
    let body = json!({ "input": "hi" }).to_string();
    for trailer in ["content-length: 0", "transfer-encoding: chunked", "host: evil.example", "authorization: Bearer x"]
    {
        let request = chunked(&format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n\r\n", body.len()));
        let answers = answers(&server, &request).await;
        assert!(answers.matches("HTTP/1.1 ").count() == 1 && answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    }
}

#[tokio::test]
async fn malformed_heads_are_refused() {
    let server = Running::start(config("")).await;
    beside(server.address, async {
        for head in [
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx : y\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\n host: localhost\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: y\r\n z\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n: y\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx(y: z\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: y\0z\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: y\rz: a\r\n\r\n",
            "GET /v1/models HTTP/1.1\rhost: localhost\r\r",
            "GET /v1/models\r\n\r\n",
            "GET  /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET /v1/models HTTP/1.1 x\r\nhost: localhost\r\n\r\n",
            "GET /v1/mo dels HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "G\0T /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET /v1/models HTTP/2.0\r\nhost: localhost\r\n\r\n",
            "GET /v1/models http/1.1\r\nhost: localhost\r\n\r\n",
            "PRI * HTTP/1.1\r\nhost: localhost\r\n\r\n",
            // More than one host, or none.
            "GET /v1/models HTTP/1.1\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost, evil.example\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n",
            "GET /v1/models HTTP/1.1\r\nhost: localhost@evil.example\r\n\r\n",
            "GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET //evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ] {
            refused(&server, head).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_host_is_refused_with_any_identity_rule() {
    let server = Running::start(config("dangerous_open = true")).await;
    let mut raw = Raw::connect(server.address).await;
    raw.send("GET /v1/models HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\nconnection: close\r\n\r\n").await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"code\":\"request_invalid\""), "{answer}");
}

#[tokio::test]
async fn other_transfer_codings_are_not_implemented() {
    let server = Running::start(config("")).await;
    for coding in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: x-a;b=c, chunked\r\n",
        "transfer-encoding: identity,chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: deflate\r\ntransfer-encoding: chunked\r\n",
    ] {
        for path in ["/v1/turns", "/v1/responses", "/v1/chat/completions", "/v1/messages", "/v1/history", "/health"] {
            let answers = answers(&server, &turn(coding, "0\r\n\r\n").replace("/v1/turns", path)).await;
            assert!(answers.starts_with("HTTP/1.1 501 ") && answers.contains("not_implemented"), "{coding}{answers}");
            assert!(answers.contains("x-should-retry: false"), "{answers}");
        }
    }
    let body = json!({ "input": "hi" }).to_string();
    let request = turn("Transfer-Encoding:  ChunKed \r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    assert!(answers(&server, &request).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let server = Running::start(config("")).await;
    // The start of a gzip bomb. The server does not decompress it.
    let body = "\u{1f}\u{8b}\u{8}";
    for encoding in [
        "content-encoding: gzip\r\n",
        "content-encoding: br\r\n",
        "content-encoding: zstd\r\n",
        "content-encoding: deflate\r\n",
        "content-encoding: identity, gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: gzip\r\n",
        "content-encoding: \r\n",
    ] {
        let headers = format!("{encoding}connection: close\r\ncontent-length: {}\r\n", body.len());
        let mut raw = Raw::connect(server.address).await;
        raw.send(turn(&headers, body)).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{encoding}{answer}");
    }
    let body = json!({ "input": "hi" }).to_string();
    let headers = format!("content-encoding: Identity\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let mut raw = Raw::connect(server.address).await;
    raw.send(turn(&headers, &body)).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
}
