//! The log of the real process if its reader stops.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::timeout};

use crate::support::{
    binary::Binary,
    client::{Client, PATIENCE},
};

/// More lines than the pipe and the queue have room for.
const REQUESTS: usize = 6_000;

/// Sends [`REQUESTS`] requests. Each of them gets its response.
async fn fill(binary: &Binary) {
    let mut client = Client::connect(binary.address).await;
    let path = format!("/{}/{}", "a".repeat(31), "b".repeat(31));
    for _ in 0..REQUESTS {
        let request = Request::get(&path).header("host", "localhost").body(Full::default()).unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_neither_stops_the_server_nor_its_end() {
    let binary = Binary::serve(&["--dev"]);
    fill(&binary).await;
    binary.signal("HUP");
    let turn = Client::connect(binary.address).await.turn(&json!({ "input": "hi" })).await;
    assert_eq!(turn.status, StatusCode::OK);
    binary.signal("TERM");
    let ended = timeout(PATIENCE, spawn_blocking(|| binary.ended_unread())).await;
    assert!(ended.expect("the process does not end").unwrap().success());
}

#[tokio::test]
async fn dropped_lines_are_counted_once_the_log_is_read_again() {
    let mut binary = Binary::serve(&["--dev"]);
    fill(&binary).await;
    let said = binary.until("log_lines_dropped");
    let lines: Vec<Value> =
        said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, records) = lines.split_last().unwrap();
    let dropped: usize = report["detail"].as_str().unwrap().parse().unwrap();
    assert!(dropped > 0 && records.len() > 1_000, "{dropped} of {}", records.len());
    assert!(records.iter().all(|record| record["status"] == 404));
    assert_eq!(records.len() + dropped, REQUESTS);
    // Lines flow again, and the last ones are written before the process ends.
    Client::connect(binary.address).await.turn(&json!({ "input": "hi" })).await.json();
    assert!(binary.until("\"turn\":1").ends_with("}\n"));
    binary.signal("TERM");
    let (status, said) = binary.ended();
    assert!(status.success() && said.contains("stopping"), "{status} {said}");
}
