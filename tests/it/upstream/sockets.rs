//! Failing upstreams over real sockets: with a second upstream the turn succeeds. Also, an upstream
//! with several addresses of which one fails, recovers repeatedly, or accepts and never responds.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    client::Client,
    config,
    events::{events, text_of},
    model::{Model, Step},
    server::Running,
};

/// A complete HTTP response.
fn http(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![Step::send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))]
}

fn working() -> Vec<Step> {
    let events =
        "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    http("200 OK", "content-type: text/event-stream\r\n", events)
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n";

/// The TOML of one alias with these upstreams, each with these addresses.
fn settings(upstreams: &[&[&Model]]) -> String {
    let service = |(number, models): (usize, &&[&Model])| {
        let urls: Vec<_> = models.iter().map(|model| format!("\"{}\"", model.url())).collect();
        format!("[[upstream]]\nname = \"u{number}\"\nkind = \"openai\"\nbase_urls = [{}]\n", urls.join(", "))
    };
    let names: Vec<_> = (0..upstreams.len()).map(|number| format!("\"u{number}\"")).collect();
    let services: String = upstreams.iter().enumerate().map(service).collect();
    format!("{services}[[model]]\nalias = \"default\"\nupstreams = [{}]\nmodel = \"m-1\"\n", names.join(", "))
}

/// Failures, each with the number of calls to the failing upstream.
fn failures() -> Vec<(&'static str, Vec<Step>, usize)> {
    let sse = |body: &[u8]| vec![Step::send([STREAM.as_bytes(), body].concat())];
    vec![
        ("closes immediately", vec![], 3),
        ("resets", vec![Step::Reset], 3),
        ("cut in the head", vec![Step::send("HTTP/1.1 200 OK\r\ncontent-ty")], 3),
        ("closes after the head", sse(b""), 3),
        ("resets after the head", vec![Step::send(STREAM), Step::Reset], 3),
        ("cut in a line", sse(b"data: {\"choi"), 3),
        ("another protocol", vec![Step::send("SSH-2.0-OpenSSH_9.2\r\n")], 3),
        ("a page with 502", http("502 Bad Gateway", "content-type: text/html\r\n", "<h1>502</h1>"), 3),
        ("an empty 200", http("200 OK", "", ""), 1),
        ("a page", http("200 OK", "content-type: text/html\r\n", "<h1>Welcome</h1>"), 1),
        ("an endless line", vec![Step::send(STREAM), Step::Repeat("a".repeat(1 << 16).into(), 16_384)], 1),
        ("a reply of 1 GB", vec![Step::send(WHOLE), Step::Repeat("a".repeat(1 << 16).into(), 16_384)], 1),
        ("endless comments", vec![Step::send(STREAM), Step::Repeat(":\n\n".repeat(1 << 14).into(), 1 << 20)], 1),
        ("accepts and never responds", vec![Step::Wait], 1),
        ("an endless refusal", vec![Step::send("HTTP/1.1 503 Oh\r\ncontent-length: 99\r\n\r\n{"), Step::Wait], 3),
        ("silent after the head", vec![Step::send(STREAM), Step::Wait], 1),
    ]
}

#[tokio::test]
async fn with_a_second_upstream_the_turn_succeeds_however_the_first_fails() {
    let limits =
        "limits = { reply_bytes = 65536 }\ntimeouts = { first_byte = \"300ms\", idle = \"300ms\", total = \"4s\" }\n";
    for (name, steps, calls) in failures() {
        let (bad, ok) = (Model::start(move |_| steps.clone()).await, Model::start(|_| working()).await);
        for stream in [true, false] {
            // Each form has its own server, without ejected upstreams. A complete reply gets half
            // of the time.
            let limits = if stream { limits.to_owned() } else { limits.replace("4s", "2s") };
            let server = Running::start(config(&format!("{limits}{}", settings(&[&[&bad], &[&ok]])))).await;
            let mut client = Client::connect(server.address).await;
            let answer = client.turn(&json!({ "input": "hi", "stream": stream })).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            if stream {
                let events = events(&answer.text());
                assert_eq!((text_of(&events).as_str(), events.last().unwrap().0.as_str()), ("hello", "done"), "{name}");
            } else {
                assert_eq!(answer.json()["reply"], "hello", "{name}");
            }
            let seen = (bad.requests().len(), ok.requests().len());
            assert_eq!(seen, (calls, 1), "{name}, {stream}");
        }
    }
}

#[tokio::test]
async fn a_failing_address_gets_few_calls() {
    let down = Model::start(|_| http("503 Down", "", "")).await;
    let (one, other) = (Model::start(|_| working()).await, Model::start(|_| working()).await);
    let server = Running::start(config(&settings(&[&[&down, &one, &other]]))).await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..60 {
        client.turn(&json!({ "input": "hi" })).await.json();
    }
    let seen = [&down, &one, &other].map(|model| model.requests().len());
    assert!(seen[0] <= 5 && seen[1] + seen[2] == 60 && seen[1].abs_diff(seen[2]) <= 6, "{seen:?}");
    let failed = server.log.take().iter().filter(|entry| !entry.setbacks.is_empty()).count();
    assert_eq!(failed, seen[0]);
}

#[tokio::test]
async fn an_upstream_that_fails_repeatedly_is_skipped() {
    let (down, ok) = (Model::start(|_| http("500 Oh", "", "")).await, Model::start(|_| working()).await);
    let server = Running::start(config(&settings(&[&[&down], &[&ok]]))).await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..10 {
        client.turn(&json!({ "input": "hi" })).await.json();
    }
    // Three calls of the first turn, two of the second. Then it is ejected.
    assert_eq!((down.requests().len(), ok.requests().len()), (5, 10));
    let log = server.log.take();
    assert_eq!(log[9].setbacks, ["u0: upstream_unavailable: ejected after repeated failures"]);
}

#[tokio::test]
async fn an_unreachable_upstream_is_skipped() {
    let nobody = Model::start(|_| working()).await;
    let ok = Model::start(|_| working()).await;
    let settings = settings(&[&[&nobody], &[&ok]]);
    // Its port is free again, without a listener.
    nobody.stop().await;
    let server = Running::start(config(&settings)).await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..10 {
        client.turn(&json!({ "input": "hi" })).await.json();
    }
    let log = server.log.take();
    assert!(log[0].setbacks.len() == 3 && log[0].setbacks[0].contains("refused"), "{:?}", log[0].setbacks);
    assert_eq!(log[9].setbacks, ["u0: upstream_unavailable: ejected after repeated failures"]);
}

#[tokio::test]
async fn an_address_that_fails_and_recovers_repeatedly_costs_no_turn() {
    let flaps = Model::start(|number| if number % 2 == 0 { http("502 Oh", "", "") } else { working() }).await;
    let server = Running::start(config(&settings(&[&[&flaps]]))).await;
    let mut client = Client::connect(server.address).await;
    let mut token = json!(null);
    for turn in 1..=8 {
        let answer = client.turn(&json!({ "input": "hi", "token": token })).await.json();
        assert_eq!(answer["conversation"]["turn"], turn);
        token = answer["token"].clone();
    }
    assert_eq!(flaps.requests().len(), 16);
}

#[tokio::test]
async fn a_silent_address_does_not_attract_calls() {
    let (dead, ok) = (Model::start(|_| vec![Step::Wait]).await, Model::start(|_| working()).await);
    let limits = "timeouts = { first_byte = \"1s\", total = \"20s\" }\n";
    let server = Running::start(config(&format!("{limits}{}", settings(&[&[&dead, &ok]])))).await;
    let address = server.address;
    let users: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn(async move {
                let (mut client, mut done) = (Client::connect(address).await, 0);
                for _ in 0..10 {
                    let answer = client.turn(&json!({ "input": "hi", "stream": true })).await;
                    done += usize::from(answer.text().contains("event: done"));
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for user in users {
        done += tokio::time::timeout(Duration::from_secs(20), user).await.unwrap().unwrap();
    }
    let (at_dead, at_ok) = (dead.requests().len(), ok.requests().len());
    // The silent address has ever more calls in flight, and each of them fails.
    assert!((1..=6).contains(&at_dead) && at_ok == done && at_dead + done == 60, "{at_dead} {at_ok} {done}");
}
