//! A recorded reply, interrupted after each of its bytes. The result is a complete reply with a
//! token, or an error. The error has `partial` exactly if a streaming client has received text.

use serde_json::{Value, json};

use super::recorded::{ALL, ARGS, Recorded, TEXT};
use crate::support::{
    answer::{Answer, check_problem},
    client::Client,
    config,
    events::{events, text_of},
    model::{Model, Step},
    server::Running,
    upstream,
};

/// Counts of the responses by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    whole: usize,
    partial: usize,
    errors: usize,
}

#[tokio::test]
async fn a_chunked_reply_interrupted_anywhere_is_complete_or_an_error() {
    for recorded in &ALL {
        let tally = cut_everywhere(recorded, recorded.chunked()).await;
        assert!(tally.whole > 0 && tally.errors > 0, "{tally:?}");
        assert_eq!(tally.partial > 0, recorded.is_stream(), "{tally:?}");
    }
}

#[tokio::test]
async fn a_reply_of_announced_length_interrupted_anywhere_is_complete_or_an_error() {
    for recorded in ALL.iter().filter(|recorded| !recorded.is_stream()) {
        cut_everywhere(recorded, recorded.sized()).await;
    }
}

#[tokio::test]
async fn a_reply_that_ends_with_its_connection_interrupted_anywhere_is_complete_or_an_error() {
    for recorded in &ALL {
        cut_everywhere(recorded, recorded.open_ended()).await;
    }
}

/// Takes a turn for each cut. The old token must stay valid.
async fn cut_everywhere(recorded: &Recorded, wire: String) -> Tally {
    let (length, wire) = (wire.len(), wire.into_bytes());
    // The first turn gets the complete reply.
    let cut_of = move |number: usize| number.checked_sub(1).unwrap_or(length);
    let model = Model::start(move |number| vec![Step::send(wire[..cut_of(number)].to_vec())]).await;
    // One call for each cut. Other tests cover retries.
    let settings = format!("retries = 0\nguard.read_rate = \"off\"\n{}", upstream(recorded.kind, &model.url()));
    let server = Running::start(config(&settings)).await;
    let mut client = Client::connect(server.address).await;
    let whole = client.turn(&json!({ "input": "hi" })).await.json();
    check_whole(&whole);
    let result = json!({ "t": "result", "id": "call_1", "out": "3" });
    let ask = json!({ "input": [result], "token": whole["token"], "stream": recorded.is_stream() });
    let mut tally = Tally::default();
    for _ in 0..=length {
        let answer = client.turn(&ask).await;
        if answer.header("content-type") == "text/event-stream" {
            check_stream(&mut client, str::from_utf8(&answer.body).unwrap(), &mut tally).await;
        } else {
            check(&answer, &mut tally);
        }
    }
    assert_eq!(tally.whole + tally.partial + tally.errors, length + 1);
    assert_eq!(model.requests().len(), length + 2);
    let history = client.post("/v1/history", &json!({ "token": whole["token"] })).await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 3);
    tally
}

fn check_whole(answer: &Value) {
    assert_eq!(answer["reply"], TEXT);
    assert_eq!(
        answer["output"],
        json!([
            { "t": "msg", "role": "assistant", "parts": [{ "text": TEXT }] },
            { "t": "call", "id": "call_1", "name": "add", "args": ARGS },
        ])
    );
    assert_eq!(answer["finish_reason"], "tool_calls");
    assert!(answer["token"].is_string());
}

fn check(answer: &Answer, tally: &mut Tally) {
    if answer.status == 200 {
        check_whole(&answer.json());
        tally.whole += 1;
        return;
    }
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let code = problem["code"].as_str().unwrap();
    assert!(matches!(code, "upstream_cut" | "upstream_unavailable"), "{problem}");
    assert_eq!((answer.problem(code)["retry"].as_str(), answer.status.as_u16()), (Some("safe"), 502));
    assert_eq!(problem.get("partial"), None);
    tally.errors += 1;
}

async fn check_stream(client: &mut Client, body: &str, tally: &mut Tally) {
    let events = events(body);
    let text = text_of(&events);
    let (name, last) = events.last().unwrap();
    if name == "done" {
        assert_eq!(text, TEXT);
        check_whole(last);
        tally.whole += 1;
        return;
    }
    assert_eq!((name.as_str(), &last["code"]), ("error", &json!("upstream_cut")));
    check_problem(last);
    assert!(!text.is_empty() && TEXT.starts_with(&text));
    assert_eq!(last["partial"]["reply"], text);
    let history = client.post("/v1/history", &json!({ "token": last["partial"]["token"] })).await.json();
    let item = json!({ "t": "msg", "role": "assistant", "parts": [{ "text": text }], "cut": true });
    assert_eq!(history["items"].as_array().unwrap().last(), Some(&item));
    tally.partial += 1;
}
