//! Answers of upstreams: the deltas must be the same for every split of the bytes.
//!
//! The first byte of an input selects the content type, and the second the size of the pieces. The
//! rest is the body.

use std::collections::BTreeSet;

use holdall::proto::{
    provider::{self, COMPATIBLE, ReplyBounds},
    turn::{Delta, Repair},
};

/// Reads a body as a reply of this provider: in one piece, byte by byte, and in larger pieces.
pub fn check(provider: &str, input: &[u8]) {
    let [form, seed, body @ ..] = input else { return };
    let content_type = if form % 2 == 0 { "text/event-stream" } else { "application/json; charset=utf-8" };
    let complete = read(provider, content_type, &[body]);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(read(provider, content_type, &bytes), complete, "byte by byte");
    let step = usize::from(*seed) + 1;
    let pieces: Vec<&[u8]> = body.chunks(step).collect();
    assert_eq!(read(provider, content_type, &pieces), complete, "in pieces of {step}");
    if let (reply, Ok(())) = &complete {
        let ends = reply.others.iter().filter(|delta| matches!(delta, Delta::Finish(_))).count();
        assert_eq!(ends, 1, "a complete reply has one end");
        assert!(matches!(reply.others.last(), Some(Delta::Finish(_))), "nothing follows the end");
    }
}

/// The content of a reply, with its text joined.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    text: String,
    others: Vec<Delta>,
    /// Those of a reply without an error. Their order depends on the split.
    repairs: BTreeSet<Repair>,
}

/// The reply, and the code of its error.
fn read(provider: &str, content_type: &str, pieces: &[&[u8]]) -> (Reply, Result<(), &'static str>) {
    let head = http::Response::builder().header("content-type", content_type).body(()).expect("a valid head");
    let provider = provider::by_name(provider).expect("a known provider");
    let bounds = ReplyBounds { turn: 1, reply_bytes: REPLY_BYTES };
    let mut reader = provider.reply_reader(&head.into_parts().0, bounds, &COMPATIBLE);
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
                assert!(!text.is_empty(), "a text delta is not empty");
                reply.text.push_str(&text);
            }
            // Later counts replace earlier ones, and their number depends on the split.
            Delta::Usage(_) => {}
            Delta::Repaired(repair) if ended.is_ok() => drop(reply.repairs.insert(repair)),
            Delta::Repaired(_) => {}
            other => reply.others.push(other),
        }
    }
    (reply, ended)
}

/// Small, so that a fuzzer finds the limits.
const REPLY_BYTES: usize = 512;
