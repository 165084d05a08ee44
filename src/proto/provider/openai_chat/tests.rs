mod near_right;
mod state;

use serde_json::value::RawValue;

use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::{COMPATIBLE, PROFILES, call::TokenCount, call_id::plain_id, testing::*},
    turn::{Delta, FinishReason, ModelOptions, Reasoning, Repair, ReplyFormat, Thinking, Tool, ToolChoice, Usage},
};

const OFFICIAL: OpenAiChat = OpenAiChat;
const STREAM: &str = "text/event-stream; charset=utf-8";

/// A stream of api.openai.com, with `include_usage`.
const TEXT: &str = r#"data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1764000000,"model":"gpt-5-2025-08-07","service_tier":"default","system_fingerprint":null,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"x7"}

data: {"id":"chatcmpl-B1","choices":[{"index":0,"delta":{"content":"Žluť"},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B1","choices":[{"index":0,"delta":{"content":" \ud83d\udc0e🐎"},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-B1","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":7,"audio_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"#;

/// Two parallel calls with interleaved fragments.
const CALLS: &str = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"add","arguments":""}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"now","arguments":""}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":": 1}"}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

"#;

const BODY: &str = r#"{"id":"chatcmpl-B1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hé","refusal":null,"annotations":[],"tool_calls":[{"id":"call_a","type":"function","function":{"name":"add","arguments":"{\"a\": 1}"}},{"id":"call_b","type":"function","function":{"name":"now","arguments":""}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":7}}}"#;

fn finish(reason: FinishReason) -> Delta {
    Delta::Finish(reason)
}

#[test]
fn streams_read_the_same_at_every_split() {
    let expected = [text("Žluť"), text(" 🐎🐎"), usage(19, 10, 7), finish(FinishReason::Stop)];
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, TEXT.as_bytes()), expected);
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, TEXT.replace('\n', "\r\n").as_bytes()), expected);
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, TEXT.replace('\n', "\r").as_bytes()), expected);
    let expected = [call("call_a", "add", "{\"a\": 1}"), call("call_b", "now", "{}"), finish(FinishReason::ToolCalls)];
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, CALLS.as_bytes()), expected);
}

#[test]
fn bodies_read_the_same_at_every_split() {
    let calls = [call("call_a", "add", "{\"a\": 1}"), call("call_b", "now", "{}")];
    let expected = [&[text("hé"), usage(19, 10, 7)], &calls[..], &[finish(FinishReason::ToolCalls)]].concat();
    assert_eq!(read_at_every_cut(&OFFICIAL, "application/json", BODY.as_bytes()), expected);
}

#[test]
fn a_changed_byte_never_breaks_the_reader() {
    for (content_type, reply) in [(STREAM, TEXT), (STREAM, CALLS), ("application/json", BODY)] {
        read_with_every_byte_changed(&OFFICIAL, content_type, reply.as_bytes());
    }
}

#[test]
fn a_stream_is_complete_with_a_reason_or_with_done() {
    let text_delta = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    let stop = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    for (events, expected) in [
        (&[text_delta, stop][..], Ok(FinishReason::Length)),
        (&[text_delta, stop, "[DONE]"], Ok(FinishReason::Length)),
        (&[text_delta, "[DONE]"], Ok(FinishReason::Stop)),
        (&[stop, "[DONE]"], Ok(FinishReason::Length)),
        (&[text_delta], Err("upstream_cut")),
        (&["[DONE]"], Err("upstream_unavailable")),
        (&[r#"{"choices":[]}"#, "[DONE]"], Err("upstream_unavailable")),
    ] {
        let (deltas, ended) = read_events(&OFFICIAL, events);
        let reason = ended.map_err(|error| error.code());
        assert_eq!(reason.map(|()| deltas.last().unwrap()), expected.map(finish).as_ref().map_err(|code| *code));
    }
}

#[test]
fn finish_reasons_are_mapped() {
    for (name, reason) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("content_filter", FinishReason::ContentFilter),
        ("eos", FinishReason::Stop),
        ("tool_calls", FinishReason::Stop),
    ] {
        let body = format!(r#"{{"choices":[{{"message":{{"content":null}},"finish_reason":"{name}"}}]}}"#);
        let (deltas, ended) = read(&OFFICIAL, "application/json", [body.as_bytes()]);
        assert_eq!((deltas, ended), (vec![finish(reason)], Ok(())), "{name}");
    }
}

#[test]
fn a_refusal_is_text_with_a_filter_reason() {
    let expected = vec![text("I "), text("can't."), finish(FinishReason::ContentFilter)];
    let read = read_events(
        &OFFICIAL,
        &[
            r#"{"choices":[{"delta":{"content":null,"refusal":"I "}}]}"#,
            r#"{"choices":[{"delta":{"refusal":"can't."}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
    );
    assert_eq!(read, (expected, Ok(())));
}

#[test]
fn other_choices_and_unknown_members_are_ignored() {
    let (deltas, ended) = read_events(
        &OFFICIAL,
        &[
            r#"{"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"stop"}],"x":[{}]}"#,
            r#"{"prompt_filter_results":[],"choices":[]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a","reasoning_content":"hm"},"message":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":null,"finish_reason":"stop"}],"error":null}"#,
            "[DONE]",
        ],
    );
    let expected = vec![Delta::Repaired(Repair::Choices), text("a"), finish(FinishReason::Stop)];
    assert_eq!((deltas, ended), (expected, Ok(())));
}

#[test]
fn calls_without_an_index_are_separated_by_id() {
    let (deltas, ended) = read_events(
        &OFFICIAL,
        &[
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"f","arguments":"{\"x\":"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"f","arguments":"1}"}}]},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
    );
    let expected = vec![call("a", "f", "{}"), call("b", "f", "{\"x\":1}"), finish(FinishReason::ToolCalls)];
    assert_eq!((deltas, ended), (expected, Ok(())));
}

#[test]
fn an_error_inside_a_reply_ends_it() {
    let text_delta = r#"{"choices":[{"delta":{"content":"so f"}}]}"#;
    for (error, code) in [
        (r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, "upstream_unavailable"),
        (
            r#"{"error":{"message":"Overloaded","code":502},"choices":[{"finish_reason":"error"}]}"#,
            "upstream_unavailable",
        ),
        (r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, "upstream_refused"),
        (r#"{"error":"model not loaded"}"#, "upstream_unavailable"),
    ] {
        let (deltas, ended) = read_events(&OFFICIAL, &[text_delta, error]);
        assert_eq!((deltas, ended.unwrap_err().code()), (vec![text("so f")], code), "{error}");
        let (_, ended) = read(&OFFICIAL, "application/json", [error.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{error}");
    }
}

#[test]
fn each_request_begins_with_the_previous_one() {
    assert_each_request_begins_with_the_previous_one(&OFFICIAL);
}

#[test]
fn items_are_written_as_messages() {
    let body = body(
        &OFFICIAL,
        &[
            Item::Message {
                role: Role::User,
                parts: vec![Part::Text("a".into()), Part::Image("u".into())],
                cut: false,
            },
            Item::text(Role::Assistant, "adding"),
            think_item("openai", "{}"),
            call_item("c1", "add", "{\"a\": 1}"),
            call_item("c2", "now", "{"),
            result_item("c1", "3"),
            Item::Result {
                id: "c2".into(),
                out: Output::Parts(vec![Part::Text("x".into()), Part::Image("u".into())]),
                error: true,
            },
            call_item("c3", "now", "{}"),
            result_item("c3", ""),
        ],
    );
    let expected = [
        r#"{"model":"m-1","stream":false,"messages":[{"role":"system","content":"Be kind."},"#,
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]},"#,
        r#"{"role":"assistant","content":"adding","tool_calls":["#,
        r#"{"id":"c1","type":"function","function":{"name":"add","arguments":"{\"a\": 1}"}},"#,
        r#"{"id":"c2","type":"function","function":{"name":"now","arguments":"{"}}]},"#,
        r#"{"role":"tool","tool_call_id":"c1","content":"3"},"#,
        r#"{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"x"},{"type":"text","text":"[image]"}]},"#,
        r#"{"role":"assistant","content":null,"tool_calls":["#,
        r#"{"id":"c3","type":"function","function":{"name":"now","arguments":"{}"}}]},"#,
        r#"{"role":"tool","tool_call_id":"c3","content":""}]}"#,
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn options_are_written_before_the_messages() {
    let schema = RawValue::from_string(r#"{ "type":"object" }"#.to_owned()).unwrap();
    let tools = vec![
        Tool { name: "add".into(), description: Some("Adds.".into()), parameters: Some(schema), strict: None },
        Tool { name: "now".into(), description: None, parameters: None, strict: None },
    ];
    let choice = Some(ToolChoice::Tool("add".into()));
    let options = ModelOptions {
        max_output_tokens: Some(5),
        temperature: Some(1.into()),
        tools,
        tool_choice: choice,
        ..ModelOptions::default()
    };
    let request = request(&OFFICIAL, &[Item::text(Role::User, "a")], &options, true);
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/chat/completions"));
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["accept"], "text/event-stream");
    let expected = [
        r#"{"model":"m-1","max_completion_tokens":5,"temperature":1,"tools":["#,
        r#"{"type":"function","function":{"name":"add","description":"Adds.","parameters":{ "type":"object" }}},"#,
        r#"{"type":"function","function":{"name":"now"}}],"#,
        r#""tool_choice":{"type":"function","function":{"name":"add"}},"#,
        r#""stream":true,"stream_options":{"include_usage":true},"messages":["#,
        r#"{"role":"system","content":"Be kind."},{"role":"user","content":"a"}]}"#,
    ];
    assert_eq!(str::from_utf8(request.body()).unwrap(), expected.concat());
}

#[test]
fn a_tool_choice_is_written_only_with_tools() {
    let items = [Item::text(Role::User, "a")];
    for (choice, written) in
        [(ToolChoice::Auto, "\"auto\""), (ToolChoice::None, "\"none\""), (ToolChoice::Required, "\"required\"")]
    {
        let tools = vec![tool("f", None)];
        for (tools, is_written) in [(tools, true), (vec![], false)] {
            let options = ModelOptions { tools, tool_choice: Some(choice.clone()), ..ModelOptions::default() };
            let request = request(&OFFICIAL, &items, &options, false);
            let body = str::from_utf8(request.body()).unwrap();
            assert_eq!(body.contains(&format!("\"tool_choice\":{written}")), is_written);
            assert!(is_written || !body.contains("tool"));
        }
    }
}

#[test]
fn the_key_is_sent_as_a_bearer_token() {
    assert_eq!(OFFICIAL.credential(), (header::AUTHORIZATION, "Bearer "));
}

#[test]
fn compatible_services_get_the_older_name_of_the_limit() {
    let options = ModelOptions { max_output_tokens: Some(5), ..ModelOptions::default() };
    let items = [Item::text(Role::User, "a")];
    for (profile, named, other) in [
        (official(&OFFICIAL), "\"max_completion_tokens\":5", "\"max_tokens\""),
        (COMPATIBLE, "\"max_tokens\":5", "\"max_completion_tokens\""),
    ] {
        let request = OFFICIAL.request(&ModelCall { profile, ..model_call(&OFFICIAL, &items, &options) }).unwrap();
        let request = String::from_utf8_lossy(request.body());
        assert!(request.contains(named) && !request.contains(other), "{request}");
    }
}

#[test]
fn all_counts_are_read() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":5}}}"#;
    let (deltas, _) = read(&OFFICIAL, "application/json", [body.as_bytes()]);
    let usage = Usage {
        input_tokens: 9,
        output_tokens: 8,
        cached_tokens: 7,
        cache_written_tokens: 1,
        reasoning_tokens: 5,
        estimated: false,
    };
    assert_eq!(deltas, [text("a"), Delta::Usage(usage), finish(FinishReason::Stop)]);
}

#[test]
fn other_options_are_written_if_the_format_has_them() {
    let budget = |tokens| Reasoning { thinking: Some(Thinking::Budget(tokens)), ..Reasoning::default() };
    let effort = |thinking, effort| Reasoning { thinking, effort, summary: Some("auto"), effort_most: None };
    let with = |reasoning| ModelOptions { reasoning, ..ModelOptions::default() };
    for (options, written) in [
        (
            ModelOptions {
                top_p: Some(1.into()),
                stop: vec!["a".into(), "b".into()],
                seed: Some(-7),
                ..ModelOptions::default()
            },
            r#"{"model":"m-1","top_p":1,"stop":["a","b"],"seed":-7,"stream":false"#,
        ),
        (
            ModelOptions { format: ReplyFormat::Json, ..ModelOptions::default() },
            r#"{"model":"m-1","response_format":{"type":"json_object"},"stream""#,
        ),
        (
            ModelOptions { format: schema_format(), ..ModelOptions::default() },
            r#""response_format":{"type":"json_schema","json_schema":{"name":"pet","description":"A pet.","schema":{ "type":"object" },"strict":true}},"stream""#,
        ),
        (
            with(effort(Some(Thinking::Disabled), Some("xhigh"))),
            r#"{"model":"m-1","reasoning_effort":"xhigh","stream""#,
        ),
        (with(effort(None, Some("low"))), r#"{"model":"m-1","reasoning_effort":"low","stream""#),
        (with(effort(Some(Thinking::Disabled), None)), r#"{"model":"m-1","stream""#),
        (with(effort(Some(Thinking::Adaptive), None)), r#"{"model":"m-1","stream""#),
        (with(budget(4_095)), r#""reasoning_effort":"low""#),
        (with(budget(4_096)), r#""reasoning_effort":"medium""#),
        (with(budget(16_383)), r#""reasoning_effort":"medium""#),
        (with(budget(16_384)), r#""reasoning_effort":"high""#),
        (
            ModelOptions {
                tools: vec![tool("f", Some(true)), tool("g", Some(false))],
                parallel_calls: Some(false),
                ..ModelOptions::default()
            },
            r#""tools":[{"type":"function","function":{"name":"f","strict":true}},{"type":"function","function":{"name":"g","strict":false}}],"parallel_tool_calls":false,"stream""#,
        ),
        (
            ModelOptions { tools: vec![tool("f", None)], parallel_calls: Some(true), ..ModelOptions::default() },
            r#""tools":[{"type":"function","function":{"name":"f"}}],"stream""#,
        ),
        (ModelOptions { parallel_calls: Some(false), ..ModelOptions::default() }, r#"{"model":"m-1","stream""#),
    ] {
        let body = options_body(&OFFICIAL, &options);
        assert!(body.contains(written), "{body}");
    }
}

#[test]
fn long_ids_are_shortened() {
    let long = "c".repeat(41);
    let items = [call_item(&long, "f", "{}"), result_item(&long, "1"), call_item(&long[1..], "f", "{}")];
    let body = body(&OFFICIAL, &items);
    let id = plain_id(&long, 40);
    assert!(body.contains(&format!(r#"{{"id":"{id}","type""#)), "{body}");
    assert!(body.contains(&format!(r#""tool_call_id":"{id}""#)) && body.contains(&long[1..]), "{body}");
    assert_eq!((body.contains(&long), id.len()), (false, 40));
}

#[test]
fn input_tokens_are_estimated() {
    let items = [Item::text(Role::User, "a".repeat(400))];
    let options = ModelOptions::default();
    let TokenCount::Known(count) = OFFICIAL.count_tokens(&model_call(&OFFICIAL, &items, &options)).unwrap() else {
        panic!("not an estimate")
    };
    assert!((100..130).contains(&count), "{count}");
    assert_eq!(OFFICIAL.read_token_count(b"{}").unwrap_err().code(), "upstream_malformed");
}
