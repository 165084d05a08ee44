//! Replies of the Responses API.

use super::*;
use crate::proto::{
    api::ReplyWriter,
    chat::{Item, Role},
    provider::testing::{an_answer, call, call_item, text},
    turn::{Answer, Delta, FinishReason, Partial},
};

/// An answer with these items and this finish reason.
fn answer_of(output: Vec<Item>, finish: FinishReason) -> Answer {
    Answer { output, finish, ..an_answer() }
}

/// The writer for a request with these members.
fn writer(members: &Value) -> Box<dyn ReplyWriter> {
    match parse(members) {
        Ok(request) => request.writer,
        Err(error) => panic!("{members}: {error}"),
    }
}

fn live() -> Value {
    json!({ "stream": true, "metadata": { "holdall_stream": "live" } })
}

fn complete(members: &Value, answer: &Answer) -> Value {
    serde_json::from_slice(&writer(members).body(answer)).unwrap()
}

/// The stream of these deltas, and of the answer that they build.
fn stream(members: &Value, deltas: &[Delta], answer: &Answer) -> String {
    let (mut writer, mut out) = (writer(members), Vec::new());
    writer.start(&answer.conversation.claims, &mut out);
    deltas.iter().for_each(|delta| writer.deltas(std::slice::from_ref(delta), &mut out));
    writer.finish(answer, &mut out);
    String::from_utf8(out).unwrap()
}

/// The stream of these deltas, followed by an error.
fn failed_stream(members: &Value, deltas: &[Delta], partial: Option<&Partial>) -> String {
    let (mut writer, mut out) = (writer(members), Vec::new());
    writer.start(&an_answer().conversation.claims, &mut out);
    writer.deltas(deltas, &mut out);
    let public = PublicError { error: &Error::UpstreamCut, status: 502, request_id: "req_1", problem: "{}" };
    writer.fail(&public, partial, &mut out);
    String::from_utf8(out).unwrap()
}

/// The events of a stream. Checks their names, their numbers and the end.
fn events(stream: &str) -> Vec<Value> {
    let stream = stream.strip_suffix("data: [DONE]\n\n").expect("a stream ends with [DONE]");
    let read = |(at, block): (usize, &str)| {
        let (name, data) = block.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", event["type"].as_str().unwrap()));
        assert_eq!(event["sequence_number"], at);
        event
    };
    stream.split_terminator("\n\n").enumerate().map(read).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

/// Builds the output from the events, as the SDKs do. Compares it with the complete parts in the
/// events.
fn accumulate(events: &[Value]) -> Vec<Value> {
    let mut output: Vec<Value> = Vec::new();
    for event in events {
        let name = event["type"].as_str().unwrap();
        let at = usize::try_from(event["output_index"].as_u64().unwrap_or_default()).unwrap();
        let index = event["content_index"]
            .as_u64()
            .or_else(|| event["summary_index"].as_u64())
            .map(|n| usize::try_from(n).unwrap());
        let list = if event.get("summary_index").is_some() { "summary" } else { "content" };
        if let Some(id) = event.get("item_id") {
            assert_eq!(output[at]["id"], *id);
        }
        let delta = || event["delta"].as_str().unwrap();
        match name.rsplit_once('.').unwrap_or(("", name)) {
            ("response.output_item", "added") => {
                assert_eq!((at, &event["item"]["status"] == "completed"), (output.len(), false));
                output.push(event["item"].clone());
            }
            ("response.output_item", _) => {
                // A complete item equals the built one, except for its status and members that are
                // not streamed.
                let (mut item, built) = (event["item"].clone(), &mut output[at]);
                for member in ["status", "encrypted_content"] {
                    built.as_object_mut().unwrap().remove(member);
                    item.as_object_mut().unwrap().remove(member);
                }
                assert_eq!(item, *built);
                output[at] = event["item"].clone();
            }
            (_, "added") => {
                let parts = &mut output[at].as_object_mut().unwrap().entry(list).or_insert_with(|| json!([]));
                let parts = parts.as_array_mut().unwrap();
                assert_eq!((parts.len(), &event["part"]["text"]), (index.unwrap(), &json!("")));
                parts.push(event["part"].clone());
            }
            ("response.function_call_arguments", "delta") => {
                let arguments = output[at]["arguments"].as_str().unwrap().to_owned();
                output[at]["arguments"] = json!(arguments + delta());
            }
            ("response.custom_tool_call_input", "delta") => output[at]["input"] = json!(delta()),
            ("response.custom_tool_call_input", _) => assert_eq!(output[at]["input"], event["input"]),
            ("response.function_call_arguments", _) => assert_eq!(output[at]["arguments"], event["arguments"]),
            (_, "delta") => {
                let part = &mut output[at][list][index.unwrap()];
                part["text"] = json!(part["text"].as_str().unwrap().to_owned() + delta());
                assert!(!delta().is_empty());
            }
            (kind, "done") if kind.ends_with("_part") => assert_eq!(output[at][list][index.unwrap()], event["part"]),
            (_, "done") => assert_eq!(output[at][list][index.unwrap()]["text"], event["text"]),
            _ => assert!(event.get("response").is_some() || name == "error", "{name}"),
        }
    }
    output
}

fn token_id() -> String {
    an_answer().conversation.claims.token_id.to_string().replace('-', "")
}

#[test]
fn an_answer_has_all_members_that_the_specification_requires() {
    let (id, written) = (token_id(), complete(&json!({}), &an_answer()));
    let conversation = written["holdall"]["id"].clone();
    assert_eq!(
        written,
        json!({
            "id": "resp_a.b.c", "object": "response", "created_at": 1_795_000_000, "completed_at": 1_795_000_002,
            "status": "completed", "background": false, "error": null, "incomplete_details": null, "model": "default",
            "output": [
                { "type": "message", "id": format!("msg_{id}_0"), "role": "assistant", "status": "completed",
                  "content": [{ "type": "output_text", "text": "Hi\n\"é\"", "annotations": [], "logprobs": [] }] },
                { "type": "function_call", "id": format!("fc_{id}_1"), "call_id": "c1", "name": "add",
                  "arguments": "{\"a\": 1}", "status": "completed" },
            ],
            "previous_response_id": null, "instructions": null, "max_output_tokens": null, "max_tool_calls": null,
            "metadata": {}, "parallel_tool_calls": true, "prompt_cache_key": null,
            "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "store": true,
            "temperature": 1.0, "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [],
            "top_p": 1.0, "truncation": "disabled", "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "top_logprobs": 0, "service_tier": "default",
            "usage": {
                "input_tokens": 1, "input_tokens_details": { "cached_tokens": 3, "cache_write_tokens": 0 },
                "output_tokens": 2, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 3,
            },
            "holdall": {
                "id": conversation, "turn": 3, "started_at": "2026-11-18T11:06:40Z",
                "expires_at": "2026-11-25T11:06:40Z", "history_bytes": 10, "token_bytes": 5, "trimmed_items": 2,
            },
        })
    );
}

#[test]
fn an_answer_repeats_members_of_the_request() {
    let request = json!({
        "previous_response_id": "resp_x", "instructions": "Be kind.", "max_output_tokens": 70, "max_tool_calls": 3,
        "metadata": { "b": "1", "a": "2" }, "parallel_tool_calls": false, "prompt_cache_key": "k",
        "reasoning": { "effort": "minimal", "summary": "concise" }, "safety_identifier": "ada", "temperature": 0,
        "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" } }, "verbosity": "low" },
        "tools": [
            { "type": "function", "name": "add", "description": "adds", "parameters": { "a": 1 }, "strict": true },
            { "type": "function", "name": "sub" },
        ],
        "tool_choice": { "type": "allowed_tools", "tools": [{ "type": "function", "name": "add" }] },
        "top_p": 0.5, "truncation": "summarize", "user": "bob", "service_tier": "priority",
    });
    let written = complete(&request, &an_answer());
    for name in [
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "temperature",
        "top_p",
        "user",
    ] {
        assert_eq!(written[name], request[name], "{name}");
    }
    assert_eq!(
        (&written["previous_response_id"], &written["truncation"], &written["service_tier"]),
        (&json!(null), &json!("auto"), &json!("default"))
    );
    let format = json!({ "type": "json_schema", "name": "n", "description": null, "schema": null, "strict": false });
    assert_eq!(written["text"], json!({ "format": format, "verbosity": "low" }));
    assert_eq!(written["tools"][0], request["tools"][0]);
    let filled = json!({ "type": "function", "name": "sub", "description": null, "parameters": null, "strict": null });
    assert_eq!(written["tools"][1], filled);
    let choice = json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "function", "name": "add" }] });
    assert_eq!(written["tool_choice"], choice);
    let function = json!({ "type": "function", "name": "add" });
    let request = json!({ "tools": [{ "name": "add" }], "tool_choice": function, "truncation": "refuse" });
    let written = complete(&request, &an_answer());
    assert_eq!((&written["tool_choice"], &written["truncation"]), (&function, &json!("disabled")));
}

#[test]
fn an_incomplete_answer_has_its_reason() {
    for (finish, reason) in
        [(FinishReason::Length, "max_output_tokens"), (FinishReason::ContentFilter, "content_filter")]
    {
        let answer = answer_of(vec![Item::text(Role::Assistant, "So f")], finish);
        let written = complete(&json!({}), &answer);
        assert_eq!(written["incomplete_details"], json!({ "reason": reason }));
        assert_eq!((&written["status"], &written["completed_at"]), (&json!("incomplete"), &json!(null)));
        assert_eq!(written["output"][0]["status"], "incomplete");
        for members in [json!({ "stream": true }), live()] {
            let events = events(&stream(&members, &[text("So "), text("f")], &answer));
            let last = events.last().unwrap();
            assert_eq!(last["type"], "response.incomplete");
            assert_eq!(last["response"], complete(&members, &answer));
            assert_eq!(accumulate(&events), *written["output"].as_array().unwrap());
        }
    }
    // An item that was complete before the end stays complete.
    let items = vec![Item::text(Role::Assistant, "A"), call_item("c", "n", "{}")];
    let written = complete(&json!({}), &answer_of(items, FinishReason::Length));
    assert_eq!(
        (&written["output"][0]["status"], &written["output"][1]["status"]),
        (&json!("completed"), &json!("completed"))
    );
}

#[test]
fn a_held_stream_starts_when_its_id_is_known() {
    let (mut writer, mut out) = (writer(&json!({ "stream": true })), Vec::new());
    let answer = an_answer();
    writer.start(&answer.conversation.claims, &mut out);
    writer.deltas(&[text("Hi\n"), text("\"é\""), call("c1", "add", "{\"a\": 1}")], &mut out);
    assert!(out.is_empty() && writer.buffers_deltas());
    writer.finish(&answer, &mut out);
    let stream = String::from_utf8(out).unwrap();
    assert_eq!(stream.matches("a.b.c").count(), 2, "once where it begins, once where it ends");
    let events = events(&stream);
    assert_eq!(
        names(&events),
        [
            "created",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let mut started = complete(&json!({}), &answer);
    assert_eq!(events[11]["response"], started);
    assert_eq!(accumulate(&events), *started["output"].as_array().unwrap());
    for (name, value) in
        [("completed_at", json!(null)), ("status", json!("in_progress")), ("output", json!([])), ("usage", json!(null))]
    {
        started[name] = value;
    }
    started.as_object_mut().unwrap().remove("holdall");
    assert_eq!(events[0]["response"], started);
}

#[test]
fn a_stream_has_the_events_of_the_specification() {
    let id = token_id();
    let written = stream(&json!({ "stream": true }), &[], &an_answer());
    let between: Vec<_> = written.split_inclusive("\n\n").skip(1).take(10).collect();
    let part = |text: &str| format!("{{\"type\":\"output_text\",\"text\":{text},\"annotations\":[],\"logprobs\":[]}}");
    let text_json = r#""Hi\n\"é\"""#;
    let position = format!("\"item_id\":\"msg_{id}_0\",\"output_index\":0,\"content_index\":0");
    let message = |status: &str, content: &str| {
        format!(
            "{{\"type\":\"message\",\"id\":\"msg_{id}_0\",\"role\":\"assistant\",\"status\":\"{status}\",\"content\":[{content}]}}"
        )
    };
    let called = |args: &str, status: &str| {
        format!(
            "{{\"type\":\"function_call\",\"id\":\"fc_{id}_1\",\"call_id\":\"c1\",\"name\":\"add\",\"arguments\":{args},\
             \"status\":\"{status}\"}}"
        )
    };
    let args = r#""{\"a\": 1}""#;
    let expected = [
        ("response.output_item.added", format!("\"output_index\":0,\"item\":{}", message("in_progress", ""))),
        ("response.content_part.added", format!("{position},\"part\":{}", part("\"\""))),
        ("response.output_text.delta", format!("{position},\"delta\":{text_json},\"logprobs\":[]")),
        ("response.output_text.done", format!("{position},\"text\":{text_json},\"logprobs\":[]")),
        ("response.content_part.done", format!("{position},\"part\":{}", part(text_json))),
        (
            "response.output_item.done",
            format!("\"output_index\":0,\"item\":{}", message("completed", &part(text_json))),
        ),
        ("response.output_item.added", format!("\"output_index\":1,\"item\":{}", called("\"\"", "in_progress"))),
        (
            "response.function_call_arguments.delta",
            format!("\"item_id\":\"fc_{id}_1\",\"output_index\":1,\"delta\":{args}"),
        ),
        (
            "response.function_call_arguments.done",
            format!("\"item_id\":\"fc_{id}_1\",\"output_index\":1,\"arguments\":{args}"),
        ),
        ("response.output_item.done", format!("\"output_index\":1,\"item\":{}", called(args, "completed"))),
    ];
    for (number, ((name, members), event)) in (1..).zip(expected.iter().zip(between)) {
        assert_eq!(
            event,
            format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{members}}}\n\n")
        );
    }
}

#[test]
fn a_live_stream_follows_the_reply_and_ends_with_the_token() {
    let (mut writer, mut out) = (writer(&live()), Vec::new());
    let answer = an_answer();
    writer.start(&answer.conversation.claims, &mut out);
    let mut read = |writer: &mut dyn FnMut(&mut Vec<u8>)| {
        let before = out.len();
        writer(&mut out);
        String::from_utf8(out[before..].to_vec()).unwrap()
    };
    let names = |piece: &str| {
        piece.lines().filter_map(|line| line.strip_prefix("event: response.")).collect::<Vec<_>>().join(" ")
    };
    let piece = read(&mut |out| writer.deltas(&[text("Hi\n")], out));
    assert_eq!(names(&piece), "output_item.added content_part.added output_text.delta");
    let piece = read(&mut |out| writer.deltas(&[text("\""), text("é\"")], out));
    assert_eq!(names(&piece), "output_text.delta output_text.delta");
    let piece = read(&mut |out| writer.deltas(&[call("c1", "add", "{\"a\": 1}")], out));
    assert_eq!(
        names(&piece),
        "output_text.done content_part.done output_item.done output_item.added function_call_arguments.delta \
         function_call_arguments.done output_item.done"
    );
    let piece = read(&mut |out| writer.finish(&answer, out));
    assert_eq!(names(&piece), "completed");
    let events = events(str::from_utf8(&out).unwrap());
    assert_eq!(events[0]["response"]["id"], format!("resp_{}", token_id()));
    assert_eq!(events.last().unwrap()["response"], complete(&live(), &answer));
    assert_eq!(accumulate(&events), *events.last().unwrap()["response"]["output"].as_array().unwrap());
    assert_eq!(str::from_utf8(&out).unwrap().matches("a.b.c").count(), 1);
}

#[test]
fn an_answer_without_store_has_no_token() {
    let unstored = |mut members: Value| {
        members["store"] = json!(false);
        members
    };
    let id = format!("resp_{}", token_id());
    let deltas = [text("Hi\n\"é\""), call("c1", "add", "{\"a\": 1}")];
    for members in [
        unstored(json!({ "stream": true })),
        unstored(live()),
        unstored(json!({ "metadata": { "holdall_stream": "hold" } })),
    ] {
        let written = complete(&members, &an_answer());
        assert_eq!((&written["id"], &written["store"]), (&json!(id), &json!(false)));
        let text = stream(&members, &deltas, &an_answer());
        let events = events(&text);
        assert_eq!(events[0]["response"]["id"], id);
        assert_eq!(events.last().unwrap()["response"], written);
        let partial = Partial { reply: "Hi".to_owned(), token: "a.b.c".to_owned() };
        let failed = failed_stream(&members, &deltas, Some(&partial));
        for text in [written.to_string(), text, failed] {
            assert!(!text.contains("a.b.c"), "{text}");
        }
    }
}

#[test]
fn held_and_live_streams_build_the_same_answer() {
    let think =
        |provider_id: &str, blob: &str| Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() };
    let say = |text: &str| Item::text(Role::Assistant, text);
    let ours = r#"{"type":"reasoning","id":"rs_9","summary":[{"type":"summary_text","text":"Hm."},{"type":"summary_text","text":"So."}],
        "content":[{"type":"reasoning_text","text":"well"}],"encrypted_content":"AAAA","status":"completed"}"#;
    for output in [
        vec![say("")],
        vec![say("A")],
        vec![call_item("c", "n", "")],
        vec![call_item("c", "n", "{}"), call_item("d", "n", "{}"), say("then")],
        vec![say("A"), think("anthropic", "{}"), say("B")],
        vec![
            think("openai-responses", ours),
            say("A"),
            think("openai-responses@e.test", ours),
            call_item("c", "n", "{}"),
        ],
        vec![think("openai-responses", ours), say("")],
        vec![think("openai-responses", r#"{"type":"reasoning","id":"rs_9","encrypted_content":null}"#), say("A")],
        vec![think("openai-responses", r#"{"type":"compaction"}"#), say("A")],
        vec![think("openai-responses", "[]"), think("openai-responses", "{"), say("A")],
    ] {
        let deltas: Vec<Delta> = output
            .iter()
            .flat_map(|item| match item {
                Item::Message { .. } => {
                    let mut line = String::new();
                    item.write_line(&mut line);
                    let value: Value = serde_json::from_str(&line).unwrap();
                    let text_json = value["parts"][0]["text"].as_str().unwrap();
                    text_json.chars().map(|character| text(&character.to_string())).collect()
                }
                Item::Call { id, name, args } => vec![call(id, name, args)],
                Item::Think { provider_id, blob } => {
                    vec![Delta::Think { provider_id: provider_id.clone(), blob: blob.clone() }]
                }
                Item::Result { .. } => vec![],
            })
            .collect();
        let answer = answer_of(output.clone(), FinishReason::Stop);
        let written = complete(&live(), &answer);
        for members in [json!({ "stream": true }), live()] {
            let events = events(&stream(&members, &deltas, &answer));
            assert_eq!(events.last().unwrap()["response"]["output"], written["output"]);
            assert_eq!(accumulate(&events), *written["output"].as_array().unwrap(), "{output:?}");
        }
    }
}

#[test]
fn only_reasoning_in_the_responses_format_is_shown() {
    let blob = r#"{"type":"reasoning","id":"rs_9","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"AAAA"}"#;
    let think = |provider_id: &str| Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() };
    let output = vec![think("openai-responses"), think("anthropic"), Item::text(Role::Assistant, "A")];
    let answer = answer_of(output, FinishReason::Stop);
    let mut reasoning = json!({
        "type": "reasoning", "id": format!("rs_{}_0", token_id()), "summary": [{ "type": "summary_text", "text": "Hm." }],
    });
    let written = complete(&json!({}), &answer);
    assert_eq!((&written["output"][0], written["output"].as_array().unwrap().len()), (&reasoning, 2));
    reasoning["encrypted_content"] = json!("AAAA");
    let request = json!({ "include": ["reasoning.encrypted_content"] });
    assert_eq!(complete(&request, &answer)["output"][0], reasoning);
    let events = events(&stream(&request, &[], &answer));
    assert_eq!(
        names(&events)[1..7],
        [
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
        ]
    );
    assert_eq!(events[1]["item"], json!({ "type": "reasoning", "id": reasoning["id"], "summary": [] }));
}

#[test]
fn a_failed_stream_ends_with_error_and_failed() {
    let partial = Partial { reply: "So f".to_owned(), token: "x.y.z".to_owned() };
    let deltas = [call("c", "n", "{}"), text("So "), text("f")];
    let id = format!("resp_{}", token_id());
    let message = "The model service stopped before the end of its reply. Retry the request.";
    for (members, items) in [(json!({ "stream": true }), 0), (live(), 2)] {
        for partial in [None, Some(&partial)] {
            let events = events(&failed_stream(&members, &deltas, partial));
            let [.., error, failed] = events.as_slice() else { panic!("{events:?}") };
            let mut expected =
                json!({ "message": message, "type": "server_error", "param": null, "code": "upstream_cut" });
            if partial.is_some() {
                expected["partial"] = json!({ "reply": "So f", "id": "resp_x.y.z" });
            }
            let number = events.len() - 2;
            assert_eq!(
                *error,
                json!({
                    "type": "error", "sequence_number": number, "code": "upstream_cut", "message": message, "param": null,
                    "error": expected,
                })
            );
            assert_eq!(failed["type"], "response.failed");
            let response = &failed["response"];
            assert_eq!(response["error"], json!({ "code": "upstream_cut", "message": message }));
            assert_eq!((&response["id"], &response["status"]), (&json!(id), &json!("failed")));
            assert_eq!((&response["usage"], &response["completed_at"]), (&json!(null), &json!(null)));
            assert_eq!(events[0]["response"]["id"], id);
            let output = response["output"].as_array().unwrap();
            assert_eq!(output.len(), items);
            if let [call, cut] = output.as_slice() {
                assert_eq!((&call["status"], &cut["status"]), (&json!("completed"), &json!("incomplete")));
                assert_eq!(cut["content"][0]["text"], "So f");
            }
        }
    }
}

#[test]
fn an_error_before_a_reply_is_in_openais_format() {
    let public = PublicError { error: &Error::Overloaded, status: 503, request_id: "req_1", problem: "{}" };
    for api in [&Responses as &dyn Api, &InputTokens] {
        let ErrorResponse { status, body } = api.error_response(&public).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &body["error"]["code"]), (503, &json!("overloaded")));
    }
    assert!(Responses.subpath_hint().unwrap().contains("/v1/history"));
}

#[test]
fn calls_are_given_back_in_the_form_of_the_tool() {
    let members = |stream: &str| {
        json!({ "stream": true, "metadata": { "holdall_stream": stream }, "tools": [
            { "type": "namespace", "name": "clock", "tools": [{ "type": "function", "name": "now" }] },
            { "type": "custom", "name": "exec" },
            { "type": "function", "name": "add" },
        ] })
    };
    let calls = [
        ("c1", "clock__now", "{}"),
        ("c2", "exec", r#"{"input":"a\n\"b\""}"#),
        ("c3", "add", "{}"),
        ("c4", "unknown", "{}"),
    ];
    let answer = answer_of(calls.map(|(id, name, args)| call_item(id, name, args)).to_vec(), FinishReason::ToolCalls);
    let deltas = calls.map(|(id, name, args)| call(id, name, args));
    let expected = [
        json!({ "type": "function_call", "call_id": "c1", "namespace": "clock", "name": "now", "arguments": "{}" }),
        json!({ "type": "custom_tool_call", "call_id": "c2", "name": "exec", "input": "a\n\"b\"" }),
        json!({ "type": "function_call", "call_id": "c3", "name": "add", "arguments": "{}" }),
        json!({ "type": "function_call", "call_id": "c4", "name": "unknown", "arguments": "{}" }),
    ];
    for kind in ["hold", "live"] {
        let events = events(&stream(&members(kind), &deltas, &answer));
        let built = accumulate(&events);
        assert_eq!(built, *complete(&members(kind), &answer)["output"].as_array().unwrap());
        for (item, expected) in built.into_iter().zip(&expected) {
            let mut item = item.as_object().unwrap().clone();
            let (id, status) = (item.remove("id").unwrap(), item.remove("status").unwrap());
            assert!(id.as_str().unwrap().len() <= 64 && status == "completed");
            assert_eq!(Value::Object(item), *expected);
        }
        let input: Vec<_> = names(&events).into_iter().filter(|name| name.starts_with("custom_tool_call")).collect();
        assert_eq!(input, ["custom_tool_call_input.delta", "custom_tool_call_input.done"]);
    }
    let repeated = complete(&members("hold"), &answer)["tools"].clone();
    assert_eq!(repeated.as_array().unwrap()[..2], *members("hold")["tools"].as_array().unwrap().get(..2).unwrap());
}
