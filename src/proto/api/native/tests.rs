//! Requests and replies of the native API.

use serde_json::{Value, json};

use super::*;
use crate::proto::{
    api::ReplyWriter as _,
    chat::{Item, Output, Part, Role},
    provider::testing::an_answer,
    turn::{Answer, Delta, FinishReason, Partial, ToolChoice, Truncation, TurnRequest, Usage},
};

fn read_turn(body: &Value) -> Result<TurnRequest, Error> {
    Native.parse_request(&body.to_string(), &ApiSettings::default()).map(|parsed| parsed.turn)
}

fn detail(body: &Value) -> String {
    match read_turn(body) {
        Err(Error::RequestInvalid { detail }) => detail,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_request_reads_in_full() {
    let request = read_turn(&json!({
        "token": "t", "input": "hi", "user_id": "ada", "model": "default", "stream": true, "max_output_tokens": 7,
        "temperature": 0.7, "tools": [{ "name": "add", "description": "adds", "parameters": { "b": 1, "a": 2 } }, { "name": "x" }],
        "tool_choice": { "name": "add" }, "truncation": "oldest"
    }))
    .unwrap();
    assert_eq!(request.token.as_deref(), Some("t"));
    assert_eq!(request.input, [Item::text(Role::User, "hi")]);
    assert_eq!((request.user_id.as_deref(), request.model.as_deref()), (Some("ada"), Some("default")));
    assert!(request.stream && request.truncation == Some(Truncation::Oldest));
    let options = request.options;
    assert_eq!(options.max_output_tokens, Some(7));
    assert_eq!(options.temperature.unwrap().to_string(), "0.7");
    assert_eq!(options.tool_choice, Some(ToolChoice::Tool("add".to_owned())));
    assert_eq!(options.tools[0].description.as_deref(), Some("adds"));
    assert_eq!(options.tools[1].name, "x");
}

#[test]
fn a_schema_keeps_its_text() {
    let body = r#"{"input":"a","tools":[{"name":"n","parameters":{"b": 1.50, "a":2 }}]}"#;
    let request = Native.parse_request(body, &ApiSettings::default()).unwrap().turn;
    assert_eq!(request.options.tools[0].parameters.as_ref().unwrap().get(), r#"{"b": 1.50, "a":2 }"#);
}

#[test]
fn absent_members_have_defaults() {
    for body in [json!({ "input": "hi" }), json!({ "input": "hi", "token": null })] {
        let request = read_turn(&body).unwrap();
        assert!(request.token.is_none() && request.user_id.is_none() && request.model.is_none() && !request.stream);
        assert_eq!(request.truncation, None);
        assert!(request.options.tools.is_empty() && request.options.tool_choice.is_none());
    }
}

#[test]
fn consecutive_parts_are_one_message() {
    let request = read_turn(&json!({ "input": [
        { "text": "a" }, { "image": "https://e.test/a.png" }, { "t": "result", "id": "1", "out": "x", "error": true },
        { "t": "result", "id": "2", "out": [{ "text": "y" }] }, { "text": "b" }
    ] }));
    let parts = vec![Part::Text("a".to_owned()), Part::Image("https://e.test/a.png".to_owned())];
    let result = |id: &str, out, error| Item::Result { id: id.to_owned(), out, error };
    assert_eq!(
        request.unwrap().input,
        [
            Item::Message { role: Role::User, parts, cut: false },
            result("1", Output::Text("x".to_owned()), true),
            result("2", Output::Parts(vec![Part::Text("y".to_owned())]), false),
            Item::text(Role::User, "b"),
        ]
    );
}

#[test]
fn an_error_names_its_position() {
    for (body, expected) in [
        (json!({ "input": [{ "text": "a" }, { "text": "b", "image": "c" }] }), "`input[1]` must be a part"),
        (json!({ "input": [{ "t": "result", "id": "1" }] }), "`input[0]` must be a part"),
        (json!({ "input": [{ "t": "result", "id": "1", "out": "", "text": "" }] }), "`input[0]` must be a part"),
        (json!({ "input": [{ "id": "1", "out": "" }] }), "`input[0]` must be a part"),
        (
            json!({ "input": [{ "t": "result", "id": "1", "out": 5 }] }),
            "`input[0].out` must be text or a list of parts, not",
        ),
        (json!({ "input": 5 }), "`input` must be text or a list of parts and results, not the number 5."),
        (
            json!({ "input": "a", "max_output_tokens": 0 }),
            "`max_output_tokens` must be a whole number of at least 1, not",
        ),
        (json!({ "input": "a", "temperature": 2.1 }), "`temperature` must be a number from 0 to 2"),
        (json!({ "input": "a", "temperature": -0.1 }), "`temperature` must be a number from 0 to 2"),
        (json!({ "input": "a", "truncation": "newest" }), "`truncation` must"),
        (json!({ "input": "a", "tools": [{ "name": "" }] }), "`tools[0].name` must have 1 to 128 characters"),
        (json!({ "input": "a", "tools": [{ "name": "a b" }] }), "`tools[0].name` must have 1 to 128 characters"),
        (json!({ "input": "a", "tools": [{ "name": "n", "parameters": [] }] }), "The schema of tool `n`"),
        (json!({ "input": "a", "tools": [["n"]] }), "`tools[0]` must be an object, not a list."),
        (
            json!({ "input": "a", "tools": [{ "name": "n", "strict": true }] }),
            "`tools[0].strict` is not a member of this request. Known members: `name`",
        ),
        (json!({ "input": "a", "tool_choice": "required" }), "`tool_choice` requires a tool"),
        (json!({ "input": "a", "tool_choice": "any" }), "`tool_choice` must"),
        (json!({ "input": "a", "tool_choice": { "name": "x" } }), "`tool_choice` names a tool"),
        (json!({ "input": "a", "tool_choice": ["x"] }), "`tool_choice` must"),
        (json!({ "input": "a", "user_id": null }), "`user_id` must be text, not null."),
        (json!({ "input": "a", "messages": [] }), "`messages` is not a member of this request. Known members: `token`"),
        (json!({ "token": "t" }), "`input` is missing. Add it."),
    ] {
        assert!(detail(&body).contains(expected), "{body}: {}", detail(&body));
    }
    let many: Vec<_> = (0..1_025).map(|_| json!({ "name": "n" })).collect();
    assert!(read_turn(&json!({ "input": "a", "tools": many[1..] })).is_ok());
    assert_eq!(
        detail(&json!({ "input": "a", "tools": many })),
        "`tools` is invalid: more than 1024 entries in a list."
    );
}

#[test]
fn an_answer_has_all_members() {
    let written: Value = serde_json::from_slice(&NativeWriter.body(&an_answer())).unwrap();
    let id = written["conversation"]["id"].clone();
    assert_eq!(
        written,
        json!({
            "reply": "Hi\n\"é\"",
            "output": [
                { "t": "msg", "role": "assistant", "parts": [{ "text": "Hi\n\"é\"" }] },
                { "t": "call", "id": "c1", "name": "add", "args": "{\"a\": 1}" },
            ],
            "token": "a.b.c",
            "user_id": "alice",
            "conversation": {
                "id": id, "turn": 3, "started_at": "2026-11-18T11:06:40Z", "expires_at": "2026-11-25T11:06:40Z",
                "history_bytes": 10, "token_bytes": 5, "trimmed_items": 2,
            },
            "usage": { "input_tokens": 1, "output_tokens": 2, "cached_tokens": 3 },
            "finish_reason": "tool_calls",
        })
    );
    assert_eq!(id.as_str().map(str::len), Some(36));
}

#[test]
fn a_stream_is_events_of_one_line_each() {
    let mut out = Vec::new();
    let mut writer = NativeWriter;
    let call = Delta::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{\n}".to_owned() };
    let finish = Delta::Finish(FinishReason::Stop);
    writer.deltas(&[Delta::Text("a\nb\r\u{2028}".to_owned()), call, finish, Delta::Usage(Usage::default())], &mut out);
    assert_eq!(
        str::from_utf8(&out).unwrap(),
        "event: delta\ndata: {\"text\":\"a\\nb\\r\u{2028}\"}\n\n\
         event: tool_call\ndata: {\"id\":\"c1\",\"name\":\"add\",\"args\":\"{\\n}\"}\n\n"
    );
    out.clear();
    writer.finish(&an_answer(), &mut out);
    let complete = String::from_utf8(NativeWriter.body(&an_answer())).unwrap();
    assert_eq!(str::from_utf8(&out).unwrap(), format!("event: done\ndata: {complete}\n\n"));
}

#[test]
fn a_partial_reply_is_a_member_of_the_problem() {
    let mut out = Vec::new();
    let problem = "{\"code\":\"upstream_cut\"}";
    let public = PublicError { error: &Error::UpstreamCut, status: 502, request_id: "req_1", problem };
    NativeWriter.fail(&public, None, &mut out);
    let partial = Partial { reply: "So \"f".to_owned(), token: "a.b.c".to_owned() };
    NativeWriter.fail(&public, Some(&partial), &mut out);
    assert_eq!(
        str::from_utf8(&out).unwrap(),
        "event: error\ndata: {\"code\":\"upstream_cut\"}\n\nevent: error\ndata: {\"code\":\"upstream_cut\",\
         \"partial\":{\"reply\":\"So \\\"f\",\"token\":\"a.b.c\"}}\n\n"
    );
}

#[test]
fn a_history_request_has_a_token() {
    assert_eq!(history_request("{\"token\":\"t\",\"user_id\":\"ada\"}"), Ok(("t".to_owned(), Some("ada".to_owned()))));
    for body in ["{}", "{\"token\":null}", "{\"token\":\"t\",\"user_id\":null}", "{\"token\":\"t\",\"x\":1}", "[\"t\"]"]
    {
        assert!(history_request(body).is_err(), "{body}");
    }
    let Answer { output, conversation, .. } = an_answer();
    let written: Value = serde_json::from_slice(&history_answer(&output, &conversation)).unwrap();
    assert_eq!((written["items"].as_array().unwrap().len(), &written["conversation"]["turn"]), (2, &json!(3)));
}
