mod near_right;

use serde_json::value::RawValue;

use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::{COMPATIBLE, testing::*},
    turn::{Delta, FinishReason, ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice, Usage},
};

const STREAM: &str = "text/event-stream; charset=utf-8";

/// A stream of api.anthropic.com: thinking, text, a call, thinking, another call.
const CALLS: &str = r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929","id":"msg_01","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":3},"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m é\n"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB/w=="}}

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
data: {"type":"content_block_start","index":3,"content_block":{"type":"redacted_thinking", "data":"EmwK+/8="}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_02","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":40}}}

event: message_stop
data: {"type":"message_stop"}

"#;

const BODY: &str = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"thinking","thinking":"h\"m é\n","signature":"EqQB/w=="},{"type":"text","text":"hé"},{"type":"server_tool_use","id":"s","name":"web_search","input":{"q":1}},{"type":"tool_use","id":"toolu_01","name":"add","input":{"a": 1}},{"type":"redacted_thinking", "data":"EmwK+/8="},{"type":"tool_use","id":"toolu_02","name":"now","input":{ }}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"output_tokens":89,"output_tokens_details":{"thinking_tokens":40}}}"#;

const THINKING: &str = r#"{"type":"thinking","thinking":"h\"m é\n","signature":"EqQB/w=="}"#;
const REDACTED: &str = r#"{"type":"redacted_thinking", "data":"EmwK+/8="}"#;

const START: &str = r#"{"type":"message_start","message":{}}"#;
const TEXT_DELTA: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
const END_REASON: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn finish(reason: FinishReason) -> Delta {
    Delta::Finish(reason)
}

/// The counts of [`CALLS`] and [`BODY`].
fn counts(output_tokens: u64, reasoning_tokens: u64) -> Delta {
    let (input_tokens, cached_tokens, cache_written_tokens) = (128, 100, 3);
    Delta::Usage(Usage {
        input_tokens,
        output_tokens,
        cached_tokens,
        cache_written_tokens,
        reasoning_tokens,
        estimated: false,
    })
}

/// The last deltas of [`CALLS`] and [`BODY`].
fn ending() -> [Delta; 4] {
    [
        call("toolu_01", "add", "{\"a\": 1}"),
        think("anthropic", REDACTED),
        call("toolu_02", "now", "{}"),
        finish(FinishReason::ToolCalls),
    ]
}

#[test]
fn streams_read_the_same_at_every_split() {
    let start = [counts(1, 0), think("anthropic", THINKING), text("Žluť 🐎🐎"), counts(89, 40)];
    let expected = [&start[..], &ending()].concat();
    assert_eq!(read_at_every_cut(&Anthropic, STREAM, CALLS.as_bytes()), expected);
    assert_eq!(read_at_every_cut(&Anthropic, STREAM, CALLS.replace('\n', "\r\n").as_bytes()), expected);
}

#[test]
fn bodies_read_the_same_at_every_split() {
    let start = [think("anthropic", THINKING), text("hé"), counts(89, 40)];
    let expected = [&start[..], &ending()].concat();
    assert_eq!(read_at_every_cut(&Anthropic, "application/json", BODY.as_bytes()), expected);
}

#[test]
fn thinking_that_cannot_be_sent_back_is_dropped() {
    let start = |signature: &str| {
        format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"thinking","thinking":"a"{signature}}}}}"#
        )
    };
    let [delta, signed, stop] = [
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"b"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
    ];
    let complete = r#"{"type":"thinking","thinking":"ab","signature":"s"}"#;
    for (events, reasoning) in [
        (&[&*start(r#","signature":"""#), delta, signed, stop][..], Some(complete)),
        (&[&*start(r#","signature":"s""#), delta, stop], Some(complete)),
        (&[&*start(""), delta, stop], None),
        (&[&*start(r#","signature":null"#), delta, stop], None),
        (&[&*start(""), delta, signed], None),
        (&[delta, signed, stop], None),
        (&[&*start(""), signed, r#"{"type":"content_block_stop","index":1}"#], None),
    ] {
        let (deltas, ended) = read_events(&Anthropic, &[&[START], events, &[TEXT_DELTA, END_REASON, STOP]].concat());
        let reasoning = reasoning.map(|blob| think("anthropic", blob));
        let expected: Vec<_> = reasoning.into_iter().chain([text("a"), finish(FinishReason::Stop)]).collect();
        assert_eq!((deltas, ended), (expected, Ok(())), "{events:?}");
    }
}

#[test]
fn thinking_is_limited() {
    let delta = format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"thinking_delta","thinking":"{}"}}}}"#,
        "a".repeat(1_000)
    );
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#;
    for (times, is_accepted) in [(8, true), (9, false)] {
        let events = [&[START, start][..], &vec![&*delta; times], &[TEXT_DELTA, END_REASON, STOP]].concat();
        assert_eq!(read_events(&Anthropic, &events).1.is_ok(), is_accepted, "{times}");
    }
}

#[test]
fn a_changed_byte_never_breaks_the_reader() {
    for (content_type, reply) in [(STREAM, CALLS), ("application/json", BODY)] {
        read_with_every_byte_changed(&Anthropic, content_type, reply.as_bytes());
    }
}

#[test]
fn a_stream_is_complete_with_a_reason_or_with_message_stop() {
    for (events, expected) in [
        (&[START, TEXT_DELTA, END_REASON, STOP][..], Ok(FinishReason::Stop)),
        (&[START, END_REASON, STOP], Ok(FinishReason::Stop)),
        (&[START, TEXT_DELTA, STOP], Ok(FinishReason::Stop)),
        (&[START, TEXT_DELTA, END_REASON], Ok(FinishReason::Stop)),
        (&[START, TEXT_DELTA], Err("upstream_cut")),
        (&[START, STOP], Err("upstream_unavailable")),
    ] {
        let (deltas, ended) = read_events(&Anthropic, events);
        let reason = ended.map_err(|error| error.code());
        assert_eq!(reason.map(|()| deltas.last().unwrap()), expected.map(finish).as_ref().map_err(|code| *code));
    }
}

#[test]
fn finish_reasons_are_mapped() {
    for (name, reason) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("pause_turn", FinishReason::Stop),
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
fn unknown_events_and_items_are_ignored() {
    let (deltas, ended) = read_events(
        &Anthropic,
        &[
            r#"{"type":"of_the_future","index":"x","delta":3,"message":[]}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"of_the_future","text":5,"id":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"of_the_future","text":5}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"w","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            TEXT_DELTA,
            END_REASON,
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
            END_REASON,
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
        (r#"{"type":"error"}"#, "upstream_unavailable"),
    ] {
        let (deltas, ended) = read_events(&Anthropic, &[START, TEXT_DELTA, error]);
        assert_eq!((deltas, ended.unwrap_err().code()), (vec![text("a")], code), "{error}");
        let (_, ended) = read(&Anthropic, "application/json", [error.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{error}");
    }
}

#[test]
fn an_id_of_another_form_goes_back_only_to_the_service_that_gave_it() {
    let longest = "x".repeat(64);
    for (id, is_plain) in [("toolu_01", true), (&*longest, true), (&*format!("{longest}x"), false), ("f.look:0", false)]
    {
        let block = format!(r#"{{"type":"tool_use","id":"{id}","name":"look","input":{{}}}}"#);
        let body = format!(r#"{{"type":"message","content":[{block}],"stop_reason":"tool_use"}}"#);
        let (deltas, ended) = read(&Anthropic, "application/json", [body.as_bytes()]);
        let mark = format!(r#"{{"for":"call","id":"{id}","members":{{}}}}"#);
        let marks: &[Delta] = if is_plain { &[] } else { &[think("anthropic", &mark)] };
        let end = [call(id, "look", "{}"), finish(FinishReason::ToolCalls)];
        assert_eq!((deltas, ended), ([marks, &end].concat(), Ok(())));

        let sent_to = |provider_id: &str| {
            let start = [Item::text(Role::User, "q"), think_item(provider_id, &mark)];
            let loops = [call_item(id, "look", "{}"), result_item(id, "1")];
            self::body(&Anthropic, &[&start[..], &loops].concat())
        };
        let [own, other] = [sent_to("anthropic"), sent_to("anthropic@other.test")];
        assert_eq!(own.matches(&format!("\"{id}\"")).count(), 2, "{own}");
        assert_eq!(own == other, is_plain, "{other}");
        assert!(!own.contains("\"for\"") && !own.contains("members"), "{own}");
    }
}

#[test]
fn each_request_begins_with_the_previous_one() {
    assert_each_request_begins_with_the_previous_one(&Anthropic);
}

#[test]
fn items_are_written_as_messages() {
    let parts = |parts: &[Part]| Item::Message { role: Role::User, parts: parts.to_vec(), cut: false };
    let body = body(
        &Anthropic,
        &[
            parts(&[Part::Text("a".into()), Part::Text(" \n".into()), Part::Image("https://e.test/a".into())]),
            think_item("anthropic", r#"{"type":"thinking", "signature":"s"}"#),
            think_item("other", r#"{"type":"thinking"}"#),
            think_item("anthropic@other.test", r#"{"type":"thinking"}"#),
            think_item("anthropic", "[]"),
            Item::text(Role::Assistant, "adding"),
            call_item("c1", "add", " {\"a\": 1}"),
            call_item("c2", "now", "{"),
            result_item("c1", "3"),
            Item::Result {
                id: "c2".into(),
                out: Output::Parts(vec![Part::Image("data:image/png;x=y;base64,AA==".into())]),
                error: true,
            },
            Item::text(Role::User, "continue"),
            Item::text(Role::User, " "),
            Item::text(Role::Assistant, ""),
            call_item("c3", "now", "[]"),
            result_item("c3", ""),
            think_item("anthropic", r#"{"type":"redacted_thinking"}"#),
            Item::text(Role::Assistant, ""),
            Item::text(Role::User, "?"),
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
        r#"{"type":"base64","media_type":"image/png","data":"AA=="}}],"is_error":true},{"type":"text","text":"continue"}]},"#,
        r#"{"role":"user","content":[{"type":"text","text":"(no text)"}]},"#,
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"c3","name":"now","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c3"}]},"#,
        r#"{"role":"assistant","content":[{"type":"redacted_thinking"},{"type":"text","text":"(no text)"}]},"#,
        r#"{"role":"user","content":[{"type":"text","text":"?"}]}]}"#,
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn an_inline_image_must_be_base64() {
    for (url, is_accepted) in [
        ("data:image/png;base64,AA==", true),
        ("DATA:image/png;BASE64,AA==", true),
        ("data:image/svg+xml,<svg/>", false),
        ("data:image/png;base64", false),
        ("data:,", false),
        ("data:", false),
    ] {
        let items = [Item::Message { role: Role::User, parts: vec![Part::Image(url.into())], cut: false }];
        let code = Anthropic
            .request(&model_call(&Anthropic, &items, &ModelOptions::default()))
            .map(drop)
            .map_err(|error| error.code());
        assert_eq!(code, if is_accepted { Ok(()) } else { Err("unsupported") }, "{url}");
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
fn a_tool_choice_is_written_only_with_tools() {
    let items = [Item::text(Role::User, "a")];
    for (choice, written) in [(ToolChoice::Auto, "auto"), (ToolChoice::None, "none"), (ToolChoice::Required, "any")] {
        let tools = vec![tool("f", None)];
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
fn the_key_is_sent_without_a_prefix() {
    let (name, prefix) = Anthropic.credential();
    assert_eq!((name.as_str(), prefix), ("x-api-key", ""));
}

/// The body of a call with prompt caching.
fn marked_body(items: &[Item], options: &ModelOptions, system: Option<&str>) -> String {
    let call = ModelCall { prompt_cache: true, system, ..model_call(&Anthropic, items, options) };
    text_of(&Anthropic.request(&call).unwrap())
}

const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;

#[test]
fn the_ends_of_this_prompt_and_the_previous_one_are_marked() {
    let picture = Part::Image("https://e.test/a".into());
    let items = [
        Item::text(Role::User, "a"),
        Item::text(Role::User, "b"),
        Item::text(Role::Assistant, "c"),
        call_item("c1", "now", "{}"),
        result_item("c1", "1"),
        Item::Message { role: Role::User, parts: vec![Part::Text("d".into()), picture], cut: false },
    ];
    let expected = [
        r#"{"model":"m-1","max_tokens":4096,"#,
        r#""system":[{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}}],"#,
        r#""tools":[{"name":"now","input_schema":{"type":"object"}}],"stream":false,"messages":["#,
        r#"{"role":"user","content":[{"type":"text","text":"a"}]},"#,
        r#"{"role":"user","content":[{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]},"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"c"},"#,
        r#"{"type":"tool_use","id":"c1","name":"now","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"1"}]},"#,
        r#"{"type":"text","text":"d"},{"type":"image","source":{"type":"url","url":"https://e.test/a"},"#,
        r#""cache_control":{"type":"ephemeral"}}]}]}"#,
    ];
    let options = ModelOptions { tools: vec![tool("now", None)], ..ModelOptions::default() };
    assert_eq!(marked_body(&items, &options, Some("Be kind.")), expected.concat());
}

#[test]
fn without_a_system_prompt_the_tools_are_marked() {
    let options = ModelOptions { tools: vec![tool("one", None), tool("two", None)], ..ModelOptions::default() };
    for system in [None, Some(" ")] {
        let body = marked_body(&[Item::text(Role::User, "a")], &options, system);
        let tools = r#""tools":[{"name":"one","input_schema":{"type":"object"}},{"name":"two","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}]"#;
        assert!(body.contains(tools) && body.matches(MARK).count() == 2, "{body}");
    }
}

#[test]
fn only_the_cache_marks_change_between_turns() {
    let (mut items, mut before) = (Vec::new(), None::<String>);
    for (input, reply) in conversation("anthropic") {
        items.extend(input);
        let marked = marked_body(&items, &ModelOptions::default(), Some("Be kind."));
        let plain = body(&Anthropic, &items);
        let (_, messages) = plain.split_once(r#""messages":"#).unwrap();
        assert!(marked.replace(MARK, "").ends_with(&format!(r#""messages":{messages}"#)), "{marked}");
        let marks: Vec<_> = marked.match_indices(MARK).map(|(at, _)| marked[..at].replace(MARK, "")).collect();
        assert_eq!(marks.len(), if before.is_some() { 3 } else { 2 });
        // This request looks for the entry that the previous request put into the cache.
        if let Some(before) = before {
            assert_eq!(marks[1], before);
        }
        before = marks.last().cloned();
        items.extend(reply);
    }
}

#[test]
fn other_options_are_written_if_the_format_has_them() {
    let schema = schema_format();
    let reasoning = |thinking, effort| Reasoning { thinking, effort, summary: Some("auto"), effort_most: None };
    for (options, written) in [
        (
            ModelOptions {
                top_p: Some(1.into()),
                seed: Some(7),
                stop: vec!["a".into(), "b".into()],
                ..ModelOptions::default()
            },
            r#""max_tokens":4096,"system":"Be kind.","top_p":1,"stop_sequences":["a","b"],"stream":false"#,
        ),
        (
            ModelOptions { format: schema, ..ModelOptions::default() },
            r#""max_tokens":4096,"system":"Be kind.","output_config":{"format":{"type":"json_schema","schema":{ "type":"object" }}},"stream""#,
        ),
        (
            ModelOptions { reasoning: reasoning(Some(Thinking::Budget(2_000)), None), ..ModelOptions::default() },
            r#""max_tokens":6096,"system":"Be kind.","thinking":{"type":"enabled","budget_tokens":2000},"stream""#,
        ),
        (
            ModelOptions { reasoning: reasoning(Some(Thinking::Disabled), Some("high")), ..ModelOptions::default() },
            r#""max_tokens":4096,"system":"Be kind.","thinking":{"type":"disabled"},"output_config":{"effort":"high"},"stream""#,
        ),
        (
            ModelOptions { reasoning: reasoning(None, Some("minimal")), ..ModelOptions::default() },
            r#""max_tokens":16384,"system":"Be kind.","thinking":{"type":"adaptive"},"output_config":{"effort":"low"},"stream""#,
        ),
        (
            ModelOptions { reasoning: reasoning(Some(Thinking::Disabled), Some("ultra")), ..ModelOptions::default() },
            r#""max_tokens":4096,"system":"Be kind.","thinking":{"type":"disabled"},"output_config":{"effort":"max"},"stream""#,
        ),
        (
            ModelOptions { reasoning: reasoning(None, Some("none")), ..ModelOptions::default() },
            r#""max_tokens":4096,"system":"Be kind.","thinking":{"type":"disabled"},"stream""#,
        ),
        (
            ModelOptions {
                reasoning: reasoning(Some(Thinking::Adaptive), None),
                max_output_tokens: Some(9),
                ..ModelOptions::default()
            },
            r#""max_tokens":9,"system":"Be kind.","thinking":{"type":"adaptive"},"stream""#,
        ),
        (
            ModelOptions { tools: vec![tool("f", Some(true)), tool("g", Some(false))], ..ModelOptions::default() },
            r#""tools":[{"name":"f","input_schema":{"type":"object"},"strict":true},{"name":"g","input_schema":{"type":"object"}}],"stream""#,
        ),
    ] {
        let body = options_body(&Anthropic, &options);
        assert!(body.contains(written), "{body}");
    }
    assert_eq!(
        refused(&Anthropic, &ModelOptions { format: ReplyFormat::Json, ..ModelOptions::default() }),
        "unsupported"
    );
}

#[test]
fn single_calls_are_written_as_a_tool_choice() {
    let named = ToolChoice::Tool("f".into());
    for (parallel, choice, written) in [
        (Some(false), None, Some(r#"{"type":"auto","disable_parallel_tool_use":true}"#)),
        (Some(false), Some(ToolChoice::Required), Some(r#"{"type":"any","disable_parallel_tool_use":true}"#)),
        (Some(false), Some(named), Some(r#"{"type":"tool","name":"f","disable_parallel_tool_use":true}"#)),
        (Some(false), Some(ToolChoice::None), Some(r#"{"type":"none"}"#)),
        (Some(true), Some(ToolChoice::Auto), Some(r#"{"type":"auto"}"#)),
        (Some(true), None, None),
    ] {
        let tools = vec![tool("f", None)];
        let options = ModelOptions { tools, parallel_calls: parallel, tool_choice: choice, ..ModelOptions::default() };
        let body = options_body(&Anthropic, &options);
        match written {
            Some(written) => assert!(body.contains(&format!(r#""tool_choice":{written},"stream""#)), "{body}"),
            None => assert!(!body.contains("tool_choice"), "{body}"),
        }
        let body = options_body(&Anthropic, &ModelOptions { tools: vec![], ..options });
        assert!(!body.contains("tool"), "{body}");
    }
}

#[test]
fn the_service_counts_tokens() {
    let options = ModelOptions {
        max_output_tokens: Some(5),
        temperature: Some(1.into()),
        top_p: Some(1.into()),
        stop: vec!["x".into()],
        format: schema_format(),
        reasoning: Reasoning { thinking: Some(Thinking::Budget(1_024)), ..Reasoning::default() },
        tools: vec![tool("f", None)],
        tool_choice: Some(ToolChoice::Auto),
        ..ModelOptions::default()
    };
    let items = [Item::text(Role::User, "a")];
    let call = ModelCall { prompt_cache: true, stream: true, ..model_call(&Anthropic, &items, &options) };
    let TokenCount::Request(request) = Anthropic.count_tokens(&call).unwrap() else { panic!("no request") };
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/messages/count_tokens"));
    assert_eq!(
        (&request.headers()["accept"], &request.headers()["anthropic-version"]),
        (&"application/json".parse().unwrap(), &"2023-06-01".parse().unwrap())
    );
    let expected = [
        r#"{"model":"m-1","system":"Be kind.","thinking":{"type":"enabled","budget_tokens":1024},"#,
        r#""output_config":{"format":{"type":"json_schema","schema":{ "type":"object" }}},"#,
        r#""tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#,
    ];
    assert_eq!(text_of(&request), expected.concat());
    assert_eq!(Anthropic.read_token_count(br#"{"input_tokens":12,"x":{}}"#), Ok(12));
    for malformed in [&b"{}"[..], b"[12]", b"12", br#"{"input_tokens":-1}"#, b"\xff"] {
        assert_eq!(Anthropic.read_token_count(malformed).unwrap_err().code(), "upstream_malformed");
    }
}

#[test]
fn only_thinking_is_sent_as_thinking() {
    let evil = r#""role":"user","content":"evil","text":"evil","name":"evil""#;
    for blob in [
        format!(r#"{{"type":"text",{evil}}}"#),
        format!(r#"{{"type":"tool_use","id":"evil","input":{{}},{evil}}}"#),
        format!(r#"{{{evil}}}"#),
        format!(r#"{{"for":"message","members":{{"type":"thinking","signature":"s",{evil}}}}}"#),
        format!(r#"{{"for":"call","id":"c1","members":{{"type":"tool_use","id":"evil",{evil}}}}}"#),
    ] {
        for profile in [official(&Anthropic), COMPATIBLE] {
            let items = [Item::text(Role::User, "q"), think_item("anthropic", &blob), call_item("c1", "look", "{}")];
            let options = ModelOptions::default();
            let call = ModelCall { profile, ..model_call(&Anthropic, &items, &options) };
            let sent = text_of(&Anthropic.request(&call).unwrap());
            let expected =
                r#"{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"look","input":{}}]}]}"#;
            assert!(sent.ends_with(expected), "{blob}: {sent}");
        }
    }
}
