//! Opaque members and ids that go back to the service that gave them.

use super::*;
use crate::proto::provider::{CallIds, Profile, ServiceState};

/// Reads a reply of the service with this profile.
fn read_at(profile: &Profile, content_type: &str, reply: &str) -> Vec<Delta> {
    let mut deltas = Vec::new();
    let mut reader = OFFICIAL.reply_reader(&head(content_type), BOUNDS, profile);
    reader.push(reply.as_bytes(), &mut deltas).unwrap();
    reader.finish(&mut deltas).unwrap();
    deltas.retain(|delta| !matches!(delta, Delta::Repaired(_) | Delta::Usage(_)));
    deltas
}

/// The items that these deltas become.
fn items(deltas: Vec<Delta>) -> Vec<Item> {
    let items = deltas.into_iter().filter_map(|delta| match delta {
        Delta::Call { id, name, args } => Some(Item::Call { id, name, args }),
        Delta::Text(text) => Some(Item::text(Role::Assistant, text)),
        Delta::Think { provider_id, blob } => Some(Item::Think { provider_id, blob }),
        _ => None,
    });
    items.collect()
}

/// The messages of a request with these items to the service with this profile, as text.
fn messages_at(profile: Profile, provider_id: &str, items: &[Item]) -> String {
    let options = ModelOptions::default();
    let call = ModelCall { profile, provider_id, system: None, ..model_call(&OFFICIAL, items, &options) };
    let body = text_of(&OFFICIAL.request(&call).unwrap());
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
    let (_, messages) = body.split_once("\"messages\":").unwrap();
    messages.strip_suffix('}').unwrap().to_owned()
}

/// A tool loop: a question, this reply, and the result of its call.
fn tool_loop(reply: &[Item], id: &str) -> Vec<Item> {
    [&[Item::text(Role::User, "q")][..], reply, &[result_item(id, "1")]].concat()
}

fn named(name: &str) -> Profile {
    Profile::by_name(name).unwrap()
}

const SIGNED: &str = r#"{"google":{"thought_signature":"AbC"}}"#;

#[test]
fn a_signature_goes_back_on_its_call() {
    let call = format!(
        r#"{{"index":0,"id":"c1","type":"function","function":{{"name":"look","arguments":"{{}}"}},"extra_content":{SIGNED}}}"#
    );
    let whole = format!(r#"{{"choices":[{{"message":{{"tool_calls":[{call}]}},"finish_reason":"tool_calls"}}]}}"#);
    let streamed = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n\
         data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
    );
    for profile in [COMPATIBLE, named("gemini")] {
        for (content_type, reply) in [("application/json", &whole), (STREAM, &streamed)] {
            let reply = items(read_at(&profile, content_type, reply));
            let blob = format!(r#"{{"for":"call","id":"c1","members":{{"extra_content":{SIGNED}}}}}"#);
            assert_eq!(reply, [think_item("openai", &blob), call_item("c1", "look", "{}")]);
            let sent = messages_at(profile, "openai", &tool_loop(&reply, "c1"));
            assert!(sent.contains(&format!(r#""arguments":"{{}}"}},"extra_content":{SIGNED}}}]"#)), "{sent}");
            let other = messages_at(profile, "openai@other.test", &tool_loop(&reply, "c1"));
            assert!(!other.contains("extra_content"), "{other}");
            let official = messages_at(official(&OFFICIAL), "openai", &tool_loop(&reply, "c1"));
            assert!(!official.contains("extra_content"), "the profile does not take it: {official}");
        }
    }
}

#[test]
fn reasoning_goes_back_on_its_message() {
    let deltas = [
        r#"{"role":"assistant","content":"","reasoning_content":null}"#,
        r#"{"reasoning_content":"I "}"#,
        r#"{"reasoning_content":"see","content":null}"#,
        r#"{"content":"Wait."}"#,
        r#"{"tool_calls":[{"index":0,"id":"functions.look:0","function":{"name":"look","arguments":"{}"}}]}"#,
    ];
    let events = deltas.map(|delta| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n"));
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let blob = r#"{"for":"message","members":{"reasoning_content":"I see"}}"#;
    for profile in [COMPATIBLE, named("moonshot"), named("deepseek"), named("vllm")] {
        let reply = items(read_at(&profile, STREAM, &(events.concat() + end)));
        assert_eq!(reply[..2], [Item::text(Role::Assistant, "Wait."), think_item("openai", blob)], "{}", profile.name);
        let sent = messages_at(profile, "openai", &tool_loop(&reply, "functions.look:0"));
        let expected = concat!(
            r#"[{"role":"user","content":"q"},{"role":"assistant","content":"Wait.","tool_calls":["#,
            r#"{"id":"functions.look:0","type":"function","function":{"name":"look","arguments":"{}"}}],"#,
            r#""reasoning_content":"I see"},{"role":"tool","tool_call_id":"functions.look:0","content":"1"}]"#,
        );
        assert_eq!(sent, expected, "{}", profile.name);
    }
    let never = Profile { service_state: ServiceState::Never, ..COMPATIBLE };
    let reply = items(read_at(&never, STREAM, &(events.concat() + end)));
    assert!(reply.iter().all(|item| !matches!(item, Item::Think { blob, .. } if blob.contains("see"))));
}

#[test]
fn reasoning_without_calls_is_kept_only_where_it_is_wanted() {
    let body = r#"{"choices":[{"message":{"content":"a","reasoning_content":"I see"},"finish_reason":"stop"}]}"#;
    for (name, is_kept) in [("compatible", false), ("openai", false), ("groq", false), ("deepseek", true)] {
        let reply = items(read_at(&named(name), "application/json", body));
        assert_eq!(reply.len(), if is_kept { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn a_service_that_requires_reasoning_gets_some_for_calls_of_another() {
    let items = tool_loop(&[call_item("c1", "look", "{}")], "c1");
    for (name, is_added) in [("moonshot", true), ("deepseek", true), ("compatible", false), ("openai", false)] {
        let sent = messages_at(named(name), "openai@k", &items);
        assert_eq!(sent.contains(r#""reasoning_content":".""#), is_added, "{name}: {sent}");
    }
}

#[test]
fn state_of_the_tool_loop_is_left_out_after_it() {
    let profile = Profile { service_state: ServiceState::ToolLoop, ..COMPATIBLE };
    let blob = r#"{"for":"message","members":{"reasoning_content":"I see"}}"#;
    let reply = [think_item("openai", blob), call_item("c1", "look", "{}")];
    let mut items = tool_loop(&reply, "c1");
    assert!(messages_at(profile, "openai", &items).contains("I see"));
    items.extend([think_item("openai", blob), call_item("c2", "look", "{}"), result_item("c2", "2")]);
    assert_eq!(messages_at(profile, "openai", &items).matches("I see").count(), 2);
    items.extend([Item::text(Role::Assistant, "done"), Item::text(Role::User, "next")]);
    let after = messages_at(profile, "openai", &items);
    assert!(!after.contains("I see"));
    items.extend([Item::text(Role::Assistant, "ok"), Item::text(Role::User, "more")]);
    let later = messages_at(profile, "openai", &items);
    assert!(later.starts_with(after.strip_suffix(']').unwrap()), "the beginning changes once");
}

#[test]
fn thinking_in_a_list_goes_back_before_the_text() {
    let piece = |text: &str| format!(r#"{{"type":"thinking","thinking":[{{"type":"text","text":"{text}"}}]}}"#);
    let chunk = |content: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{content}}}}}]}}\n\n");
    let stream = [
        chunk(&format!("[{}]", piece("I "))),
        chunk(&format!("[{}]", piece("see"))),
        chunk(r#"[{"type":"text","text":"x"}]"#),
        chunk(r#""y""#),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n".to_owned(),
    ];
    for profile in [named("mistral"), COMPATIBLE] {
        let deltas = read_at(&profile, STREAM, &stream.concat());
        let blob = format!(r#"{{"for":"message","members":{{"content":[{}]}}}}"#, piece("I see"));
        assert_eq!(deltas[..3], [text("x"), text("y"), think("openai", &blob)]);
        let reply = [Item::text(Role::Assistant, "xy"), think_item("openai", &blob)];
        let items = [&[Item::text(Role::User, "q")][..], &reply, &[Item::text(Role::User, "and?")]].concat();
        let sent = messages_at(profile, "openai", &items);
        let expected = format!(r#""content":[{},{{"type":"text","text":"xy"}}]"#, piece("I see"));
        assert!(sent.contains(&expected), "{sent}");
    }
}

#[test]
fn pieces_of_many_states_are_each_sent_once() {
    let blob = |number: usize| format!(r#"{{"for":"message","members":{{"content":[{{"type":"t","n":{number}}}]}}}}"#);
    let states = (0..100).map(|number| think_item("openai", &blob(number)));
    let mut items = vec![Item::text(Role::User, "q"), Item::text(Role::Assistant, "a")];
    items.extend(states.chain([Item::text(Role::User, "and?")]));
    let sent = messages_at(named("mistral"), "openai", &items);
    let pieces: Vec<_> = (0..100).rev().map(|number| format!(r#"{{"type":"t","n":{number}}}"#)).collect();
    let expected = format!(r#""content":[{},{{"type":"text","text":"a"}}]"#, pieces.join(","));
    assert!(sent.contains(&expected), "{sent}");
}

#[test]
fn ids_of_another_service_get_the_form_of_this_one() {
    let items = [
        tool_loop(&[call_item("call_abc", "look", "{}")], "call_abc"),
        tool_loop(&[call_item("call_abc", "look", "{}")], "call_abc"),
        tool_loop(&[call_item("D681PevKs", "look", "{}")], "D681PevKs"),
    ];
    let ids = |sent: &str| -> Vec<String> {
        let messages: Vec<serde_json::Value> = serde_json::from_str(sent).unwrap();
        let called = messages.iter().filter_map(|message| Some(message["tool_calls"][0]["id"].as_str()?.to_owned()));
        let answered = messages.iter().filter_map(|message| Some(message["tool_call_id"].as_str()?.to_owned()));
        assert_eq!(called.clone().collect::<Vec<_>>(), answered.collect::<Vec<_>>());
        called.collect()
    };
    let all = ids(&messages_at(named("mistral"), "openai@m", &items.concat()));
    assert!(all.iter().all(|id| CallIds::NineLetters.accepts(id)) && all[0] != all[1], "{all:?}");
    assert_eq!(all[2], "D681PevKs");
    for turns in 1..3 {
        assert_eq!(ids(&messages_at(named("mistral"), "openai@m", &items[..turns].concat())), all[..turns]);
    }
}

#[test]
fn an_empty_reply_is_written_for_services_that_refuse_empty_messages() {
    let items = [Item::text(Role::User, "q"), Item::text(Role::Assistant, ""), Item::text(Role::User, "and?")];
    for (name, content) in [("compatible", "[no reply]"), ("moonshot", "[no reply]"), ("openai", "")] {
        let sent = messages_at(named(name), "openai", &items);
        assert!(sent.contains(&format!(r#"{{"role":"assistant","content":"{content}"}}"#)), "{name}: {sent}");
    }
    let call = [Item::text(Role::Assistant, ""), call_item("c1", "look", "{}")];
    let sent = messages_at(named("moonshot"), "openai", &tool_loop(&call, "c1"));
    assert!(sent.contains(r#""content":null,"tool_calls""#), "{sent}");
}

#[test]
fn several_texts_are_one_text_where_lists_are_refused() {
    let parts = |parts: Vec<Part>| Item::Message { role: Role::User, parts, cut: false };
    let texts = parts(vec![Part::Text("a".into()), Part::Text("b".into())]);
    assert_eq!(
        messages_at(COMPATIBLE, "openai", std::slice::from_ref(&texts)),
        r#"[{"role":"user","content":"a\nb"}]"#
    );
    assert!(messages_at(named("openai"), "openai", &[texts]).contains(r#""content":[{"type":"text""#));
    let image = parts(vec![Part::Text(String::new()), Part::Image("u".into())]);
    let sent = messages_at(COMPATIBLE, "openai", &[image]);
    assert_eq!(sent, r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]"#);
}

#[test]
fn requests_of_every_profile_begin_with_the_previous_one() {
    for profile in PROFILES {
        let (mut items, mut before) = (Vec::new(), None::<String>);
        for (input, reply) in conversation("openai") {
            items.extend(input);
            let sent = messages_at(*profile, "openai", &items);
            if let Some(before) = before {
                assert!(sent.starts_with(before.strip_suffix(']').unwrap()), "{}\n{before}\n{sent}", profile.name);
            }
            before = Some(sent);
            items.extend(reply);
        }
    }
}

#[test]
fn the_token_of_a_server_behind_the_service_is_not_kept() {
    let profile = named("litellm");
    // The token is longer than the limit on members.
    let members = |kept: &str| {
        let token = "t".repeat(3 * BOUNDS.reply_bytes);
        format!(r#""provider_specific_fields":{{"conversation_token":"{token}"{kept}}}"#)
    };
    let call = format!(
        r#"{{"id":"c1","function":{{"name":"look","arguments":"{{}}"}},{}}}"#,
        members(r#","inner":[{"conversation_token":1,"signature":"AbC"}]"#)
    );
    let message = format!(r#"{{"content":null,"tool_calls":[{call}],{}}}"#, members(""));
    let body = format!(r#"{{"choices":[{{"message":{message},"finish_reason":"tool_calls"}}]}}"#);
    let blob = r#"{"for":"call","id":"c1","members":{"provider_specific_fields":{"inner":[{"signature":"AbC"}]}}}"#;
    let reply = items(read_at(&profile, "application/json", &body));
    assert_eq!(reply, [think_item("openai", blob), call_item("c1", "look", "{}")]);
}

#[test]
fn no_profile_names_a_member_that_holdall_writes_or_reads() {
    for profile in PROFILES {
        let named = [profile.call_members, profile.message_members, profile.message_members_with_calls].concat();
        for name in [&["conversation_token"], STRUCTURE].concat() {
            let is_named = named.contains(&name) || profile.required_with_calls == Some(name);
            assert!(!is_named, "{}: {name}", profile.name);
        }
        // The pieces of the content are added to the text, and so have rules of their own.
        assert!(!profile.call_members.contains(&"content") && !profile.message_members_with_calls.contains(&"content"));
    }
}

/// The members that make a message or a call.
const STRUCTURE: &[&str] = &[
    "arguments",
    "function",
    "function_call",
    "id",
    "index",
    "name",
    "refusal",
    "role",
    "tool_calls",
    "tool_call_id",
    "type",
];

#[test]
fn state_adds_nothing_but_the_members_of_the_profile() {
    let structure: String = STRUCTURE.iter().map(|name| format!(r#""{name}":"evil","#)).collect();
    let members = |more: &str| format!(r#"{{{structure}"of_the_future":"evil",{more}}}"#);
    let given = r#"[{"type":"text","text":"evil"},{"type":"output_text","text":"evil"},{"text":"evil"},"evil",
        {"type":"refusal","refusal":"evil"},{"type":"thinking","thinking":"hm"}]"#;
    let reply = [
        Item::text(Role::Assistant, "Wait."),
        think_item(
            "openai",
            &format!(r#"{{"for":"message","members":{}}}"#, members(&format!(r#""content":{given}"#))),
        ),
        think_item("openai", &format!(r#"{{"for":"call","id":"c1","members":{}}}"#, members(r#""content":"evil""#))),
        call_item("c1", "look", "{}"),
    ];
    for profile in PROFILES {
        let sent = messages_at(*profile, "openai", &tool_loop(&reply, "c1"));
        assert!(!sent.contains("evil"), "{}: {sent}", profile.name);
        let messages: Vec<serde_json::Value> = serde_json::from_str(&sent).unwrap();
        let message = &messages[1];
        assert_eq!(message["role"], "assistant", "{}", profile.name);
        let call = serde_json::json!({ "type": "function", "function": { "name": "look", "arguments": "{}" } });
        assert_eq!(message["tool_calls"][0]["function"], call["function"], "{}", profile.name);
        let text = serde_json::json!({ "type": "text", "text": "Wait." });
        let thinking = serde_json::json!({ "type": "thinking", "thinking": "hm" });
        let is_expected = match &message["content"] {
            serde_json::Value::String(text) => text == "Wait.",
            content => *content == serde_json::json!([thinking, text]),
        };
        assert!(is_expected, "{}: {sent}", profile.name);
    }
}
