//! Answers, streams and errors of the Messages API.

use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::proto::{
    api::ReplyWriter,
    chat::Part,
    error::{Excess, TokenFault},
    provider::testing::an_answer,
    sse,
    time::UnixSeconds,
    turn::{Answer, Delta, FinishReason, Partial, Usage},
};

const THINKING: &str = r#"{"type":"thinking","thinking":"h\u006d","signature":"c2ln"}"#;
const REDACTED: &str = r#"{"type":"redacted_thinking","data":"AAAA"}"#;

fn writer() -> MessagesWriter {
    MessagesWriter::new(true)
}

fn written(writer: &mut dyn ReplyWriter, answer: &Answer) -> Value {
    serde_json::from_slice(&writer.body(answer)).unwrap()
}

/// The answer without the token in its last block, which no block of a stream has.
fn without_last_token(mut message: Value) -> Value {
    if let Some(last) = message["content"].as_array_mut().unwrap().last_mut() {
        assert_eq!(last.as_object_mut().unwrap().remove("conversation_token"), Some(json!("a.b.c")));
    }
    message
}

fn think(provider_id: &str, blob: &str) -> Item {
    Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

/// The events of a complete stream, by name.
fn streamed(writer: &mut dyn ReplyWriter, deltas: &[Delta], answer: &Answer) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    writer.start(&answer.conversation.claims, &mut out);
    for delta in deltas {
        writer.deltas(std::slice::from_ref(delta), &mut out);
    }
    writer.finish(answer, &mut out);
    events(&out)
}

fn events(mut out: &[u8]) -> Vec<(String, Value)> {
    let mut decoder = sse::Decoder::new(1 << 20);
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event(&mut out).unwrap() {
        events.push((event.name, serde_json::from_str(&event.data).unwrap()));
    }
    events
}

/// The message that an SDK builds from a stream: the start, the assembled blocks, and the members
/// of the end.
fn accumulated(events: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut json = Map::new();
    for (name, event) in events {
        assert_eq!(event["type"], *name);
        let at = event["index"].as_u64().map(|index| usize::try_from(index).unwrap());
        match name.as_str() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(at, Some(content.len()));
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = &mut message["content"][at.unwrap()];
                let delta = event["delta"].as_object().unwrap();
                let kind = block["type"].clone();
                for (member, piece) in delta.iter().filter(|(member, _)| *member != "type") {
                    let piece = piece.as_str().unwrap();
                    if member == "partial_json" {
                        assert_eq!(kind, "tool_use");
                        json.insert(at.unwrap().to_string(), serde_json::from_str(piece).unwrap());
                    } else {
                        block[member] = format!("{}{piece}", block[member].as_str().unwrap()).into();
                    }
                }
            }
            "content_block_stop" => assert_eq!(at, message["content"].as_array().unwrap().len().checked_sub(1)),
            "message_delta" => {
                let into = message.as_object_mut().unwrap();
                into.extend(event["delta"].as_object().unwrap().clone());
                into["usage"].as_object_mut().unwrap().extend(event["usage"].as_object().unwrap().clone());
                for ours in ["conversation_token", "holdall"] {
                    into.insert(ours.to_owned(), event[ours].clone());
                }
            }
            "message_stop" => assert_eq!(event["conversation_token"], message["conversation_token"]),
            other => panic!("{other}"),
        }
    }
    for (at, input) in json {
        message["content"][at.parse::<usize>().unwrap()]["input"] = input;
    }
    message
}

#[test]
fn an_answer_has_all_members() {
    let mut answer = an_answer();
    answer.usage = Usage {
        input_tokens: 100,
        output_tokens: 20,
        cached_tokens: 30,
        cache_written_tokens: 50,
        reasoning_tokens: 7,
        estimated: false,
    };
    let written = written(&mut writer(), &answer);
    let claims = &answer.conversation.claims;
    assert_eq!(
        written,
        json!({
            "id": format!("msg_{}", claims.token_id.to_string().replace('-', "")),
            "type": "message",
            "role": "assistant",
            "model": claims.model,
            "content": [
                { "type": "text", "text": "Hi\n\"é\"", "citations": null },
                { "type": "tool_use", "id": "c1", "name": "add", "input": { "a": 1 }, "caller": { "type": "direct" },
                  "conversation_token": "a.b.c" },
            ],
            "stop_reason": "tool_use",
            "stop_sequence": null,
            "stop_details": null,
            "container": null,
            "usage": {
                "input_tokens": 20,
                "cache_creation_input_tokens": 50,
                "cache_read_input_tokens": 30,
                "output_tokens": 20,
                "output_tokens_details": { "thinking_tokens": 7 },
                "cache_creation": null,
                "server_tool_use": null,
                "service_tier": null,
                "inference_geo": null,
            },
            "conversation_token": "a.b.c",
            "holdall": {
                "id": claims.conversation.to_string(), "turn": 3, "started_at": "2026-11-18T11:06:40Z",
                "expires_at": "2026-11-25T11:06:40Z", "history_bytes": 10, "token_bytes": 5, "trimmed_items": 2,
            },
        })
    );
    assert_eq!(written["id"].as_str().map(str::len), Some(36));
}

#[test]
fn counts_are_never_negative() {
    // Some providers do not include cached tokens in the input.
    let written = written(&mut writer(), &an_answer());
    let usage = &written["usage"];
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(0), &json!(3)));
    assert_eq!(usage["output_tokens_details"], Value::Null);
}

#[test]
fn every_finish_reason_has_its_stop_reason() {
    for (finish, stop_reason) in [
        (FinishReason::ContentFilter, "refusal"),
        (FinishReason::Length, "max_tokens"),
        (FinishReason::Stop, "end_turn"),
        (FinishReason::ToolCalls, "tool_use"),
    ] {
        let answer = Answer { finish, ..an_answer() };
        assert_eq!(written(&mut writer(), &answer)["stop_reason"], stop_reason);
        let (_, delta) = streamed(&mut writer(), &[], &answer).swap_remove(1);
        assert_eq!(delta["delta"]["stop_reason"], stop_reason);
    }
}

#[test]
fn the_text_that_ended_the_reply_is_reported() {
    for (finish, stop_reason) in [(FinishReason::Stop, "stop_sequence"), (FinishReason::ToolCalls, "tool_use")] {
        let answer = Answer { finish, stop_sequence: Some("END".to_owned()), ..an_answer() };
        let complete = written(&mut writer(), &answer);
        let (_, mut event) = streamed(&mut writer(), &[], &answer).swap_remove(1);
        for message in [complete, event["delta"].take()] {
            assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!(stop_reason), &json!("END")));
        }
    }
}

#[test]
fn arguments_that_are_not_an_object_become_an_empty_one() {
    for (args, input) in [
        (r#"{"a": [1.50]}"#, json!({ "a": [1.5] })),
        ("", json!({})),
        ("{", json!({})),
        ("[1]", json!({})),
        ("\"x\"", json!({})),
    ] {
        let answer = Answer { output: vec![call("c", args)], ..an_answer() };
        assert_eq!(written(&mut writer(), &answer)["content"][0]["input"], input, "{args}");
        let delta = Delta::Call { id: "c".to_owned(), name: "add".to_owned(), args: args.to_owned() };
        assert_eq!(accumulated(&streamed(&mut writer(), &[delta], &answer))["content"][0]["input"], input, "{args}");
    }
}

#[test]
fn only_reasoning_in_anthropics_format_is_shown() {
    let output = vec![
        think("anthropic", THINKING),
        think("anthropic@proxy.test", REDACTED),
        think("openai-responses", THINKING),
        think("anthropic", "{}"),
        think("anthropic", "nonsense"),
        think("anthropic", r#"{"type":"redacted_thinking"}"#),
        text(Role::Assistant, "Hi"),
    ];
    let answer = Answer { output, ..an_answer() };
    let content = written(&mut writer(), &answer)["content"].take();
    assert_eq!(
        content,
        json!([
            { "type": "thinking", "thinking": "hm", "signature": "c2ln" },
            { "type": "redacted_thinking", "data": "AAAA" },
            { "type": "text", "text": "Hi", "citations": null, "conversation_token": "a.b.c" },
        ])
    );
}

#[test]
fn hidden_reasoning_keeps_its_signature() {
    let body = body(&json!({ "thinking": { "type": "adaptive", "display": "omitted" } })).to_string();
    let answer = Answer { output: vec![think("anthropic", THINKING), think("anthropic", REDACTED)], ..an_answer() };
    let deltas = [
        Delta::Think { provider_id: "anthropic".to_owned(), blob: THINKING.to_owned() },
        Delta::Think { provider_id: "anthropic".to_owned(), blob: REDACTED.to_owned() },
    ];
    let shown = json!([
        { "type": "thinking", "thinking": "", "signature": "c2ln" },
        { "type": "redacted_thinking", "data": "AAAA" },
    ]);
    let mut parsed = Messages.parse_request(&body, &ApiSettings::default()).unwrap();
    assert_eq!(without_last_token(written(parsed.writer.as_mut(), &answer))["content"], shown);
    let events = streamed(parsed.writer.as_mut(), &deltas, &answer);
    assert_eq!(accumulated(&events)["content"], shown);
    assert!(!events.iter().any(|(_, event)| event["delta"]["type"] == "thinking_delta"));
}

#[test]
fn a_reply_without_text_has_no_block() {
    let answer = Answer { output: vec![text(Role::Assistant, "")], ..an_answer() };
    assert_eq!(written(&mut writer(), &answer)["content"], json!([]));
    assert_eq!(accumulated(&streamed(&mut writer(), &[], &answer))["content"], json!([]));
}

#[test]
fn a_stream_has_the_events_of_the_format() {
    let answer = an_answer();
    let claims = &answer.conversation.claims;
    let mut out = Vec::new();
    let mut writer = writer();
    writer.start(claims, &mut out);
    let text = |text: &str| Delta::Text(text.to_owned());
    let call = Delta::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{\"a\": 1}".to_owned() };
    writer.deltas(&[text("Hi\n"), text("\"é\""), call, Delta::Usage(Usage::default())], &mut out);
    writer.deltas(&[Delta::Finish(FinishReason::Stop)], &mut out);
    writer.finish(&answer, &mut out);
    let id = format!("msg_{}", claims.token_id.to_string().replace('-', ""));
    let holdall = serde_json::to_string(&crate::proto::api::conversation::ConversationBody::with_usage(&answer));
    let counts = |input, read, output| {
        format!(
            "\"input_tokens\":{input},\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":{read},\
             \"output_tokens\":{output},\"output_tokens_details\":null,\"server_tool_use\":null"
        )
    };
    let expected = [
        ("message_start", format!(
            "\"message\":{{\"id\":\"{id}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"{}\",\"content\":[],\
             \"stop_reason\":null,\"stop_sequence\":null,\"stop_details\":null,\"container\":null,\"usage\":{{{},\
             \"cache_creation\":null,\"inference_geo\":null,\"service_tier\":null}}}}",
            claims.model, counts(0, 0, 0)
        )),
        ("content_block_start", r#""index":0,"content_block":{"type":"text","text":"","citations":null}"#.to_owned()),
        ("content_block_delta", r#""index":0,"delta":{"type":"text_delta","text":"Hi\n"}"#.to_owned()),
        ("content_block_delta", r#""index":0,"delta":{"type":"text_delta","text":"\"é\""}"#.to_owned()),
        ("content_block_stop", r#""index":0"#.to_owned()),
        ("content_block_start", r#""index":1,"content_block":{"type":"tool_use","id":"c1","name":"add","input":{},"caller":{"type":"direct"}}"#.to_owned()),
        ("content_block_delta", r#""index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\": 1}"}"#.to_owned()),
        ("content_block_stop", r#""index":1"#.to_owned()),
        ("message_delta", format!(
            "\"delta\":{{\"stop_reason\":\"tool_use\",\"stop_sequence\":null,\"stop_details\":null,\"container\":null}},\
             \"usage\":{{{}}},\"conversation_token\":\"a.b.c\",\"holdall\":{}", counts(0, 3, 2), holdall.unwrap()
        )),
        ("message_stop", r#""conversation_token":"a.b.c""#.to_owned()),
    ];
    let expected: String = expected
        .into_iter()
        .map(|(name, members)| format!("event: {name}\ndata: {{\"type\":\"{name}\",{members}}}\n\n"))
        .collect();
    assert_eq!(str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn a_stream_builds_the_complete_answer() {
    let say = |text: &str| (Delta::Text(text.to_owned()), None);
    let thought = |provider_id: &str, blob: &str| {
        (Delta::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }, Some(think(provider_id, blob)))
    };
    let called = |id: &str| {
        let delta = Delta::Call { id: id.to_owned(), name: "add".to_owned(), args: "{\"a\":[{}]}".to_owned() };
        (delta, Some(call(id, "{\"a\":[{}]}")))
    };
    let empty = r#"{"type":"thinking","thinking":"","signature":"c2ln"}"#;
    let unsigned = r#"{"type":"thinking","thinking":"hm"}"#;
    for pieces in [
        vec![say("Hel"), say("lo")],
        vec![thought("anthropic", THINKING), thought("anthropic@h", REDACTED), say("a"), called("1"), called("2")],
        vec![say("a"), thought("anthropic", empty), say("b"), thought("anthropic", unsigned), say("c"), say("d")],
        vec![say("a"), thought("openai-responses", "{}"), say("b")],
        vec![called("1"), say("a"), called("2"), say("b")],
        vec![called("1")],
    ] {
        let (deltas, items): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        let mut output: Vec<Item> = Vec::new();
        for (delta, item) in deltas.iter().zip(items) {
            match (delta, item, output.last_mut()) {
                (_, Some(item), _) => output.push(item),
                (Delta::Text(text), _, Some(Item::Message { parts, .. })) => {
                    let Part::Text(text_so_far) = &mut parts[0] else { panic!("not text") };
                    text_so_far.push_str(text);
                }
                (Delta::Text(text_so_far), ..) => output.push(text(Role::Assistant, text_so_far)),
                other => panic!("{other:?}"),
            }
        }
        let answer = Answer { output, ..an_answer() };
        let complete = without_last_token(written(&mut writer(), &answer));
        assert_eq!(accumulated(&streamed(&mut writer(), &deltas, &answer)), complete);
        // The number of deltas that arrive together does not matter.
        let mut out = Vec::new();
        let mut writer = writer();
        writer.start(&answer.conversation.claims, &mut out);
        writer.deltas(&deltas, &mut out);
        writer.finish(&answer, &mut out);
        assert_eq!(events(&out), streamed(&mut self::writer(), &deltas, &answer));
    }
}

fn public<'a>(error: &'a Error, status: u16) -> PublicError<'a> {
    PublicError { error, status, request_id: "req_1", problem: "{}" }
}

#[test]
fn an_error_has_the_members_of_the_format() {
    let error = Error::invalid("`temperature` is a number from 0 to 1");
    let body = "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\
        \"message\":\"`temperature` is a number from 0 to 1\",\"code\":\"request_invalid\",\
        \"details\":{\"error_code\":\"request_invalid\"}},\"request_id\":\"req_1\"}";
    let response = Some(ErrorResponse { status: 400, body: body.into() });
    assert_eq!(Messages.error_response(&public(&error, 400)), response);
    assert_eq!(CountTokens.error_response(&public(&error, 400)), response);
}

#[test]
fn every_error_has_its_class() {
    let excess = Excess { actual: 2, limit: 1, unit: "bytes" };
    let limit = Duration::from_secs(1);
    let cause = || "SECRET".to_owned();
    let refused =
        Error::UpstreamRefused { names: String::new(), status: 400, message: None, retry_after: None, overflow: false };
    for (error, status, class) in [
        (Error::BodyTooLarge { limit_bytes: 1 }, 413, "request_too_large"),
        (Error::HistoryTooLarge(excess), 413, "request_too_large"),
        (Error::Internal { cause: cause() }, 500, "api_error"),
        (Error::MethodNotAllowed { allow: "POST" }, 405, "invalid_request_error"),
        (Error::NotFound { hint: "look elsewhere" }, 404, "not_found_error"),
        (Error::NotImplemented, 501, "api_error"),
        (Error::Overloaded, 503, "overloaded_error"),
        (Error::RequestTimeout { limit }, 408, "timeout_error"),
        (Error::RoleForbidden { role: "assistant".to_owned() }, 400, "invalid_request_error"),
        (Error::TokenExpired { expires_at: UnixSeconds(0), now: UnixSeconds(1) }, 410, "invalid_request_error"),
        (Error::TokenInvalid { fault: TokenFault::Tag }, 400, "invalid_request_error"),
        (Error::Unauthenticated { cause: cause() }, 401, "authentication_error"),
        (Error::Unsupported { detail: "x".to_owned() }, 400, "invalid_request_error"),
        (Error::UnsupportedMediaType { detail: "x".to_owned() }, 415, "invalid_request_error"),
        (Error::UpstreamCut, 502, "api_error"),
        (Error::malformed("SECRET"), 502, "api_error"),
        (refused, 502, "api_error"),
        (Error::UpstreamTimeout { phase: "the first byte", limit }, 504, "timeout_error"),
        (Error::UpstreamUnavailable { cause: cause(), retry_after: None }, 502, "api_error"),
        (Error::UserBusy { limit: 8 }, 429, "rate_limit_error"),
    ] {
        let response = Messages.error_response(&public(&error, status)).unwrap();
        assert_eq!(response.status, status);
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((&body["type"], &body["request_id"]), (&json!("error"), &json!("req_1")));
        let body = &body["error"];
        assert_eq!((&body["type"], &body["message"]), (&json!(class), &json!(error.to_string())));
        assert_eq!((&body["code"], &body["details"]["error_code"]), (&json!(error.code()), &json!(error.code())));
        assert!(!body.to_string().contains("SECRET"), "{body}");
    }
}

#[test]
fn some_errors_have_the_status_that_programs_expect() {
    let unknown = Error::ModelUnknown { alias: "x".to_owned(), known: vec!["default".to_owned()] };
    let response = Messages.error_response(&public(&unknown, 400)).unwrap();
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &body["error"]["type"]), (404, &json!("not_found_error")));
    for (upstream_message, message) in [
        (Some("prompt is too long: 9 tokens > 8 maximum"), "prompt is too long: 9 tokens > 8 maximum"),
        (
            Some("maximum context length is 8"),
            "prompt is too long: The model service refused the request with status 400. Its message: maximum context length is 8",
        ),
        (None, "prompt is too long: The model service refused the request with status 400."),
    ] {
        let upstream_message = upstream_message.map(str::to_owned);
        let overflow = Error::UpstreamRefused {
            names: String::new(),
            status: 400,
            message: upstream_message,
            retry_after: None,
            overflow: true,
        };
        let response = Messages.error_response(&public(&overflow, 502)).unwrap();
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
        assert_eq!(
            (&body["error"]["message"], &body["error"]["code"]),
            (&json!(message), &json!("context_length_exceeded"))
        );
    }
}

#[test]
fn an_error_in_a_stream_is_an_event_with_the_partial() {
    let mut out = Vec::new();
    let mut writer = writer();
    writer.deltas(&[Delta::Text("So \"f".to_owned())], &mut out);
    out.clear();
    let partial = Partial { reply: "So \"f".to_owned(), token: "a.b.c".to_owned() };
    writer.fail(&public(&Error::UpstreamCut, 502), Some(&partial), &mut out);
    let error = "\"type\":\"api_error\",\"message\":\"The model service stopped before the end of its reply. Retry the request.\",\
        \"code\":\"upstream_cut\",\"details\":{\"error_code\":\"upstream_cut\"}";
    let event = |error: &str| {
        format!("event: error\ndata: {{\"type\":\"error\",\"error\":{{{error}}},\"request_id\":\"req_1\"}}\n\n")
    };
    let with_partial = format!("{error},\"partial\":{{\"reply\":\"So \\\"f\",\"conversation_token\":\"a.b.c\"}}");
    assert_eq!(str::from_utf8(&out).unwrap(), event(&with_partial));
    out.clear();
    self::writer().fail(&public(&Error::UpstreamCut, 502), None, &mut out);
    assert_eq!(str::from_utf8(&out).unwrap(), event(error));
}
