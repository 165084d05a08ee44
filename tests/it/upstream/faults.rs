//! Responses of model services that are not replies, and the errors that clients get.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    MODEL_KEY,
    client::Client,
    config,
    model::{Model, Step},
    server::Running,
    upstream,
};

/// A complete HTTP response.
fn http(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![Step::send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))]
}

fn reply(text: &str) -> Vec<Step> {
    let body = json!({ "choices": [{ "index": 0, "message": { "content": text }, "finish_reason": "stop" }] });
    http("200 OK", "content-type: application/json\r\n", &body.to_string())
}

/// Takes a turn that succeeds, then one turn with and one without streaming that fail by `steps`,
/// and again one that succeeds, with the old token. Returns the problem, which must be the same for
/// both failures, without the request id. There are no retries; the tests in `care` cover those.
async fn problem_of(steps: Vec<Step>, code: &str, status: u16) -> Value {
    let model = Model::start(move |number| if matches!(number, 1 | 2) { steps.clone() } else { reply("hello") }).await;
    let settings = "retries = 0\ntimeouts = { first_byte = \"300ms\", idle = \"300ms\", total = \"300ms\" }\n";
    let server = Running::start(config(&format!("{settings}{}", upstream("openai", &model.url())))).await;
    let mut client = Client::connect(server.address).await;
    let first = client.turn(&json!({ "input": "hi" })).await.json();
    let mut problems = Vec::new();
    for stream in [false, true] {
        let ask = json!({ "input": "go on", "token": first["token"], "stream": stream });
        let answer = client.turn(&ask).await;
        let mut problem = answer.problem(code);
        assert_eq!(answer.status.as_u16(), status, "{problem:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&MODEL_KEY[..16]), "{problem:?}");
        problem.remove("request_id");
        problems.push(Value::Object(problem));
    }
    let again = client.turn(&json!({ "input": "go on", "token": first["token"] })).await.json();
    assert_eq!((again["reply"].as_str(), &again["conversation"]["turn"]), (Some("hello"), &json!(2)));
    let log = format!("{:?}{:?}", server.log.take(), server.service.requests_in_flight());
    assert!(!log.contains(&MODEL_KEY[..16]), "{log}");
    assert_eq!(problems[0], problems[1]);
    problems.remove(0)
}

#[tokio::test]
async fn a_response_that_is_not_a_reply_is_malformed() {
    let html = "<!doctype html><h1>Welcome</h1>";
    for steps in [
        http("200 OK", "content-type: text/html\r\n", html),
        http("200 OK", "", html),
        http("200 OK", "content-type: application/json\r\n", html),
        http("200 OK", "", ""),
        http("204 No Content", "", ""),
        http("302 Found", "location: /elsewhere\r\n", ""),
        http("304 Not Modified", "", ""),
    ] {
        assert_eq!(problem_of(steps, "upstream_malformed", 502).await["retry"], "safe");
    }
    // The model may have generated these.
    for steps in [
        http("200 OK", "content-type: application/json\r\n", "{\"input\":[]}"),
        http("200 OK", "content-type: application/json\r\n", "[]"),
        http("200 OK", "content-type: text/html\r\n", "[{\"choices\":[]}]"),
        http("200 OK", "content-type: application/json\r\n", "{\"choices\":[{\"message\":{\"content\":5}}]}"),
        http("200 OK", "content-type: text/event-stream\r\n", "data: {\"choices\":1}\n\n"),
        http("200 OK", "content-type: text/event-stream\r\n", "data: {<html>\n\n"),
    ] {
        assert_eq!(problem_of(steps, "upstream_malformed", 502).await["retry"], "never");
    }
    let empty = http("200 OK", "content-type: application/json\r\n", "{\"choices\":[]}");
    assert_eq!(problem_of(empty, "upstream_unavailable", 502).await["retry"], "safe");
    for content_type in ["application/json", "text/event-stream"] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n");
        let mut body = head.into_bytes();
        body.extend(b"data: {\"choices\":[\xff\xfe]}\n\ndata: [DONE]\n\n");
        problem_of(vec![Step::send(body)], "upstream_malformed", 502).await;
    }
}

#[tokio::test]
async fn an_incomplete_reply_is_cut() {
    for steps in [
        http("200 OK", "content-type: application/json\r\n", ""),
        http("200 OK", "content-type: text/event-stream\r\n", ""),
        http("200 OK", "content-type: text/event-stream\r\n", "data: {\"choices\":[]}\n\n"),
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n")],
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"), Step::Reset],
        vec![
            Step::send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"),
            Step::send("5\r\n{\"cho\r\nzz\r\n"),
        ],
    ] {
        assert_eq!(problem_of(steps, "upstream_cut", 502).await["retry"], "safe");
    }
}

#[tokio::test]
async fn an_upstream_without_a_response_is_unavailable() {
    for steps in [
        vec![],
        vec![Step::Reset],
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-ty")],
        vec![Step::send("SSH-2.0-OpenSSH_9.2\r\n")],
        vec![Step::send("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n")],
        vec![Step::Repeat("HTTP/1.1 200 OK\r\n".into(), 1), Step::Repeat("x: a\r\n".repeat(5_000).into(), 16_384)],
        vec![Step::Repeat("H".into(), 1), Step::Repeat("a".repeat(1 << 16).into(), 16_384)],
    ] {
        let problem = problem_of(steps, "upstream_unavailable", 502).await;
        assert_eq!(problem["retry"], "safe");
        assert_eq!(problem["detail"], "The model service could not be reached, or failed. Retry the request.");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let server = Running::start(config(&upstream("openai", &url))).await;
    let answer = Client::connect(server.address).await.turn(&json!({ "input": "hi" })).await;
    answer.problem("upstream_unavailable");
    let entry = server.log.take().remove(0);
    assert!(entry.cause.is_some_and(|cause| cause.contains("refused") && !cause.contains("127.0.0.1")));
}

#[tokio::test]
async fn a_silent_upstream_times_out() {
    for steps in [
        vec![Step::Wait],
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"), Step::Wait],
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n:\n\n"), Step::Wait],
    ] {
        assert_eq!(problem_of(steps, "upstream_timeout", 504).await["retry"], "safe");
    }
    // A refusal counts even if its body does not arrive.
    let steps = vec![Step::send("HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\n\r\n{"), Step::Wait];
    assert_eq!(problem_of(steps, "upstream_unavailable", 502).await["retry"], "safe");
}

#[tokio::test]
async fn refusals_are_quoted_safely() {
    let said = |message: &str| json!({ "error": { "message": message, "type": "x" } }).to_string();
    for (status, headers, body, wait, detail) in [
        (
            "400 Bad Request",
            "",
            said("max_tokens is too large"),
            None,
            "refused the request with status 400. Its message: max_tokens is too large",
        ),
        (
            "400 Bad Request",
            "",
            said(&format!("bad\r\nkey {MODEL_KEY}")),
            None,
            "status 400. Its message: bad key [redacted]",
        ),
        ("404 Not Found", "", "<html>".to_owned(), None, "with status 404"),
        ("413 Too Large", "", said("too long"), None, "with status 413. Its message: too long"),
        ("422 Unprocessable", "", said(&"long ".repeat(500)), None, "with status 422. Its message: long long"),
        ("429 Too Many Requests", "retry-after: 7\r\n", said("slow down"), Some(7), "with status 429. Retry in 7 s."),
        ("429 Too Many Requests", "", String::new(), Some(5), "with status 429. Retry in 5 s."),
        (
            "429 Too Many Requests",
            "date: Wed, 21 Oct 2026 07:27:30 GMT\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n",
            said("x"),
            Some(30),
            "429. Retry in 30 s.",
        ),
        ("429 Too Many Requests", "retry-after: -1\r\n", said("x"), Some(5), "429. Retry in 5 s."),
        (
            "429 Too Many Requests",
            "retry-after: 99999999999999999999\r\n",
            said("x"),
            Some(3_600),
            "429. Retry in 1 h.",
        ),
        ("429 Too Many Requests", "retry-after: 86400\r\n", said("x"), Some(3_600), "429. Retry in 1 h."),
    ] {
        let problem = problem_of(http(status, headers, &body), "upstream_refused", 502).await;
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        assert_eq!(problem["retry"], if wait.is_some() { "after" } else { "never" });
        assert_eq!(problem.get("retry_after_seconds").and_then(Value::as_u64), wait);
    }
}

#[tokio::test]
async fn a_failing_upstream_is_unavailable() {
    let echo = json!({ "error": { "message": format!("boom {MODEL_KEY}") } }).to_string();
    for (status, headers, wait) in [
        ("500 Internal Server Error", "", None),
        ("502 Bad Gateway", "", None),
        ("503 Service Unavailable", "retry-after: 3\r\n", Some(3)),
        ("529 Overloaded", "", None),
        ("599 What", "", None),
    ] {
        for body in ["<html><h1>502</h1>", "", &echo] {
            let problem = problem_of(http(status, headers, body), "upstream_unavailable", 502).await;
            let retry = if wait.is_some() { "Retry in 3 s." } else { "Retry the request." };
            let detail = format!("The model service could not be reached, or failed. {retry}");
            assert_eq!(problem["detail"], detail);
            assert_eq!(problem.get("retry_after_seconds").and_then(Value::as_u64), wait);
        }
    }
    // In a stream, before any text.
    let stream = format!("data: {echo}\n\n");
    problem_of(http("200 OK", "content-type: text/event-stream\r\n", &stream), "upstream_unavailable", 502).await;
}

#[tokio::test]
async fn the_callers_do_not_learn_of_the_operators_account() {
    let said = |message: &str| json!({ "error": { "message": message, "type": "x" } }).to_string();
    for (status, body) in [
        ("401 Unauthorized", said(&format!("Incorrect API key provided: {MODEL_KEY}"))),
        ("403 Forbidden", said("organisation org-1 may not")),
        ("400 Bad Request", said("Your credit balance is too low to access the API")),
        ("404 Not Found", said("The model `m` does not exist")),
    ] {
        let problem = problem_of(http(status, "", &body), "upstream_unavailable", 502).await;
        assert_eq!(problem["detail"], "The model service is not available.");
        assert_eq!(problem["retry"], "never");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Model::start(|_| reply("gotcha")).await;
    let url = elsewhere.url();
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let steps = http(status, &format!("location: {url}/chat/completions\r\n"), "");
        problem_of(steps, "upstream_malformed", 502).await;
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn only_the_operators_key_is_sent_upstream() {
    for kind in ["openai", "openai-responses", "anthropic"] {
        let model = Model::start(|_| reply("hello")).await;
        let server = Running::start(config(&upstream(kind, &model.url()))).await;
        let mut request = crate::support::client::json_request("/v1/turns", &json!({ "input": "hi" }));
        for (name, value) in [
            ("authorization", "Bearer client-secret"),
            ("x-api-key", "client-secret"),
            ("cookie", "client-secret"),
            ("anthropic-version", "client-secret"),
            ("x-forwarded-for", "client-secret"),
            ("user-agent", "client-secret"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Client::connect(server.address).await.send(request).await;
        let received = model.requests().remove(0);
        assert!(!received.head.contains("client-secret"), "{}", received.head);
        let key = match kind {
            "anthropic" => format!("x-api-key: {MODEL_KEY}\r\n"),
            _ => format!("authorization: Bearer {MODEL_KEY}\r\n"),
        };
        assert_eq!(received.head.matches(&key).count(), 1, "{}", received.head);
        assert_eq!(received.head.matches(MODEL_KEY).count(), 1);
        assert!(received.head.starts_with("POST /base/"));
        assert!(!received.body.contains(MODEL_KEY));
    }
}

#[tokio::test]
async fn connections_to_a_model_service_are_reused() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{stream}\r\n0\r\n\r\n", stream.len());
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{chunked}");
    let model = Model::start(move |_| vec![Step::send(answer.clone()), Step::Again]).await;
    let server = Running::start(config(&upstream("openai", &model.url()))).await;
    let mut client = Client::connect(server.address).await;
    for number in 0..20 {
        let answer = client.turn(&json!({ "input": "hi", "stream": number % 2 == 0 })).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!((model.connections(), model.requests().len()), (1, 20));
}

#[test]
fn debug_output_contains_no_keys() {
    let config = config(&upstream("openai", "http://model.test"));
    let text = format!("{config:?}");
    assert!(!text.contains(&MODEL_KEY[..8]) && !text.contains(&crate::support::SECRET[..8]), "{text}");
    let forward = holdall::shell::Forward::new(config.upstreams).unwrap();
    assert_eq!(format!("{forward:?}"), "{\"m\"}");
}
