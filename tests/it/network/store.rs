//! The limits store over TLS, with a store that always agrees.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use holdall::guard::Guard as _;

use crate::support::{
    client::Client,
    config_with,
    hand::Records,
    server::Running,
    tls::{Authority, Terminator},
};

/// Starts a store for one test.
async fn store() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Answers commands (RESP2). Scripts run in the order of a turn: admission, then end.
async fn serve(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut is_admission = true;
    while let Some(words) = command(&mut stream).await {
        let reply = match words[0].to_ascii_uppercase().as_str() {
            "INFO" => "$0\r\n\r\n",
            "CONFIG" => "*0\r\n",
            "EVALSHA" if std::mem::replace(&mut is_admission, false) => "*2\r\n$2\r\nok\r\n*2\r\n:0\r\n:0\r\n",
            "EVALSHA" => {
                is_admission = true;
                "$0\r\n\r\n"
            }
            _ => "+OK\r\n",
        };
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    Some(words)
}

/// The number in a line such as `*3` or `$5`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}

/// The settings of a server with a store at this address.
fn settings(address: SocketAddr, line: &str) -> String {
    format!("issuer = \"tls\"\n[guard]\nredis_url = \"rediss://:hunter2@{address}\"\ntimeout = \"10s\"\n{line}\n")
}

/// The warnings of a server at its start.
async fn warnings(settings: &str, ca: &str) -> Vec<String> {
    let config = config_with(settings, &[("ca.pem", ca)]);
    let server = holdall::shell::start(config, Box::new(Records::default())).await.unwrap();
    server.warnings().to_vec()
}

#[tokio::test]
async fn a_store_behind_a_private_authority_is_used_with_redis_ca_file() {
    let ours = Authority::new("ours");
    let terminator = Terminator::start(ours.certificate("127.0.0.1"), store().await).await;
    let with = settings(terminator.address, "redis_ca_file = \"ca.pem\"");
    assert!(warnings(&with, &ours.pem()).await.is_empty());
    let server = Running::start(config_with(&with, &[("ca.pem", &ours.pem())])).await;
    let answer = Client::connect(server.address).await.turn(&json!({ "input": "hi" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let refused = warnings(&settings(terminator.address, ""), "").await;
    let cause = "limits store: cannot connect: the server's certificate is not signed by a known authority; \
                 if the authority is private, set `guard.redis_ca_file` or SSL_CERT_FILE";
    assert!(refused.len() == 1 && refused[0].starts_with(cause), "{refused:?}");
}

#[tokio::test]
async fn the_certificate_of_a_store_is_checked_completely() {
    let ours = Authority::new("ours");
    for (certificate, cause) in [
        (ours.certificate("store.test"), "the server's certificate is for another name"),
        (ours.expired_certificate("127.0.0.1"), "the server's certificate expired at 2002-01-01T00:00:00Z"),
    ] {
        let terminator = Terminator::start(certificate, store().await).await;
        let refused = warnings(&settings(terminator.address, "redis_ca_file = \"ca.pem\""), &ours.pem()).await;
        assert!(refused.len() == 1 && refused[0].contains(cause) && !refused[0].contains("hunter2"), "{refused:?}");
    }
}

#[tokio::test]
async fn the_end_of_an_outage_is_noticed_without_a_turn() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    for (rules, refuses) in [("revocation = true", true), ("revocation = false", false)] {
        let settings = format!("issuer = \"x\"\n[guard]\nredis_url = \"redis://{address}\"\n{rules}\n");
        let server = Running::start(config_with(&settings, &[])).await;
        let guard = server.service.guard();
        assert_eq!(guard.refusing_for() > Duration::ZERO, refuses, "the start has called the store");
        if refuses {
            let before = guard.refusing_for();
            let listener = TcpListener::bind(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert!(guard.refusing_for() > before, "an outage has one start, whatever fails in it");
            let served = tokio::spawn(serve(stream));
            while guard.refusing_for() > Duration::ZERO {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served.abort();
        }
    }
}
