//! Tests of transcripts. Items are compared as the lines that a token holds.

use super::*;

fn lines(text: &str, format: Format) -> Result<String, String> {
    let mut lines = String::new();
    read(text, format, &ImageRules::Public)?.items.iter().for_each(|item| item.write_line(&mut lines));
    Ok(lines)
}

const OPENAI: &str = r#"[
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "https://e.test/a.png", "detail": "low"}}]},
    {"role": "assistant", "content": null, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{ \"at\":1 }"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "a cat", "name": "look"},
    {"role": "assistant", "content": "It is a cat.", "refusal": null}
]"#;

const OPENAI_LINES: &str = r#"{"t":"msg","role":"user","parts":[{"text":"see"},{"image":"https://e.test/a.png"}]}
{"t":"call","id":"c1","name":"look","args":"{ \"at\":1 }"}
{"t":"result","id":"c1","out":"a cat"}
{"t":"msg","role":"assistant","parts":[{"text":"It is a cat."}]}
"#;

#[test]
fn openai_messages_become_items() {
    for format in [Format::Auto, Format::Openai] {
        let transcript = read(OPENAI, format, &ImageRules::Public).unwrap();
        assert_eq!((transcript.system_messages, turns(&transcript.items)), (1, 2));
        assert_eq!(lines(OPENAI, format).unwrap(), OPENAI_LINES);
    }
    let request = format!("{{\"model\":\"m\",\"messages\":{OPENAI}}}");
    assert_eq!(lines(&request, Format::Auto).unwrap(), OPENAI_LINES);
}

#[test]
fn langchain_messages_become_items() {
    let list = r#"[
        {"type":"system","data":{"content":"be brief"}},
        {"type":"human","data":{"content":"add","additional_kwargs":{},"type":"human"}},
        {"type":"ai","data":{"content":[{"type":"text","text":"So:"},{"type":"tool_use","id":"c1","name":"add","input":{}}],
            "tool_calls":[{"name":"add","args":{"a": 1},"id":"c1","type":"tool_call"}]}},
        {"type":"tool","data":{"content":"no","tool_call_id":"c1","status":"error"}},
        {"type":"ai","data":{"content":"It failed.","tool_calls":[]}}
    ]"#;
    let expected = r#"{"t":"msg","role":"user","parts":[{"text":"add"}]}
{"t":"msg","role":"assistant","parts":[{"text":"So:"}]}
{"t":"call","id":"c1","name":"add","args":"{\"a\": 1}"}
{"t":"result","id":"c1","out":"no","error":true}
{"t":"msg","role":"assistant","parts":[{"text":"It failed."}]}
"#;
    assert_eq!(lines(list, Format::Auto).unwrap(), expected);
    assert_eq!(lines(list, Format::Langchain).unwrap(), expected);
}

#[test]
fn exported_lines_import_unchanged() {
    assert_eq!(lines(OPENAI_LINES, Format::Auto).unwrap(), OPENAI_LINES);
    assert_eq!(lines(OPENAI_LINES, Format::Jsonl).unwrap(), OPENAI_LINES);
    let list = OPENAI_LINES.trim_end().replace('\n', ",");
    let answer = format!("{{\"items\":[{list}],\"conversation\":{{}}}}");
    assert_eq!(lines(&answer, Format::Auto).unwrap(), OPENAI_LINES);
}

#[test]
fn a_transcript_can_be_json_lines() {
    let text = "{\"role\":\"user\",\"content\":\"a\"}\n\n{\"role\":\"assistant\",\"content\":\"\"}\n";
    let expected = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}\n\
                 {\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"\"}]}\n";
    assert_eq!(lines(text, Format::Auto).unwrap(), expected);
}

#[test]
fn a_turn_ends_with_the_assistants_last_item() {
    let (user, model) = (Item::text(Role::User, "a"), Item::text(Role::Assistant, "b"));
    for (items, count) in [
        (vec![&user], 1),
        (vec![&user, &user, &model], 1),
        (vec![&user, &model, &user, &model], 2),
        (vec![&user, &model, &model, &user], 2),
        (vec![&model], 1),
        (vec![&model, &user, &model], 1),
    ] {
        assert_eq!(turns(&items.into_iter().cloned().collect::<Vec<_>>()), count);
    }
}

#[test]
fn unsupported_content_is_an_error_that_names_its_place() {
    for (text, fault) in [
        ("", "it contains no messages"),
        ("[]", "it contains no messages"),
        ("hello", "line 1 is not JSON"),
        ("[1", "not a JSON array"),
        (r#"[{"a":1}]"#, "no `role` (OpenAI), no `type` (LangChain) and no `t` (Holdall)"),
        ("{\"messages\":[]}\n{\"messages\":[]}", "several conversations"),
        (r#"[{"role":"system","content":"a"}]"#, "only system messages"),
        (r#"[{"role":"user","content":"a"},{"role":"function","content":"a"}]"#, "message 2: unknown role `function`"),
        (r#"[{"role":"user"}]"#, "message 1: `content` is missing"),
        (r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]"#, "type `input_audio`"),
        (r#"[{"role":"user","content":[{"type":"image_url","image_url":"file:///etc/passwd"}]}]"#, "an image must be"),
        (
            r#"[{"type":"human","data":{"content":"a"}},{"type":"human","data":{"content":[{"type":"image_url","image_url":"http://e.test/a.png"}]}}]"#,
            "message 2: an image must be an `https:` or `data:` URL",
        ),
        (
            r#"{"t":"msg","role":"user","parts":[{"image":"https://10.0.0.1/"}]}"#,
            "message 1: an image must have a URL with a public host",
        ),
        (
            r#"{"t":"result","id":"c","out":[{"image":"https://a:b@e.test/"}]}"#,
            "message 1: an image must have a URL without a user name",
        ),
        (r#"[{"role":"user","content":1}]"#, "`content` must be text or an array of parts"),
        (r#"[{"role":"assistant","content":"","function_call":{"name":"a"}}]"#, "`function_call` is not supported"),
        (r#"[{"role":"tool","content":"a"}]"#, "`tool_call_id` is missing"),
        (r#"[{"role":"tool","tool_call_id":"c","content":"a"}]"#, "the tool result `c` has no open tool call"),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},
                {"role":"user","content":"a"}]"#,
            "a user message comes before the result of the tool call `c`",
        ),
        (r#"[{"type":"generic","data":{"content":"a"}}]"#, "unknown type `generic`"),
        (r#"[{"type":"ai","data":{"tool_calls":[{"name":"a","args":{}}]}}]"#, "a tool call has no `id`"),
        (r#"{"t":"msg","role":"user","parts":[]}"#, "message 1: parts are empty"),
    ] {
        let error = read(text, Format::Auto, &ImageRules::Public).unwrap_err();
        assert!(error.contains(fault), "{text}: {error}");
    }
}
