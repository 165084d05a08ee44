//! Endless replies: each is limited by size or by time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    answer::Answer,
    client::Client,
    config,
    events::{events, text_of},
    model::{Model, Step},
    server::Running,
    upstream,
};

const SETTINGS: &str = "limits.reply_bytes = 65536\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n";

/// The responses to a turn without and one with streaming, if the model service sends `head` and
/// then a gigabyte of repeated `piece`. The server must read only a few megabytes of it.
async fn flood(kind: &str, head: &'static str, piece: &str) -> [Answer; 2] {
    let (answers, sent_bytes) = flood_under(SETTINGS, kind, head, piece).await;
    // For each of the two turns: the bytes that were read, and the system's buffers.
    assert!(sent_bytes < 24 << 20, "{sent_bytes}");
    answers
}

async fn flood_under(settings: &str, kind: &str, head: &'static str, piece: &str) -> ([Answer; 2], usize) {
    let times = (1 << 16) / piece.len() + 1;
    let piece = piece.repeat(times);
    let model = Model::start(move |_| vec![Step::send(head), Step::Repeat(piece.clone().into(), 16_384)]).await;
    let server = Running::start(config(&format!("{settings}{}", upstream(kind, &model.url())))).await;
    let mut client = Client::connect(server.address).await;
    let mut answers = Vec::new();
    for stream in [false, true] {
        let ask = json!({ "input": "hi", "stream": stream });
        answers.push(timeout(Duration::from_secs(10), client.turn(&ask)).await.expect("it does not end"));
    }
    assert_eq!(server.service.requests_in_flight(), 0);
    (answers.try_into().unwrap(), model.sent_bytes())
}

#[tokio::test]
async fn endless_text_ends_with_length() {
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"word after word é\\n\"}}]}\n\n";
    let anthropic = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\
                     \"text\":\"word after word\"}}\n\n";
    let responses = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"word after word\"}\n\n";
    for (kind, piece) in [("openai", openai), ("openai-responses", responses), ("anthropic", anthropic)] {
        let [whole, streamed] = flood(kind, STREAM, piece).await;
        let whole = whole.json();
        assert_eq!(whole["finish_reason"], "length");
        let reply = whole["reply"].as_str().unwrap();
        assert!((60_000..=65_536).contains(&reply.len()), "{}", reply.len());
        let events = events(str::from_utf8(&streamed.body).unwrap());
        let (name, done) = events.last().unwrap();
        assert_eq!((name.as_str(), &done["reply"], &done["output"]), ("done", &whole["reply"], &whole["output"]));
        assert_eq!(text_of(&events), reply);
    }
}

#[tokio::test]
async fn endless_arguments_are_malformed() {
    let openai = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"n\",\
                  \"arguments\":\"aaaa\"}}]}}]}\n\n";
    let responses = "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":\
                     {\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"n\",\"arguments\":\"aaaa\"}}\n\n";
    for (kind, piece) in [("openai", openai), ("openai-responses", responses)] {
        for answer in flood(kind, STREAM, piece).await {
            answer.problem("upstream_malformed");
        }
    }
}

#[tokio::test]
async fn endless_reasoning_is_malformed_or_ends_the_reply() {
    let start = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}";
    let more = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}";
    let head: &'static str = format!("{STREAM}{start}\n\n").leak();
    for answer in flood("anthropic", head, &format!("{more}\n\n")).await {
        answer.problem("upstream_malformed");
    }
    // Complete pieces of reasoning use up the reply's room.
    let piece = "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":\
                 {\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[],\"encrypted_content\":\"gAAAAABp\"}}\n\n";
    let [whole, streamed] = flood("openai-responses", STREAM, piece).await;
    assert_eq!((&whole.json()["reply"], &whole.json()["finish_reason"]), (&json!(""), &json!("length")));
    let (name, done) = events(str::from_utf8(&streamed.body).unwrap()).pop().unwrap();
    assert_eq!((name.as_str(), &done["finish_reason"]), ("done", &json!("length")));
}

#[tokio::test]
async fn an_endless_line_is_malformed() {
    for head in [STREAM, WHOLE] {
        for answer in flood("openai", head, "a").await {
            answer.problem("upstream_malformed");
        }
    }
    for answer in flood("anthropic", STREAM, "data: a\n").await {
        answer.problem("upstream_malformed");
    }
}

#[tokio::test]
async fn an_endless_error_is_read_up_to_a_limit() {
    let head = "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\n\r\n{\"error\":{\"message\":\"";
    for answer in flood("openai", head, "a").await {
        answer.problem("upstream_refused");
    }
}

#[tokio::test]
async fn an_endless_stream_without_output_is_malformed() {
    for (kind, piece) in [
        ("openai", ":\n\n"),
        ("openai", ": a comment whose line is long\n"),
        ("anthropic", "\n"),
        ("openai", "event: message\n\n"),
        ("openai", "data: {}\n\n"),
        ("openai-responses", "data:\n\n"),
        ("openai", "data: {\"choices\":[]}\n\n"),
        ("anthropic", "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        ("openai-responses", "data: {\"type\":\"response.in_progress\",\"response\":{}}\n\n"),
    ] {
        let ([whole, streamed], sent_bytes) = flood_under("retries = 0\n", kind, STREAM, piece).await;
        whole.problem("upstream_malformed");
        streamed.problem("upstream_malformed");
        assert!(sent_bytes < 64 << 20, "{piece}: {sent_bytes}");
    }
}

#[tokio::test]
async fn a_reply_of_the_maximum_size_is_accepted() {
    // The line of the message is the text and 64 bytes: JSON around it, with room for the mark of
    // an interruption.
    let text = "a".repeat(65_536 - 64);
    for (extra, finish) in [("", "stop"), ("b", "length")] {
        let message = json!({ "content": format!("{text}{extra}") });
        let body = json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string();
        let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        let model = Model::start(move |_| vec![Step::send(answer.clone())]).await;
        let server = Running::start(config(&format!("{SETTINGS}{}", upstream("openai", &model.url())))).await;
        let answer: Value = Client::connect(server.address).await.turn(&json!({ "input": "hi" })).await.json();
        assert_eq!((answer["reply"].as_str().unwrap() == text, &answer["finish_reason"]), (true, &json!(finish)));
    }
}
