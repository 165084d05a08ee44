//! Outgoing connections in company networks: private authorities and proxies, on the way to model
//! services, key sets and the limits store.

mod proxies;
mod store;
mod tls;

use serde_json::json;

use crate::support::{
    answer::Answer,
    client::Client,
    config_with,
    model::{Model, Step},
    server::Running,
    upstream,
};

/// A model service that replies `hello`.
async fn model() -> Model {
    let events =
        "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n", events.len());
    Model::start(move |_| vec![Step::send(format!("{head}{events}"))]).await
}

/// The TOML of the model service at this URL, with additional lines.
fn settings(url: &str, lines: &str) -> String {
    format!("retries = 0\n{}", upstream("openai", url).replace("[[model]]", &format!("{lines}\n[[model]]")))
}

/// Takes a turn at a new server. Returns its answer and the causes of failed calls.
async fn turn(settings: &str, named: &[(&'static str, &str)]) -> (Answer, String) {
    let server = Running::start(config_with(settings, named)).await;
    let answer = Client::connect(server.address).await.turn(&json!({ "input": "hi" })).await;
    let entry = loop {
        // The record is written after the response.
        if let Some(entry) = server.log.take().pop() {
            break entry;
        }
        tokio::task::yield_now().await;
    };
    let causes = [entry.setbacks.join("\n"), entry.cause.unwrap_or_default()].join("\n");
    (answer, causes)
}

/// Checks that the turn succeeded.
#[track_caller]
fn assert_replied((answer, causes): &(Answer, String)) {
    assert_eq!(answer.status, 200, "{causes}");
    assert_eq!(answer.json()["reply"], "hello");
}

/// Checks that the turn failed for this reason, which only the operator learns.
#[track_caller]
fn assert_unavailable((answer, causes): &(Answer, String), reason: &str) {
    let problem = answer.problem("upstream_unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(["certificate", "proxy", "authority"].iter().all(|word| !detail.contains(word)), "{detail}");
    assert!(causes.contains(reason), "{causes}");
}
