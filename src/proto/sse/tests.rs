use super::*;

const BOUND: usize = 64;

fn decode(bound: usize, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Event>, Error> {
    let mut decoder = Decoder::new(bound);
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = piece.as_ref();
        while let Some(event) = decoder.next_event(&mut input)? {
            events.push(event);
        }
    }
    Ok(events)
}

fn event(name: &str, data: &str) -> Event {
    Event { name: name.to_owned(), data: data.to_owned() }
}

/// Streams with their events. The first three are the examples of the standard.
fn table() -> Vec<(&'static str, Vec<Event>)> {
    vec![
        ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![event("", "YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            vec![event("", "first event"), event("", "second event")],
        ),
        ("data\n\ndata\ndata\n\ndata:", vec![event("", ""), event("", "\n")]),
        ("data:test\n\ndata: test\n\n", vec![event("", "test"), event("", "test")]),
        ("event: add\ndata: 7\n\ndata: 8\n\n", vec![event("add", "7"), event("", "8")]),
        ("event: a\nevent: b\ndata: 1\n\n", vec![event("b", "1")]),
        ("event: lost\n\ndata: 1\n\n", vec![event("", "1")]),
        ("data: 1\r\n\r\ndata: 2\r\n\r\n", vec![event("", "1"), event("", "2")]),
        ("data: 1\r\rdata: 2\r\r", vec![event("", "1"), event("", "2")]),
        ("data: 1\r\n\ndata: 2\n\r\n\r\r\n", vec![event("", "1"), event("", "2")]),
        ("\u{feff}data: 1\n\n", vec![event("", "1")]),
        ("\u{feff}\u{feff}data: 1\n\ndata: \u{feff}\n\n", vec![event("", "\u{feff}")]),
        ("data: a:b: c\n\n", vec![event("", "a:b: c")]),
        ("data: žluťoučký 🐎\n\n", vec![event("", "žluťoučký 🐎")]),
        ("retry: 10\nunknown: x\nDATA: x\n data: x\ndata : x\n\n", vec![]),
        ("data: unfinished\n", vec![]),
        ("data: 1\n\n{\"error\":1}\n", vec![event("", "1"), event("", "{\"error\":1}")]),
        ("event: error\n{\"a\":1}\n\ndata: 2\n\n", vec![event("error", "{\"a\":1}"), event("", "2")]),
        ("data: {\n{\"a\":1}\n\n{\"a\"\n\n", vec![event("", "{")]),
        ("", vec![]),
    ]
}

#[test]
fn events_do_not_depend_on_the_pieces_of_the_stream() {
    for (stream, expected) in table() {
        let bytes = stream.as_bytes();
        assert_eq!(decode(BOUND, [bytes]).unwrap(), expected, "{stream:?}");
        assert_eq!(decode(BOUND, bytes.chunks(1)).unwrap(), expected, "{stream:?} byte by byte");
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(decode(BOUND, [head, tail]).unwrap(), expected, "{stream:?} cut at {cut}");
        }
    }
}

#[test]
fn an_interrupted_stream_gives_a_prefix_of_the_events() {
    for (stream, expected) in table() {
        for cut in 0..=stream.len() {
            let events = decode(BOUND, [&stream.as_bytes()[..cut]]).unwrap();
            assert_eq!(events, expected[..events.len()]);
        }
    }
}

#[test]
fn invalid_utf8_is_replaced_anywhere() {
    for (stream, expected) in [
        (&b"data: \xff\n\n"[..], vec![event("", "\u{fffd}")]),
        (b"data: a\xc3\n\n", vec![event("", "a\u{fffd}")]),
        (b": \xed\xa0\x80\ndata: a\n\n", vec![event("", "a")]),
        (b"ev\xfent: x\n\n", vec![]),
        (b"data: \xf0\x9f\n\n", vec![event("", "\u{fffd}")]),
    ] {
        assert_eq!(decode(BOUND, [stream]).unwrap(), expected, "{stream:?}");
        assert_eq!(decode(BOUND, stream.chunks(1)).unwrap(), expected, "{stream:?}");
        let (mut decoder, mut input) = (Decoder::new(BOUND), stream);
        decoder.next_event(&mut input).unwrap();
        assert!(decoder.has_replaced());
    }
    // U+FFFD has three bytes, so that the event is over a limit that the line is not.
    assert!(decode(9, [&b"data: \xff\n\n"[..]]).is_ok());
    assert!(decode(8, [&b"data: \xff\n\n"[..]]).is_err());
}

#[test]
fn an_event_at_the_limit_passes_and_one_above_does_not() {
    for (stream, held) in [("data: 123\n\n", 9), ("event: e\ndata: 1\n\n", 8), ("data: 12\ndata: 3\n\n", 9)] {
        for pieces in [stream.len(), 1] {
            assert_eq!(decode(held, stream.as_bytes().chunks(pieces)).unwrap().len(), 1, "{stream:?}");
            assert!(decode(held - 1, stream.as_bytes().chunks(pieces)).is_err(), "{stream:?}");
        }
    }
}

#[test]
fn an_endless_line_is_refused_before_it_is_kept() {
    let bound = 4096;
    for start in ["data: ", ": ", "x"] {
        let mut decoder = Decoder::new(bound);
        let mut failed = decoder.next_event(&mut start.as_bytes()).is_err();
        for _ in 0..10_240 {
            failed = failed || decoder.next_event(&mut &[b'a'; 1024][..]).is_err();
            assert!(decoder.line.capacity() <= 2 * bound);
        }
        assert!(failed);
        assert!(Decoder::new(bound).next_event(&mut &vec![b'a'; 10 << 20][..]).is_err());
    }
}

#[test]
fn endless_data_lines_are_refused() {
    assert!(decode(4096, std::iter::repeat_n("data:\n", 10_000)).is_err());
}

#[test]
fn endless_comments_take_no_memory() {
    let mut decoder = Decoder::new(BOUND);
    for _ in 0..100_000 {
        assert_eq!(decoder.next_event(&mut &b": still here\n\n:\n"[..]).unwrap(), None);
    }
    assert!(decoder.line.capacity() <= 2 * BOUND);
}

#[test]
fn written_events_are_read_back() {
    let mut out = Vec::new();
    write_comment(&mut out, "a\r\ndata: no");
    write_event(&mut out, Some("delta"), r#"{"text":"hé"}"#);
    write_event(&mut out, None, "");
    write_event(&mut out, None, "\na\r\nb\rc\n");
    let events = decode(BOUND, [&out]).unwrap();
    assert_eq!(events, [event("delta", r#"{"text":"hé"}"#), event("", ""), event("", "\na\nb\nc\n")]);
    assert!(out.starts_with(b": a\n: data: no\n\nevent: delta\ndata: {"));
}
