//! Requests of the Chat Completions API.

mod replies;
mod service_state;

use serde_json::{Value, json};

use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::testing::{call_item, result_item},
    turn::{ModelOptions, ReplyFormat, ToolChoice, Truncation, TurnRequest},
};

/// A request with the required members and these members.
fn request(members: &Value) -> Value {
    let mut body = json!({ "model": "default", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn parse(body: &Value) -> Result<TurnRequest, Error> {
    ChatCompletions.parse_request(&body.to_string(), &ApiSettings::default()).map(|parsed| parsed.turn)
}

fn options(members: &Value) -> ModelOptions {
    parse(&request(members)).unwrap().options
}

/// The items of a conversation, and its system text.
fn conversation(messages: &Value) -> (Vec<Item>, Option<String>) {
    let turn = parse(&request(&json!({ "messages": messages }))).unwrap();
    (turn.input, turn.system)
}

fn items(messages: &Value) -> Vec<Item> {
    conversation(messages).0
}

fn parts(role: Role, parts: &[Part]) -> Item {
    Item::Message { role, parts: parts.to_vec(), cut: false }
}

fn image(url: &str) -> Part {
    Part::Image(url.to_owned())
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

#[track_caller]
fn invalid(body: &Value) -> String {
    match parse(body) {
        Err(Error::RequestInvalid { detail }) => detail,
        other => panic!("{body}: {other:?}"),
    }
}

#[track_caller]
fn unsupported(body: &Value) -> String {
    match parse(body) {
        Err(Error::Unsupported { detail }) => detail,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_request_reads_in_full() {
    let turn = parse(&json!({
        "model": "default", "conversation_token": "t", "truncation": "oldest", "user": "ada", "stream": true,
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
        "max_completion_tokens": 7, "max_tokens": 9, "temperature": 0.70, "top_p": 1, "stop": ["\n", "END"], "seed": -3,
        "response_format": { "type": "json_object" }, "reasoning_effort": "xhigh", "parallel_tool_calls": false,
        "tools": [
            { "type": "function", "function": { "name": "add", "description": "adds", "parameters": {}, "strict": true } },
            { "type": "function", "function": { "name": "now" } },
        ],
        "tool_choice": { "type": "function", "function": { "name": "now" } },
    }))
    .unwrap();
    assert_eq!((turn.token.as_deref(), turn.model.as_deref()), (Some("t"), Some("default")));
    assert_eq!((turn.input, turn.system.as_deref()), (vec![Item::text(Role::User, "hi")], Some("Be brief.")));
    assert_eq!((turn.user_id, turn.user_hint.as_deref()), (None, Some("ada")));
    assert_eq!((turn.stream, turn.truncation), (true, Some(Truncation::Oldest)));
    let options = turn.options;
    assert_eq!((options.max_output_tokens, options.seed, options.parallel_calls), (Some(7), Some(-3), Some(false)));
    let written = |number: Option<serde_json::Number>| number.unwrap().to_string();
    assert_eq!((written(options.temperature), written(options.top_p)), ("0.7".to_owned(), "1".to_owned()));
    assert_eq!(options.stop, ["\n", "END"]);
    assert!(matches!(options.format, ReplyFormat::Json));
    assert_eq!(options.reasoning.effort, Some("xhigh"));
    let [add, now] = options.tools.as_slice() else { panic!("{:?}", options.tools) };
    assert_eq!((add.name.as_str(), add.description.as_deref(), add.strict), ("add", Some("adds"), Some(true)));
    assert_eq!((now.name.as_str(), now.parameters.is_none(), now.strict), ("now", true, None));
    assert_eq!(options.tool_choice, Some(ToolChoice::Tool("now".to_owned())));
}

#[test]
fn null_means_absent() {
    let nulls: serde_json::Map<_, _> = MEMBERS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    for members in [json!({}), Value::Object(nulls)] {
        let turn = parse(&request(&members)).unwrap();
        assert!(turn.token.is_none() && turn.system.is_none() && turn.user_hint.is_none() && !turn.stream);
        assert!(turn.truncation.is_none() && turn.options.tools.is_empty() && turn.options.tool_choice.is_none());
        assert!(turn.options.stop.is_empty() && matches!(turn.options.format, ReplyFormat::Text));
        let max = turn.options.max_output_tokens;
        assert_eq!((max, turn.options.seed, turn.options.parallel_calls), (None, None, None));
        assert_eq!((turn.options.temperature, turn.options.top_p, turn.options.reasoning.effort), (None, None, None));
    }
}

#[test]
fn unknown_members_are_ignored() {
    for members in [
        json!({ "store": true, "metadata": { "a": "b" }, "service_tier": "auto", "verbosity": "low" }),
        json!({ "prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": { "mode": "explicit" } }),
        json!({ "next_years_member": [{ "deep": [1, 2.5e300, null] }], "input": 5, "token": [] }),
        json!({ "stream_options": { "include_obfuscation": false } }),
    ] {
        assert_eq!(parse(&request(&members)).unwrap().input, [Item::text(Role::User, "hi")], "{members}");
    }
    let messages = json!([{ "role": "user", "name": "Ada", "content": [
        { "type": "text", "text": "a", "prompt_cache_breakpoint": { "mode": "explicit" } },
        { "type": "image_url", "image_url": { "url": "https://e.test/a.png", "detail": "high" } },
    ] }]);
    assert_eq!(items(&messages), [parts(Role::User, &[text("a"), image("https://e.test/a.png")])]);
}

#[test]
fn a_token_is_not_changed_and_an_empty_one_is_none() {
    assert_eq!(parse(&request(&json!({ "conversation_token": "" }))).unwrap().token, None);
    for token in ["a.b.c", "resp_x", " spaced ", "\u{0}"] {
        let turn = parse(&request(&json!({ "conversation_token": token }))).unwrap();
        assert_eq!(turn.token.as_deref(), Some(token));
    }
    let detail = invalid(&request(&json!({ "conversation_token": 5 })));
    assert_eq!(detail, "`conversation_token` must be text, not the number 5.");
}

#[test]
fn safety_identifier_takes_precedence_over_user() {
    for (members, user) in [
        (json!({ "user": "ada" }), Some("ada")),
        (json!({ "safety_identifier": "h-1" }), Some("h-1")),
        (json!({ "safety_identifier": "h-1", "user": "ada" }), Some("h-1")),
        (json!({ "safety_identifier": "", "user": "ada" }), Some("ada")),
        (json!({ "user": "" }), None),
    ] {
        assert_eq!(parse(&request(&members)).unwrap().user_hint.as_deref(), user, "{members}");
    }
}

#[test]
fn messages_become_items_in_their_order() {
    let call =
        |id: &str| json!({ "id": id, "type": "function", "function": { "name": "add", "arguments": "{\"a\": 1}" } });
    let (items, system) = conversation(&json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "add" },
        { "role": "developer", "content": [{ "type": "text", "text": "Be kind." }, { "type": "text", "text": "" }] },
        { "role": "assistant", "content": "Adding.", "tool_calls": [call("c1"), call("c2")], "refusal": null,
            "annotations": [], "audio": null, "function_call": null, "conversation_token": "a.b.c" },
        { "role": "tool", "tool_call_id": "c1", "content": "3" },
        { "role": "tool", "tool_call_id": "c2", "content": [{ "type": "text", "text": "4" }] },
        { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }] },
    ]));
    assert_eq!(system.as_deref(), Some("Be brief.\n\nBe kind."));
    let four = Item::Result { id: "c2".to_owned(), out: Output::Parts(vec![text("4")]), error: false };
    assert_eq!(
        items,
        [
            Item::text(Role::User, "add"),
            Item::text(Role::Assistant, "Adding."),
            call_item("c1", "add", "{\"a\": 1}"),
            call_item("c2", "add", "{\"a\": 1}"),
            result_item("c1", "3"),
            four,
            parts(Role::User, &[image("data:image/png;base64,AA==")]),
        ]
    );
}

#[test]
fn messages_of_the_model_are_read_in_every_form() {
    let call = json!({ "id": "c", "function": { "name": "n", "arguments": "" } });
    let message = |text: &str| vec![Item::text(Role::Assistant, text)];
    for (mut message, expected) in [
        (json!({ "content": "a" }), message("a")),
        (json!({ "content": [{ "type": "text", "text": "a" }] }), message("a")),
        (json!({ "content": [{ "type": "refusal", "refusal": "no" }] }), message("no")),
        (json!({ "content": null, "refusal": "no" }), message("no")),
        (json!({ "content": "a", "tool_calls": [] }), message("a")),
        (json!({ "content": "a", "tool_calls": null }), message("a")),
        // A turn without text is an empty message, unless it has calls.
        (json!({}), message("")),
        (json!({ "content": "" }), message("")),
        (json!({ "tool_calls": [call] }), vec![call_item("c", "n", "")]),
        (json!({ "content": "", "tool_calls": [call] }), vec![call_item("c", "n", "")]),
    ] {
        message["role"] = json!("assistant");
        let read = items(&json!([message, { "role": "user", "content": "hi" }]));
        assert_eq!(read[..read.len() - 1], expected, "{message}");
    }
}

#[test]
fn a_system_message_after_a_reply_stays_in_place() {
    for role in ["developer", "system"] {
        let (items, system) = conversation(&json!([
            { "role": role, "content": "Be brief." },
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "A" },
            { "role": role, "content": [{ "type": "text", "text": "Be" }, { "type": "text", "text": " kind." }] },
            { "role": "user", "content": "b" },
            { "role": role, "content": "" },
        ]));
        assert_eq!(system.as_deref(), Some("Be brief."));
        let note = Item::Message { role: Role::User, parts: vec![text("Be"), text(" kind.")], cut: false };
        let user = |text: &str| Item::text(Role::User, text);
        assert_eq!(items, [user("a"), Item::text(Role::Assistant, "A"), note, user("b")]);
    }
}

#[test]
fn empty_system_text_is_no_system_text() {
    for content in [json!(""), json!([{ "type": "text", "text": "" }])] {
        let messages = json!([{ "role": "system", "content": content }, { "role": "user", "content": "hi" }]);
        assert_eq!(conversation(&messages).1, None);
    }
}

#[test]
fn an_error_in_a_message_names_its_position() {
    let message = |message: Value| request(&json!({ "messages": [{ "role": "user", "content": "hi" }, message] }));
    for (body, expected) in [
        (json!([]), "The request body must be an object, not a list."),
        (json!({ "messages": [{ "role": "user", "content": "hi" }] }), "`model` is missing. Add it."),
        (json!({ "model": "default" }), "`messages` is missing. Add it."),
        (request(&json!({ "messages": [] })), "`messages` has no user message"),
        (request(&json!({ "messages": [{ "role": "system", "content": "a" }] })), "`messages` has no user message"),
        (request(&json!({ "messages": ["hi"] })), "`messages[0]` must be an object, not text."),
        (request(&json!({ "messages": [["user", "hi"]] })), "`messages[0]` must be an object, not a list."),
        (message(json!({ "content": "a" })), "`messages[1].role` is missing. Add it."),
        (message(json!({ "role": "user" })), "`messages[1]` has no `content`"),
        (message(json!({ "role": "user", "content": null })), "`messages[1]` has no `content`"),
        (message(json!({ "role": "user", "content": [] })), "`messages[1].content` is invalid: the list is empty."),
        (
            message(json!({ "role": "user", "content": 5 })),
            "`messages[1].content` must be text or a list of parts, not the number 5.",
        ),
        (message(json!({ "role": "user", "content": ["a"] })), "`messages[1].content[0]` must be an object, not text."),
        (
            message(json!({ "role": "user", "content": [{ "type": "text" }] })),
            "`messages[1].content[0]` is invalid: a part must be",
        ),
        (message(json!({ "role": "user", "content": [{ "type": "video_url", "text": "a" }] })), "a part must be"),
        (
            message(json!({ "role": "user", "content": [{ "text": "a" }] })),
            "`messages[1].content[0].type` is missing. Add it.",
        ),
        (
            message(json!({ "role": "user", "content": [{ "type": "image_url", "image_url": "https://e.test" }] })),
            "`messages[1].content[0].image_url` must be an object, not text.",
        ),
        (message(json!({ "role": "tool", "content": "3" })), "`messages[1]` has no `tool_call_id`"),
        (message(json!({ "role": "tool", "tool_call_id": "c" })), "`messages[1]` has no `content`"),
        (
            message(
                json!({ "role": "system", "content": [{ "type": "image_url", "image_url": { "url": "data:," } }] }),
            ),
            "`messages[1]` has an image, but a system message",
        ),
        (message(json!({ "role": "assistant", "tool_calls": [{ "id": "c", "type": "function" }] })), "a call must be"),
        (message(json!({ "role": "assistant", "tool_calls": [{ "id": "c", "type": "x" }] })), "a call must be"),
        (
            message(
                json!({ "role": "assistant", "tool_calls": [{ "id": "c", "function": { "name": "n", "arguments": {} } }] }),
            ),
            "`messages[1].tool_calls[0].function.arguments` must be text, not an object.",
        ),
    ] {
        assert!(invalid(&body).contains(expected), "{body}: {}", invalid(&body));
    }
}

#[test]
fn an_error_in_an_option_names_the_option() {
    let tool = json!({ "type": "function", "function": { "name": "n" } });
    let with_tool = |choice: Value| request(&json!({ "tools": [tool], "tool_choice": choice }));
    let schema =
        |schema: Value| request(&json!({ "response_format": { "type": "json_schema", "json_schema": schema } }));
    for (body, expected) in [
        (request(&json!({ "max_tokens": 0 })), "`max_tokens` must be a whole number of at least 1, not the number 0."),
        (request(&json!({ "max_completion_tokens": 0 })), "`max_completion_tokens` must be a whole number of at"),
        (
            request(&json!({ "max_tokens": -1 })),
            "`max_tokens` must be a whole number of at least 1, not the number -1.",
        ),
        (
            request(&json!({ "max_tokens": 1.5 })),
            "`max_tokens` must be a whole number of at least 1, not the number 1.5.",
        ),
        (request(&json!({ "max_tokens": "9" })), "`max_tokens` must be a whole number of at least 1, not text."),
        (request(&json!({ "stream": "yes" })), "`stream` must be true or false, not text."),
        (request(&json!({ "temperature": true })), "`temperature` must be a number, not true."),
        (request(&json!({ "temperature": 2.1 })), "`temperature` must be a number from 0 to 2"),
        (request(&json!({ "top_p": 1.1 })), "`top_p` must be a number from 0 to 1"),
        (request(&json!({ "stop": "" })), "`stop` must not have an empty text"),
        (request(&json!({ "stop": ["a", ""] })), "`stop` must not have an empty text"),
        (request(&json!({ "stop": 5 })), "`stop` must be text or a list of texts, not the number 5."),
        (request(&json!({ "stop": vec!["a"; 17] })), "`stop` is invalid: more than 16 entries"),
        (request(&json!({ "stop": ["a", 5] })), "`stop[1]` must be text, not the number 5."),
        (request(&json!({ "tool_choice": 5 })), "`tool_choice` must be text or an object, not the number 5."),
        (request(&json!({ "n": "2" })), "`n` must be 1, not text."),
        (request(&json!({ "n": [1] })), "`n` must be 1, not a list."),
        (request(&json!({ "n": true })), "`n` must be 1, not true."),
        (request(&json!({ "seed": 0.5 })), "`seed` must be a whole number, not the number 0.5."),
        (request(&json!({ "truncation": "auto" })), "`truncation` must"),
        (request(&json!({ "reasoning_effort": "huge" })), "`reasoning_effort` must"),
        (request(&json!({ "tools": [{ "type": "function" }] })), "`tools[0].function` is missing. Add it."),
        (request(&json!({ "tools": [{ "name": "n" }] })), "`tools[0].type` is missing. Add it."),
        (request(&json!({ "tools": [{ "type": "custom" }] })), "`tools[0].custom` is missing. Add it."),
        (
            request(&json!({ "tools": [{ "type": "function", "function": { "name": "a b" } }] })),
            "`tools[0].function.name` must have 1 to 128",
        ),
        (request(&json!({ "tools": vec![tool.clone(); 1_025] })), "`tools` is invalid: more than 1024 entries"),
        (request(&json!({ "tool_choice": "required" })), "`tool_choice` requires a tool"),
        (with_tool(json!("any")), "`tool_choice` must"),
        (with_tool(json!(["auto"])), "`tool_choice` must be text or an object, not a list."),
        (with_tool(json!({ "type": "function" })), "`tool_choice` must"),
        (with_tool(json!({ "type": "tool", "name": "n" })), "`tool_choice` must"),
        (with_tool(json!({ "type": "function", "function": { "name": "x" } })), "`tool_choice` names a tool"),
        (
            with_tool(json!({ "type": "allowed_tools", "allowed_tools": { "mode": "none", "tools": [tool] } })),
            "`tool_choice` must",
        ),
        (
            with_tool(json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [] } })),
            "`tool_choice` requires a tool",
        ),
        (
            with_tool(json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto",
                "tools": [{ "type": "function", "function": { "name": "x" } }] } })),
            "`tool_choice` allows a tool",
        ),
        (request(&json!({ "response_format": "json" })), "`response_format` must be an object, not text."),
        (request(&json!({ "response_format": { "type": "grammar" } })), "`response_format` must"),
        (request(&json!({ "response_format": { "type": "json_schema" } })), "`response_format` must"),
        (schema(json!({ "name": "a b", "schema": {} })), "`response_format.json_schema.name` must"),
        (schema(json!({ "name": "a" })), "`response_format.json_schema.schema` must"),
        (schema(json!({ "name": "a", "schema": true })), "`response_format.json_schema.schema` must"),
        (schema(json!({ "schema": {} })), "`response_format.json_schema.name` is missing. Add it."),
    ] {
        assert!(invalid(&body).contains(expected), "{body}: {}", invalid(&body));
    }
}

#[test]
fn the_token_member_of_the_responses_api_is_rejected() {
    let error = parse(&request(&json!({ "previous_response_id": "resp_a.b.c" }))).unwrap_err();
    assert!(error.to_string().contains("Send `conversation_token`"), "{error}");
}

#[test]
fn unknown_roles_are_rejected() {
    let long = "x".repeat(100);
    for (role, shown) in
        [("critic", "critic"), ("User", "User"), ("tool ", "tool "), ("", ""), ("\u{0}a\n", "a"), (&long, &long[..64])]
    {
        let error = parse(&request(&json!({ "messages": [{ "role": role, "content": "hi" }] }))).unwrap_err();
        assert_eq!(error, Error::RoleForbidden { role: shown.to_owned() });
    }
}

#[test]
fn unsupported_features_are_rejected_by_name() {
    let search = json!([{ "type": "web_search" }]);
    for (members, name) in [
        (json!({ "n": 2 }), "n"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": -1 }), "n"),
        (json!({ "n": 1.5 }), "n"),
        (json!({ "logprobs": true }), "logprobs"),
        (json!({ "top_logprobs": 3 }), "top_logprobs"),
        (json!({ "logit_bias": { "50256": -100 } }), "logit_bias"),
        (json!({ "frequency_penalty": 0.1 }), "frequency_penalty"),
        (json!({ "presence_penalty": -2 }), "presence_penalty"),
        (json!({ "audio": { "voice": "alloy", "format": "wav" } }), "audio"),
        (json!({ "modalities": ["text", "audio"] }), "modalities"),
        (json!({ "moderation": { "model": "omni-moderation-latest" } }), "moderation"),
        (json!({ "web_search_options": { "search_context_size": "low" } }), "web_search_options"),
        (json!({ "functions": [{ "name": "add" }] }), "functions"),
        (json!({ "function_call": { "name": "add" } }), "function_call"),
        (json!({ "tools": search, "tool_choice": { "type": "web_search" } }), "tool_choice"),
        (json!({ "tools": search, "tool_choice": "required" }), "tool_choice"),
    ] {
        let detail = unsupported(&request(&members));
        assert!(detail.starts_with(&format!("`{name}` ")), "{members}: {detail}");
    }
    for message in [
        json!({ "role": "function", "name": "add", "content": "3" }),
        json!({ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": "", "format": "wav" } }] }),
        json!({ "role": "user", "content": [{ "type": "file", "file": { "file_id": "file-1" } }] }),
        json!({ "role": "assistant", "function_call": { "name": "add", "arguments": "{}" } }),
        json!({ "role": "assistant", "audio": { "id": "audio_1" } }),
    ] {
        let messages = json!([{ "role": "user", "content": "hi" }, message]);
        let detail = unsupported(&request(&json!({ "messages": messages })));
        assert!(detail.starts_with("`messages[1]` "), "{message}: {detail}");
    }
}

#[test]
fn values_without_effect_are_accepted() {
    for members in [
        json!({ "n": 1, "logprobs": false, "top_logprobs": 0, "logit_bias": {}, "functions": [] }),
        json!({ "frequency_penalty": 0, "presence_penalty": 0.0, "modalities": ["text"] }),
        json!({ "frequency_penalty": -0.0, "modalities": [] }),
        json!({ "tools": [], "tool_choice": "none", "function_call": "none", "logit_bias": { } }),
        json!({ "function_call": "auto", "max_tokens": 5.0 }),
        json!({ "tool_choice": "auto", "n": 1.0 }),
        json!({ "logit_bias": { "50256": 0 }, "previous_response_id": "", "conversation_token": "" }),
        json!({ "stop": [], "response_format": { "type": "text" } }),
    ] {
        assert!(parse(&request(&members)).is_ok(), "{members}");
    }
    // `{"…":0}`: a longer text is not read.
    for (bytes, accepted) in [(255, true), (256, true), (257, false)] {
        let members = json!({ "logit_bias": { "9".repeat(bytes - 6): 0 } });
        assert_eq!(parse(&request(&members)).is_ok(), accepted, "{bytes}");
    }
}

#[test]
fn what_cannot_be_offered_is_left_out_and_named() {
    let tool = json!({ "type": "function", "function": { "name": "add" } });
    let turn = parse(&request(&json!({
        "tools": [{ "type": "web_search" }, tool, { "type": "mcp", "mcp": { "server": "a" } }, { "type": "web_search" }],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "mcp" }, tool] } },
        "prediction": { "type": "content", "content": "a" },
    })))
    .unwrap();
    assert_eq!(turn.ignored, ["prediction", "web_search", "mcp"]);
    assert_eq!(turn.options.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["add"]);
    assert!(parse(&request(&json!({}))).unwrap().ignored.is_empty());
}

#[test]
fn a_custom_tool_is_a_function_with_one_text() {
    let grammar = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: \"a\"" } });
    let custom = |name: &str| json!({ "type": "custom", "custom": { "name": name } });
    let mut patch = custom("patch");
    patch["custom"]["description"] = json!("Edits files.");
    patch["custom"]["format"] = grammar;
    let call = json!({ "id": "c", "type": "custom", "custom": { "name": "patch", "input": "a \"b\"" } });
    let turn = parse(&request(&json!({
        "tools": [patch, custom("plain")], "tool_choice": custom("patch"),
        "messages": [{ "role": "assistant", "tool_calls": [call] }, { "role": "tool", "tool_call_id": "c", "content": "ok" }],
    })))
    .unwrap();
    let [patch, plain] = turn.options.tools.as_slice() else { panic!("{:?}", turn.options.tools) };
    assert_eq!(
        patch.description.as_deref(),
        Some("Edits files.\n\nThe input must match this lark grammar:\nstart: \"a\"")
    );
    let schema: Value = serde_json::from_str(plain.parameters.as_ref().unwrap().get()).unwrap();
    assert_eq!((plain.description.as_deref(), &schema["required"]), (None, &json!(["input"])));
    assert_eq!(turn.options.tool_choice, Some(ToolChoice::Tool("patch".to_owned())));
    assert_eq!(turn.input, [call_item("c", "patch", r#"{"input":"a \"b\""}"#), result_item("c", "ok")]);
}

#[test]
fn the_token_is_read_where_litellm_keeps_it() {
    let body = |fields: Value| {
        request(&json!({ "messages": [
            { "role": "assistant", "content": "A", "conversation_token": "one" },
            { "role": "user", "content": "b" },
            { "role": "assistant", "content": "B", "provider_specific_fields": fields },
            { "role": "user", "content": "c" },
        ] }))
    };
    let token = |fields: Value| parse(&body(fields)).unwrap().token;
    assert_eq!(token(json!({ "refusal": null, "conversation_token": "two" })).as_deref(), Some("two"));
    for nothing in [json!(null), json!({}), json!({ "conversation_token": null }), json!("text"), json!([1])] {
        assert_eq!(token(nothing), None);
    }
}

#[test]
fn the_token_is_read_from_the_last_message_of_the_model() {
    let loop_body = |top: Value, last: Value| {
        request(&json!({ "conversation_token": top, "messages": [
            { "role": "user", "content": "a", "conversation_token": "not.the.models" },
            { "role": "assistant", "content": "A", "conversation_token": "one" },
            { "role": "user", "content": "b" },
            { "role": "assistant", "content": "B", "conversation_token": last },
            { "role": "user", "content": "c" },
        ] }))
    };
    let token = |top: Value, last: Value| parse(&loop_body(top, last)).unwrap().token;
    for (top, last, expected) in [
        (json!(null), json!("two"), Some("two")),
        (json!("two"), json!("two"), Some("two")),
        (json!("two"), json!(null), Some("two")),
        (json!(null), json!(null), None),
        (json!(""), json!("two"), Some("two")),
        (json!("two"), json!(""), Some("two")),
        (json!(""), json!(""), None),
    ] {
        assert_eq!(token(top, last).as_deref(), expected);
    }
    for other in ["one", "three"] {
        let detail = invalid(&loop_body(json!(other), json!("two")));
        assert!(detail.starts_with("`conversation_token` differs from the token in the last message"), "{detail}");
    }
}

#[test]
fn max_tokens_applies_without_max_completion_tokens() {
    assert_eq!(options(&json!({ "max_tokens": 9 })).max_output_tokens, Some(9));
    assert_eq!(options(&json!({ "max_tokens": 9, "max_completion_tokens": null })).max_output_tokens, Some(9));
}

#[test]
fn tool_choice_is_read_in_every_form() {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
    for (choice, names, expected) in [
        (json!("auto"), ["add", "now"].as_slice(), ToolChoice::Auto),
        (json!("none"), &["add", "now"], ToolChoice::None),
        (json!("required"), &["add", "now"], ToolChoice::Required),
        (tool("now"), &["add", "now"], ToolChoice::Tool("now".to_owned())),
        (
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool("now")] } }),
            &["now"],
            ToolChoice::Required,
        ),
        (
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [tool("now"), tool("add")] } }),
            &["add", "now"],
            ToolChoice::Auto,
        ),
        (json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [] } }), &[], ToolChoice::Auto),
    ] {
        let options = options(&json!({ "tools": [tool("add"), tool("now")], "tool_choice": choice }));
        let left: Vec<_> = options.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!((left.as_slice(), options.tool_choice), (names, Some(expected)), "{choice}");
    }
}

#[test]
fn a_stop_is_one_text_or_several() {
    assert_eq!(options(&json!({ "stop": "é\n" })).stop, ["é\n"]);
    assert_eq!(options(&json!({ "stop": ["a", "b", "c", "d"] })).stop, ["a", "b", "c", "d"]);
}

#[test]
fn schemas_keep_their_text() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}],
        "tools":[{"type":"function","function":{"name":"n","parameters":{"b": 1.50, "a":2 }}}],
        "response_format":{"type":"json_schema","json_schema":{"name":"s","description":"d","strict":true,"schema":{"z":1, "a": 1e2}}}}"#;
    let options = ChatCompletions.parse_request(body, &ApiSettings::default()).unwrap().turn.options;
    assert_eq!(options.tools[0].parameters.as_ref().unwrap().get(), r#"{"b": 1.50, "a":2 }"#);
    let ReplyFormat::Schema { name, description, schema, strict } = options.format else { panic!("no schema") };
    assert_eq!((name.as_str(), description.as_deref(), strict), ("s", Some("d"), Some(true)));
    assert_eq!(schema.get(), r#"{"z":1, "a": 1e2}"#);
}

#[test]
fn lists_are_bounded_while_they_are_parsed() {
    let part = r#"{"type":"text","text":""}"#;
    let message = r#"{"role":"user","content":"a"}"#;
    let body = |messages: &str| format!("{{\"model\":\"m\",\"messages\":[{messages}]}}");
    let many = |element: &str| [element].repeat(body::ELEMENTS + 1).join(",");
    let parts = format!("{{\"role\":\"user\",\"content\":[{}]}}", many(part));
    for body in [body(&many(message)), body(&parts)] {
        let error = ChatCompletions.parse_request(&body, &ApiSettings::default()).err().unwrap();
        assert!(error.to_string().contains("more than 16384 entries"), "{error}");
    }
}

const MEMBERS: [&str; 30] = [
    "audio",
    "conversation_token",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "web_search_options",
];
