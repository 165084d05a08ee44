//! What upstreams send: a reader must say the same of it however the network cut it.
//!
//! The first byte of an input chooses the form that the head announces, the second the seed of the cuts; the rest is the
//! body.

use holdall::proto::{
    provider::{self, ReplyBounds},
    turn::Delta,
};

/// Reads a body as a reply of this dialect: whole, byte by byte, and cut at chance.
pub fn check(provider: &str, input: &[u8]) {
    let [form, seed, body @ ..] = input else { return };
    let content_type = if form % 2 == 0 { "text/event-stream" } else { "application/json; charset=utf-8" };
    let whole = read(provider, content_type, &[body]);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(read(provider, content_type, &bytes), whole, "byte by byte");
    let step = usize::from(*seed) + 1;
    let pieces: Vec<&[u8]> = body.chunks(step).collect();
    assert_eq!(read(provider, content_type, &pieces), whole, "in pieces of {step}");
    if let (reply, Ok(())) = &whole {
        let ends = reply.others.iter().filter(|delta| matches!(delta, Delta::Finish(_))).count();
        assert_eq!(ends, 1, "a whole reply ends once");
        assert!(matches!(reply.others.last(), Some(Delta::Finish(_))), "and nothing comes after its end");
    }
}

/// What a reply says, with text joined: where it was cut is the network's doing.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    text: String,
    others: Vec<Delta>,
}

/// The reply, and the code of what is wrong with it.
fn read(provider: &str, content_type: &str, pieces: &[&[u8]]) -> (Reply, Result<(), &'static str>) {
    let head = http::Response::builder().header("content-type", content_type).body(()).expect("a plain head");
    let provider = provider::by_name(provider).expect("a known dialect");
    let bounds = ReplyBounds { reply_bytes: REPLY_BYTES };
    let mut reader = provider.reply_reader(&head.into_parts().0, bounds).expect("a form that is announced");
    let mut deltas = Vec::new();
    let mut ended = Ok(());
    for piece in pieces {
        ended = reader.push(piece, &mut deltas);
        if ended.is_err() || reader.is_complete() {
            break;
        }
    }
    let ended = ended.and_then(|()| reader.finish(&mut deltas)).map_err(|error| error.code());
    let mut reply = Reply::default();
    for delta in deltas {
        match delta {
            Delta::Text(text) => {
                assert!(!text.is_empty(), "a delta says something");
                reply.text.push_str(&text);
            }
            // Counts are replaced by later ones, and how many there were depends on the cuts.
            Delta::Usage(_) => {}
            other => reply.others.push(other),
        }
    }
    (reply, ended)
}

/// Small, so that a fuzzer finds the bounds.
const REPLY_BYTES: usize = 512;
