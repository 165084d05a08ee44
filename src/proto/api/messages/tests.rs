//! The options of a request. `content` tests its messages, `replies` the replies.

mod content;
mod replies;

use serde_json::{Value, json};

use super::*;
use crate::proto::{
    chat::{Item, Role},
    turn::{Reasoning, ReplyFormat, Thinking, ToolChoice, Truncation, TurnRequest},
};

/// Parses a request with the required members and these members.
fn read(members: &Value) -> Result<TurnRequest, Error> {
    Messages.parse_request(&body(members).to_string(), &ApiSettings::default()).map(|parsed| parsed.turn)
}

fn body(members: &Value) -> Value {
    let mut body = json!({ "model": "default", "max_tokens": 100, "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn user(content: &Value) -> Value {
    json!([{ "role": "user", "content": content }])
}

#[track_caller]
fn assert_error(members: &Value, code: &str, message: &str) {
    let error = read(members).unwrap_err();
    assert_eq!(error.code(), code, "{members}: {error}");
    assert!(error.to_string().contains(message), "{members}: {error}");
}

#[track_caller]
fn assert_invalid(members: &Value, message: &str) {
    assert_error(members, "request_invalid", message);
}

#[track_caller]
fn assert_unsupported(members: &Value, message: &str) {
    assert_error(members, "unsupported", message);
}

fn text(role: Role, text: &str) -> Item {
    Item::text(role, text)
}

fn call(id: &str, args: &str) -> Item {
    Item::Call { id: id.to_owned(), name: "add".to_owned(), args: args.to_owned() }
}

#[test]
fn a_request_reads_in_full() {
    let turn = read(&json!({
        "conversation_token": "a.b.c", "stream": true, "system": "Be kind.", "metadata": { "user_id": "ada" },
        "truncation": "summarize", "temperature": 0.7, "top_p": 0.9, "stop_sequences": ["END", "\n\n"],
        "thinking": { "type": "adaptive" }, "output_config": { "effort": "xhigh" },
        "tools": [{ "name": "add", "description": "adds", "input_schema": { "type": "object" }, "strict": true }],
        "tool_choice": { "type": "tool", "name": "add", "disable_parallel_tool_use": true },
    }))
    .unwrap();
    assert_eq!((turn.token.as_deref(), turn.model.as_deref()), (Some("a.b.c"), Some("default")));
    assert_eq!((turn.user_id, turn.user_hint.as_deref()), (None, Some("ada")));
    assert_eq!(turn.input, [text(Role::User, "hi")]);
    assert_eq!((turn.system.as_deref(), turn.stream), (Some("Be kind."), true));
    assert_eq!(turn.truncation, Some(Truncation::Summarize));
    let options = turn.options;
    assert_eq!(options.max_output_tokens, Some(100));
    assert_eq!(options.temperature.unwrap().to_string(), "0.7");
    assert_eq!(options.top_p.unwrap().to_string(), "0.9");
    assert_eq!(options.stop, ["END", "\n\n"]);
    assert_eq!(
        options.reasoning,
        Reasoning { thinking: Some(Thinking::Adaptive), effort: Some("xhigh"), ..Reasoning::default() }
    );
    assert!(matches!(options.format, ReplyFormat::Text) && options.seed.is_none());
    assert_eq!((options.tool_choice, options.parallel_calls), (Some(ToolChoice::Tool("add".to_owned())), Some(false)));
    let tool = &options.tools[0];
    assert_eq!((tool.name.as_str(), tool.description.as_deref(), tool.strict), ("add", Some("adds"), Some(true)));
    assert_eq!(tool.parameters.as_ref().unwrap().get(), r#"{"type":"object"}"#);
}

#[test]
fn null_means_absent() {
    let nulls: serde_json::Map<String, Value> = [
        ["conversation_token", "truncation", "system", "metadata", "stream", "temperature", "top_p", "top_k"],
        ["stop_sequences", "thinking", "output_config", "output_format", "tools", "tool_choice", "container", "thread"],
        ["context_management", "mcp_servers", "inference_geo", "compaction", "fallbacks", "service_tier", "x", "y"],
    ]
    .concat()
    .into_iter()
    .map(|name| (name.to_owned(), Value::Null))
    .collect();
    let empty = json!({ "metadata": { "user_id": null }, "output_config": { "effort": null, "format": null },
        "system": [], "stop_sequences": [], "tools": [], "mcp_servers": [ ] });
    for members in [json!({}), Value::Object(nulls), empty, json!({ "metadata": { "user_id": "" }, "system": "" })] {
        let turn = read(&members).unwrap();
        assert!(turn.token.is_none() && turn.user_hint.is_none() && turn.system.is_none() && !turn.stream);
        assert!(turn.truncation.is_none());
        let options = turn.options;
        assert!(options.temperature.is_none() && options.top_p.is_none() && options.stop.is_empty());
        assert!(options.tools.is_empty() && options.tool_choice.is_none() && options.parallel_calls.is_none());
        assert_eq!(options.reasoning, Reasoning::default());
        assert!(matches!(options.format, ReplyFormat::Text));
    }
}

#[test]
fn unknown_members_are_ignored() {
    let cache = json!({ "type": "ephemeral", "ttl": "1h" });
    let turn = read(&json!({
        "cache_control": cache, "service_tier": "standard_only", "speed": "fast", "next_months_member": [{ "a": 1 }],
        "diagnostics": { "previous_message_id": "msg_1" },
        "system": [{ "type": "text", "text": "Be kind.", "cache_control": cache }],
        "messages": [{ "role": "user", "id": 5, "content": [
            { "type": "text", "text": "hi", "citations": null, "cache_control": cache, "x": {} }
        ] }],
        "tools": [{ "type": "custom", "name": "add", "input_schema": {}, "cache_control": cache, "input_examples": [{}] }],
    }))
    .unwrap();
    assert_eq!((turn.input, turn.system.as_deref()), (vec![text(Role::User, "hi")], Some("Be kind.")));
    assert_eq!((turn.options.tools[0].name.as_str(), turn.options.tools[0].strict), ("add", None));
}

#[test]
fn required_members_are_required() {
    for (without, message) in [
        ("model", "`model` is missing. Add it."),
        ("messages", "`messages` is missing. Add it."),
        ("max_tokens", "`max_tokens` is missing"),
    ] {
        let mut body = body(&json!({}));
        body.as_object_mut().unwrap().remove(without);
        let error = Messages.parse_request(&body.to_string(), &ApiSettings::default()).err().unwrap();
        assert_eq!(error.code(), "request_invalid");
        assert!(error.to_string().contains(message), "{error}");
        // A count has no reply, so `max_tokens` is optional.
        assert_eq!(
            CountTokens.parse_request(&body.to_string(), &ApiSettings::default()).is_ok(),
            without == "max_tokens"
        );
        if without != "max_tokens" {
            assert_invalid(&json!({ without: null }), &format!("`{without}` must be "));
        }
    }
    for body in ["", "[]", "{", "null", r#"{"model":"m","model":"m","max_tokens":1,"messages":[]}"#] {
        assert_eq!(Messages.parse_request(body, &ApiSettings::default()).err().unwrap().code(), "request_invalid");
    }
}

#[test]
fn numbers_have_the_bounds_of_the_format() {
    for bad in [json!(0), json!(1.5), json!(-1), json!("1")] {
        assert_invalid(&json!({ "max_tokens": bad }), "`max_tokens` must be a whole number of at least 1, not ");
    }
    for (number, read_as) in [(json!(1), 1), (json!(2.0), 2), (json!(5_000_000_000_u64), u32::MAX)] {
        assert_eq!(read(&json!({ "max_tokens": number })).unwrap().options.max_output_tokens, Some(read_as));
    }
    for name in ["temperature", "top_p"] {
        for good in [json!(0), json!(1), json!(0.5), json!(1.0)] {
            assert!(read(&json!({ name: good })).is_ok());
        }
        for bad in [json!(1.01), json!(-0.1), json!(2)] {
            assert_invalid(&json!({ name: bad }), &format!("`{name}` must be a number from 0 to 1"));
        }
    }
    let sixteen = vec!["x"; 16];
    assert_eq!(read(&json!({ "stop_sequences": sixteen })).unwrap().options.stop, sixteen);
    assert_invalid(&json!({ "stop_sequences": vec!["x"; 17] }), "more than 16 entries");
    assert_invalid(&json!({ "stop_sequences": [""] }), "`stop_sequences` must not have an empty text");
    assert_invalid(&json!({ "truncation": "auto" }), "`truncation` must");
}

#[test]
fn thinking_is_read_in_every_form() {
    let read_thinking = |thinking: Value| {
        let body = body(&json!({ "max_tokens": 2_000, "thinking": thinking }));
        Messages.parse_request(&body.to_string(), &ApiSettings::default()).map(|parsed| parsed.turn.options.reasoning)
    };
    for (request, thinking, summary) in [
        (json!({ "type": "enabled", "budget_tokens": 1_024 }), Thinking::Budget(1_024), None),
        (json!({ "type": "enabled", "budget_tokens": 1_999, "display": null }), Thinking::Budget(1_999), None),
        (json!({ "type": "adaptive", "display": "summarized" }), Thinking::Adaptive, Some("auto")),
        (json!({ "type": "adaptive", "display": "omitted" }), Thinking::Adaptive, None),
        (json!({ "type": "adaptive", "display": "updates" }), Thinking::Adaptive, None),
        (json!({ "type": "disabled" }), Thinking::Disabled, None),
    ] {
        let reasoning = Reasoning { thinking: Some(thinking), summary, ..Reasoning::default() };
        assert_eq!(read_thinking(request).unwrap(), reasoning);
    }
    for budget in [json!(1_023), json!(2_000), json!(null)] {
        let error = read_thinking(json!({ "type": "enabled", "budget_tokens": budget })).unwrap_err();
        assert_eq!(error.to_string(), "`thinking.budget_tokens` must be at least 1024 and below `max_tokens`.");
    }
    assert_invalid(&json!({ "thinking": { "type": "always" } }), "`thinking` must be {");
    assert_invalid(&json!({ "thinking": "adaptive" }), "`thinking` must be an object, not text.");
    assert_invalid(&json!({ "thinking": { "type": "adaptive", "display": "all" } }), "`thinking.display` must");
    assert_unsupported(&json!({ "thinking": { "type": "between_tools" } }), "`between_tools`");
    // A count has no reply, so the budget has no upper bound.
    let counted = json!({ "model": "m", "messages": user(&json!("x")), "thinking": { "type": "enabled", "budget_tokens": 9_999 } });
    assert!(CountTokens.parse_request(&counted.to_string(), &ApiSettings::default()).is_ok());
}

#[test]
fn a_reply_format_is_strict() {
    let format = json!({ "type": "json_schema", "schema": { "type": "object" } });
    for members in [json!({ "output_config": { "format": format } }), json!({ "output_format": format })] {
        match read(&members).unwrap().options.format {
            ReplyFormat::Schema { name, description: None, schema, strict: Some(true) } => {
                assert_eq!((name.as_str(), schema.get()), ("reply", r#"{"type":"object"}"#));
            }
            other => panic!("{other:?}"),
        }
    }
    for format in [
        json!({ "type": "json_schema" }),
        json!({ "type": "json_schema", "schema": [] }),
        json!({ "type": "json_object" }),
    ] {
        assert_invalid(&json!({ "output_config": { "format": format } }), "`output_config.format` must be {");
    }
    assert_invalid(&json!({ "output_format": { "type": "text" } }), "`output_format` must be {");
    assert_invalid(&json!({ "output_config": { "effort": "none" } }), "`output_config.effort` must");
    assert_unsupported(
        &json!({ "output_config": { "task_budget": { "type": "tokens", "total": 9 } } }),
        "`max_tokens`",
    );
}

#[test]
fn only_tools_of_the_client_are_supported() {
    let tool = json!({ "name": "add", "input_schema": {} });
    let choose = |choice: Value| read(&json!({ "tools": [tool], "tool_choice": choice }));
    for (choice, is, parallel) in [
        (json!({ "type": "auto" }), ToolChoice::Auto, None),
        (json!({ "type": "auto", "disable_parallel_tool_use": false }), ToolChoice::Auto, None),
        (json!({ "type": "any", "disable_parallel_tool_use": true }), ToolChoice::Required, Some(false)),
        (json!({ "type": "none" }), ToolChoice::None, None),
        (json!({ "type": "tool", "name": "add" }), ToolChoice::Tool("add".to_owned()), None),
    ] {
        let options = choose(choice).unwrap().options;
        assert_eq!((options.tool_choice, options.parallel_calls), (Some(is), parallel));
    }
    assert_invalid(&json!({ "tool_choice": { "type": "any" } }), "`tool_choice` requires a tool");
    assert_invalid(&json!({ "tool_choice": { "type": "tool", "name": "add" } }), "not in `tools`");
    assert_invalid(&json!({ "tool_choice": { "type": "tool" } }), "`tool_choice` must be {");
    assert_invalid(&json!({ "tool_choice": { "type": "required" } }), "`tool_choice` must be {");
    assert_invalid(&json!({ "tool_choice": "auto" }), "`tool_choice` must be an object, not text.");
    assert_invalid(
        &json!({ "tools": [{ "name": "a b", "input_schema": {} }] }),
        "`tools[0].name` must have 1 to 128 characters",
    );
    assert_invalid(&json!({ "tools": [{ "input_schema": {} }] }), "`tools[0].name` is missing");
    assert_invalid(&json!({ "tools": [tool, { "name": "a" }] }), "`tools[1].input_schema` is missing");
    assert_invalid(&json!({ "tools": [{ "name": "a", "input_schema": [] }] }), "The schema of tool `a`");
    assert_invalid(&json!({ "tools": [{ "type": 5 }] }), "`tools[0].type` must be text, not the number 5.");
    assert_invalid(&json!({ "tools": vec![tool.clone(); 1_025] }), "`tools` is invalid: more than 1024 entries");
    assert_eq!(read(&json!({ "tools": vec![tool.clone(); 1_024] })).unwrap().options.tools.len(), 1_024);
    let named = |length: usize| json!({ "tools": [{ "name": "n".repeat(length), "input_schema": {} }] });
    for length in [1, 64, 65, 127, 128] {
        assert_eq!(read(&named(length)).unwrap().options.tools[0].name.len(), length);
    }
    for length in [0, 129] {
        assert_invalid(&named(length), "`tools[0].name` must have 1 to 128 characters");
    }
}

#[test]
fn unsupported_features_are_rejected_with_an_alternative() {
    for (name, value, instead) in [
        ("inference_geo", json!("eu"), "the operator decides"),
        ("thread", json!({ "type": "create" }), "`conversation_token`"),
        ("compaction", json!({ "type": "enabled" }), "`truncation`"),
        ("fallbacks", json!([{ "model": "m" }]), "the operator configures"),
    ] {
        let members = json!({ name: value });
        assert_unsupported(&members, &format!("`{name}` is not supported"));
        assert_unsupported(&members, instead);
    }
}

#[test]
fn what_cannot_be_offered_is_left_out_and_named() {
    let search = json!({ "type": "web_search_20250305", "name": "web_search" });
    let tool = json!({ "name": "add", "input_schema": {} });
    let ignored = |members: Value| read(&members).unwrap().ignored;
    assert_eq!(
        ignored(json!({ "tools": [search, tool, { "type": "mcp_toolset" }] })),
        ["web_search_20250305", "mcp_toolset"]
    );
    assert_eq!(ignored(json!({ "mcp_servers": [{ "type": "url", "name": "n" }] })), ["mcp_servers"]);
    assert_eq!(ignored(json!({ "top_k": 5 })), ["top_k"]);
    assert_eq!(ignored(json!({ "container": "container_1" })), ["container"]);
    assert_eq!(ignored(json!({ "tools": [{ "google_search": {} }, tool] })), ["google_search"]);
    assert_invalid(&json!({ "tools": [{ "type": "function", "function": { "name": "add" } }] }), "`tools[0]");
    let edits = |edits: Value| json!({ "context_management": { "edits": edits } });
    let clear = |kind: &str, keep: Value| json!({ "type": kind, "keep": keep });
    let everything = json!({ "type": "all" });
    for fulfilled in [
        json!({ "context_management": {} }),
        edits(json!([])),
        edits(json!([clear("clear_thinking_20251015", json!("all"))])),
        edits(json!([clear("clear_thinking_20251015", everything.clone())])),
        json!({ "inference_geo": "global", "top_k": 0, "fallbacks": [], "mcp_servers": [] }),
        json!({ "container": "", "thread": {}, "compaction": null, "conversation_token": "" }),
        json!({ "container": { "id": null, "skills": [] }, "compaction": { "type": "disabled" } }),
        json!({ "compaction": "disabled" }),
    ] {
        assert!(ignored(fulfilled.clone()).is_empty(), "{fulfilled}");
    }
    let some = clear("clear_thinking_20251015", json!({ "type": "thinking_turns", "value": 1 }));
    let uses = clear("clear_tool_uses_20250919", everything);
    assert_eq!(ignored(edits(json!([some, uses]))), ["clear_thinking_20251015", "clear_tool_uses_20250919"]);
    assert_invalid(&edits(json!([5])), "`context_management.edits[0]` must be an object, not the number 5.");
    for choice in [json!({ "type": "tool", "name": "web_search" }), json!({ "type": "any" })] {
        assert_unsupported(&json!({ "tools": [search], "tool_choice": choice }), "`tool_choice` requires ");
    }
    assert!(read(&json!({ "tools": [search, tool], "tool_choice": { "type": "any" } })).is_ok());
}

#[test]
fn the_token_is_read_from_the_last_message_of_the_model() {
    let messages = |last: Value| {
        json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": [{ "type": "text", "text": "A", "conversation_token": "one" }] },
            { "role": "user", "content": "b" },
            last,
            { "role": "user", "content": [{ "type": "text", "text": "c", "conversation_token": "not.the.models" }] },
        ])
    };
    let text = |token: Value| json!({ "type": "text", "text": "B", "conversation_token": token });
    let reply = |content: Value| json!({ "role": "assistant", "content": content });
    let turn = |last: Value, top: Value| read(&json!({ "messages": messages(last), "conversation_token": top }));
    for last in [
        reply(json!([text(json!(null)), text(json!("two"))])),
        reply(json!([text(json!("one")), text(json!("two"))])),
        json!({ "role": "assistant", "content": "B", "conversation_token": "two" }),
    ] {
        for top in [json!(null), json!("two")] {
            assert_eq!(turn(last.clone(), top).unwrap().token.as_deref(), Some("two"), "{last}");
        }
        let error = turn(last, json!("three")).unwrap_err().to_string();
        assert!(error.starts_with("`conversation_token` differs from the token in the last message"), "{error}");
    }
    for last in [reply(json!("B")), reply(json!([])), reply(json!([text(json!("one")), text(json!(null))]))] {
        assert_eq!(turn(last.clone(), json!(null)).unwrap().token, None, "{last}");
        assert_eq!(turn(last, json!("two")).unwrap().token.as_deref(), Some("two"));
    }
}

#[test]
fn a_count_is_written_as_the_format_requires() {
    assert_eq!(CountTokens.token_count_body(12), br#"{"input_tokens":12}"#);
    assert_eq!((CountTokens.operation(), Messages.operation()), (Operation::CountTokens, Operation::Turn));
    assert_eq!((CountTokens.path(), Messages.path()), ("/v1/messages/count_tokens", "/v1/messages"));
    assert!(Messages.subpath_hint().unwrap().contains("/v1/messages/count_tokens"));
}
