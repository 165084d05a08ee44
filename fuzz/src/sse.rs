//! Server-sent events, from upstreams: the same events however the bytes were cut, and ours read back as they were.

use holdall::proto::sse::{Decoder, Event, write_event};

/// The first byte chooses the size of the pieces; the rest is the stream.
pub fn check(input: &[u8]) {
    let [seed, stream @ ..] = input else { return };
    let whole = decode(&[stream]);
    assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    assert_eq!(decode(&stream.chunks(usize::from(*seed) + 1).collect::<Vec<_>>()), whole, "in pieces");
    for event in &whole.0 {
        assert!(event.data.len() <= EVENT_BYTES && event.name.len() <= EVENT_BYTES, "an event over its bound");
        let mut written = Vec::new();
        write_event(&mut written, Some("event"), &event.data);
        let (again, fault) = decode_within(&[&written], 4 * EVENT_BYTES + 64);
        assert_eq!(again.iter().map(|event| &event.data).collect::<Vec<_>>(), [&event.data], "read back");
        assert_eq!(fault, None);
    }
}

fn decode(pieces: &[&[u8]]) -> (Vec<Event>, Option<&'static str>) {
    decode_within(pieces, EVENT_BYTES)
}

fn decode_within(pieces: &[&[u8]], bound: usize) -> (Vec<Event>, Option<&'static str>) {
    let mut decoder = Decoder::new(bound);
    let mut events = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match decoder.next_event(&mut rest) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error.code())),
            }
        }
    }
    (events, None)
}

/// Small, so that a fuzzer finds the bound.
const EVENT_BYTES: usize = 256;
