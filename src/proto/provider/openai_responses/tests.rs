mod near_right;

use serde_json::value::RawValue;

use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::{COMPATIBLE, testing::*},
    turn::{Delta, FinishReason, ModelOptions, Reasoning, ReplyFormat, Thinking, Tool, ToolChoice, Usage},
};

const OFFICIAL: OpenAiResponses = OpenAiResponses;
const STREAM: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

/// A stream of api.openai.com: reasoning, text in two parts.
const TEXT: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","status":"in_progress","output":[]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_1","type":"reasoning","encrypted_content":"gAAA","summary":[]}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"hm"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"id":"rs_1", "type":"reasoning","encrypted_content":"gAAAAABp/+==","summary":[{"type":"summary_text","text":"hm é"}]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":5,"output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":6,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":7,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Žluť","logprobs":[],"obfuscation":"x7"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":8,"item_id":"msg_1","output_index":1,"content_index":0,"delta":" \ud83d\udc0e🐎","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":9,"item_id":"msg_1","output_index":1,"content_index":0,"text":"Žluť 🐎🐎","logprobs":[]}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":10,"output_index":1,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Žluť 🐎🐎"}],"role":"assistant"}}

event: response.completed
data: {"type":"response.completed","sequence_number":11,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"output":[{"id":"msg_1"}],"usage":{"input_tokens":19,"input_tokens_details":{"cached_tokens":7,"cache_write_tokens":2},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":29}}}

"#;

/// A call, reasoning, another call; the first one in fragments.
const CALLS: &str = r#"data: {"type":"response.output_item.added","output_index":0,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_a","name":"add"}}

data: {"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":"{\"a\""}

data: {"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":": 1}"}

data: {"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":0,"arguments":"{\"a\": 1}"}

data: {"type":"response.output_item.done","output_index":0,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"a\": 1}","call_id":"call_a","name":"add"}}

data: {"type":"response.output_item.done","output_index":1,"item":{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"gB"}}

data: {"type":"response.output_item.done","output_index":2,"item":{"id":"fc_2","type":"function_call","call_id":"call_b","name":"now","arguments":""}}

data: {"type":"response.completed","response":{"status":"completed"}}

"#;

const BODY: &str = r#"{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"id":"rs_1", "type":"reasoning","encrypted_content":"gAAAAABp/+==","summary":[{"type":"summary_text","text":"hm é"}]},{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":"h"},{"type":"output_text","annotations":[],"text":"é"}]},{"id":"ws_1","type":"web_search_call","status":"completed"},{"id":"fc_1","type":"function_call","call_id":"call_a","name":"add","arguments":"{\"a\": 1}"},{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"gB"},{"id":"fc_2","type":"function_call","call_id":"call_b","name":"now","arguments":""}],"usage":{"input_tokens":19,"input_tokens_details":{"cached_tokens":7,"cache_write_tokens":2},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":29}}"#;

const REASONING: &str = r#"{"id":"rs_1", "type":"reasoning","encrypted_content":"gAAAAABp/+==","summary":[{"type":"summary_text","text":"hm é"}]}"#;

const TEXT_DELTA: &str = r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#;
const COMPLETED: &str = r#"{"type":"response.completed","response":{}}"#;

fn finish(reason: FinishReason) -> Delta {
    Delta::Finish(reason)
}

/// The counts of [`TEXT`] and [`BODY`].
fn counts() -> Delta {
    Delta::Usage(Usage {
        input_tokens: 19,
        output_tokens: 10,
        cached_tokens: 7,
        cache_written_tokens: 2,
        reasoning_tokens: 4,
        estimated: false,
    })
}

/// The last deltas of [`CALLS`] and [`BODY`].
fn calls() -> [Delta; 4] {
    [
        call("call_a", "add", "{\"a\": 1}"),
        think(NAME, r#"{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"gB"}"#),
        call("call_b", "now", "{}"),
        finish(FinishReason::ToolCalls),
    ]
}

#[test]
fn streams_read_the_same_at_every_split() {
    let expected = [think(NAME, REASONING), text("Žluť"), text(" 🐎🐎"), counts(), finish(FinishReason::Stop)];
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, TEXT.as_bytes()), expected);
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, TEXT.replace('\n', "\r\n").as_bytes()), expected);
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, CALLS.as_bytes()), calls());
}

#[test]
fn bodies_read_the_same_at_every_split() {
    let expected = [&[think(NAME, REASONING), text("h"), text("é"), counts()], &calls()[..]].concat();
    assert_eq!(read_at_every_cut(&OFFICIAL, JSON, BODY.as_bytes()), expected);
}

#[test]
fn a_changed_byte_never_breaks_the_reader() {
    for (content_type, reply) in [(STREAM, TEXT), (STREAM, CALLS), (JSON, BODY)] {
        read_with_every_byte_changed(&OFFICIAL, content_type, reply.as_bytes());
    }
}

#[test]
fn a_stream_is_complete_only_with_its_last_event() {
    let incomplete =
        r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#;
    for (events, expected) in [
        (&[TEXT_DELTA, COMPLETED][..], Ok(FinishReason::Stop)),
        (&[COMPLETED], Ok(FinishReason::Stop)),
        (
            &[TEXT_DELTA, r#"{"type":"response.completed","response":{"status":"incomplete"}}"#],
            Ok(FinishReason::Length),
        ),
        (&[TEXT_DELTA, incomplete, "[DONE]"], Ok(FinishReason::Length)),
        (&[TEXT_DELTA, r#"{"type":"response.output_text.done","text":"a"}"#], Err("upstream_cut")),
        (&[TEXT_DELTA], Err("upstream_cut")),
        (&[TEXT_DELTA, "[DONE]"], Err("upstream_cut")),
        (&[TEXT_DELTA, r#"{"type":"response.completed"}"#], Ok(FinishReason::Stop)),
    ] {
        let (deltas, ended) = read_events(&OFFICIAL, events);
        let reason = ended.map_err(|error| error.code());
        assert_eq!(reason.map(|()| deltas.last().unwrap()), expected.map(finish).as_ref().map_err(|code| *code));
    }
}

#[test]
fn finish_reasons_are_mapped() {
    for (end, reason) in [
        (r#""status":"completed""#, FinishReason::Stop),
        (r#""status":"COMPLETED""#, FinishReason::Stop),
        (r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#, FinishReason::Length),
        (r#""status":"incomplete","incomplete_details":{"reason":"of_the_future"}"#, FinishReason::Length),
        (r#""status":"incomplete""#, FinishReason::Length),
        (r#""status":"incomplete","incomplete_details":{"reason":"content_filter"}"#, FinishReason::ContentFilter),
    ] {
        let (deltas, ended) = read(&OFFICIAL, JSON, [format!(r#"{{"output":[],{end}}}"#).as_bytes()]);
        assert_eq!((deltas.last(), ended), (Some(&finish(reason)), Ok(())), "{end}");
    }
    for status in ["in_progress", "queued"] {
        let (_, ended) = read(&OFFICIAL, JSON, [format!(r#"{{"output":[],"status":"{status}"}}"#).as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), "upstream_malformed", "{status}");
    }
}

#[test]
fn a_cut_call_is_left_out() {
    let incomplete =
        r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#;
    let (deltas, ended) = read_events(
        &OFFICIAL,
        &[
            TEXT_DELTA,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a"}"#,
            incomplete,
        ],
    );
    assert_eq!((deltas, ended), (vec![text("a"), finish(FinishReason::Length)], Ok(())));
}

#[test]
fn a_refusal_is_text_with_a_filter_reason() {
    let expected = vec![text("I "), text("can't."), finish(FinishReason::ContentFilter)];
    let streamed = read_events(
        &OFFICIAL,
        &[
            r#"{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"I "}"#,
            r#"{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"can't."}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"refusal","refusal":"I can't."}]}}"#,
            COMPLETED,
        ],
    );
    assert_eq!(streamed, (expected, Ok(())));
    let body = r#"{"output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}],"status":"completed"}"#;
    let expected = vec![text("No."), finish(FinishReason::ContentFilter)];
    assert_eq!(read(&OFFICIAL, JSON, [body.as_bytes()]), (expected, Ok(())));
}

#[test]
fn a_message_without_pieces_is_read_from_its_item() {
    let message = |text: &str| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":0,"item":{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}}}"#
        )
    };
    let (first, second) = (message("a"), message("b"));
    let (deltas, ended) = read_events(&OFFICIAL, &[TEXT_DELTA, &first, &second, COMPLETED]);
    assert_eq!((deltas, ended), (vec![text("a"), text("b"), finish(FinishReason::Stop)], Ok(())));
}

#[test]
fn reasoning_that_cannot_be_sent_back_is_dropped() {
    for (members, is_kept) in [
        (r#""id":"rs","summary":[],"encrypted_content":"g""#, true),
        (r#""id":"rs","summary":[],"encrypted_content":"g","status":"completed","content":[]"#, true),
        (r#""id":"rs","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]"#, true),
        (r#""id":"rs","summary":[]"#, false),
        (r#""id":"rs","summary":[],"encrypted_content":null,"content":null,"status":null"#, false),
        (r#""id":"rs","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"","content":[]"#, false),
        (r#""id":"rs","summary":[],"encrypted_content":"g","status":"incomplete""#, false),
    ] {
        let item = format!(r#"{{"type":"reasoning",{members}}}"#);
        let event = format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#);
        let (deltas, ended) = read_events(&OFFICIAL, &[&event, TEXT_DELTA, COMPLETED]);
        let reasoning = is_kept.then(|| think(NAME, &item));
        let expected: Vec<_> = reasoning.into_iter().chain([text("a"), finish(FinishReason::Stop)]).collect();
        assert_eq!((deltas, ended), (expected, Ok(())), "{members}");
        let body = format!(r#"{{"output":[{item}],"status":"completed"}}"#);
        assert_eq!(read(&OFFICIAL, JSON, [body.as_bytes()]).0.len(), if is_kept { 2 } else { 1 });
    }
}

#[test]
fn unknown_events_and_items_are_ignored() {
    let (deltas, ended) = read_events(
        &OFFICIAL,
        &[
            r#"{"type":"of_the_future","output_index":"x","item":3,"response":[]}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"of_the_future","call_id":5}}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"of_the_future","content":5}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","content":[{"type":"of_the_future"}]}}"#,
            TEXT_DELTA,
            COMPLETED,
        ],
    );
    assert_eq!((deltas, ended), (vec![text("a"), finish(FinishReason::Stop)], Ok(())));
}

#[test]
fn calls_and_reasoning_are_limited() {
    let open = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}"#;
    let args = format!(
        r#"{{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}}"#,
        "1".repeat(1_000)
    );
    let reasoning = format!(
        r#"{{"type":"response.output_item.done","output_index":1,"item":{{"type":"reasoning","encrypted_content":"{}"}}}}"#,
        "g".repeat(950)
    );
    for piece in [&args, &reasoning] {
        for (times, is_accepted) in [(8, true), (9, false)] {
            let events = [&[open][..], &vec![&**piece; times], &[COMPLETED]].concat();
            assert_eq!(read_events(&OFFICIAL, &events).1.is_ok(), is_accepted, "{times}");
        }
    }
}

#[test]
fn an_error_inside_a_reply_ends_it() {
    for (error, code) in [
        (
            r#"{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":3}"#,
            "upstream_unavailable",
        ),
        (r#"{"type":"error","error":{"type":"server_error","code":null,"message":"m"}}"#, "upstream_unavailable"),
        (r#"{"type":"error","code":"invalid_prompt","message":"m"}"#, "upstream_refused"),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}"#,
            "upstream_unavailable",
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}"#,
            "upstream_refused",
        ),
        (r#"{"type":"response.failed","response":{"error":null}}"#, "upstream_unavailable"),
    ] {
        let (deltas, ended) = read_events(&OFFICIAL, &[TEXT_DELTA, error]);
        assert_eq!((deltas, ended.unwrap_err().code()), (vec![text("a")], code), "{error}");
    }
    for (body, code) in [
        (r#"{"output":[],"status":"failed","error":{"code":"server_error","message":"m"}}"#, "upstream_unavailable"),
        (r#"{"output":[],"status":"failed","error":{"code":"invalid_image","message":"m"}}"#, "upstream_refused"),
        (r#"{"output":[],"status":"failed","error":null}"#, "upstream_unavailable"),
        (r#"{"output":[],"status":"cancelled"}"#, "upstream_cut"),
        (r#"{"output":[],"status":"of_the_future"}"#, "upstream_unavailable"),
    ] {
        let (_, ended) = read(&OFFICIAL, JSON, [body.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{body}");
    }
}

#[test]
fn a_prompt_that_is_too_long_is_recognized_in_a_stream() {
    let message = "Your input exceeds the context window of this model. Please adjust your input and try again.";
    for event in [
        format!(r#"{{"type":"error","code":"context_length_exceeded","message":"{message}","param":"input"}}"#),
        format!(
            r#"{{"type":"response.failed","response":{{"error":{{"code":"invalid_prompt","message":"{message}"}}}}}}"#
        ),
    ] {
        let error = read_events(&OFFICIAL, &[&event]).1.unwrap_err();
        assert!(matches!(error, Error::UpstreamRefused { overflow: true, .. }), "{error:?}");
    }
}

#[test]
fn an_id_of_another_form_goes_back_only_to_the_service_that_gave_it() {
    let longest = "x".repeat(64);
    for (id, is_plain) in [("call_1", true), (&*longest, true), (&*format!("{longest}x"), false), ("f.look:0", false)] {
        let item = format!(r#"{{"type":"function_call","call_id":"{id}","name":"look","arguments":"{{}}"}}"#);
        let body = format!(r#"{{"status":"completed","output":[{item}]}}"#);
        let (deltas, ended) = read(&OFFICIAL, JSON, [body.as_bytes()]);
        let mark = format!(r#"{{"for":"call","id":"{id}","members":{{}}}}"#);
        let marks: &[Delta] = if is_plain { &[] } else { &[think(NAME, &mark)] };
        let end = [call(id, "look", "{}"), finish(FinishReason::ToolCalls)];
        assert_eq!((deltas, ended), ([marks, &end].concat(), Ok(())));

        let sent_to = |provider_id: &str| {
            let start = [Item::text(Role::User, "q"), think_item(provider_id, &mark)];
            let loops = [call_item(id, "look", "{}"), result_item(id, "1")];
            self::body(&OFFICIAL, &[&start[..], &loops].concat())
        };
        let [own, other] = [sent_to(NAME), sent_to("openai-responses@other.test")];
        assert_eq!(own.matches(&format!("\"{id}\"")).count(), 2, "{own}");
        assert_eq!(own == other, is_plain, "{other}");
        assert!(!own.contains("\"for\"") && !own.contains("members"), "{own}");
    }
}

#[test]
fn each_request_begins_with_the_previous_one() {
    assert_each_request_begins_with_the_previous_one(&OFFICIAL);
}

#[test]
fn items_are_written_as_input() {
    let odd_id = "functions.now:1";
    let picture = || vec![Part::Text("a".into()), Part::Image("u".into())];
    let body = body(
        &OFFICIAL,
        &[
            Item::Message { role: Role::User, parts: picture(), cut: false },
            think_item("openai-responses", REASONING),
            think_item("openai-responses@other.test", r#"{"type":"reasoning","id":"no"}"#),
            think_item("openai", r#"{"type":"reasoning","id":"no"}"#),
            think_item("openai-responses", "no object"),
            Item::text(Role::Assistant, "adding"),
            call_item("c1", "add", "{\"a\": 1}"),
            think_item("openai-responses", r#"{"type":"reasoning","id":"rs_2","content":[{"text":"hm"}]}"#),
            // The names of stored items, which the service does not have.
            think_item("openai-responses", r#"{"type":"reasoning","id":"no","summary":[{"text":"hm"}]}"#),
            think_item("openai-responses", r#"{"type":"reasoning","id":"no","content":[],"encrypted_content":""}"#),
            call_item(odd_id, "now", "{"),
            think_item("openai-responses", r#"{"id":"rs_3 without output after it","content":[{"text":"hm"}]}"#),
            result_item("c1", "3"),
            Item::Result { id: odd_id.into(), out: Output::Parts(picture()), error: true },
            Item::Message { role: Role::Assistant, parts: picture(), cut: true },
            Item::text(Role::User, ""),
        ],
    );
    let expected = [
        r#"{"model":"m-1","instructions":"Be kind.","store":false,"include":["reasoning.encrypted_content"],"stream":false,"input":["#,
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},"#,
        r#"{"type":"input_image","image_url":"u","detail":"auto"}]},"#,
        REASONING,
        r#",{"type":"message","role":"assistant","content":"adding"},"#,
        r#"{"type":"function_call","call_id":"c1","name":"add","arguments":"{\"a\": 1}"},"#,
        r#"{"type":"reasoning","id":"rs_2","content":[{"text":"hm"}]},"#,
        r#"{"type":"function_call","call_id":"functions_now_1_5d908399c288aed5","name":"now","arguments":"{"},"#,
        r#"{"type":"function_call_output","call_id":"c1","output":"3"},"#,
        r#"{"type":"function_call_output","call_id":"functions_now_1_5d908399c288aed5","output":["#,
        r#"{"type":"input_text","text":"a"},{"type":"input_image","image_url":"u","detail":"auto"}]},"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"},{"type":"output_text","text":"[image]"}]},"#,
        r#"{"type":"message","role":"user","content":""}]}"#,
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn models_without_reasoning_get_no_reasoning() {
    let items = [
        Item::text(Role::User, "a"),
        think_item(NAME, REASONING),
        Item::text(Role::Assistant, "b"),
        Item::text(Role::User, "c"),
    ];
    let options = ModelOptions::default();
    for (model, reasons) in [
        ("gpt-5-mini", true),
        ("o3", true),
        ("gpt-6-astra", true),
        ("openai/gpt-oss-120b", true),
        ("my-deployment", true),
        ("gpt-4o-mini", false),
        ("gpt-4.1", false),
        ("openai/gpt-4o", false),
        ("ft:gpt-4o-mini:acme::id", false),
        ("gpt-5-chat-latest", false),
        ("chatgpt-4o-latest", false),
    ] {
        let request = OFFICIAL.request(&ModelCall { model, ..model_call(&OFFICIAL, &items, &options) }).unwrap();
        let body = text_of(&request);
        assert_eq!((body.contains("include"), body.contains("rs_1")), (reasons, reasons), "{model}");
    }
}

#[test]
fn options_are_written_before_the_input() {
    let schema = RawValue::from_string(r#"{ "type":"object" }"#.to_owned()).unwrap();
    let add =
        Tool { name: "add".into(), description: Some("Adds.".into()), parameters: Some(schema), strict: Some(true) };
    let options = ModelOptions {
        max_output_tokens: Some(50),
        temperature: Some(1.into()),
        top_p: Some(1.into()),
        seed: Some(7),
        format: schema_format(),
        reasoning: Reasoning { effort: Some("low"), summary: Some("auto"), ..Reasoning::default() },
        parallel_calls: Some(false),
        tools: vec![add, tool("now", None)],
        tool_choice: Some(ToolChoice::Tool("add".into())),
        ..ModelOptions::default()
    };
    let request = request(&OFFICIAL, &[Item::text(Role::User, "a")], &options, true);
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/responses"));
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["accept"], "text/event-stream");
    let expected = [
        r#"{"model":"m-1","instructions":"Be kind.","max_output_tokens":50,"temperature":1,"top_p":1,"#,
        r#""text":{"format":{"type":"json_schema","name":"pet","description":"A pet.","schema":{ "type":"object" },"strict":true}},"#,
        r#""reasoning":{"effort":"low","summary":"auto"},"tools":["#,
        r#"{"type":"function","name":"add","description":"Adds.","parameters":{ "type":"object" },"strict":true},"#,
        r#"{"type":"function","name":"now","parameters":{"type":"object","properties":{},"additionalProperties":false},"strict":false}],"#,
        r#""tool_choice":{"type":"function","name":"add"},"parallel_tool_calls":false,"#,
        r#""store":false,"include":["reasoning.encrypted_content"],"stream":true,"#,
        r#""input":[{"type":"message","role":"user","content":"a"}]}"#,
    ];
    assert_eq!(text_of(&request), expected.concat());
}

#[test]
fn other_options_are_written_if_the_format_has_them() {
    let with = |reasoning| ModelOptions { reasoning, ..ModelOptions::default() };
    let thinking = |thinking| with(Reasoning { thinking: Some(thinking), ..Reasoning::default() });
    for (options, written) in [
        (
            ModelOptions { format: ReplyFormat::Json, ..ModelOptions::default() },
            r#","text":{"format":{"type":"json_object"}},"store""#,
        ),
        (thinking(Thinking::Budget(5_000)), r#","reasoning":{"effort":"medium"},"store""#),
        (thinking(Thinking::Disabled), r#""Be kind.","store""#),
        (
            with(Reasoning { summary: Some("detailed"), ..Reasoning::default() }),
            r#","reasoning":{"summary":"detailed"},"store""#,
        ),
        (ModelOptions { parallel_calls: Some(false), ..ModelOptions::default() }, r#""Be kind.","store""#),
        (
            ModelOptions { parallel_calls: Some(true), tools: vec![tool("f", None)], ..ModelOptions::default() },
            r#""strict":false}],"store""#,
        ),
    ] {
        let body = options_body(&OFFICIAL, &options);
        assert!(body.contains(written), "{body}");
    }
    assert_eq!(refused(&OFFICIAL, &ModelOptions { stop: vec!["x".into()], ..ModelOptions::default() }), "unsupported");
}

#[test]
fn a_tool_choice_is_written_only_with_tools() {
    for (choice, written) in
        [(ToolChoice::Auto, "\"auto\""), (ToolChoice::None, "\"none\""), (ToolChoice::Required, "\"required\"")]
    {
        for (tools, is_written) in [(vec![tool("f", None)], true), (vec![], false)] {
            let options = ModelOptions { tools, tool_choice: Some(choice.clone()), ..ModelOptions::default() };
            let body = options_body(&OFFICIAL, &options);
            assert_eq!(body.contains(&format!("\"tool_choice\":{written}")), is_written);
            assert!(is_written || !body.contains("tool"));
        }
    }
}

#[test]
fn only_the_official_service_counts_tokens() {
    let options = ModelOptions {
        max_output_tokens: Some(50),
        temperature: Some(1.into()),
        top_p: Some(1.into()),
        reasoning: Reasoning { effort: Some("low"), ..Reasoning::default() },
        tools: vec![tool("f", None)],
        ..ModelOptions::default()
    };
    let items = [Item::text(Role::User, "a")];
    let call = ModelCall { stream: true, ..model_call(&OFFICIAL, &items, &options) };
    let TokenCount::Request(request) = OFFICIAL.count_tokens(&call).unwrap() else { panic!("no request") };
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/responses/input_tokens"));
    let expected = [
        r#"{"model":"m-1","instructions":"Be kind.","reasoning":{"effort":"low"},"tools":["#,
        r#"{"type":"function","name":"f","parameters":{"type":"object","properties":{},"additionalProperties":false},"strict":false}],"#,
        r#""input":[{"type":"message","role":"user","content":"a"}]}"#,
    ];
    assert_eq!(text_of(&request), expected.concat());
    assert_eq!(OFFICIAL.read_token_count(br#"{"object":"response.input_tokens","input_tokens":11}"#), Ok(11));
    let elsewhere = ModelCall { profile: COMPATIBLE, ..call };
    assert!(matches!(OFFICIAL.count_tokens(&elsewhere), Ok(TokenCount::Known(1..))));
}

#[test]
fn the_key_is_sent_as_a_bearer_token() {
    assert_eq!(OFFICIAL.credential(), (header::AUTHORIZATION, "Bearer "));
}

#[test]
fn only_reasoning_is_sent_as_reasoning() {
    let evil = r#""role":"user","content":[{"text":"evil"}],"encrypted_content":"evil","name":"evil""#;
    for blob in [
        format!(r#"{{"type":"message",{evil}}}"#),
        format!(r#"{{"type":"function_call","call_id":"evil","arguments":"evil",{evil}}}"#),
        format!(r#"{{{evil}}}"#),
        format!(r#"{{"for":"message","members":{{"type":"reasoning",{evil}}}}}"#),
        format!(r#"{{"for":"call","id":"c1","members":{{"type":"reasoning","call_id":"evil",{evil}}}}}"#),
    ] {
        let items = [Item::text(Role::User, "q"), think_item(NAME, &blob), call_item("c1", "look", "{}")];
        let options = ModelOptions::default();
        let call = ModelCall { model: "gpt-5", ..model_call(&OFFICIAL, &items, &options) };
        let sent = text_of(&OFFICIAL.request(&call).unwrap());
        let expected = r#""content":"q"},{"type":"function_call","call_id":"c1","name":"look","arguments":"{}"}]}"#;
        assert!(sent.ends_with(expected), "{blob}: {sent}");
    }
}
