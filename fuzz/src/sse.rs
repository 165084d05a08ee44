//! Server-sent events: the events are the same for every split of the bytes, and written events are
//! read back unchanged.

use holdall::proto::sse::{Decoder, Event, write_event};

/// The first byte selects the size of the pieces. The rest is the stream.
pub fn check(input: &[u8]) {
    let [seed, stream @ ..] = input else { return };
    let complete = decode(&[stream]);
    assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), complete, "byte by byte");
    assert_eq!(decode(&stream.chunks(usize::from(*seed) + 1).collect::<Vec<_>>()), complete, "in pieces");
    for event in &complete.0 {
        assert!(event.data.len() <= EVENT_BYTES && event.name.len() <= EVENT_BYTES, "an event over its limit");
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

fn decode_within(pieces: &[&[u8]], max_event_bytes: usize) -> (Vec<Event>, Option<&'static str>) {
    let mut decoder = Decoder::new(max_event_bytes);
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

/// Small, so that a fuzzer finds the limit.
const EVENT_BYTES: usize = 256;
