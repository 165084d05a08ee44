//! Helpers for the tests of providers: they read a reply in pieces, and split it at every byte.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header, response};
use serde_json::value::RawValue;

use super::{ModelCall, Profile, Provider, ReplyBounds};
use crate::proto::{
    chat::{Item, Output, Part, Role},
    error::Error,
    token::{self, TokenPolicy},
    turn::{Answer, Conversation, Delta, FinishReason, ModelOptions, ReplyFormat, Tool, Usage},
};

pub(in crate::proto) const BOUNDS: ReplyBounds = ReplyBounds { turn: 3, reply_bytes: 4096 };

/// The profile of the provider's own service.
pub(in crate::proto) fn official(provider: &dyn Provider) -> Profile {
    Profile::of_base_url(provider.default_base_url())
}

pub(in crate::proto) fn head(content_type: &str) -> response::Parts {
    Response::builder().header(header::CONTENT_TYPE, content_type).body(()).unwrap().into_parts().0
}

/// Reads a reply in these pieces. Returns the deltas and the outcome.
pub(in crate::proto) fn read<'a>(
    provider: &dyn Provider,
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Delta>, Result<(), Error>) {
    let mut deltas = Vec::new();
    let read = || {
        let mut reader = provider.reply_reader(&head(content_type), BOUNDS, &official(provider));
        for piece in pieces {
            reader.push(piece, &mut deltas)?;
        }
        reader.finish(&mut deltas)?;
        assert!(reader.is_complete());
        reader.finish(&mut deltas)
    };
    let ended = read();
    let is_end = |delta: &Delta| matches!(delta, Delta::Finish(_));
    assert_eq!(deltas.iter().position(is_end).map(|end| end.saturating_add(1)), ended.is_ok().then_some(deltas.len()));
    assert!(!deltas.contains(&text("")));
    (deltas, ended)
}

/// Changes each byte of a reply in several ways. The reader must keep its rules, which [`read`]
/// checks.
pub(in crate::proto) fn read_with_every_byte_changed(provider: &dyn Provider, content_type: &str, reply: &[u8]) {
    let mut changed = reply.to_vec();
    for (index, byte) in reply.iter().enumerate() {
        for other in [byte ^ 1, byte ^ 0x80, b'\n', b'"', b'}', b'0'] {
            changed[index] = other;
            read(provider, content_type, [&changed[..]]).1.ok();
        }
        changed[index] = *byte;
    }
}

/// Reads a stream of events with these `data`.
pub(in crate::proto) fn read_events(provider: &dyn Provider, events: &[&str]) -> (Vec<Delta>, Result<(), Error>) {
    let stream: String = events.iter().map(|data| format!("data: {data}\n\n")).collect();
    read(provider, "text/event-stream", [stream.as_bytes()])
}

/// Reads a complete reply: byte by byte, split in two at every byte, and cut off at every byte.
/// Returns the deltas of the complete reply.
///
/// A reply that is cut off must be an error after the first deltas, or have all deltas except
/// counts and repairs.
pub(in crate::proto) fn read_at_every_cut(provider: &dyn Provider, content_type: &str, reply: &[u8]) -> Vec<Delta> {
    let (complete, ended) = read(provider, content_type, [reply]);
    assert_eq!(ended, Ok(()));
    assert_eq!(read(provider, content_type, reply.chunks(1)), (complete.clone(), Ok(())));
    let content = |deltas: &[Delta]| -> Vec<Delta> {
        deltas.iter().filter(|delta| !matches!(delta, Delta::Repaired(_) | Delta::Usage(_))).cloned().collect()
    };
    for cut in 0..reply.len() {
        let (start, rest) = reply.split_at(cut);
        assert_eq!(read(provider, content_type, [start, rest]), (complete.clone(), Ok(())), "split at {cut}");
        let (deltas, ended) = read(provider, content_type, [start]);
        match ended {
            Ok(()) => assert_eq!(content(&deltas), content(&complete), "cut at {cut}"),
            Err(error) => {
                assert_eq!(error, Error::UpstreamCut, "cut at {cut}");
                assert!(complete.starts_with(&deltas), "cut at {cut}: {deltas:?}");
                assert!(!deltas.iter().any(|delta| matches!(delta, Delta::Finish(_))));
            }
        }
    }
    complete
}

pub(in crate::proto) fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

pub(in crate::proto) fn call(id: &str, name: &str, args: &str) -> Delta {
    Delta::Call { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() }
}

pub(in crate::proto) fn think(provider_id: &str, blob: &str) -> Delta {
    Delta::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

pub(in crate::proto) fn usage(input_tokens: u64, output_tokens: u64, cached_tokens: u64) -> Delta {
    Delta::Usage(Usage { input_tokens, output_tokens, cached_tokens, ..Usage::default() })
}

pub(in crate::proto) fn call_item(id: &str, name: &str, args: &str) -> Item {
    Item::Call { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() }
}

pub(in crate::proto) fn think_item(provider_id: &str, blob: &str) -> Item {
    Item::Think { provider_id: provider_id.to_owned(), blob: blob.to_owned() }
}

pub(in crate::proto) fn result_item(id: &str, out: &str) -> Item {
    Item::Result { id: id.to_owned(), out: Output::Text(out.to_owned()), error: false }
}

/// A call with `items`, at the official service.
pub(in crate::proto) fn model_call<'a>(
    provider: &dyn Provider,
    items: &'a [Item],
    options: &'a ModelOptions,
) -> ModelCall<'a> {
    let (model, system) = ("m-1", Some("Be kind."));
    ModelCall {
        model,
        provider_id: provider.name(),
        profile: official(provider),
        prompt_cache: false,
        system,
        items,
        options,
        stream: false,
    }
}

/// The request of that call.
pub(in crate::proto) fn request(
    provider: &dyn Provider,
    items: &[Item],
    options: &ModelOptions,
    stream: bool,
) -> Request<Bytes> {
    provider.request(&ModelCall { stream, ..model_call(provider, items, options) }).unwrap()
}

/// The body of that request without options, as text.
pub(in crate::proto) fn body(provider: &dyn Provider, items: &[Item]) -> String {
    text_of(&request(provider, items, &ModelOptions::default(), false))
}

/// The body of a request, as text.
pub(in crate::proto) fn text_of(request: &Request<Bytes>) -> String {
    String::from_utf8(request.body().to_vec()).unwrap()
}

/// The body of a request with one message and these options.
pub(in crate::proto) fn options_body(provider: &dyn Provider, options: &ModelOptions) -> String {
    text_of(&request(provider, &[Item::text(Role::User, "a")], options, false))
}

/// The code of the error for these options.
pub(in crate::proto) fn refused(provider: &dyn Provider, options: &ModelOptions) -> &'static str {
    let items = [Item::text(Role::User, "a")];
    provider.request(&model_call(provider, &items, options)).unwrap_err().code()
}

/// A reply format with a schema.
pub(in crate::proto) fn schema_format() -> ReplyFormat {
    let schema = RawValue::from_string(r#"{ "type":"object" }"#.to_owned()).unwrap();
    ReplyFormat::Schema { name: "pet".to_owned(), description: Some("A pet.".to_owned()), schema, strict: Some(true) }
}

/// A tool without arguments.
pub(in crate::proto) fn tool(name: &str, strict: Option<bool>) -> Tool {
    Tool { name: name.to_owned(), description: None, parameters: None, strict }
}

/// An answer with a text and a call.
pub(in crate::proto) fn an_answer() -> Answer {
    let call = Item::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{\"a\": 1}".to_owned() };
    let mut claims = token::testing::claims(&TokenPolicy::default());
    claims.turn = 3;
    Answer {
        reply: "Hi\n\"é\"".to_owned(),
        output: vec![Item::text(Role::Assistant, "Hi\n\"é\""), call],
        token: "a.b.c".to_owned(),
        conversation: Conversation {
            claims,
            history_bytes: 10,
            token_bytes: 5,
            trimmed_items: 2,
            summarized_items: 0,
            elided_images: 0,
        },
        usage: Usage { input_tokens: 1, output_tokens: 2, cached_tokens: 3, ..Usage::default() },
        finish: FinishReason::ToolCalls,
        stop_sequence: None,
        elapsed: Duration::from_millis(2_500),
    }
}

/// A conversation with every kind of item. Each turn has the items that are sent, and the items of
/// the reply from the provider `provider_id`.
pub(in crate::proto) fn conversation(provider_id: &str) -> Vec<(Vec<Item>, Vec<Item>)> {
    let say = |text: &str| Item::text(Role::User, text);
    let reply = |text: &str| Item::text(Role::Assistant, text);
    let picture = Item::Message {
        role: Role::User,
        parts: vec![Part::Text("look".to_owned()), Part::Image("https://e.test/a.png".to_owned())],
        cut: false,
    };
    let think = |id: &str| think_item(id, r#"{"type":"thinking","thinking":"hm"}"#);
    let odd_id = "functions.add:0 é".repeat(9);
    let parts = Output::Parts(vec![Part::Text("3".to_owned()), Part::Image("data:image/png;base64,AA==".to_owned())]);
    vec![
        (vec![say("hé\n\"q\"")], vec![reply("hello")]),
        (vec![picture], vec![reply("adding"), call_item("c1", "add", r#"{"a": 1}"#), call_item("c2", "add", "{")]),
        (
            vec![
                result_item("c1", "1"),
                Item::Result { id: "c2".to_owned(), out: parts, error: true },
                say("continue"),
            ],
            vec![call_item("c3", "stop", "")],
        ),
        (vec![result_item("c3", "")], vec![reply("")]),
        (vec![say("well?"), say("hm?")], vec![think(provider_id), reply("so f")]),
        (vec![say("and?")], vec![think("other"), think(provider_id), call_item("c4", "add", "{}")]),
        (vec![result_item("c4", "x")], vec![reply("")]),
        (
            vec![say("once more")],
            vec![think(provider_id), call_item(&odd_id, "add", "{}"), think(provider_id), call_item("c6", "add", "{}")],
        ),
        (vec![result_item("c6", "x"), result_item(&odd_id, "y")], vec![reply("so"), think(provider_id)]),
        (vec![say("continue")], vec![think(provider_id), reply("")]),
        (vec![say("")], vec![reply("bye")]),
        (vec![say("bye")], vec![]),
    ]
}

/// Checks that each request, without its closing brackets, is the beginning of the next one.
pub(in crate::proto) fn assert_each_request_begins_with_the_previous_one(provider: &dyn Provider) {
    let (mut items, mut before) = (Vec::new(), None::<String>);
    for (input, reply) in conversation(provider.name()) {
        items.extend(input);
        let body = body(provider, &items);
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
        if let Some(before) = before {
            let open = before.strip_suffix("]}").unwrap();
            assert!(body.starts_with(&format!("{open},")), "\n{before}\n{body}");
        }
        before = Some(body);
        items.extend(reply);
    }
}
