//! Replies that deviate from the format, and have one plain meaning.

use super::*;
use crate::proto::{provider::COMPATIBLE, turn::Repair};

fn apart(deltas: Vec<Delta>) -> (Vec<Delta>, Vec<&'static str>) {
    let name = |delta: &Delta| match delta {
        Delta::Repaired(repair) => Some(Repair::as_str(*repair)),
        _ => None,
    };
    let repairs = deltas.iter().filter_map(name).collect();
    (deltas.into_iter().filter(|delta| name(delta).is_none()).collect(), repairs)
}

/// The deltas of a stream without its repairs, and the names of the repairs.
fn repaired(events: &[&str]) -> (Vec<Delta>, Vec<&'static str>) {
    let (deltas, ended) = read_events(&Anthropic, events);
    assert_eq!(ended, Ok(()), "{events:?}");
    apart(deltas)
}

/// The same for a body, at a compatible service.
fn compatible(content_type: &str, reply: &str) -> (Vec<Delta>, Vec<&'static str>) {
    let mut reader = Anthropic.reply_reader(&head(content_type), BOUNDS, &COMPATIBLE);
    let mut deltas = Vec::new();
    reader.push(reply.as_bytes(), &mut deltas).unwrap();
    reader.finish(&mut deltas).unwrap();
    apart(deltas)
}

#[test]
fn a_missing_reason_and_a_missing_end_are_repaired() {
    let no_reason = r#"{"type":"message_delta","delta":{"stop_reason":null}}"#;
    for (events, repairs) in [
        (&[START, TEXT_DELTA, no_reason, STOP][..], &["end_reason"][..]),
        (&[START, TEXT_DELTA, END_REASON], &["end_marker"]),
        (&[START, TEXT_DELTA, END_REASON, "[DONE]"], &["end_marker"]),
        (&[START, TEXT_DELTA, r#"{"type":"message_delta","stop_reason":"END_TURN"}"#, STOP], &[]),
    ] {
        let (deltas, found) = repaired(events);
        assert_eq!((deltas.last(), found.as_slice()), (Some(&finish(FinishReason::Stop)), repairs), "{events:?}");
    }
}

#[test]
fn a_failed_end_is_an_error() {
    for (word, code) in [("error", "upstream_unavailable"), ("cancelled", "upstream_cut")] {
        let end = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}}}}"#);
        let (deltas, ended) = read_events(&Anthropic, &[START, TEXT_DELTA, &end, STOP]);
        assert_eq!((deltas.first(), ended.unwrap_err().code()), (Some(&text("a")), code));
    }
}

#[test]
fn the_stop_sequence_is_named() {
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"}}"#;
    let named = Delta::StopSequence("END".to_owned());
    let expected = vec![text("a"), named, finish(FinishReason::Stop)];
    assert_eq!(repaired(&[TEXT_DELTA, end, STOP]), (expected.clone(), vec![]));
    let body = r#"{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"stop_sequence","stop_sequence":"END"}"#;
    assert_eq!(compatible("application/json", body), (expected, vec![]));
}

#[test]
fn calls_of_another_shape_are_read() {
    for (block, delta, expected, repairs) in [
        (r#""id":"t","name":"n","input":"{\"x\":1}""#, "", call("t", "n", "{\"x\":1}"), vec!["call_shape"]),
        (r#""id":"t","name":"n","input":{"x":1}"#, r#"{\"x\":1}"#, call("t", "n", "{\"x\":1}"), vec!["call_shape"]),
        (r#""id":"t","name":"n","input":null"#, "", call("t", "n", "{}"), vec![]),
        (r#""name":"n","input":{}"#, "", call("call_3_1", "n", "{}"), vec!["call_id"]),
    ] {
        let start =
            format!(r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use",{block}}}}}"#);
        let delta = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{delta}"}}}}"#
        );
        let expected = (vec![expected, finish(FinishReason::ToolCalls)], repairs);
        assert_eq!(repaired(&[&start, &delta, END_REASON, STOP]), expected, "{block}");
    }
}

#[test]
fn events_may_lack_their_type_or_index() {
    let stream = "event: content_block_start\ndata: {\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"n\"}}\n\n\
        event: content_block_delta\ndata: {\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\":1}\"}}\n\n\
        event: content_block_start\ndata: {\"content_block\":{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"m\"}}\n\n\
        event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"tool_use\"}}\n\n\
        event: message_stop\ndata: {}\n\n";
    let expected = vec![call("a", "n", "{\"x\":1}"), call("b", "m", "{}"), finish(FinishReason::ToolCalls)];
    assert_eq!(compatible("text/event-stream", stream), (expected, vec!["event_shape"]));
}

#[test]
fn a_body_may_lack_its_type_and_have_plain_text() {
    let body = r#"{"role":"assistant","content":"hi","stop_reason":"end_turn"}"#;
    let expected = vec![text("hi"), finish(FinishReason::Stop)];
    assert_eq!(compatible("application/json", body), (expected, vec!["event_shape", "content_shape"]));
    for body in [r#"{"error":{"type":"overloaded_error"}}"#, r#"{"type":"error","message":"m"}"#] {
        let (_, ended) = read(&Anthropic, "application/json", [body.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), "upstream_unavailable", "{body}");
    }
}

#[test]
fn errors_have_many_shapes() {
    for (event, code) in [
        ("event: error\ndata: {\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}", "upstream_refused"),
        ("event: error\ndata: {\"message\":\"m\"}", "upstream_unavailable"),
        ("event: error\ndata: out of memory", "upstream_unavailable"),
        ("data: {\"type\":\"error\",\"error\":\"prompt is too long\"}", "upstream_refused"),
    ] {
        let (_, ended) = read(&Anthropic, "text/event-stream", [format!("{event}\n\n").as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{event}");
    }
}

#[test]
fn unsigned_thinking_is_kept_where_the_service_takes_it_back() {
    let body = |thinking: &str| {
        format!(r#"{{"type":"message","content":[{thinking},{{"type":"text","text":"a"}}],"stop_reason":"end_turn"}}"#)
    };
    for thinking in [
        r#"{"type":"thinking","thinking":"hm"}"#,
        r#"{"type":"thinking","thinking":"hm","signature":""}"#,
        r#"{"type":"thinking","thinking":"hm","signature":"s"}"#,
    ] {
        let (deltas, _) = compatible("application/json", &body(thinking));
        assert_eq!(deltas, [think(NAME, thinking), text("a"), finish(FinishReason::Stop)], "{thinking}");
        let (deltas, _) = apart(read(&Anthropic, "application/json", [body(thinking).as_bytes()]).0);
        assert_eq!(deltas.contains(&think(NAME, thinking)), thinking.contains("\"s\""), "the official service");

        let items = [Item::text(Role::User, "hi"), think_item(NAME, thinking), Item::text(Role::Assistant, "a")];
        let options = ModelOptions::default();
        let official = model_call(&Anthropic, &items, &options);
        let at = |call: &ModelCall<'_>| text_of(&Anthropic.request(call).unwrap());
        assert!(at(&ModelCall { profile: COMPATIBLE, ..official }).contains(thinking));
        assert_eq!(at(&official).contains(thinking), thinking.contains("\"s\""));
    }
    let stream = [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}"#,
        END_REASON,
        STOP,
    ];
    let stream: String = stream.iter().map(|data| format!("data: {data}\n\n")).collect();
    let thinking = think(NAME, r#"{"type":"thinking","thinking":"hm"}"#);
    let (deltas, _) = compatible("text/event-stream", &stream);
    assert_eq!(deltas, [thinking, text("a"), finish(FinishReason::Stop)]);
}

#[test]
fn image_types_have_the_names_of_the_api() {
    for (given, written) in [
        ("image/jpg", "image/jpeg"),
        ("image/JPEG", "image/jpeg"),
        ("IMAGE/PNG", "image/png"),
        ("image/x-png", "image/png"),
        ("image/webp", "image/webp"),
        ("image/tiff", "image/tiff"),
    ] {
        let image = Part::Image(format!("data:{given};base64,AA=="));
        let items = [Item::Message { role: Role::User, parts: vec![image], cut: false }];
        let source = format!(r#"{{"type":"base64","media_type":"{written}","data":"AA=="}}"#);
        assert!(body(&Anthropic, &items).contains(&source), "{given}");
    }
}

#[test]
fn blocks_may_be_texts_or_lack_their_type() {
    for (content, said, repairs) in [
        (r#"["a","b"]"#, "ab", vec!["content_shape"]),
        (r#"[null,{"type":"text","text":"ab"}]"#, "ab", vec!["content_shape"]),
        (r#"[{"text":"ab"}]"#, "ab", vec!["event_shape"]),
        ("null", "", vec!["content_shape"]),
    ] {
        let body = format!(r#"{{"type":"message","content":{content},"stop_reason":"end_turn"}}"#);
        let (deltas, named) = compatible("application/json", &body);
        let texts: String = deltas
            .iter()
            .filter_map(|delta| if let Delta::Text(text) = delta { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!((texts.as_str(), named), (said, repairs), "{content}");
        assert_eq!(deltas.last(), Some(&finish(FinishReason::Stop)), "{content}");
    }
    for body in [r#"{"type":"message","content":[{"a":1}],"stop_reason":"end_turn"}"#, r#"{"type":"message"}"#] {
        let (_, ended) = read(&Anthropic, "application/json", [body.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), "upstream_malformed", "{body}");
    }
}

#[test]
fn pieces_may_lack_their_type_or_be_json() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"text":"a"}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let expected = (vec![text("a"), finish(FinishReason::Stop)], vec!["event_shape"]);
    assert_eq!(repaired(&[start, delta, end, STOP]), expected);
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#;
    let delta =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":{"x":1}}}"#;
    let expected = (vec![call("t", "n", "{\"x\":1}"), finish(FinishReason::ToolCalls)], vec!["call_shape"]);
    assert_eq!(repaired(&[start, delta, END_REASON, STOP]), expected);
}
