//! Answers, streams and errors of the Chat Completions API.

use super::*;
use crate::proto::{
    api::{ReplyWriter, tools::ToolNames},
    error::TokenFault,
    provider::testing::{an_answer, call, text},
    sse,
    turn::{Answer, Delta, FinishReason, Partial, Usage},
};

fn writer(include_usage: bool) -> ChatWriter {
    ChatWriter::new(include_usage, ToolNames::default())
}

fn written(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The member `holdall` for the conversation of the fixture.
fn told_conversation() -> Value {
    let id = an_answer().conversation.claims.conversation.to_string();
    json!({
        "id": id, "turn": 3, "started_at": "2026-11-18T11:06:40Z", "expires_at": "2026-11-25T11:06:40Z",
        "history_bytes": 10, "token_bytes": 5, "trimmed_items": 2,
    })
}

#[test]
fn an_answer_is_a_completion_with_a_token() {
    let mut answer = an_answer();
    answer.usage = Usage { input_tokens: 10, output_tokens: 20, cached_tokens: 3, reasoning_tokens: 4, ..answer.usage };
    let id = answer.conversation.claims.token_id.to_string().replace('-', "");
    assert_eq!(id.len(), 32);
    assert_eq!(
        written(&writer(false).body(&answer)),
        json!({
            "id": format!("chatcmpl-{id}"),
            "object": "chat.completion",
            "created": 1_795_000_000,
            "model": "default",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi\n\"é\"",
                    "refusal": null,
                    "annotations": [],
                    "tool_calls": [
                        { "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{\"a\": 1}" } },
                    ],
                    "conversation_token": "a.b.c",
                },
                "logprobs": null,
                "finish_reason": "tool_calls",
            }],
            "usage": {
                "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
                "prompt_tokens_details": { "cached_tokens": 3 },
                "completion_tokens_details": { "reasoning_tokens": 4 },
            },
            "conversation_token": "a.b.c",
            "holdall": told_conversation(),
        })
    );
}

#[test]
fn content_is_null_if_there_are_only_calls() {
    let call = call_item("c1", "add", "{}");
    let think = Item::Think { provider_id: "openai-responses".to_owned(), blob: "{}".to_owned() };
    for (reply, output, content) in [
        ("", vec![think, call.clone()], Value::Null),
        ("a", vec![Item::text(Role::Assistant, "a"), call], json!("a")),
        ("", vec![Item::text(Role::Assistant, "")], json!("")),
    ] {
        let answer = Answer { reply: reply.to_owned(), output, ..an_answer() };
        let message = &written(&writer(false).body(&answer))["choices"][0]["message"];
        assert_eq!(message["content"], content);
        let has_calls = answer.output.iter().any(|item| matches!(item, Item::Call { .. }));
        assert_eq!(message.get("tool_calls").is_some(), has_calls);
    }
}

#[test]
fn every_finish_reason_has_its_name() {
    for finish in [FinishReason::ContentFilter, FinishReason::Length, FinishReason::Stop, FinishReason::ToolCalls] {
        let answer = Answer { finish, ..an_answer() };
        assert_eq!(written(&writer(false).body(&answer))["choices"][0]["finish_reason"], finish.as_str());
    }
}

/// The stream of a reply with a text and two calls.
fn stream(include_usage: bool) -> String {
    let (mut writer, answer, mut out) = (writer(include_usage), an_answer(), Vec::new());
    writer.start(&answer.conversation.claims, &mut out);
    let think = Delta::Think { provider_id: "openai-responses".to_owned(), blob: "{}".to_owned() };
    writer.deltas(&[think, text("Hi\n"), text("\"é\"\r\u{2028}")], &mut out);
    writer.deltas(&[call("c1", "add", "{\n}"), Delta::Usage(answer.usage)], &mut out);
    writer.deltas(&[call("c2", "now", ""), Delta::Finish(FinishReason::ToolCalls)], &mut out);
    writer.finish(&answer, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_is_chunks_of_one_line_each() {
    let id = an_answer().conversation.claims.token_id.to_string().replace('-', "");
    let head = format!(
        "data: {{\"id\":\"chatcmpl-{id}\",\"created\":1795000000,\"model\":\"default\",\
         \"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":"
    );
    let tail = ",\"logprobs\":null,\"finish_reason\":null}]}\n\n";
    let pieces = [
        "{\"role\":\"assistant\"}",
        "{\"content\":\"Hi\\n\"}",
        "{\"content\":\"\\\"é\\\"\\r\u{2028}\"}",
        "{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\
         \"function\":{\"name\":\"add\",\"arguments\":\"{\\n}\"}}]}",
        "{\"tool_calls\":[{\"index\":1,\"id\":\"c2\",\"type\":\"function\",\
         \"function\":{\"name\":\"now\",\"arguments\":\"\"}}]}",
    ];
    let pieces: String = pieces.iter().map(|delta| format!("{head}{delta}{tail}")).collect();
    let conversation = told_conversation();
    let holdall = format!(
        "{{\"id\":{},\"turn\":3,\"started_at\":\"2026-11-18T11:06:40Z\",\"expires_at\":\"2026-11-25T11:06:40Z\",\
         \"history_bytes\":10,\"token_bytes\":5,\"trimmed_items\":2}}",
        conversation["id"]
    );
    let last = format!(
        "{head}{{\"conversation_token\":\"a.b.c\"}},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}}]}}\n\n\
         {},\"conversation_token\":\"a.b.c\",\"holdall\":{holdall}}}\n\n",
        head.replace("[{\"index\":0,\"delta\":", "[]")
    );
    assert_eq!(stream(false), format!("{pieces}{last}data: [DONE]\n\n"));
}

#[test]
fn usage_comes_in_its_own_chunk_on_request() {
    let stream_text = stream(true);
    let mut chunks: Vec<Value> = stream_text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap())
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let last = chunks.pop().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(3)));
    assert_eq!((last.get("conversation_token"), &last["id"]), (None, &chunks[0]["id"]));
    assert!(chunks.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert!(stream_text.ends_with("\n\ndata: [DONE]\n\n"));
    assert!(!stream(false).contains("usage"));
}

#[test]
fn the_token_is_once_in_a_line_and_once_in_a_delta() {
    let stream_text = stream(true);
    let in_lines: Vec<_> = stream_text.lines().map(|line| line.matches("\"conversation_token\"").count()).collect();
    assert_eq!((in_lines.iter().sum::<usize>(), in_lines.iter().max()), (2, Some(&1)));
    assert_eq!(stream_text.matches("\"delta\":{\"conversation_token\":\"a.b.c\"}").count(), 1);
}

#[test]
fn a_call_of_a_custom_tool_is_given_back_as_one() {
    let members = json!({ "tools": [{ "type": "custom", "custom": { "name": "patch" } }] });
    let parsed = || ChatCompletions.parse_request(&request(&members).to_string(), &ApiSettings::default()).unwrap();
    for (args, input) in [(r#"{"input":"a\n"}"#, "a\n"), (r#""b""#, "b"), ("raw", "raw"), ("{}", "{}")] {
        let expected = json!({ "id": "c", "type": "custom", "custom": { "name": "patch", "input": input } });
        let answer = Answer { output: vec![call_item("c", "patch", args)], reply: String::new(), ..an_answer() };
        let message = written(&parsed().writer.body(&answer))["choices"][0]["message"].take();
        assert_eq!(message["tool_calls"], json!([expected]), "{args}");
        let mut out = Vec::new();
        parsed().writer.deltas(&[call("c", "patch", args)], &mut out);
        let chunk = written(out.strip_prefix(b"data: ").unwrap());
        let mut in_chunk = expected;
        in_chunk["index"] = json!(0);
        assert_eq!(chunk["choices"][0]["delta"]["tool_calls"], json!([in_chunk]), "{args}");
    }
}

#[test]
fn include_usage_requests_the_usage() {
    for (options, expected) in [
        (json!(null), false),
        (json!({}), false),
        (json!({ "include_usage": null }), false),
        (json!({ "include_usage": true }), true),
    ] {
        let body = request(&json!({ "stream": true, "stream_options": options })).to_string();
        let mut writer = ChatCompletions.parse_request(&body, &ApiSettings::default()).unwrap().writer;
        let mut out = Vec::new();
        writer.finish(&an_answer(), &mut out);
        assert_eq!(str::from_utf8(&out).unwrap().contains("\"usage\":{"), expected, "{options}");
    }
}

#[test]
fn a_failed_stream_ends_with_an_error() {
    let public = PublicError { error: &Error::UpstreamCut, status: 502, request_id: "req_1", problem: "{}" };
    let partial = Partial { reply: "So \"f".to_owned(), token: "a.b.c".to_owned() };
    let mut writer = writer(true);
    let mut out = Vec::new();
    writer.fail(&public, None, &mut out);
    writer.fail(&public, Some(&partial), &mut out);
    let mut rest = out.as_slice();
    let mut decoder = sse::Decoder::new(4096);
    let mut error = || -> Value {
        let event = decoder.next_event(&mut rest).unwrap().unwrap();
        assert_eq!(event.name, "");
        serde_json::from_str::<Value>(&event.data).unwrap()["error"].take()
    };
    let message = Error::UpstreamCut.to_string();
    let plain = json!({ "message": message, "type": "server_error", "param": null, "code": "upstream_cut" });
    assert_eq!(error(), plain);
    let mut with_partial = plain;
    with_partial["partial"] = json!({ "reply": "So \"f", "conversation_token": "a.b.c" });
    assert_eq!(error(), with_partial);
    assert!(rest.is_empty());
}

#[test]
fn errors_are_in_the_format_of_the_api() {
    let response = |error: &Error, status| {
        let public = PublicError { error, status, request_id: "req_1", problem: "{}" };
        let response = ChatCompletions.error_response(&public).unwrap();
        (response.status, written(&response.body)["error"].take())
    };
    let (status, error) = response(&Error::TokenInvalid { fault: TokenFault::Tag }, 400);
    assert_eq!((status, &error["code"], &error["param"]), (400, &json!("token_invalid"), &json!("conversation_token")));
    let (status, error) = response(&parse(&request(&json!({ "n": 2 }))).unwrap_err(), 400);
    assert_eq!((status, &error["code"], &error["param"]), (400, &json!("unsupported"), &json!("n")));
}
