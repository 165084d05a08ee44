//! The messages of a request.

use super::*;
use crate::proto::chat::{Output, Part};

fn read_messages(messages: &Value) -> Result<TurnRequest, Error> {
    read(&json!({ "messages": messages }))
}

fn message(role: Role, parts: Vec<Part>) -> Item {
    Item::Message { role, parts, cut: false }
}

fn result(id: &str, out: Output, error: bool) -> Item {
    Item::Result { id: id.to_owned(), out, error }
}

fn thinking(blob: &str) -> Item {
    Item::Think { provider_id: "anthropic".to_owned(), blob: blob.to_owned() }
}

fn word(text: &str) -> Part {
    Part::Text(text.to_owned())
}

#[test]
fn messages_become_items_in_their_order() {
    let turn = read_messages(&json!([
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "two" },
        { "role": "user", "content": [{ "type": "text", "text": "three" }, { "type": "text", "text": "" }] },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "c2ln" },
            { "type": "redacted_thinking", "data": "AAAA" },
            { "type": "text", "text": "four" },
            { "type": "tool_use", "id": "c1", "name": "add", "input": { "b": 1.50, "a": 2 }, "caller": { "type": "direct" } },
            { "type": "tool_use", "id": "c2", "name": "add", "input": {} },
            { "type": "text", "text": "five" },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "c1", "content": "3.5" },
            { "type": "tool_result", "tool_use_id": "c2", "is_error": true },
            { "type": "text", "text": "six" },
        ] },
        { "role": "assistant", "content": [] },
        { "role": "user", "content": "seven" },
        { "role": "user", "content": "eight" },
    ]));
    assert_eq!(
        turn.unwrap().input,
        [
            text(Role::User, "one"),
            text(Role::Assistant, "two"),
            message(Role::User, vec![word("three"), word("")]),
            thinking(r#"{"type":"thinking","thinking":"hm","signature":"c2ln"}"#),
            thinking(r#"{"type":"redacted_thinking","data":"AAAA"}"#),
            text(Role::Assistant, "four"),
            call("c1", r#"{"a":2,"b":1.5}"#),
            call("c2", "{}"),
            text(Role::Assistant, "five"),
            result("c1", Output::Text("3.5".to_owned()), false),
            result("c2", Output::Text(String::new()), true),
            text(Role::User, "six"),
            // A turn without text is an empty message. It separates the messages of the user.
            text(Role::Assistant, ""),
            text(Role::User, "seven"),
            text(Role::User, "eight"),
        ]
    );
}

#[test]
fn reasoning_has_only_the_members_that_its_provider_takes_back() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[
        {"signature":"c2\u006cn","cache_control":null,"thinking":"h\u006d","type":"thinking"},
        {"type":"thinking","thinking":"x","signature":null,"for":"call","id":"c1","members":{"role":"user"},"role":"user",
        "conversation_token":"t"}]},{"role":"user","content":"x"}]}"#;
    let turn = Messages.parse_request(body, &ApiSettings::default()).unwrap().turn;
    let texts = [
        r#"{"type":"thinking","thinking":"h\u006d","signature":"c2\u006cn"}"#,
        r#"{"type":"thinking","thinking":"x"}"#,
    ];
    assert_eq!(turn.input[..2], texts.map(thinking));
    assert_eq!((turn.input[2].clone(), turn.token.as_deref()), (text(Role::Assistant, ""), Some("t")));
}

#[test]
fn arguments_keep_their_text() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c",
        "name":"add","input":{"b": 1.50, "a":2 }}]},{"role":"user","content":"x"}]}"#;
    let turn = Messages.parse_request(body, &ApiSettings::default()).unwrap().turn;
    assert_eq!(turn.input[0], call("c", r#"{"b": 1.50, "a":2 }"#));
}

#[test]
fn repeated_reasoning_without_text_is_an_empty_message() {
    let thinking = json!([{ "type": "thinking", "thinking": "hm", "signature": "c2ln" }]);
    let turn =
        read_messages(&json!([{ "role": "assistant", "content": thinking }, { "role": "user", "content": "x" }]));
    let reasoning = self::thinking(r#"{"type":"thinking","thinking":"hm","signature":"c2ln"}"#);
    assert_eq!(turn.unwrap().input, [reasoning, text(Role::Assistant, ""), text(Role::User, "x")]);
}

#[test]
fn images_are_read_in_every_form() {
    let turn = read_messages(&user(&json!([
        { "type": "image", "source": { "type": "base64", "media_type": "image/svg+xml", "data": "AA==" } },
        { "type": "image", "source": { "type": "url", "url": "https://e.test/a.png" } },
    ])));
    let image = |url: &str| Part::Image(url.to_owned());
    let parts = vec![image("data:image/svg+xml;base64,AA=="), image("https://e.test/a.png")];
    assert_eq!(turn.unwrap().input, [message(Role::User, parts)]);
    let source = |source: Value| json!({ "messages": user(&json!([{ "type": "image", "source": source }])) });
    for media_type in ["", "image/", "image", "text/plain", "image/png;base64,AA", "image/png,x", "image/a b"] {
        assert_invalid(
            &source(json!({ "type": "base64", "media_type": media_type, "data": "AA==" })),
            "`messages[0].content[0].source.media_type`",
        );
    }
    for broken in [json!({ "type": "url" }), json!({ "type": "base64", "data": "AA==" }), json!({ "type": "text" })] {
        assert_invalid(&source(broken), "`messages[0].content[0].source` must");
    }
    assert_invalid(
        &source(json!("https://e.test/a.png")),
        "`messages[0].content[0].source` must be an object, not text.",
    );
    assert_unsupported(&source(json!({ "type": "file", "file_id": "f" })), "has a source of type `file`");
}

#[test]
fn results_are_text_or_parts() {
    let read_result = |content: Value| {
        let block = json!([{ "type": "tool_result", "tool_use_id": "c", "content": content }]);
        read_messages(&user(&block)).map(|turn| turn.input)
    };
    let of = |out| vec![result("c", out, false)];
    assert_eq!(read_result(json!("x")).unwrap(), of(Output::Text("x".to_owned())));
    for none in [json!(null), json!(""), json!([])] {
        assert_eq!(read_result(none).unwrap(), of(Output::Text(String::new())));
    }
    let parts = json!([{ "type": "text", "text": "a" }, { "type": "image", "source": { "type": "url", "url": "u" } }]);
    assert_eq!(read_result(parts).unwrap(), of(Output::Parts(vec![word("a"), Part::Image("u".to_owned())])));
    for (content, code) in [
        (json!([{ "type": "tool_use", "id": "c", "name": "n", "input": {} }]), "request_invalid"),
        (json!(5), "request_invalid"),
        (json!({}), "request_invalid"),
    ] {
        let error = read_result(content).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with("`messages[0].content[0]"), "{error}");
    }
}

#[test]
fn a_result_keeps_the_names_of_blocks_that_it_cannot_have() {
    let document = json!({ "type": "document", "source": { "type": "base64", "data": "" } });
    let found = json!({ "type": "tool_reference", "tool_name": "look" });
    let block = json!([{ "type": "tool_result", "tool_use_id": "c", "content": [document, found, document] }]);
    let turn = read_messages(&user(&block)).unwrap();
    let parts = [word("[document]"), word("The tool `look` is available."), word("[document]")];
    assert_eq!(turn.input, [result("c", Output::Parts(parts.to_vec()), false)]);
    assert_eq!(turn.ignored, ["document"]);
}

#[test]
fn blocks_are_rejected_at_a_wrong_position() {
    let tool_use = json!({ "type": "tool_use", "id": "c", "name": "n", "input": {} });
    let result = json!({ "type": "tool_result", "tool_use_id": "c" });
    let image = json!({ "type": "image", "source": { "type": "url", "url": "https://e.test" } });
    let thinking = json!({ "type": "thinking", "thinking": "", "signature": "" });
    for (role, block) in [
        ("assistant", &image),
        ("assistant", &result),
        ("system", &image),
        ("system", &tool_use),
        ("user", &thinking),
        ("user", &tool_use),
    ] {
        let text = json!({ "type": "text", "text": "a" });
        let members =
            json!({ "messages": [{ "role": "user", "content": "x" }, { "role": role, "content": [text, block] }] });
        assert_invalid(&members, "`messages[1].content[1]` has the type `");
    }
    assert_invalid(&json!({ "system": [{ "type": "text", "text": "a" }, image] }), "`system[1]` has the type `image`");
    let no_object = json!({ "type": "tool_use", "id": "c", "name": "n", "input": "{}" });
    assert_invalid(
        &json!({ "messages": [{ "role": "assistant", "content": [no_object] }] }),
        "`messages[0].content[0].input` must be an object",
    );
}

#[test]
fn blocks_without_their_required_members_are_rejected() {
    for (block, field) in [
        (json!({ "type": "text" }), "text"),
        (json!({ "type": "image" }), "source"),
        (json!({ "type": "tool_result", "content": "x" }), "tool_use_id"),
        (json!({ "type": "tool_use", "name": "n", "input": {} }), "id"),
        (json!({ "type": "tool_use", "id": "c", "input": {} }), "name"),
        (json!({ "type": "tool_use", "id": "c", "name": "n" }), "input"),
        (json!({ "text": "a" }), "type"),
    ] {
        assert_invalid(
            &json!({ "messages": user(&json!([block])) }),
            &format!("`messages[0].content[0].{field}` is missing. Add it."),
        );
    }
    for (content, fault) in [
        (json!(5), "` must be text or a list of blocks, not the number 5."),
        (json!({}), "` must be text or a list of blocks, not an object."),
        (json!(["a"]), "[0]` must be an object, not text."),
        (json!(null), "` must be text or a list of blocks, not null."),
        (json!([["text", "a"]]), "[0]` must be an object, not a list."),
    ] {
        assert_invalid(&json!({ "messages": user(&content) }), &format!("`messages[0].content{fault}"));
    }
    assert_invalid(&json!({ "messages": user(&json!([])) }), "`messages[0].content` is empty");
}

#[test]
fn unsupported_blocks_are_rejected_by_name() {
    for (kind, roles) in [
        ("server_tool_use", &["user"][..]),
        ("web_search_tool_result", &["user"]),
        ("container_upload", &["user", "assistant"]),
        ("compaction", &["user"]),
        ("next_months_block", &["user", "assistant"]),
    ] {
        for role in roles {
            let block = json!({ "type": kind, "source": "x", "content": { "a": [1] }, "title": null });
            assert_unsupported(
                &json!({ "messages": [{ "role": role, "content": [block] }, { "role": "user", "content": "x" }] }),
                &format!("`messages[0].content[0]` has the type `{kind}`, which is not supported. Send text"),
            );
        }
    }
    let long = "x\n".repeat(100);
    let error = read_messages(&user(&json!([{ "type": long }]))).unwrap_err().to_string();
    assert!(error.contains(&"x".repeat(64)) && !error.contains(&"x".repeat(65)) && !error.contains('\n'), "{error}");
}

#[test]
fn what_hosted_tools_did_is_left_out_and_named() {
    let kinds = ["server_tool_use", "web_search_tool_result", "code_execution_tool_result", "mcp_tool_use"];
    let kinds = kinds.into_iter().chain(["mcp_tool_result", "next_months_tool_result"]);
    let mut blocks: Vec<Value> = kinds
        .map(|kind| json!({ "type": kind, "id": "srvtoolu_1", "tool_use_id": "srvtoolu_1", "content": [5] }))
        .collect();
    let named: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect();
    blocks.push(json!({ "type": "text", "text": "Red.", "citations": [] }));
    let turn = read_messages(&json!([
        { "role": "user", "content": "Look." },
        { "role": "assistant", "content": blocks },
        { "role": "user", "content": "Sure?" },
    ]))
    .unwrap();
    let user = |text: &str| Item::text(Role::User, text);
    assert_eq!(turn.input, [user("Look."), Item::text(Role::Assistant, "Red."), user("Sure?")]);
    assert_eq!(turn.ignored, named);
}

#[test]
fn a_compaction_is_left_out_next_to_the_messages_that_it_replaces() {
    let compaction = json!([{ "type": "compaction", "content": "They met." }, { "type": "text", "text": "Hi." }]);
    let (ask, reply) = (json!({ "role": "user", "content": "x" }), json!({ "role": "assistant", "content": "y" }));
    let compacted = json!({ "role": "assistant", "content": compaction });
    let turn = read_messages(&json!([ask, reply, ask, compacted, ask])).unwrap();
    assert_eq!((turn.input.len(), turn.ignored), (5, vec!["compaction".to_owned()]));
    for messages in [json!([compacted, ask]), json!([ask, compacted, ask])] {
        assert_unsupported(&json!({ "messages": messages }), "Send the messages that it replaced.");
    }
}

#[test]
fn documents_and_search_results_become_text() {
    let image = json!({ "type": "image", "source": { "type": "url", "url": "https://e.test/a.png" } });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let document = |source: Value| json!({ "type": "document", "source": source });
    let plain = json!({ "type": "text", "media_type": "text/plain", "data": "Red." });
    let titled = json!({ "type": "document", "source": plain, "title": "Colours", "context": "A list.",
        "citations": { "enabled": true }, "cache_control": { "type": "ephemeral" } });
    let found = json!({ "type": "search_result", "source": "https://e.test", "title": "Colours",
        "content": [text("Red, "), text("blue.")], "citations": { "enabled": false } });
    let picture = Part::Image("https://e.test/a.png".to_owned());
    for (block, parts, ignored) in [
        (document(plain.clone()), vec![word("Red.")], &[][..]),
        (document(json!({ "type": "content", "content": "Red." })), vec![word("Red.")], &[]),
        (document(json!({ "type": "content", "content": [text("a"), image] })), vec![word("a"), picture], &[]),
        (document(json!({ "type": "content", "content": [] })), vec![word("")], &[]),
        (titled, vec![word("Colours\nA list.\n"), word("Red.")], &["citations"]),
        (found, vec![word("Colours\nhttps://e.test\nRed, blue.")], &[]),
    ] {
        let turn = read_messages(&user(&json!([block]))).unwrap();
        assert_eq!(turn.input, [Item::Message { role: Role::User, parts: parts.clone(), cut: false }], "{block}");
        assert_eq!(turn.ignored, ignored);
        let results = json!([{ "type": "tool_result", "tool_use_id": "c", "content": [block] }]);
        assert_eq!(read_messages(&user(&results)).unwrap().input, [result("c", Output::Parts(parts), false)]);
    }
    for source in [
        json!({ "type": "base64", "media_type": "application/pdf", "data": "JVBE" }),
        json!({ "type": "url", "url": "https://e.test/a.pdf" }),
        json!({ "type": "file", "file_id": "f" }),
    ] {
        let messages = json!({ "messages": user(&json!([document(source)])) });
        assert_unsupported(&messages, "`messages[0].content[0]` is a document that is not text");
    }
    for (block, fault) in [
        (json!({ "type": "document" }), "`messages[0].content[0].source` is missing"),
        (json!({ "type": "search_result" }), "`messages[0].content[0].content` is missing"),
        (json!({ "type": "search_result", "content": [image] }), "a search result can only have text"),
        (json!({ "type": "search_result", "content": "a", "title": 5 }), "`messages[0].content[0].title` must be"),
    ] {
        let error = read_messages(&user(&json!([block]))).unwrap_err();
        assert!(error.code() == "request_invalid" && error.to_string().contains(fault), "{error}");
    }
}

#[test]
fn unknown_roles_are_rejected() {
    for role in ["tool", "developer", "User", ""] {
        assert_invalid(
            &json!({ "messages": [{ "role": role, "content": "x" }] }),
            "`messages[0].role` must be \"user\",",
        );
    }
}

#[test]
fn a_prefilled_reply_is_rejected() {
    let prefill = json!({ "role": "assistant", "content": "The answer is (" });
    let user = json!({ "role": "user", "content": "x" });
    let system = json!({ "role": "system", "content": "y" });
    for messages in [
        json!([prefill]),
        json!([user, prefill]),
        json!([user, prefill, system]),
        json!([user, { "role": "assistant", "content": [] }]),
    ] {
        assert_unsupported(
            &json!({ "messages": messages }),
            "`messages` ends with the role `assistant`, but the start of a reply",
        );
    }
    assert!(read_messages(&json!([prefill, user, system])).is_ok());
    for messages in [json!([]), json!([system])] {
        assert_invalid(&json!({ "messages": messages }), "`messages` has no user message");
    }
}

#[test]
fn system_text_after_a_message_of_the_model_stays_in_its_place() {
    let system = |content: Value| json!({ "role": "system", "content": content });
    let messages = json!([
        { "role": "user", "content": "x" },
        system(json!("a")),
        { "role": "assistant", "content": "y" },
        { "role": "user", "content": "z" },
        system(json!([{ "type": "text", "text": "b" }, { "type": "text", "text": "" }])),
        system(json!("")),
    ]);
    let turn = read(&json!({ "messages": messages })).unwrap();
    let input = [text(Role::User, "x"), text(Role::Assistant, "y"), text(Role::User, "z"), text(Role::User, "b")];
    assert_eq!((turn.system.as_deref(), turn.input), (Some("a"), input.to_vec()));
}

#[test]
fn system_text_is_joined_from_all_its_places() {
    let turn = read(&json!({
        "system": [{ "type": "text", "text": "a" }, { "type": "text", "text": "" }, { "type": "text", "text": "b" }],
        "messages": [
            { "role": "user", "content": "x" },
            { "role": "system", "content": "c" },
            { "role": "system", "content": [{ "type": "text", "text": "d" }] },
            { "role": "system", "content": "" },
        ],
    }))
    .unwrap();
    assert_eq!((turn.system.as_deref(), turn.input), (Some("a\n\nb\n\nc\n\nd"), vec![text(Role::User, "x")]));
    assert_invalid(&json!({ "system": [{ "type": "document" }] }), "`system[0]` has the type `document`");
    assert_invalid(&json!({ "system": 5 }), "`system` must be text or a list of blocks, not the number 5.");
}

#[test]
fn lists_are_bounded() {
    let many = |count: usize| json!({ "messages": vec![json!({ "role": "user", "content": "" }); count] });
    assert_eq!(read(&many(body::ELEMENTS)).unwrap().input.len(), body::ELEMENTS);
    assert_invalid(&many(body::ELEMENTS + 1), "more than 16384 entries");
    let blocks = |count: usize| json!({ "messages": user(&json!(vec![json!({ "type": "text", "text": "" }); count])) });
    assert!(read(&blocks(body::ELEMENTS)).is_ok());
    assert_invalid(&blocks(body::ELEMENTS + 1), "more than 16384 entries");
    let results = |count: usize| {
        let content = vec![json!({ "type": "text", "text": "" }); count];
        json!({ "messages": user(&json!([{ "type": "tool_result", "tool_use_id": "c", "content": content }])) })
    };
    assert_invalid(
        &results(body::ELEMENTS + 1),
        "`messages[0].content[0].content` is invalid: more than 16384 entries",
    );
}
