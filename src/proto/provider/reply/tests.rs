use super::*;
use crate::proto::{
    provider::{
        COMPATIBLE, PROVIDERS, by_name,
        testing::{BOUNDS, head, read},
    },
    turn::FinishReason,
};

fn is_malformed<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::UpstreamMalformed { .. }))
}

#[test]
fn every_provider_is_found_by_its_name() {
    for provider in PROVIDERS {
        assert_eq!(by_name(provider.name()).unwrap().name(), provider.name());
        assert!(!provider.default_base_url().ends_with('/'));
    }
    assert!(by_name("OpenAI").is_none() && by_name("").is_none());
}

#[test]
fn the_first_bytes_decide_under_every_content_type() {
    for provider in PROVIDERS {
        for content_type in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/JSON ;a=b",
            "",
            "text/plain",
            "text/html; charset=utf-8",
            "application/vnd.api+json",
            "application/json, text/html",
        ] {
            for (reply, has_started) in
                [("{\"a\"", true), ("\u{feff} [1", true), ("data: {\"a\":1}\n\n", true), (":\n\n", false)]
            {
                let mut reader = provider.reply_reader(&head(content_type), BOUNDS, &COMPATIBLE);
                let _ = reader.push(reply.as_bytes(), &mut Vec::new());
                assert_eq!(reader.has_started(), has_started, "{content_type} {reply}");
            }
        }
        for content_type in ["text/html", "application/vnd.api+json", ""] {
            let (deltas, ended) = read(*provider, content_type, [&b"<html>"[..]]);
            assert!(deltas.is_empty() && is_malformed(&ended), "{content_type}");
        }
    }
}

#[test]
fn a_cut_reply_is_not_reported_as_malformed() {
    for provider in PROVIDERS {
        for cut in ["", "  \n", "{", r#"{"choices":[{"mess"#, r#"{"type":"mess"#, "tru"] {
            let (deltas, ended) = read(*provider, "application/json", [cut.as_bytes()]);
            assert_eq!((deltas, ended), (vec![], Err(Error::UpstreamCut)), "{} {cut:?}", provider.name());
        }
        for refused in [&b"<html>"[..], b"[]", b"null", b"{}", b"{} x", b"\xff{}", b"{\"a\":\"\xc3\x28\"}"] {
            let (deltas, ended) = read(*provider, "application/json", [refused]);
            let is_silent = deltas.iter().all(|delta| matches!(delta, Delta::Repaired(_)));
            assert!(is_silent && is_malformed(&ended), "{} {refused:?}", provider.name());
        }
        for cut in ["", "\n\n", ": comment\n\n", "data: {\"a", "event: ping\ndata: {\"type\":\"ping\"}\n\n"] {
            let (deltas, ended) = read(*provider, "text/event-stream", [cut.as_bytes()]);
            assert_eq!((deltas, ended), (vec![], Err(Error::UpstreamCut)), "{} {cut:?}", provider.name());
        }
    }
}

#[test]
fn events_without_an_object_only_keep_the_connection_open() {
    for provider in PROVIDERS {
        for data in ["<html>", "[]", "null", "1", "true", "{}", " { } ", "OPENROUTER PROCESSING", "ok", "[1]", "\"a\""]
        {
            let (deltas, ended) = read(*provider, "text/event-stream", [format!("data: {data}\n\n").as_bytes()]);
            assert_eq!(ended, Err(Error::UpstreamCut), "{} {data}", provider.name());
            assert_eq!(deltas, [Delta::Repaired(Repair::KeepAlive)], "{} {data}", provider.name());
        }
    }
}

#[test]
fn the_end_marker_is_known_in_any_case() {
    let provider = by_name("openai").unwrap();
    let chunk = r#"data: {"choices":[{"delta":{"content":"a"}}]}"#;
    let (deltas, ended) = read(provider, "text/event-stream", [format!("{chunk}\n\ndata: [done]\n\n").as_bytes()]);
    assert_eq!(ended, Ok(()));
    assert_eq!(deltas.last(), Some(&Delta::Finish(FinishReason::Stop)));
}

#[test]
fn events_with_wrong_json_are_malformed() {
    for provider in PROVIDERS {
        for refused in ["{", "{} {}", "[{", "[{}]", r#"{"a":{"b":1}"#, r#"{"type":3,"choices":3,"text":3}"#] {
            for name in ["text", "end"] {
                let stream = format!("event: {name}\ndata: {refused}\n\n");
                let (deltas, ended) = read(*provider, "text/event-stream", [stream.as_bytes()]);
                assert!(deltas.is_empty() && is_malformed(&ended), "{} {refused}", provider.name());
            }
        }
    }
}

#[test]
fn errors_do_not_quote_the_reply() {
    for provider in PROVIDERS {
        let kind = match provider.name() {
            "openai-responses" => "response.output_item.added",
            _ => "content_block_start",
        };
        let wrong = r#""index":"hush","content_block":"hush","choices":"hush","text":["hush"],"item":"hush""#;
        let stream = format!("event: text\ndata: {{\"type\":\"{kind}\",{wrong}}}\n\n");
        let (_, ended) = read(*provider, "text/event-stream", [stream.as_bytes()]);
        assert!(!ended.unwrap_err().cause().unwrap().contains("hush"));
    }
}

#[test]
fn a_reader_never_buffers_more_than_its_limit() {
    let max_bytes = max_wire_bytes(BOUNDS);
    for provider in PROVIDERS {
        for (content_type, start) in [("application/json", "{\"a\":\""), ("text/event-stream", "data: ")] {
            let mut reader = provider.reply_reader(&head(content_type), BOUNDS, &COMPATIBLE);
            let mut deltas = Vec::new();
            reader.push(start.as_bytes(), &mut deltas).unwrap();
            let mut fed = start.len();
            let ended = loop {
                if let Err(error) = reader.push(&[b'a'; 1000], &mut deltas) {
                    break error;
                }
                fed += 1000;
                assert!(fed <= max_bytes, "{} held {fed} bytes", provider.name());
            };
            assert_eq!(ended.code(), "upstream_malformed");
            assert!(fed + 1000 > max_bytes, "the limit itself is allowed");
        }
    }
}

#[test]
fn bytes_after_the_end_are_not_read() {
    for (name, end) in [
        ("openai", "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"),
        (
            "anthropic",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        ("openai-responses", "data: {\"type\":\"response.completed\",\"response\":{}}\n\n"),
        (
            "builtin",
            "event: end\ndata: {\"finish_reason\":\"stop\",\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}\n\n",
        ),
    ] {
        let stream = format!("{end}data: \u{0}not json\n\n");
        for pieces in [1, stream.len()] {
            let (deltas, ended) = read(by_name(name).unwrap(), "text/event-stream", stream.as_bytes().chunks(pieces));
            assert_eq!((deltas.last(), ended), (Some(&Delta::Finish(FinishReason::Stop)), Ok(())), "{name}");
        }
    }
}

#[test]
fn lists_are_limited_while_they_are_read() {
    let provider = |name| by_name(name).unwrap();
    for (name, before, element, after) in [
        ("openai", r#"{"choices":["#, "{}", "]}"),
        ("openai", r#"{"choices":[{"message":{"tool_calls":["#, "{}", "]}}]}"),
        ("openai-responses", r#"{"output":["#, r#"{"type":"x"}"#, "]}"),
        ("openai-responses", r#"{"output":[{"type":"message","content":["#, r#"{"type":"x"}"#, "]}]}"),
        ("anthropic", r#"{"type":"message","content":["#, r#"{"type":"x"}"#, "]}"),
    ] {
        let body = format!("{before}{}{after}", vec![element; 5_000].join(","));
        let bounds = ReplyBounds { turn: 1, reply_bytes: 1 << 20 };
        let mut reader = provider(name).reply_reader(&head("application/json"), bounds, &COMPATIBLE);
        let mut deltas = Vec::new();
        let ended = reader.push(body.as_bytes(), &mut deltas).and_then(|()| reader.finish(&mut deltas));
        assert!(is_malformed(&ended), "{name} {before}: {ended:?}");
    }
}

#[test]
fn an_error_that_is_too_long_is_not_read() {
    let long = format!(r#"{{"error":[{}0]}}"#, "[],".repeat(50_000));
    let bounds = ReplyBounds { turn: 1, reply_bytes: 1 << 20 };
    let mut reader = by_name("openai").unwrap().reply_reader(&head("application/json"), bounds, &COMPATIBLE);
    let mut deltas = Vec::new();
    let ended = reader.push(long.as_bytes(), &mut deltas).and_then(|()| reader.finish(&mut deltas));
    assert!(matches!(ended, Err(Error::UpstreamUnavailable { .. })), "{ended:?}");
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let provider = by_name("openai").unwrap();
    let expected = [Delta::Repaired(Repair::HalfCharacter), Delta::Text("a\u{fffd}b".to_owned())];
    let stream = &b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xf0\x9fb\"}}]}\n\ndata: [DONE]\n\n"[..];
    let body = &b"{\"choices\":[{\"message\":{\"content\":\"a\xf0\x9fb\"},\"finish_reason\":\"stop\"}]}"[..];
    for (content_type, reply) in [("text/event-stream", stream), ("application/json", body)] {
        let (mut deltas, ended) = read(provider, content_type, [reply]);
        assert_eq!(ended, Ok(()), "{content_type}");
        deltas.truncate(2);
        deltas.sort_by_key(|delta| matches!(delta, Delta::Text(_)));
        assert_eq!(deltas, expected, "{content_type}");
    }
}
