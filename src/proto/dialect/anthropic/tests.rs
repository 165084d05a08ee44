use super::*;
use crate::proto::dialect::{ModelOptions, testing::*};

const STREAM: &str = "text/event-stream; charset=utf-8";

/// As api.anthropic.com streams it: thinking, text, two calls.
const CALLS: &str = r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929","id":"msg_01","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":3},"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Žluť \ud83d\udc0e🐎"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_01","name":"add","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":": 1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_02","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89}}

event: message_stop
data: {"type":"message_stop"}

"#;

const WHOLE: &str = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"hé"},{"type":"server_tool_use","id":"s","name":"web_search","input":{"q":1}},{"type":"tool_use","id":"toolu_01","name":"add","input":{"a": 1}},{"type":"tool_use","id":"toolu_02","name":"now","input":{ }}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"output_tokens":89}}"#;

const START: &str = r#"{"type":"message_start","message":{}}"#;
const SAID: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
const ENDED: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn finish(reason: FinishReason) -> Delta {
    Delta::Finish(reason)
}

#[test]
fn streams_read_the_same_however_they_are_cut() {
    let expected = [
        usage(128, 1, 100),
        text("Žluť 🐎🐎"),
        usage(128, 89, 100),
        call("toolu_01", "add", "{\"a\": 1}"),
        call("toolu_02", "now", "{}"),
        finish(FinishReason::ToolCalls),
    ];
    assert_eq!(read_at_every_cut(&Anthropic, STREAM, CALLS.as_bytes()), expected);
    assert_eq!(read_at_every_cut(&Anthropic, STREAM, CALLS.replace('\n', "\r\n").as_bytes()), expected);
}

#[test]
fn whole_replies_read_the_same_however_they_are_cut() {
    let expected = [
        text("hé"),
        usage(128, 89, 100),
        call("toolu_01", "add", "{\"a\": 1}"),
        call("toolu_02", "now", "{}"),
        finish(FinishReason::ToolCalls),
    ];
    assert_eq!(read_at_every_cut(&Anthropic, "application/json", WHOLE.as_bytes()), expected);
}

#[test]
fn no_changed_byte_upsets_the_reader() {
    for (content_type, reply) in [(STREAM, CALLS), ("application/json", WHOLE)] {
        read_with_every_byte_changed(&Anthropic, content_type, reply.as_bytes());
    }
}

#[test]
fn a_stream_is_whole_with_message_stop_only() {
    for (events, expected) in [
        (&[START, SAID, ENDED, STOP][..], Ok(FinishReason::Stop)),
        (&[START, ENDED, STOP], Ok(FinishReason::Stop)),
        (&[START, SAID, STOP], Ok(FinishReason::Stop)),
        (&[START, SAID, ENDED], Err("upstream_cut")),
        (&[START, SAID], Err("upstream_cut")),
        (&[START, STOP], Err("upstream_malformed")),
    ] {
        let (deltas, ended) = read_events(&Anthropic, events);
        let reason = ended.map_err(|error| error.code());
        assert_eq!(reason.map(|()| deltas.last().unwrap()), expected.map(finish).as_ref().map_err(|code| *code));
    }
}

#[test]
fn reasons_are_mapped() {
    for (name, reason) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("pause_turn", FinishReason::Stop),
        ("of_the_future", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::ContentFilter),
    ] {
        let body = format!(r#"{{"type":"message","content":[],"stop_reason":"{name}"}}"#);
        let (deltas, ended) = read(&Anthropic, "application/json", [body.as_bytes()]);
        assert_eq!((deltas, ended), (vec![finish(reason)], Ok(())), "{name}");
    }
}

#[test]
fn counts_may_come_in_parts() {
    let (deltas, _) = read_events(
        &Anthropic,
        &[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":null}}}"#,
            r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":2,"input_tokens":6,"cache_read_input_tokens":4}}"#,
        ],
    );
    assert_eq!(deltas, [usage(5, 0, 0), usage(10, 2, 4)]);
}

#[test]
fn what_is_unknown_is_ignored() {
    let (deltas, ended) = read_events(
        &Anthropic,
        &[
            r#"{"type":"of_the_future","index":"x","delta":3,"message":[]}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"of_the_future","text":5,"id":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"of_the_future","text":5}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"w","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            SAID,
            ENDED,
            STOP,
        ],
    );
    assert_eq!((deltas, ended), (vec![text("a"), finish(FinishReason::Stop)], Ok(())));
}

#[test]
fn arguments_may_come_with_the_start() {
    let (deltas, ended) = read_events(
        &Anthropic,
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"add","input":{"a":1}}}"#,
            ENDED,
            STOP,
        ],
    );
    assert_eq!((deltas, ended), (vec![call("t", "add", "{\"a\":1}"), finish(FinishReason::ToolCalls)], Ok(())));
}

#[test]
fn an_error_inside_a_reply_ends_it() {
    for (error, code) in [
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, "upstream_unavailable"),
        (r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, "upstream_unavailable"),
        (r#"{"type":"error","error":{"type":"invalid_request_error","message":"x"}}"#, "upstream_refused"),
        (r#"{"type":"error"}"#, "upstream_refused"),
    ] {
        let (deltas, ended) = read_events(&Anthropic, &[START, SAID, error]);
        assert_eq!((deltas, ended.unwrap_err().code()), (vec![text("a")], code), "{error}");
        let (_, ended) = read(&Anthropic, "application/json", [error.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{error}");
    }
}

#[test]
fn requests_extend_each_other() {
    assert_requests_extend_each_other(&Anthropic);
}

#[test]
fn items_are_written_as_messages() {
    let parts = |parts: &[Part]| Item::Message { role: Role::User, parts: parts.to_vec(), cut: false };
    let body = body(
        &Anthropic,
        &[
            parts(&[Part::Text("a".into()), Part::Text(" \n".into()), Part::Image("https://e.test/a".into())]),
            Item::Think { by: "anthropic".into(), blob: r#"{"type":"thinking", "signature":"s"}"#.into() },
            Item::Think { by: "other".into(), blob: r#"{"type":"thinking"}"#.into() },
            Item::text(Role::Assistant, "adding"),
            call_item("c1", "add", " {\"a\": 1}"),
            call_item("c2", "now", "{"),
            result_item("c1", "3"),
            Item::Result {
                id: "c2".into(),
                out: Output::Parts(vec![Part::Image("data:image/png;x=y;base64,AA==".into())]),
                error: true,
            },
            Item::text(Role::User, "go on"),
            Item::text(Role::User, " "),
            Item::text(Role::Assistant, ""),
            call_item("c3", "now", "[]"),
            result_item("c3", ""),
        ],
    );
    let expected = [
        r#"{"model":"m-1","max_tokens":4096,"system":"Be kind.","stream":false,"messages":["#,
        r#"{"role":"user","content":[{"type":"text","text":"a"},"#,
        r#"{"type":"image","source":{"type":"url","url":"https://e.test/a"}}]},"#,
        r#"{"role":"assistant","content":[{"type":"thinking", "signature":"s"},{"type":"text","text":"adding"},"#,
        r#"{"type":"tool_use","id":"c1","name":"add","input":{"a": 1}},"#,
        r#"{"type":"tool_use","id":"c2","name":"now","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"3"}]},"#,
        r#"{"type":"tool_result","tool_use_id":"c2","content":[{"type":"image","source":"#,
        r#"{"type":"base64","media_type":"image/png","data":"AA=="}}],"is_error":true},{"type":"text","text":"go on"}]},"#,
        r#"{"role":"user","content":[{"type":"text","text":"(no text)"}]},"#,
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"c3","name":"now","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c3"}]}]}"#,
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn an_inline_image_must_be_base64() {
    for (url, is_good) in [
        ("data:image/png;base64,AA==", true),
        ("DATA:image/png;BASE64,AA==", true),
        ("data:image/svg+xml,<svg/>", false),
        ("data:image/png;base64", false),
        ("data:,", false),
        ("data:", false),
    ] {
        let items = [Item::Message { role: Role::User, parts: vec![Part::Image(url.into())], cut: false }];
        let options = &ModelOptions::default();
        let call = ModelCall {
            model: "m",
            provider: "anthropic",
            prompt_cache: false,
            system: None,
            items: &items,
            options,
            stream: false,
        };
        let code = Anthropic.request(&call).map(drop).map_err(|error| error.code());
        assert_eq!(code, if is_good { Ok(()) } else { Err("unsupported") }, "{url}");
    }
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
    let request = request(&Anthropic, &[Item::text(Role::User, "a")], &options, true);
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/messages"));
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["anthropic-version"], "2023-06-01");
    let expected = [
        r#"{"model":"m-1","max_tokens":5,"system":"Be kind.","temperature":1,"tools":["#,
        r#"{"name":"add","description":"Adds.","input_schema":{ "type":"object" }},"#,
        r#"{"name":"now","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"add"},"#,
        r#""stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#,
    ];
    assert_eq!(str::from_utf8(request.body()).unwrap(), expected.concat());
}

#[test]
fn a_tool_choice_goes_with_tools_only() {
    let items = [Item::text(Role::User, "a")];
    for (choice, written) in [(ToolChoice::Auto, "auto"), (ToolChoice::None, "none"), (ToolChoice::Required, "any")] {
        let tools = vec![Tool { name: "f".into(), description: None, parameters: None, strict: None }];
        for (tools, is_written) in [(tools, true), (vec![], false)] {
            let options = ModelOptions { tools, tool_choice: Some(choice.clone()), ..ModelOptions::default() };
            let request = request(&Anthropic, &items, &options, false);
            let body = str::from_utf8(request.body()).unwrap();
            assert_eq!(body.contains(&format!(r#""tool_choice":{{"type":"{written}"}}"#)), is_written);
            assert!(is_written || !body.contains("tool"));
        }
    }
}

#[test]
fn the_key_travels_bare() {
    let (name, prefix) = Anthropic.credential();
    assert_eq!((name.as_str(), prefix), ("x-api-key", ""));
}
