use super::*;
use crate::proto::provider::{
    COMPATIBLE,
    testing::{BOUNDS, call, text, think},
};
use crate::proto::turn::Repair;

fn empty() -> (ReplyBuilder, Vec<Delta>) {
    (ReplyBuilder::new(BOUNDS, COMPATIBLE, None), Vec::new())
}

fn is_malformed<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::UpstreamMalformed { .. }))
}

#[test]
fn calls_come_at_the_end_complete_and_in_order() {
    let (mut reply, mut deltas) = empty();
    for (index, id, name, args) in [
        (1, "b", "two", "{\"x\""),
        (0, "a", "one", ""),
        (1, "", "", ":1}"),
        (1, "b", "two", ""),
        (0, "c", "three", "["),
    ] {
        reply.call_fragment(index, id, name, args).unwrap();
    }
    reply.set_end(Some(End::Finished(FinishReason::ToolCalls)));
    reply.complete(&mut deltas).unwrap();
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
fn the_output_counts_once_what_comes_more_than_once() {
    let (mut reply, mut deltas) = empty();
    reply.text("hello".to_owned(), &mut deltas);
    reply.count_bytes(3).unwrap();
    assert_eq!(reply.output_bytes(), 8);
    for args in ["{\"x\"", ":1}"] {
        reply.call_fragment(0, "id", "name", args).unwrap();
    }
    let call_bytes = "id".len() + "name".len() + "{\"x\":1}".len();
    assert_eq!(reply.output_bytes(), 8 + call_bytes);
    reply.complete_call(0, "id", "name", "{\"x\":1}").unwrap();
    assert_eq!(reply.output_bytes(), 8 + call_bytes);
    reply.set_end(Some(End::Finished(FinishReason::ToolCalls)));
    reply.complete(&mut deltas).unwrap();
    assert_eq!(reply.output_bytes(), 8 + call_bytes, "held or handed out");
}

#[test]
fn reasoning_keeps_its_place_among_the_calls() {
    let (mut reply, mut deltas) = empty();
    let mut think_at = |reply: &mut ReplyBuilder, index, blob: &str| {
        reply.count_bytes(blob.len()).unwrap();
        reply.reasoning(index, "p", blob.to_owned(), &mut deltas).unwrap();
    };
    think_at(&mut reply, 0, "1");
    reply.call_fragment(1, "a", "one", "{}").unwrap();
    think_at(&mut reply, 2, "2");
    think_at(&mut reply, 3, "3");
    reply.call_fragment(4, "b", "two", "{}").unwrap();
    think_at(&mut reply, 5, "4");
    assert_eq!(deltas, [think("p", "1")]);
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    reply.complete(&mut deltas).unwrap();
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
fn a_complete_call_replaces_its_fragments() {
    let (mut reply, mut deltas) = empty();
    reply.call_fragment(0, "a", "one", "{\"x\"").unwrap();
    reply.complete_call(0, "a", "one", "{\"x\":1}").unwrap();
    reply.complete_call(0, "b", "two", "{}").unwrap();
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    reply.complete(&mut deltas).unwrap();
    let expected = [call("a", "one", "{\"x\":1}"), call("b", "two", "{}"), Delta::Finish(FinishReason::ToolCalls)];
    assert_eq!(deltas, expected);
}

#[test]
fn a_reply_may_have_only_reasoning() {
    let (mut reply, mut deltas) = empty();
    reply.reasoning(0, "p", "{}".to_owned(), &mut deltas).unwrap();
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    reply.complete(&mut deltas).unwrap();
    assert_eq!(deltas, [think("p", "{}"), Delta::Finish(FinishReason::Stop)]);
}

#[test]
fn the_finish_reason_agrees_with_the_calls() {
    use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
    for (reported, args, expected, calls) in [
        (Stop, Some("{}"), ToolCalls, 1),
        (Stop, Some(""), ToolCalls, 1),
        (ToolCalls, None, Stop, 0),
        (Length, Some("{\"a"), Length, 0),
        (Length, Some(""), Length, 0),
        (Length, Some("{}"), Length, 0),
        (ContentFilter, Some("{"), ContentFilter, 0),
        (ToolCalls, Some("{"), ToolCalls, 1),
    ] {
        let (mut reply, mut deltas) = empty();
        if let Some(args) = args {
            reply.call_fragment(0, "id", "name", args).unwrap();
        }
        reply.set_end(Some(End::Finished(reported)));
        reply.complete(&mut deltas).unwrap();
        assert_eq!((deltas.last(), deltas.len()), (Some(&Delta::Finish(expected)), calls + 1), "{reported:?} {args:?}");
    }
}

#[test]
fn a_call_without_a_name_is_malformed() {
    let (mut reply, mut deltas) = empty();
    reply.call_fragment(0, "id", "", "{}").unwrap();
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    assert!(is_malformed(&reply.complete(&mut deltas)) && deltas.is_empty());
}

#[test]
fn calls_without_an_id_of_their_own_get_one_of_the_turn() {
    let (mut reply, mut deltas) = empty();
    for (index, id) in [(0, ""), (1, "call_3_1"), (2, "a"), (3, "a"), (4, "")] {
        reply.call_fragment(index, id, "name", "{}").unwrap();
    }
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    reply.complete(&mut deltas).unwrap();
    let ids = deltas.iter().filter_map(|delta| match delta {
        Delta::Call { id, .. } => Some(id.as_str()),
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["call_3_1", "call_3_2", "a", "call_3_4", "call_3_5"]);
    assert!(deltas.contains(&Delta::Repaired(Repair::CallId)));
}

#[test]
fn a_name_after_complete_arguments_opens_another_call() {
    for (second, calls) in [("{\"b\":2}", 2), ("", 1)] {
        let (mut reply, mut deltas) = empty();
        for args in ["{\"a\":\"}\"", "}", second] {
            reply.call_fragment(0, "", "look", args).unwrap();
        }
        reply.set_end(Some(End::Finished(FinishReason::Stop)));
        reply.complete(&mut deltas).unwrap();
        assert_eq!(deltas.iter().filter(|delta| matches!(delta, Delta::Call { .. })).count(), calls, "{second}");
    }
}

#[test]
fn calls_are_bounded_in_number_and_size() {
    let (mut reply, _) = empty();
    for index in 0..128 {
        reply.call_fragment(index, &format!("c{index}"), "n", "").unwrap();
    }
    assert!(is_malformed(&reply.call_fragment(128, "more", "n", "")));

    let mut reply = ReplyBuilder::new(ReplyBounds { turn: 1, reply_bytes: 10 }, COMPATIBLE, None);
    reply.call_fragment(0, "id", "name", &"x".repeat(14)).unwrap();
    assert!(is_malformed(&reply.call_fragment(0, "", "", "x")));
    assert!(is_malformed(&reply.count_bytes(1)));
}

#[test]
fn reasoning_is_bounded_in_number_and_size() {
    let (mut reply, mut deltas) = empty();
    reply.call_fragment(0, "c", "n", "").unwrap();
    for _ in 1..128 {
        reply.reasoning(1, "p", "{}".to_owned(), &mut deltas).unwrap();
    }
    assert!(is_malformed(&reply.reasoning(1, "p", "{}".to_owned(), &mut deltas)));

    let mut reply = ReplyBuilder::new(ReplyBounds { turn: 1, reply_bytes: 10 }, COMPATIBLE, None);
    reply.count_bytes(20).unwrap();
    assert!(is_malformed(&reply.count_bytes(1)));
    assert!(is_malformed(&reply.call_fragment(0, "", "n", "")));
}

#[test]
fn an_empty_reply_without_a_reason_failed() {
    let (mut reply, mut deltas) = empty();
    reply.reasoning(0, "p", "{}".to_owned(), &mut deltas).unwrap();
    let ended = reply.complete(&mut deltas);
    assert!(matches!(ended, Err(Error::UpstreamUnavailable { .. })), "{ended:?}");
}

#[test]
fn a_missing_reason_after_text_is_repaired() {
    let (mut reply, mut deltas) = empty();
    reply.text("a".to_owned(), &mut deltas);
    reply.complete(&mut deltas).unwrap();
    let repaired = Delta::Repaired(Repair::EndReason);
    assert_eq!(deltas, [text("a"), repaired, Delta::Finish(FinishReason::Stop)]);
}

#[test]
fn a_refusal_is_filtered_content_unless_the_reply_failed() {
    for (end, expected) in [
        (End::Finished(FinishReason::Stop), Ok(Some(Delta::Finish(FinishReason::ContentFilter)))),
        (End::Cut, Err(Error::UpstreamCut)),
    ] {
        let (mut reply, mut deltas) = empty();
        reply.refusal("no".to_owned(), &mut deltas);
        reply.set_end(Some(end));
        assert_eq!(reply.complete(&mut deltas).map(|()| deltas.pop()), expected);
    }
}

#[test]
fn a_failure_is_not_replaced_by_a_later_end() {
    for (first, code) in [(End::Failed("error".to_owned()), "upstream_unavailable"), (End::Cut, "upstream_cut")] {
        let (mut reply, mut deltas) = empty();
        reply.text("half".to_owned(), &mut deltas);
        reply.set_end(Some(first));
        reply.set_end(None);
        reply.set_end(Some(End::Finished(FinishReason::Stop)));
        assert_eq!(reply.complete(&mut deltas).unwrap_err().code(), code);
    }
    let (mut reply, mut deltas) = empty();
    reply.text("all".to_owned(), &mut deltas);
    reply.set_end(Some(End::Finished(FinishReason::Stop)));
    reply.set_end(Some(End::Finished(FinishReason::Length)));
    assert_eq!(reply.complete(&mut deltas), Ok(()));
    assert_eq!(deltas.last(), Some(&Delta::Finish(FinishReason::Length)));
}
