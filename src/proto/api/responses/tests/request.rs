//! Requests of the Responses API.

use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::testing::{call_item, result_item},
    turn::{ModelOptions, Reasoning, ReplyFormat, ToolChoice, Truncation},
};

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn think(blob: &str) -> Item {
    Item::Think { provider_id: "openai-responses".to_owned(), blob: blob.to_owned() }
}

fn assistant(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

/// The code and the message of the error for these members.
fn error_of(members: &Value) -> (&'static str, String) {
    match parse(members) {
        Ok(_) => panic!("{members} was accepted"),
        Err(error) => (error.code(), error.to_string()),
    }
}

#[track_caller]
fn assert_invalid(members: &Value, message: &str) {
    let (code, detail) = error_of(members);
    assert!(code == "request_invalid" && detail.starts_with(message), "{members}: {code}: {detail}");
}

#[test]
fn a_request_reads_in_full() {
    let turn = read_turn(&json!({
        "previous_response_id": "resp_a.b.c", "instructions": "Be kind.", "stream": true, "max_output_tokens": 70,
        "temperature": 0.70, "top_p": 1, "parallel_tool_calls": false, "truncation": "auto", "user": "ada",
        "reasoning": { "effort": "low", "summary": "auto" },
        "tools": [
            { "type": "function", "name": "add", "description": "adds", "parameters": { "b": 1, "a": 2 }, "strict": true },
            { "type": "function", "name": "x" },
        ],
        "tool_choice": "required",
    }));
    assert_eq!((turn.token.as_deref(), turn.model.as_deref()), (Some("a.b.c"), Some("default")));
    assert_eq!((turn.system.as_deref(), turn.input), (Some("Be kind."), vec![user("hi")]));
    assert_eq!((turn.user_id, turn.user_hint.as_deref()), (None, Some("ada")));
    assert!(turn.stream && turn.truncation == Some(Truncation::Oldest));
    let ModelOptions { max_output_tokens, temperature, top_p, reasoning, parallel_calls, tools, tool_choice, .. } =
        turn.options;
    assert_eq!((max_output_tokens, parallel_calls), (Some(70), Some(false)));
    assert_eq!((temperature.unwrap().to_string(), top_p.unwrap().to_string()), ("0.7".to_owned(), "1".to_owned()));
    assert_eq!(reasoning, Reasoning { effort: Some("low"), summary: Some("auto"), ..Reasoning::default() });
    assert_eq!(tool_choice, Some(ToolChoice::Required));
    assert_eq!((tools[0].description.as_deref(), tools[0].strict), (Some("adds"), Some(true)));
    assert_eq!((tools[1].name.as_str(), tools[1].strict, tools[1].parameters.is_none()), ("x", None, true));
}

#[test]
fn null_means_absent_and_unknown_members_are_ignored() {
    let members = [
        "background",
        "context_management",
        "conversation",
        "frequency_penalty",
        "include",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "moderation",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ];
    let nulls: serde_json::Map<_, _> = members.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let nothing = json!({
        "background": false, "context_management": [], "frequency_penalty": 0, "presence_penalty": 0.0, "n": 1,
        "include": ["file_search_call.results"], "top_logprobs": 0, "tools": [], "metadata": {}, "user": "",
        "instructions": "", "service_tier": "flex", "stream_options": { "include_obfuscation": true }, "text": {},
        "reasoning": { "effort": null, "context": "x" }, "access_programs": { "a": 1 }, "tomorrow": [1],
    });
    for members in [json!({}), Value::Object(nulls), nothing] {
        let turn = read_turn(&members);
        assert!(turn.token.is_none() && turn.user_hint.is_none() && turn.system.is_none() && !turn.stream, "{members}");
        assert!(turn.truncation.is_none());
        let options = turn.options;
        assert!(options.tools.is_empty() && options.tool_choice.is_none() && options.parallel_calls.is_none());
        assert!(options.max_output_tokens.is_none() && options.temperature.is_none() && options.top_p.is_none());
        assert!(matches!(options.format, ReplyFormat::Text) && options.reasoning == Reasoning::default());
    }
}

#[test]
fn an_id_without_its_prefix_has_no_token() {
    for (id, token) in [("resp_a.b.c", "a.b.c"), ("a.b.c", ""), ("resp_", ""), ("Resp_a", ""), ("resp_ä", "ä")] {
        assert_eq!(read_turn(&json!({ "previous_response_id": id })).token.as_deref(), Some(token), "{id}");
    }
    assert_eq!(read_turn(&json!({ "previous_response_id": "", "conversation_token": "" })).token, None);
}

#[test]
fn items_are_read_in_their_order() {
    let parts = |parts| Item::Message { role: Role::User, parts, cut: false };
    let text = |text: &str| Part::Text(text.to_owned());
    let picture = || Part::Image("data:image/png;base64,AA==".to_owned());
    for (input, items) in [
        (json!([{ "role": "user", "content": "a" }]), vec![user("a")]),
        (
            json!([{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "a" }] }]),
            vec![user("a")],
        ),
        (
            json!([{ "role": "user", "content": [
                { "type": "input_text", "text": "a", "prompt_cache_breakpoint": {} },
                { "type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low", "file_id": null },
            ] }]),
            vec![parts(vec![text("a"), picture()])],
        ),
        (
            json!([
                { "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": "final_answer",
                  "content": [{ "type": "output_text", "text": "A", "annotations": [], "logprobs": [] }] },
                { "role": "assistant", "content": "B", "phase": "commentary" },
                { "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] },
                { "role": "assistant", "content": [] },
            ]),
            vec![assistant("A"), assistant("B"), assistant("no"), assistant("")],
        ),
        (
            json!([
                { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" },
                { "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": "{\"a\": 1}",
                  "status": "completed" },
                { "type": "function_call_output", "call_id": "c1", "output": "3" },
            ]),
            vec![
                think(r#"{"type":"reasoning","summary":[],"encrypted_content":"x"}"#),
                call_item("c1", "add", "{\"a\": 1}"),
                result_item("c1", "3"),
            ],
        ),
        (
            json!([{ "type": "reasoning", "id": "rs_1", "status": "completed", "content": null, "encrypted_content": "x",
                "for": "call", "members": { "role": "user" }, "role": "user", "call_id": "c1", "name": "add" }]),
            vec![think(r#"{"type":"reasoning","encrypted_content":"x"}"#)],
        ),
        (
            json!([
                { "type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "patch", "input": "a\n" },
                { "type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c1", "output": "ok" },
                { "type": "function_call", "call_id": "c2", "namespace": "clock", "name": "now", "arguments": "{}" },
                { "type": "custom_tool_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "3" }] },
            ]),
            vec![
                call_item("c1", "patch", r#"{"input":"a\n"}"#),
                result_item("c1", "ok"),
                call_item("c2", "clock__now", "{}"),
                Item::Result { id: "c2".to_owned(), out: Output::Parts(vec![text("3")]), error: false },
            ],
        ),
        (
            json!([
                { "type": "function_call_output", "call_id": "c1", "output": [
                    { "type": "input_text", "text": "3" },
                    { "type": "input_image", "image_url": "data:image/png;base64,AA==" },
                ] },
                { "type": "function_call_output", "call_id": "c2", "output": [] },
            ]),
            vec![
                Item::Result { id: "c1".to_owned(), out: Output::Parts(vec![text("3"), picture()]), error: false },
                result_item("c2", ""),
            ],
        ),
        (json!([]), vec![]),
    ] {
        assert_eq!(read_turn(&json!({ "input": input })).input, items, "{input}");
    }
}

#[test]
fn the_model_is_optional_in_a_conversation() {
    let turn = read_turn(&json!({ "model": null, "previous_response_id": "resp_a.b.c" }));
    assert_eq!(turn.model, None);
    assert!(parse(&json!({ "model": null })).is_err());
}

#[test]
fn a_system_text_after_an_item_of_the_model_stays_in_its_place() {
    let late = json!([
        { "role": "developer", "content": "one" },
        { "role": "user", "content": "hi" },
        { "type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "3" },
        { "role": "developer", "content": "two" },
        { "role": "system", "content": "" },
    ]);
    let items = |last: Option<Item>| {
        let known = [user("hi"), call_item("c1", "add", "{}"), result_item("c1", "3")];
        known.into_iter().chain(last).collect::<Vec<_>>()
    };
    let turn = read_turn(&json!({ "input": late }));
    assert_eq!((turn.system.as_deref(), turn.input), (Some("one"), items(Some(user("two")))));
    // With a token, the items before the new ones are only copies of what the token holds.
    let turn = read_turn(&json!({ "input": late, "previous_response_id": "resp_a.b.c" }));
    assert_eq!((turn.system.as_deref(), turn.input), (Some("one\n\ntwo"), items(None)));
}

#[test]
fn system_texts_are_joined() {
    let turn = read_turn(&json!({ "instructions": "one", "input": [
        { "role": "system", "content": "two" },
        { "role": "user", "content": "hi" },
        { "role": "developer", "content": [{ "type": "input_text", "text": "three" }, { "type": "input_text", "text": "" }] },
    ] }));
    assert_eq!((turn.system.as_deref(), turn.input), (Some("one\n\ntwo\n\nthree"), vec![user("hi")]));
}

#[test]
fn a_request_can_name_the_user() {
    for (members, hint) in [
        (json!({ "safety_identifier": "ada" }), Some("ada")),
        (json!({ "user": "bob" }), Some("bob")),
        (json!({ "safety_identifier": "ada", "user": "bob" }), Some("ada")),
        (json!({ "safety_identifier": "", "user": "bob" }), Some("bob")),
    ] {
        assert_eq!(read_turn(&members).user_hint.as_deref(), hint, "{members}");
    }
}

#[test]
fn tool_choice_is_read_in_every_form() {
    let read = |choice: Value| {
        let tools = json!([{ "type": "function", "name": "a" }, { "name": "b" }, { "type": "function", "name": "c" }]);
        let options = read_turn(&json!({ "tools": tools, "tool_choice": choice })).options;
        (options.tool_choice, options.tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>().join(" "))
    };
    let all = || "a b c".to_owned();
    assert_eq!(read(json!(null)), (None, all()));
    assert_eq!(read(json!("auto")), (Some(ToolChoice::Auto), all()));
    assert_eq!(read(json!("none")), (Some(ToolChoice::None), all()));
    assert_eq!(read(json!("required")), (Some(ToolChoice::Required), all()));
    let function = |name: &str| json!({ "type": "function", "name": name });
    assert_eq!(read(function("b")), (Some(ToolChoice::Tool("b".to_owned())), all()));
    let allowed =
        |mode: &str| json!({ "type": "allowed_tools", "mode": mode, "tools": [function("c"), { "name": "a" }] });
    assert_eq!(read(allowed("auto")), (Some(ToolChoice::Auto), "a c".to_owned()));
    assert_eq!(read(allowed("required")), (Some(ToolChoice::Required), "a c".to_owned()));
}

#[test]
fn a_reply_format_is_text_json_or_a_schema() {
    let read = |format: Value| read_turn(&json!({ "text": { "format": format, "verbosity": "high" } })).options.format;
    assert!(matches!(read(json!({ "type": "text" })), ReplyFormat::Text));
    assert!(matches!(read(json!({ "type": "json_object" })), ReplyFormat::Json));
    let text =
        r#"{"model":"m","input":"","text":{"format":{"type":"json_schema","name":"n","schema":{"b": 1.50, "a":2 }}}}"#;
    let parsed = Responses.parse_request(text, &ApiSettings::default()).unwrap();
    let ReplyFormat::Schema { name, description, schema, strict } = parsed.turn.options.format else { panic!() };
    assert_eq!((name.as_str(), description, schema.get(), strict), ("n", None, r#"{"b": 1.50, "a":2 }"#, None));
}

#[test]
fn truncation_has_the_values_of_openai_and_holdall() {
    for (name, truncation) in [
        ("auto", Truncation::Oldest),
        ("disabled", Truncation::Refuse),
        ("oldest", Truncation::Oldest),
        ("refuse", Truncation::Refuse),
        ("summarize", Truncation::Summarize),
    ] {
        assert_eq!(read_turn(&json!({ "truncation": name })).truncation, Some(truncation));
    }
}

#[test]
fn a_stream_is_held_by_default() {
    let (hold, live) = (json!({ "holdall_stream": "hold" }), json!({ "holdall_stream": "live" }));
    for (metadata, store, configured, is_held) in [
        (&json!(null), true, false, true),
        (&json!({ "other": "live" }), true, false, true),
        (&json!(null), true, true, false),
        (&live, true, false, false),
        (&hold, true, true, true),
        // A stream without a token has no reason to be held.
        (&json!(null), false, false, false),
        (&hold, false, true, true),
    ] {
        let body = body(&json!({ "metadata": metadata, "store": store, "stream": true })).to_string();
        let parsed = Responses.parse_request(&body, &ApiSettings { live_responses: configured }).unwrap();
        assert_eq!(parsed.writer.buffers_deltas(), is_held, "{metadata} {store} {configured}");
    }
}

#[test]
fn work_of_hosted_tools_is_left_out_and_named() {
    let records = ["file_search_call", "code_interpreter_call", "image_generation_call", "tool_search_call"];
    let records = records.into_iter().chain(["mcp_call", "mcp_list_tools", "mcp_approval_request", "next_months_call"]);
    let records: Vec<Value> = records.map(|kind| json!({ "type": kind, "id": "x_1", "action": { "a": [] } })).collect();
    let done = json!({ "role": "assistant", "content": [{ "type": "output_text", "text": "Done." }] });
    let ask = |text: &str| json!({ "role": "user", "content": text });
    let input = [vec![ask("Look.")], records.clone(), vec![done, ask("hi")]].concat();
    let turn = read_turn(&json!({ "input": input }));
    let named: Vec<_> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(turn.ignored, named);
    assert_eq!(turn.input, [user("Look."), Item::text(Role::Assistant, "Done."), user("hi")]);
}

#[test]
fn the_clients_part_of_hosted_work_is_left_out_after_an_answer() {
    let done = json!({ "role": "assistant", "content": [{ "type": "output_text", "text": "Done." }] });
    let ask = json!({ "role": "user", "content": "hi" });
    for kind in ["computer_call_output", "local_shell_call_output", "shell_call_output", "mcp_approval_response"] {
        let part = json!({ "type": kind, "call_id": "c", "output": { "a": 1 }, "approve": true });
        let answered = read_turn(&json!({ "input": [ask, part, done, ask] }));
        assert_eq!((answered.ignored, answered.input.len()), (vec![kind.to_owned()], 3));
        for input in [json!([ask, part]), json!([ask, part, ask]), json!([ask, done, part])] {
            let (code, detail) = error_of(&json!({ "input": input }));
            let message =
                format!("has the type `{kind}`, which is not supported: the server runs no tools. Describe a");
            assert!(code == "unsupported" && detail.contains(&message), "{input}: {detail}");
        }
    }
}

#[test]
fn a_compaction_is_left_out_next_to_the_conversation() {
    let compaction = json!({ "type": "compaction", "encrypted_content": "gAAA" });
    let ask = json!({ "role": "user", "content": "hi" });
    let done = json!({ "role": "assistant", "content": "Done." });
    for members in [
        json!({ "input": [ask, done, compaction, ask] }),
        json!({ "input": [compaction, ask], "previous_response_id": "resp_a.b.c" }),
    ] {
        assert_eq!(read_turn(&members).ignored, ["compaction"]);
    }
    for input in [json!([compaction, ask]), json!([ask, compaction, ask])] {
        assert_eq!(error_of(&json!({ "input": input })).0, "unsupported");
    }
}

#[test]
fn a_search_for_tools_brings_tools() {
    let found =
        json!({ "type": "tool_search_output", "call_id": "c", "tools": [{ "type": "function", "name": "look" }] });
    let turn =
        read_turn(&json!({ "input": [{ "role": "user", "content": "hi" }, { "type": "tool_search_call" }, found] }));
    assert_eq!((turn.options.tools[0].name.as_str(), turn.ignored), ("look", vec!["tool_search_call".to_owned()]));
}

#[test]
fn a_result_keeps_the_names_of_parts_that_it_cannot_have() {
    let output = json!([{ "type": "input_file", "file_id": "f" }, { "type": "input_text", "text": "x" }]);
    let turn = read_turn(&json!({ "input": [{ "type": "function_call_output", "call_id": "c", "output": output }] }));
    let parts = ["[input_file]", "x"].map(|text| Part::Text(text.to_owned())).to_vec();
    assert_eq!(turn.input, [Item::Result { id: "c".to_owned(), out: Output::Parts(parts), error: false }]);
    assert_eq!(turn.ignored, ["input_file"]);
}

#[test]
fn unsupported_features_are_rejected_by_name() {
    let user = |part: Value| json!({ "input": [{ "role": "user", "content": [part] }] });
    for (members, message) in [
        (json!({ "background": true }), "`background` is not supported"),
        (json!({ "conversation": "conv_1" }), "`previous_response_id`"),
        (json!({ "conversation": { "id": "conv_1" } }), "`conversation` is not supported"),
        (json!({ "frequency_penalty": 0.1 }), "`frequency_penalty` is not supported"),
        (json!({ "moderation": { "model": "m" } }), "`moderation` is not supported"),
        (json!({ "n": 2 }), "`n` must be 1"),
        (json!({ "presence_penalty": -1 }), "`presence_penalty` is not supported"),
        (json!({ "prompt": { "id": "p" } }), "`prompt` is not supported"),
        (json!({ "top_logprobs": 1 }), "`top_logprobs` is not supported"),
        (json!({ "tool_choice": { "type": "file_search" } }), "`tool_choice` requires `file_search`"),
        (
            json!({ "tools": [{ "type": "web_search" }], "tool_choice": "required" }),
            "`tool_choice` requires a tool, but the server can offer none of `tools`",
        ),
        (json!({ "input": [{ "type": "item_reference", "id": "msg_1" }] }), "`input[0]` has the type `item_reference`"),
        (json!({ "input": [{ "id": "msg_1" }] }), "`input[0]` has the type `item_reference`"),
        (
            json!({ "input": [{ "type": "computer_call_output", "call_id": "c", "output": { "a": 1 } }] }),
            "computer_call",
        ),
        (json!({ "input": [{ "type": "next_months_item" }] }), "the type `next_months_item`"),
        (json!({ "input": [{ "type": "compaction", "encrypted_content": "gAAA" }] }), "the items that it replaced"),
        (
            user(json!({ "type": "input_file", "file_data": "data:," })),
            "`input[0].content[0]` has the type `input_file`",
        ),
        (user(json!({ "type": "input_audio", "input_audio": {} })), "the type `input_audio`"),
        (user(json!({ "type": "input_image", "file_id": "f" })), "`input[0].content[0].file_id` is not supported"),
    ] {
        let (code, detail) = error_of(&members);
        assert!(code == "unsupported" && detail.contains(message), "{members}: {code}: {detail}");
    }
}

#[test]
fn an_error_in_the_input_names_its_position() {
    let item = |item: Value| json!({ "input": [item] });
    for (members, message) in [
        (json!({ "input": null }), "`input` is missing"),
        (json!({ "n": "2" }), "`n` must be 1, not text."),
        (json!({ "tool_choice": 5 }), "`tool_choice` must be text or an object, not the number 5."),
        (json!({ "input": 5 }), "`input` must be text or a list"),
        (json!({ "input": { "role": "user" } }), "`input` must be text or a list"),
        (item(json!("a")), "`input[0]` must be an object, not text."),
        (item(json!(["user"])), "`input[0]` must be an object, not a list."),
        (item(json!({})), "`input[0]` has no `type` and no `role`"),
        (item(json!({ "type": "message", "content": "a" })), "`input[0].role` is missing"),
        (item(json!({ "role": "user" })), "`input[0].content` is missing"),
        (
            item(json!({ "role": "user", "content": { "type": "input_text" } })),
            "`input[0].content` must be text or a list",
        ),
        (item(json!({ "role": "user", "content": ["a"] })), "`input[0].content[0]` must be an object, not text."),
        (
            item(json!({ "role": "user", "content": [{ "type": "input_text" }] })),
            "`input[0].content[0].text` is missing",
        ),
        (item(json!({ "role": "user", "content": [{ "type": "input_image" }] })), "`input[0].content[0].image_url` is"),
        (
            item(json!({ "role": "assistant", "content": [{ "type": "input_image", "image_url": "https://e.test" }] })),
            "`input[0].content[0]` is an image",
        ),
        (item(json!({ "type": "function_call", "call_id": "c", "name": "n" })), "`input[0].arguments` is missing"),
        (
            item(json!({ "type": "function_call", "call_id": "c", "name": 1 })),
            "`input[0].name` must be text, not the number 1.",
        ),
        (item(json!({ "type": "function_call_output", "output": "" })), "`input[0].call_id` is missing"),
        (item(json!({ "type": "function_call_output", "call_id": "c" })), "`input[0].output` is missing"),
    ] {
        assert_invalid(&members, message);
    }
    for body in ["[]", "{", "{\"model\":\"m\",\"model\":\"m\",\"input\":\"\"}", ""] {
        assert!(Responses.parse_request(body, &ApiSettings::default()).is_err(), "{body}");
    }
}

#[test]
fn an_error_in_an_option_names_the_option() {
    let format = |format: Value| json!({ "text": { "format": format } });
    let tools = json!([{ "name": "a" }]);
    let choice = |choice: Value| json!({ "tools": tools, "tool_choice": choice });
    for (members, message) in [
        (json!({ "model": null }), "`model` is missing"),
        (json!({ "model": 5 }), "`model` must be text, not the number 5."),
        (json!({ "max_output_tokens": 0 }), "`max_output_tokens` must be a whole number of at least 1"),
        (json!({ "max_tool_calls": 0 }), "`max_tool_calls` must be a whole number of at least 1"),
        (json!({ "temperature": 2.1 }), "`temperature` must be a number from 0 to 2"),
        (json!({ "top_p": 1.1 }), "`top_p` must be a number from 0 to 1"),
        (json!({ "truncation": "newest" }), "`truncation` must"),
        (json!({ "reasoning": { "effort": "some" } }), "`reasoning.effort` must be one of: none, minimal"),
        (json!({ "reasoning": { "summary": "long" } }), "`reasoning.summary` must be one of: "),
        (json!({ "metadata": { "holdall_stream": "now" } }), "`metadata.holdall_stream` must"),
        (json!({ "metadata": { "a": 1 } }), "`metadata.a` must be text, not the number 1."),
        (json!({ "metadata": { "a": "x".repeat(513) } }), "`metadata` is invalid: it has at most 16 keys"),
        (json!({ "metadata": { "a".repeat(65): "" } }), "`metadata` is invalid: it has at most 16 keys"),
        (json!({ "text": [null, "low"] }), "`text` must be an object, not a list."),
        (json!({ "reasoning": ["low", "auto"] }), "`reasoning` must be an object, not a list."),
        (format(json!(["text"])), "`text.format` must be an object, not a list."),
        (format(json!({ "type": "yaml" })), "`text.format` must have the type"),
        (format(json!({ "type": "json_schema", "name": "n" })), "`text.format` of type json_schema must have"),
        (
            format(json!({ "type": "json_schema", "name": "n", "schema": [] })),
            "`text.format` of type json_schema must have",
        ),
        (
            format(json!({ "type": "json_schema", "name": "a b", "schema": {} })),
            "`text.format` of type json_schema must have",
        ),
        (json!({ "tools": [{ "type": "function", "function": { "name": "a" } }] }), "`tools[0].name` is missing"),
        (json!({ "tools": [{ "name": "a b" }] }), "`tools[0].name` must have 1 to 128 characters"),
        (json!({ "tool_choice": "required" }), "`tool_choice` requires a tool"),
        (choice(json!("any")), "`tool_choice` must"),
        (choice(json!(5)), "`tool_choice` must be text or an object, not the number 5."),
        (choice(json!({ "type": "function" })), "`tool_choice.name` is missing"),
        (choice(json!({ "type": "function", "name": "b" })), "`tool_choice` names a tool"),
        (choice(json!({ "type": "allowed_tools", "tools": [] })), "`tool_choice.tools` must name one or more"),
        (
            choice(json!({ "type": "allowed_tools", "tools": [{ "name": "b" }] })),
            "`tool_choice.tools` must name one or more",
        ),
        (
            choice(json!({ "type": "allowed_tools", "tools": [{ "type": "mcp" }] })),
            "`tool_choice.tools` must have only entries",
        ),
    ] {
        assert_invalid(&members, message);
    }
}

#[test]
fn an_item_reference_is_an_echo_in_a_conversation() {
    let reference = json!({ "type": "item_reference", "id": "msg_1" });
    let input = json!([reference, { "id": "fc_1" }, { "role": "user", "content": "hi" }]);
    let turn = read_turn(&json!({ "previous_response_id": "resp_t", "input": input }));
    assert_eq!(turn.input, [Item::reference(), Item::reference(), user("hi")]);
    let (_, detail) = error_of(&json!({ "input": input }));
    assert!(detail.contains("Set `store: false`"), "{detail}");
}

#[test]
fn what_cannot_be_offered_is_left_out_and_named() {
    let turn = read_turn(&json!({
        "tools": [
            { "type": "web_search", "external_web_access": false },
            { "name": "add" },
            { "type": "mcp", "server_label": "a", "require_approval": {} },
            { "type": "namespace", "name": "n", "tools": [{ "type": "computer" }, { "type": "function", "name": "b" }] },
        ],
        "include": ["message.output_text.logprobs"],
        "context_management": [{ "type": "compaction" }],
        "input": [{ "type": "web_search_call", "id": "ws_1" }, { "role": "user", "content": "hi" }],
    }));
    let names =
        ["context_management", "message.output_text.logprobs", "web_search", "mcp", "computer", "web_search_call"];
    assert_eq!(turn.ignored, names);
    assert_eq!(turn.options.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["add", "n__b"]);
    assert_eq!(turn.input, [user("hi")]);
    let search = json!([{ "type": "web_search" }, { "name": "add" }]);
    for choice in [json!("auto"), json!("required"), json!({ "type": "function", "name": "add" })] {
        assert!(parse(&json!({ "tools": search, "tool_choice": choice })).is_ok());
    }
    let allowed = json!({ "type": "allowed_tools", "tools": [{ "type": "web_search" }, { "name": "add" }] });
    assert!(parse(&json!({ "tools": search, "tool_choice": allowed })).is_ok());
    let (code, detail) = error_of(&json!({ "tools": search, "tool_choice": { "type": "web_search" } }));
    assert!(code == "unsupported" && detail.starts_with("`tool_choice` requires `web_search`"), "{code}: {detail}");
}

#[test]
fn namespaces_and_custom_tools_become_functions() {
    let exec = json!({ "type": "custom", "name": "exec", "description": "Runs.",
        "format": { "type": "grammar", "syntax": "regex", "definition": "a+" } });
    let clock = json!({ "type": "namespace", "name": "clock", "description": "", "tools": [
        { "type": "function", "name": "now", "description": "tells", "strict": false, "parameters": { "type": "object" } },
        exec,
    ] });
    let turn = read_turn(&json!({
        "tools": [clock, exec], "tool_choice": { "type": "custom", "name": "exec", "namespace": "clock" },
        "input": [
            { "type": "additional_tools", "role": "developer", "tools": [
                { "type": "namespace", "name": "disk", "tools": [{ "type": "function", "name": "free" }] },
                { "type": "function", "name": "free" },
            ] },
            { "role": "user", "content": "hi" },
        ],
    }));
    let names: Vec<_> = turn.options.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["clock__now", "clock__exec", "exec", "disk__free", "free"]);
    assert_eq!(turn.options.tool_choice, Some(ToolChoice::Tool("clock__exec".to_owned())));
    let [now, exec, ..] = turn.options.tools.as_slice() else { panic!() };
    assert_eq!((now.description.as_deref(), now.strict), (Some("tells"), Some(false)));
    assert_eq!(exec.description.as_deref(), Some("Runs.\n\nThe input must match this regex grammar:\na+"));
    assert_eq!((turn.input, turn.ignored), (vec![user("hi")], Vec::new()));
    for (tools, message) in [
        (json!([{ "type": "namespace", "tools": [] }]), "`tools[0].name` is missing"),
        (json!([{ "type": "namespace", "name": "n" }]), "`tools[0].tools` is missing"),
        (
            json!([{ "type": "namespace", "name": "n", "tools": [{ "name": 5 }] }]),
            "`tools[0].tools[0].name` must be text",
        ),
        (json!([{ "type": "custom" }]), "`tools[0].name` is missing"),
        (json!([{ "type": "custom", "name": "a b" }]), "`tools[0].name` must have 1 to 128 characters"),
        (json!([5]), "`tools[0]` must be an object, not the number 5."),
    ] {
        assert_invalid(&json!({ "tools": tools }), message);
    }
}

#[test]
fn unknown_roles_are_rejected() {
    for role in ["tool", "critic", ""] {
        let (code, _) = error_of(&json!({ "input": [{ "role": role, "content": "a" }] }));
        assert_eq!(code, "role_forbidden");
    }
}

#[test]
fn lists_are_bounded() {
    let many = |element: Value, count: usize| Value::Array(vec![element; count]);
    let most = crate::proto::api::body::ELEMENTS;
    let message = || json!({ "role": "user", "content": "" });
    assert_eq!(read_turn(&json!({ "input": many(message(), most) })).input.len(), most);
    let metadata = |count: usize| -> serde_json::Map<_, _> { (0..count).map(|n| (n.to_string(), json!(""))).collect() };
    assert!(parse(&json!({ "metadata": metadata(16), "tools": many(json!({ "name": "a" }), 1_024) })).is_ok());
    let part = json!({ "type": "input_text", "text": "" });
    for (members, message) in [
        (json!({ "input": many(message(), most + 1) }), "`input` is invalid: more than 16384 entries"),
        (
            json!({ "input": [{ "role": "user", "content": many(part, most + 1) }] }),
            "`input[0].content` is invalid: more than 16384 entries",
        ),
        (json!({ "metadata": metadata(17) }), "`metadata` is invalid: it has at most 16 keys"),
        (json!({ "tools": many(json!({ "name": "a" }), 1_025) }), "`tools` is invalid: more than 1024 entries"),
        (json!({ "include": many(json!("a"), 65) }), "`include` is invalid: more than 64 entries"),
    ] {
        assert!(error_of(&members).1.starts_with(message), "{}", error_of(&members).1);
    }
}

#[test]
fn a_count_needs_no_model() {
    let parsed = InputTokens
        .parse_request("{\"input\":\"hi\",\"previous_response_id\":\"resp_t\"}", &ApiSettings::default())
        .unwrap();
    assert_eq!((parsed.turn.token.as_deref(), parsed.turn.model), (Some("t"), None));
    assert_eq!(InputTokens.operation(), Operation::CountTokens);
    assert_eq!(InputTokens.token_count_body(7), b"{\"object\":\"response.input_tokens\",\"input_tokens\":7}");
}
