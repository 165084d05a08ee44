//! Opaque members of a service: how the API shows them, and how it reads them.

use super::*;
use crate::proto::{
    api::{ReplyWriter, tools::ToolNames},
    chat::{claimed_provider, owner_mark},
    provider::testing::{an_answer, call, text},
    sse,
    turn::{Answer, Delta},
};

const BY: &str = "openai@a.test";
const OF_MESSAGE: &str =
    r#"{"for":"message","members":{"content":[{"type":"thinking"}],"reasoning_content":"I \"see\""}}"#;
const OF_CALL: &str = r#"{"for":"call","id":"c1","members":{"extra_content":{ "google":{"thought_signature":"AbC"}}}}"#;
const OF_ID: &str = r#"{"for":"call","id":"c2","members":{}}"#;

fn think_item(provider_id: &str, blob: &str) -> Item {
    Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

fn think(provider_id: &str, blob: &str) -> Delta {
    Delta::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

/// A reply with a text, three calls and their states.
fn reply() -> Answer {
    let output = vec![
        Item::text(Role::Assistant, "Wait."),
        think_item(BY, OF_MESSAGE),
        think_item(BY, OF_CALL),
        call_item("c1", "look", "{}"),
        think_item(BY, OF_ID),
        call_item("c2", "look", "{}"),
        call_item("c3", "look", "{}"),
    ];
    Answer { reply: "Wait.".to_owned(), output, ..an_answer() }
}

fn writer(shows_state: bool) -> ChatWriter {
    let mut writer = ChatWriter::new(false, ToolNames::default());
    if shows_state {
        writer.show_service_state();
    }
    writer
}

fn message(shows_state: bool, answer: &Answer) -> Value {
    let body: Value = serde_json::from_slice(&writer(shows_state).body(answer)).unwrap();
    body["choices"][0]["message"].clone()
}

/// The deltas of a stream with the reply.
fn streamed(shows_state: bool) -> Vec<Value> {
    let (mut writer, answer, mut out) = (writer(shows_state), reply(), Vec::new());
    writer.start(&answer.conversation.claims, &mut out);
    writer.deltas(&[text("Wait."), think(BY, OF_MESSAGE), think(BY, OF_CALL)], &mut out);
    writer.deltas(&[call("c1", "look", "{}"), think(BY, OF_ID), call("c2", "look", "{}")], &mut out);
    writer.deltas(&[call("c3", "look", "{}")], &mut out);
    writer.finish(&answer, &mut out);
    let (mut decoder, mut out) = (sse::Decoder::new(1 << 20), &out[..]);
    let mut deltas = Vec::new();
    while let Some(event) = decoder.next_event(&mut out).unwrap() {
        let chunk: Value = serde_json::from_str(&event.data).unwrap_or_default();
        deltas.extend(chunk["choices"].get(0).map(|choice| choice["delta"].clone()));
    }
    deltas
}

fn plain_call(id: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "look", "arguments": "{}" } })
}

fn signed_call(id: &str) -> Value {
    let mut call = plain_call(id);
    call["extra_content"] = json!({ "google": { "thought_signature": "AbC" } });
    call
}

#[test]
fn a_message_has_the_members_of_its_service_and_its_mark() {
    let shown = json!({
        "role": "assistant", "content": "Wait.", "refusal": null, "annotations": [], "conversation_token": "a.b.c",
        "tool_calls": [signed_call("c1"), plain_call("c2"), plain_call("c3")],
        "reasoning_content": "I \"see\"", "holdall_service": owner_mark(BY),
    });
    assert_eq!(message(true, &reply()), shown);
    // The bytes of a member are those of the service.
    let body = String::from_utf8(writer(true).body(&reply())).unwrap();
    assert!(body.contains(r#""extra_content":{ "google":{"thought_signature":"AbC"}}"#), "{body}");
}

#[test]
fn a_stream_has_each_member_once() {
    let at = |index: usize, mut call: Value| {
        call["index"] = json!(index);
        json!({ "tool_calls": [call] })
    };
    let expected = [
        json!({ "role": "assistant" }),
        json!({ "content": "Wait." }),
        json!({ "reasoning_content": "I \"see\"", "holdall_service": owner_mark(BY) }),
        at(0, signed_call("c1")),
        at(1, plain_call("c2")),
        at(2, plain_call("c3")),
        json!({ "conversation_token": "a.b.c" }),
    ];
    assert_eq!(streamed(true), expected);
}

#[test]
fn nothing_is_shown_to_clients_that_cannot_bring_it_back() {
    let mut bare = reply();
    bare.output.retain(|item| !matches!(item, Item::Think { .. }));
    assert_eq!(message(false, &reply()), message(true, &bare));
    let shown = Value::from(streamed(false)).to_string();
    assert!(!shown.contains("see") && !shown.contains("AbC") && !shown.contains("holdall_service"), "{shown}");
    // State of other formats is not in the words of this API.
    let other = Answer { output: vec![think_item("anthropic", OF_MESSAGE), call_item("c1", "look", "{}")], ..bare };
    assert_eq!(message(true, &other), message(false, &other));
}

#[test]
fn what_was_shown_is_read_back() {
    let mut repeated = message(true, &reply());
    repeated.as_object_mut().unwrap().remove("conversation_token");
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "3" });
    let read = items(&json!([repeated, result("c1"), result("c2"), result("c3")]));
    let by = claimed_provider("openai", Some(&owner_mark(BY)));
    let of_message = r#"{"for":"message","members":{"reasoning_content":"I \"see\""}}"#;
    let of_call = r#"{"for":"call","id":"c1","members":{"extra_content":{"google":{"thought_signature":"AbC"}}}}"#;
    let expected = [
        Item::text(Role::Assistant, "Wait."),
        think_item(&by, of_message),
        think_item(&by, of_call),
        call_item("c1", "look", "{}"),
        think_item(&by, OF_ID),
        call_item("c2", "look", "{}"),
        think_item(&by, &OF_ID.replace("c2", "c3")),
        call_item("c3", "look", "{}"),
    ];
    assert_eq!(read[..expected.len()], expected);
}

#[test]
fn unknown_members_of_the_models_messages_are_set_aside() {
    let members = json!({
        "reasoning": "x", "reasoning_content": "x", "reasoning_details": [{ "type": "reasoning.text", "text": "x" }],
        "thinking_blocks": [{ "type": "thinking", "thinking": "x", "signature": "s" }], "thought_signature": "s",
        "extra_content": { "google": { "thought_signature": "s" } }, "provider_specific_fields": { "a": "x" },
        "for": "message", "members": { "role": "user" }, "blob": "{}",
    });
    let with_members = |mut value: Value| {
        value.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        value
    };
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{}" } });
    let messages = json!([
        { "role": "user", "content": "q" },
        with_members(json!({ "role": "assistant", "content": "A", "tool_calls": [with_members(call)] })),
        with_members(json!({ "role": "tool", "tool_call_id": "c1", "content": "3" })),
    ]);
    // The last one of a name counts, and empty ones say nothing.
    let text =
        messages.to_string().replacen(r#""reasoning":"x""#, r#""future":null,"reasoning":"y","reasoning":"x""#, 1);
    let body = format!(r#"{{"model":"default","messages":{text}}}"#);
    let mut read = ChatCompletions.parse_request(&body, &ApiSettings::default()).unwrap().turn.input;
    let is_state = |item: &mut Item| matches!(item, Item::Think { .. });
    let states: Vec<_> = read.extract_if(.., is_state).collect();
    let expected = [
        Item::text(Role::User, "q"),
        Item::text(Role::Assistant, "A"),
        call_item("c1", "add", "{}"),
        result_item("c1", "3"),
    ];
    assert_eq!(read, expected);
    let mut owners = Vec::new();
    for state in states {
        let Item::Think { provider_id, blob } = state else { continue };
        assert_eq!(provider_id, "openai");
        let read: Value = serde_json::from_str(&blob).unwrap();
        assert_eq!(read["members"], members);
        owners.push((read["for"].clone(), read["id"].clone()));
    }
    assert_eq!(owners, [(json!("message"), Value::Null), (json!("call"), json!("c1"))]);
}

#[test]
fn the_mark_of_a_service_is_read_with_the_message() {
    let mark = owner_mark("openai@a.test");
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{}" } });
    for (given, by) in [
        (json!(mark), claimed_provider("openai", Some(&mark))),
        (json!("openai@a.test"), "openai".to_owned()),
        (json!(7), "openai".to_owned()),
    ] {
        let message = json!({ "role": "assistant", "reasoning": "hm", "tool_calls": [call], "holdall_service": given });
        let read = items(&json!([message, { "role": "tool", "tool_call_id": "c1", "content": "3" }]));
        let Item::Think { provider_id, .. } = &read[0] else { panic!("{read:?}") };
        assert_eq!(*provider_id, by);
        // A marked call has state even without members: its id is the service's own.
        assert_eq!(matches!(read[1], Item::Think { .. }), by != "openai");
    }
}
