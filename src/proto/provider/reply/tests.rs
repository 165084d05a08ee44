use super::*;
use crate::proto::provider::{
    PROVIDERS, by_name,
    testing::{BOUNDS, call, head, read, think},
};

fn draft() -> (Draft, Vec<Delta>) {
    (Draft::new(BOUNDS), Vec::new())
}

fn is_malformed<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::UpstreamMalformed { .. }))
}

#[test]
fn every_dialect_is_found_by_its_name() {
    for provider in PROVIDERS {
        assert_eq!(by_name(provider.name()).unwrap().name(), provider.name());
        assert!(!provider.default_base_url().ends_with('/'));
    }
    assert!(by_name("OpenAI").is_none() && by_name("").is_none());
}

#[test]
fn the_head_decides_the_form() {
    for provider in PROVIDERS {
        for good in
            ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/json", "application/JSON ;a=b"]
        {
            assert!(provider.reply(&head(good), BOUNDS).is_ok(), "{good}");
        }
        for bad in ["text/html; charset=utf-8", "", "application/jsonl", "text/plain", "application/json, text/html"] {
            assert!(is_malformed(&provider.reply(&head(bad), BOUNDS)), "{bad}");
        }
        let mut without = head("x/y");
        without.headers.clear();
        assert!(is_malformed(&provider.reply(&without, BOUNDS)));
    }
}

#[test]
fn what_is_no_reply_is_told_from_what_is_cut() {
    for provider in PROVIDERS {
        for cut in ["", "  \n", "{", r#"{"choices":[{"mess"#, r#"{"type":"mess"#, "tru"] {
            let (deltas, ended) = read(*provider, "application/json", [cut.as_bytes()]);
            assert_eq!((deltas, ended), (vec![], Err(Error::UpstreamCut)), "{} {cut:?}", provider.name());
        }
        for bad in [&b"<html>"[..], b"[]", b"null", b"{}", b"{} x", b"\xff{}", b"{\"a\":\"\xc3\x28\"}"] {
            let (deltas, ended) = read(*provider, "application/json", [bad]);
            assert!(deltas.is_empty() && is_malformed(&ended), "{} {bad:?}", provider.name());
        }
        for cut in ["", "\n\n", ": comment\n\n", "data: {\"a", "event: ping\ndata: {\"type\":\"ping\"}\n\n"] {
            let (deltas, ended) = read(*provider, "text/event-stream", [cut.as_bytes()]);
            assert_eq!((deltas, ended), (vec![], Err(Error::UpstreamCut)), "{} {cut:?}", provider.name());
        }
    }
}

#[test]
fn events_that_are_no_json_are_malformed() {
    for provider in PROVIDERS {
        for bad in ["<html>", "[]", "null", "{", "{} {}", r#"{"type":3,"choices":3,"text":3}"#] {
            for name in ["text", "end"] {
                let stream = format!("event: {name}\ndata: {bad}\n\n");
                let (deltas, ended) = read(*provider, "text/event-stream", [stream.as_bytes()]);
                assert!(deltas.is_empty() && is_malformed(&ended), "{} {bad}", provider.name());
            }
        }
        let (_, ended) = read(*provider, "text/event-stream", [&b"data: \xff\n\n"[..]]);
        assert!(is_malformed(&ended));
    }
}

#[test]
fn causes_do_not_quote_the_reply() {
    for provider in PROVIDERS {
        let kind = match provider.name() {
            "openai-responses" => "response.output_item.added",
            _ => "content_block_start",
        };
        let said = r#""index":"hush","content_block":"hush","choices":"hush","text":["hush"],"item":"hush""#;
        let stream = format!("event: text\ndata: {{\"type\":\"{kind}\",{said}}}\n\n");
        let (_, ended) = read(*provider, "text/event-stream", [stream.as_bytes()]);
        assert!(!ended.unwrap_err().cause().unwrap().contains("hush"));
    }
}

#[test]
fn no_reply_makes_a_reader_hold_more_than_its_bound() {
    let most = wire_bytes(BOUNDS);
    for provider in PROVIDERS {
        for (content_type, start) in [("application/json", "{\"a\":\""), ("text/event-stream", "data: ")] {
            let mut reader = provider.reply(&head(content_type), BOUNDS).unwrap();
            let mut deltas = Vec::new();
            reader.push(start.as_bytes(), &mut deltas).unwrap();
            let mut fed = start.len();
            let ended = loop {
                if let Err(error) = reader.push(&[b'a'; 1000], &mut deltas) {
                    break error;
                }
                fed += 1000;
                assert!(fed <= most, "{} held {fed} bytes", provider.name());
            };
            assert_eq!(ended.code(), "upstream_malformed");
            assert!(fed + 1000 > most, "the bound itself is allowed");
        }
    }
}

#[test]
fn bytes_after_the_end_are_not_read() {
    for (name, end) in [
        ("openai", "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"),
        (
            "anthropic",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        ("openai-responses", "data: {\"type\":\"response.completed\",\"response\":{}}\n\n"),
        (
            "builtin",
            "event: end\ndata: {\"finish_reason\":\"stop\",\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}\n\n",
        ),
    ] {
        let stream = format!("{end}data: \u{0}not json\n\n");
        for pieces in [1, stream.len()] {
            let (deltas, ended) = read(by_name(name).unwrap(), "text/event-stream", stream.as_bytes().chunks(pieces));
            assert_eq!((deltas.last(), ended), (Some(&Delta::Finish(FinishReason::Stop)), Ok(())), "{name}");
        }
    }
}

#[test]
fn calls_come_out_in_order_and_whole() {
    let (mut draft, mut deltas) = draft();
    for (index, id, name, args) in [
        (1, "b", "two", "{\"x\""),
        (0, "a", "one", ""),
        (1, "", "", ":1}"),
        (1, "b", "two", ""),
        (0, "c", "three", "["),
    ] {
        draft.call(index, id, name, args).unwrap();
    }
    draft.end(FinishReason::ToolCalls);
    draft.complete(&mut deltas).unwrap();
    assert_eq!(
        deltas,
        [
            call("a", "one", "{}"),
            call("c", "three", "["),
            call("b", "two", "{\"x\":1}"),
            Delta::Finish(FinishReason::ToolCalls)
        ]
    );
}

#[test]
fn reasoning_stays_where_it_was_among_the_calls() {
    let (mut draft, mut deltas) = draft();
    let mut think_at = |draft: &mut Draft, index, blob: &str| {
        draft.count_held(blob.len()).unwrap();
        draft.think(index, "p", blob.to_owned(), &mut deltas).unwrap();
    };
    think_at(&mut draft, 0, "1");
    draft.call(1, "a", "one", "{}").unwrap();
    think_at(&mut draft, 2, "2");
    think_at(&mut draft, 3, "3");
    draft.call(4, "b", "two", "{}").unwrap();
    think_at(&mut draft, 5, "4");
    assert_eq!(deltas, [think("p", "1")]);
    draft.complete(&mut deltas).unwrap();
    let expected = [
        think("p", "1"),
        call("a", "one", "{}"),
        think("p", "2"),
        think("p", "3"),
        call("b", "two", "{}"),
        think("p", "4"),
        Delta::Finish(FinishReason::ToolCalls),
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn a_whole_call_takes_the_place_of_its_fragments() {
    let (mut draft, mut deltas) = draft();
    draft.call(0, "a", "one", "{\"x\"").unwrap();
    draft.whole_call(0, "a", "one", "{\"x\":1}").unwrap();
    draft.whole_call(0, "b", "two", "{}").unwrap();
    draft.complete(&mut deltas).unwrap();
    let expected = [call("a", "one", "{\"x\":1}"), call("b", "two", "{}"), Delta::Finish(FinishReason::ToolCalls)];
    assert_eq!(deltas, expected);
}

#[test]
fn reasoning_alone_is_a_reply() {
    let (mut draft, mut deltas) = draft();
    draft.think(0, "p", "{}".to_owned(), &mut deltas).unwrap();
    draft.complete(&mut deltas).unwrap();
    assert_eq!(deltas, [think("p", "{}"), Delta::Finish(FinishReason::Stop)]);
}

#[test]
fn the_reason_agrees_with_the_calls() {
    use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
    for (said, args, expected, calls) in [
        (Some(Stop), Some("{}"), ToolCalls, 1),
        (None, Some(""), ToolCalls, 1),
        (Some(ToolCalls), None, Stop, 0),
        (Some(Length), Some("{\"a"), Length, 0),
        (Some(Length), Some(""), Length, 0),
        (Some(Length), Some("{}"), Length, 0),
        (Some(ContentFilter), Some("{"), ContentFilter, 0),
        (Some(ToolCalls), Some("{"), ToolCalls, 1),
    ] {
        let (mut draft, mut deltas) = draft();
        if let Some(args) = args {
            draft.call(0, "id", "name", args).unwrap();
        }
        if let Some(reason) = said {
            draft.end(reason);
        }
        draft.complete(&mut deltas).unwrap();
        assert_eq!((deltas.last(), deltas.len()), (Some(&Delta::Finish(expected)), calls + 1), "{said:?} {args:?}");
    }
}

#[test]
fn a_call_without_id_or_name_is_malformed() {
    for (id, name) in [("", "name"), ("id", "")] {
        let (mut draft, mut deltas) = draft();
        draft.call(0, id, name, "{}").unwrap();
        assert!(is_malformed(&draft.complete(&mut deltas)) && deltas.is_empty());
    }
}

#[test]
fn calls_are_bounded_in_number_and_size() {
    let (mut draft, _) = draft();
    for index in 0..128 {
        draft.call(index, &format!("c{index}"), "n", "").unwrap();
    }
    assert!(is_malformed(&draft.call(128, "more", "n", "")));

    let mut draft = Draft::new(ReplyBounds { reply_bytes: 10 });
    draft.call(0, "id", "name", &"x".repeat(14)).unwrap();
    assert!(is_malformed(&draft.call(0, "", "", "x")));
    assert!(is_malformed(&draft.count_held(1)));
}

#[test]
fn reasoning_is_bounded_in_number_and_size() {
    let (mut draft, mut deltas) = draft();
    draft.call(0, "c", "n", "").unwrap();
    for _ in 1..128 {
        draft.think(1, "p", "{}".to_owned(), &mut deltas).unwrap();
    }
    assert!(is_malformed(&draft.think(1, "p", "{}".to_owned(), &mut deltas)));

    let mut draft = Draft::new(ReplyBounds { reply_bytes: 10 });
    draft.count_held(20).unwrap();
    assert!(is_malformed(&draft.count_held(1)));
    assert!(is_malformed(&draft.call(0, "", "n", "")));
}

#[test]
fn a_reply_that_says_nothing_at_all_is_none() {
    let (mut draft, mut deltas) = draft();
    assert!(is_malformed(&draft.complete(&mut deltas)));
}

#[test]
fn lists_in_a_reply_are_bounded_while_they_are_read() {
    let provider = |name| by_name(name).unwrap();
    for (name, before, element, after) in [
        ("openai", r#"{"choices":["#, "{}", "]}"),
        ("openai", r#"{"choices":[{"message":{"tool_calls":["#, "{}", "]}}]}"),
        ("openai-responses", r#"{"output":["#, r#"{"type":"x"}"#, "]}"),
        ("openai-responses", r#"{"output":[{"type":"message","content":["#, r#"{"type":"x"}"#, "]}]}"),
        ("anthropic", r#"{"type":"message","content":["#, r#"{"type":"x"}"#, "]}"),
    ] {
        let whole = format!("{before}{}{after}", vec![element; 5_000].join(","));
        let bounds = ReplyBounds { reply_bytes: 1 << 20 };
        let mut reader = provider(name).reply(&head("application/json"), bounds).unwrap();
        let mut deltas = Vec::new();
        let ended = reader.push(whole.as_bytes(), &mut deltas).and_then(|()| reader.finish(&mut deltas));
        assert!(is_malformed(&ended), "{name} {before}: {ended:?}");
    }
}

#[test]
fn an_error_too_long_to_mean_anything_is_not_read() {
    let long = format!(r#"{{"error":[{}0]}}"#, "[],".repeat(50_000));
    let bounds = ReplyBounds { reply_bytes: 1 << 20 };
    let mut reader = by_name("openai").unwrap().reply(&head("application/json"), bounds).unwrap();
    let mut deltas = Vec::new();
    let ended = reader.push(long.as_bytes(), &mut deltas).and_then(|()| reader.finish(&mut deltas));
    assert!(matches!(ended, Err(Error::UpstreamRefused { message: None, .. })), "{ended:?}");
}
