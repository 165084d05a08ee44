//! What the dialects' tests share: reading a reply in pieces, and cutting it everywhere.

use http::{Request, Response, header, response};

use super::*;
use crate::proto::{
    chat::{Output, Part, Role},
    dialect::door::{Answer, Conversation},
    token::{self, TokenPolicy},
};

pub(super) const BOUNDS: ReplyBounds = ReplyBounds { reply_bytes: 4096 };

pub(super) fn head(content_type: &str) -> response::Parts {
    Response::builder().header(header::CONTENT_TYPE, content_type).body(()).unwrap().into_parts().0
}

/// Feeds a reply in pieces; what was read, and how it ended.
pub(super) fn read<'a>(
    dialect: &dyn Dialect,
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Delta>, Result<(), Error>) {
    let mut deltas = Vec::new();
    let read = || {
        let mut reader = dialect.reply(&head(content_type), BOUNDS)?;
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

/// Whatever a byte of a reply turns into, reading it must end in order, as [`read`] checks.
pub(super) fn read_with_every_byte_changed(dialect: &dyn Dialect, content_type: &str, reply: &[u8]) {
    let mut changed = reply.to_vec();
    for (place, byte) in reply.iter().enumerate() {
        for other in [byte ^ 1, byte ^ 0x80, b'\n', b'"', b'}', b'0'] {
            changed[place] = other;
            read(dialect, content_type, [&changed[..]]).1.ok();
        }
        changed[place] = *byte;
    }
}

/// What a stream's `data` reads as, each string one event.
pub(super) fn read_events(dialect: &dyn Dialect, events: &[&str]) -> (Vec<Delta>, Result<(), Error>) {
    let stream: String = events.iter().map(|data| format!("data: {data}\n\n")).collect();
    read(dialect, "text/event-stream", [stream.as_bytes()])
}

/// Reads a whole reply, byte by byte, cut in two and cut off everywhere; gives what it says when whole.
///
/// Cut off, it must be an error after a prefix of the deltas, or all that it says but a count.
pub(super) fn read_at_every_cut(dialect: &dyn Dialect, content_type: &str, reply: &[u8]) -> Vec<Delta> {
    let (whole, ended) = read(dialect, content_type, [reply]);
    assert_eq!(ended, Ok(()));
    assert_eq!(read(dialect, content_type, reply.chunks(1)), (whole.clone(), Ok(())));
    let says = |deltas: &[Delta]| -> Vec<Delta> {
        deltas.iter().filter(|delta| !matches!(delta, Delta::Usage(_))).cloned().collect()
    };
    for cut in 0..reply.len() {
        let (start, rest) = reply.split_at(cut);
        assert_eq!(read(dialect, content_type, [start, rest]), (whole.clone(), Ok(())), "split at {cut}");
        let (deltas, ended) = read(dialect, content_type, [start]);
        match ended {
            Ok(()) => assert_eq!(says(&deltas), says(&whole), "cut at {cut}"),
            Err(error) => {
                assert_eq!(error, Error::UpstreamCut, "cut at {cut}");
                assert!(whole.starts_with(&deltas), "cut at {cut}: {deltas:?}");
                assert!(!deltas.iter().any(|delta| matches!(delta, Delta::Finish(_))));
            }
        }
    }
    whole
}

pub(super) fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

pub(super) fn call(id: &str, name: &str, args: &str) -> Delta {
    Delta::Call { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() }
}

pub(super) fn usage(input_tokens: u64, output_tokens: u64, cached_tokens: u64) -> Delta {
    Delta::Usage(Usage { input_tokens, output_tokens, cached_tokens, ..Usage::default() })
}

pub(super) fn call_item(id: &str, name: &str, args: &str) -> Item {
    Item::Call { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() }
}

pub(super) fn result_item(id: &str, out: &str) -> Item {
    Item::Result { id: id.to_owned(), out: Output::Text(out.to_owned()), error: false }
}

/// A model call about `items`, nothing else asked.
pub(super) fn request(dialect: &dyn Dialect, items: &[Item], options: &ModelOptions, stream: bool) -> Request<Bytes> {
    let (model, system) = ("m-1", Some("Be kind."));
    let provider = dialect.name();
    dialect.request(&ModelCall { model, provider, prompt_cache: false, system, items, options, stream }).unwrap()
}

/// The body of such a call as text.
pub(super) fn body(dialect: &dyn Dialect, items: &[Item]) -> String {
    let request = request(dialect, items, &ModelOptions::default(), false);
    String::from_utf8(request.into_body().to_vec()).unwrap()
}

/// An answer with a text and a call.
pub(super) fn an_answer() -> Answer {
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
        elapsed: Duration::from_millis(2_500),
    }
}

/// A conversation with every kind of item, in turns: what is sent, and what comes back.
fn conversation() -> Vec<(Vec<Item>, Vec<Item>)> {
    let say = |text: &str| Item::text(Role::User, text);
    let reply = |text: &str| Item::text(Role::Assistant, text);
    let picture = Item::Message {
        role: Role::User,
        parts: vec![Part::Text("look".to_owned()), Part::Image("https://e.test/a.png".to_owned())],
        cut: false,
    };
    let think = |by: &str| Item::Think { by: by.to_owned(), blob: r#"{"type":"thinking","thinking":"hm"}"#.to_owned() };
    let parts = Output::Parts(vec![Part::Text("3".to_owned()), Part::Image("data:image/png;base64,AA==".to_owned())]);
    vec![
        (vec![say("hé\n\"q\"")], vec![reply("hello")]),
        (vec![picture], vec![reply("adding"), call_item("c1", "add", r#"{"a": 1}"#), call_item("c2", "add", "{")]),
        (
            vec![result_item("c1", "1"), Item::Result { id: "c2".to_owned(), out: parts, error: true }, say("go on")],
            vec![call_item("c3", "stop", "")],
        ),
        (vec![result_item("c3", "")], vec![reply("")]),
        (vec![say("well?"), say("hm?")], vec![think("anthropic"), reply("so f")]),
        (vec![say("and?")], vec![think("other"), think("anthropic"), call_item("c4", "add", "{}")]),
        (vec![result_item("c4", "x")], vec![reply("")]),
        (vec![say("")], vec![reply("bye")]),
        (vec![say("bye")], vec![]),
    ]
}

/// Promise 7: a turn's request, less what closes it, begins the next turn's.
pub(super) fn assert_requests_extend_each_other(dialect: &dyn Dialect) {
    let (mut items, mut before) = (Vec::new(), None::<String>);
    for (input, reply) in conversation() {
        items.extend(input);
        let body = body(dialect, &items);
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
        if let Some(before) = before {
            let open = before.strip_suffix("]}").unwrap();
            assert!(body.starts_with(&format!("{open},")), "\n{before}\n{body}");
        }
        before = Some(body);
        items.extend(reply);
    }
}
