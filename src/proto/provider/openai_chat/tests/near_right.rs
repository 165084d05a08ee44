//! Replies that deviate from the format and still have one plain meaning.

use super::*;

/// Reads a body with this message and reason.
fn read_message(message: &str, reason: &str) -> (Vec<Delta>, Result<(), Error>) {
    let body = format!(r#"{{"choices":[{{"message":{message},"finish_reason":"{reason}"}}],"usage":{USAGE}}}"#);
    let (mut deltas, ended) = read(&OFFICIAL, "application/json", [body.as_bytes()]);
    deltas.retain(|delta| !matches!(delta, Delta::Usage(_)));
    (deltas, ended)
}

const USAGE: &str = r#"{"prompt_tokens":1,"completion_tokens":1}"#;

/// Reads a stream of these deltas, and returns what is not the end.
fn read_deltas(deltas: &[&str]) -> Vec<Delta> {
    let mut events: Vec<_> =
        deltas.iter().map(|delta| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)).collect();
    events.push(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned());
    events.push("[DONE]".to_owned());
    let (mut read, ended) = read_events(&OFFICIAL, &events.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended, Ok(()));
    assert!(matches!(read.pop(), Some(Delta::Finish(_))));
    read
}

fn repaired(repair: Repair) -> Delta {
    Delta::Repaired(repair)
}

#[test]
fn calls_without_ids_get_ids_of_the_turn() {
    for (calls, expected) in [
        (r#"[{"index":0,"id":"","function":{"name":"look","arguments":"{}"}}]"#, vec![("call_3_1", "look")]),
        (r#"[{"index":0,"id":null,"function":{"name":"look"}}]"#, vec![("call_3_1", "look")]),
        (r#"[{"function":{"name":"look","arguments":{}}}]"#, vec![("call_3_1", "look")]),
        (
            r#"[{"index":0,"function":{"name":"look"}},{"index":0,"function":{"name":"find"}}]"#,
            vec![("call_3_1", "look"), ("call_3_2", "find")],
        ),
        (
            r#"[{"index":0,"id":"a","function":{"name":"look"}},{"index":"1","id":7,"function":{"name":"find"}}]"#,
            vec![("a", "look"), ("7", "find")],
        ),
        (
            r#"[{"id":"a","function":{"name":"look"}},{"id":"a","function":{"name":"look"}}]"#,
            vec![("a", "look"), ("call_3_2", "look")],
        ),
    ] {
        let message = format!(r#"{{"content":null,"tool_calls":{calls}}}"#);
        let (whole, ended) = read_message(&message, "tool_calls");
        assert_eq!(ended, Ok(()), "{calls}");
        for deltas in [whole, read_deltas(&[&message])] {
            let ids = deltas.iter().filter_map(|delta| match delta {
                Delta::Call { id, name, .. } => Some((id.as_str(), name.as_str())),
                _ => None,
            });
            assert_eq!(ids.collect::<Vec<_>>(), expected, "{calls}");
        }
    }
}

#[test]
fn two_calls_at_one_index_in_two_chunks_are_two() {
    let deltas = read_deltas(&[
        r#"{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"{\"a\":"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"find","arguments":"{}"}}]}"#,
        r#"{"tool_calls":null,"content":null}"#,
    ]);
    let calls = [call("call_3_1", "look", "{\"a\":1}"), call("call_3_2", "find", "{}")];
    assert_eq!(deltas, [&calls[..], &[repaired(Repair::CallId)]].concat());
}

#[test]
fn arguments_that_are_not_text_are_their_json() {
    let calls = r#"{"tool_calls":[{"id":"c","function":{"name":"paint","arguments":{"at":"red"}}}]}"#;
    let expected = vec![repaired(Repair::CallShape), call("c", "paint", r#"{"at":"red"}"#)];
    assert_eq!(read_deltas(&[calls]), expected);
    let flat = r#"{"tool_calls":[{"id":"c","name":"paint","arguments":"{}"}]}"#;
    assert_eq!(read_deltas(&[flat]), [repaired(Repair::CallShape), call("c", "paint", "{}")]);
    let older = r#"{"content":null,"function_call":{"name":"paint","arguments":"{}"}}"#;
    let expected = vec![
        call("call_3_1", "paint", "{}"),
        repaired(Repair::CallShape),
        repaired(Repair::CallId),
        finish(FinishReason::ToolCalls),
    ];
    let (mut deltas, ended) = read_message(older, "function_call");
    deltas.sort_by_key(|delta| !matches!(delta, Delta::Call { .. }));
    assert_eq!((deltas, ended), (expected, Ok(())));
}

#[test]
fn a_call_without_a_name_is_refused() {
    let (_, ended) = read_message(r#"{"tool_calls":[{"id":"c","function":{"arguments":"{}"}}]}"#, "tool_calls");
    assert_eq!(ended.unwrap_err().code(), "upstream_malformed");
    let empty = r#"{"content":"a","tool_calls":[{"index":0,"function":{"arguments":""}}]}"#;
    assert_eq!(read_message(empty, "stop").1, Ok(()));
}

#[test]
fn lists_of_content_are_joined_without_their_thinking() {
    let content =
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"x"},"y"]}"#;
    let (deltas, ended) = read_message(content, "stop");
    let expected = vec![text("xy"), repaired(Repair::ContentShape), finish(FinishReason::Stop)];
    assert_eq!((deltas, ended), (expected, Ok(())));
    for content in ["5", "true", r#"[{"text":5}]"#, "[5]", r#"[{"type":"text"}]"#] {
        let (_, ended) = read_message(&format!(r#"{{"content":{content}}}"#), "stop");
        assert_eq!(ended.unwrap_err().code(), "upstream_malformed", "{content}");
    }
}

#[test]
fn an_empty_reply_with_a_reason_ends_the_turn() {
    for (message, reason, expected) in [
        (r#"{"content":"","reasoning_content":"hm"}"#, "length", FinishReason::Length),
        (r#"{"content":null}"#, "stop", FinishReason::Stop),
        (r#"{"content":[]}"#, "stop", FinishReason::Stop),
    ] {
        let (deltas, ended) = read_message(message, reason);
        assert_eq!((deltas.last(), ended), (Some(&finish(expected)), Ok(())), "{message}");
    }
}

#[test]
fn halves_of_a_character_are_joined_across_events() {
    for (deltas, expected) in [
        (&[r#"{"content":"Hi \ud83d"}"#, r#"{"content":"\udc4b"}"#][..], "Hi 👋"),
        (&[r#"{"content":"Hi \ud83d"}"#, r#"{"content":"\udc4b!"}"#], "Hi 👋!"),
        (&[r#"{"content":"Hi \ud83d"}"#, r#"{"content":" you"}"#], "Hi \u{fffd} you"),
        (&[r#"{"content":"Hi \ud83d"}"#], "Hi \u{fffd}"),
        (&[r#"{"content":"\udc4b Hi"}"#], "\u{fffd} Hi"),
        (
            &[r#"{"content":"\ud83dx\ud83d"}"#, r#"{"content":"\udc4b\ud83d"}"#, r#"{"content":"\udc4b"}"#],
            "\u{fffd}x👋👋",
        ),
    ] {
        let read = read_deltas(deltas);
        let text = read.iter().filter_map(|delta| match delta {
            Delta::Text(text) => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(text.collect::<String>(), expected);
        assert!(read.contains(&repaired(Repair::HalfCharacter)));
    }
    let (deltas, _) = read_message(r#"{"content":"a\ud83d"}"#, "stop");
    assert!(deltas.contains(&text("a\u{fffd}")));
}

#[test]
fn events_that_keep_the_connection_open_are_skipped() {
    let stream = concat!(
        "data:\n\ndata: ping\n\nevent: ping\ndata:\n\n: comment\n\n",
        "data:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: [PING]\n\ndata: {\"choices\":[{\"delta\":null,\"finish_reason\":\"stop\"}]}\n\ndata:[DONE]\n\n",
    );
    let expected = vec![repaired(Repair::KeepAlive), text("a"), finish(FinishReason::Stop)];
    assert_eq!(read_at_every_cut(&OFFICIAL, STREAM, stream.as_bytes()), expected);
}

#[test]
fn the_first_bytes_decide_the_form_of_the_reply() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let expected = vec![repaired(Repair::ContentType), text("a"), finish(FinishReason::Stop)];
    for (content_type, reply) in [
        (STREAM, body.to_owned()),
        ("application/json", stream.to_owned()),
        ("text/plain", body.to_owned()),
        ("", stream.to_owned()),
        ("", format!("\u{feff}{body}")),
        ("text/plain", format!("\n \n{stream}")),
        ("application/octet-stream", format!(": hi\n\n{stream}")),
    ] {
        for pieces in [1, 3, reply.len()] {
            let (mut deltas, ended) = read(&OFFICIAL, content_type, reply.as_bytes().chunks(pieces));
            deltas.sort_by_key(|delta| !matches!(delta, Delta::Repaired(_)));
            assert_eq!((deltas, ended), (expected.clone(), Ok(())), "{content_type} {reply}");
        }
    }
    let (deltas, ended) = read(&OFFICIAL, "application/json", [format!("\u{feff}  {body}").as_bytes()]);
    assert_eq!((deltas, ended), (expected[1..].to_vec(), Ok(())));
    for unreadable in ["hello", "<html>", "[]"] {
        let (_, ended) = read(&OFFICIAL, "text/plain", [unreadable.as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), "upstream_malformed", "{unreadable}");
    }
}

#[test]
fn a_complete_message_after_its_pieces_is_left_out() {
    let events = [
        r#"{"choices":[{"delta":{"content":"once "}}]}"#,
        r#"{"choices":[{"delta":{"content":"upon a time"}}]}"#,
        r#"{"choices":[{"delta":{},"message":{"content":"once upon a time"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let expected = vec![text("once "), text("upon a time"), repaired(Repair::RepeatedText), finish(FinishReason::Stop)];
    assert_eq!(read_events(&OFFICIAL, &events), (expected.clone(), Ok(())));
    let last = r#"{"choices":[{"delta":{"content":"once upon a time"},"finish_reason":"stop"}]}"#;
    assert_eq!(read_events(&OFFICIAL, &[events[0], events[1], last, "[DONE]"]), (expected, Ok(())));
    let only = r#"{"choices":[{"delta":{"role":"assistant"},"message":null}]}"#;
    let whole = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let expected = vec![text("a"), finish(FinishReason::Stop)];
    assert_eq!(read_events(&OFFICIAL, &[only, whole, "[DONE]"]), (expected, Ok(())));
    let twice = [
        r#"{"choices":[{"delta":{"content":"ha"}}]}"#,
        r#"{"choices":[{"delta":{"content":"ha"},"finish_reason":"stop"}]}"#,
    ];
    let (deltas, _) = read_events(&OFFICIAL, &[twice[0], twice[1], "[DONE]"]);
    assert_eq!(deltas[..2], [text("ha"), text("ha")], "a short text may be said twice");
}

#[test]
fn counts_are_found_wherever_they_are() {
    for (members, expected) in [
        (r#""choices":[{"index":0,"usage":{"prompt_tokens":9,"completion_tokens":8}}]"#, usage(9, 8, 0)),
        (r#""x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":8}}"#, usage(9, 8, 0)),
        (r#""usage":{"prompt_tokens":9,"completion_tokens":8,"prompt_cache_hit_tokens":7}"#, usage(9, 8, 7)),
        (r#""usage":{"prompt_tokens":"9","completion_tokens":8.0,"cached_tokens":"7"}"#, usage(9, 8, 7)),
        (r#""usage":{"prompt_tokens":9,"total_tokens":17}"#, usage(9, 8, 0)),
        (r#""choices":[],"usage":{"input_tokens":9,"output_tokens":8,"cache_read_input_tokens":7}"#, usage(9, 8, 7)),
    ] {
        let said = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
        let zeros = r#"{"usage":{"prompt_tokens":0,"completion_tokens":0},"choices":[]}"#;
        let counts = format!("{{{members}}}");
        let (deltas, _) = read_events(&OFFICIAL, &[said, &counts, zeros, r#"{"usage":"none"}"#, "[DONE]"]);
        assert_eq!(deltas, [text("a"), expected, finish(FinishReason::Stop)], "{members}");
    }
}

#[test]
fn an_error_event_ends_the_reply() {
    let stream = "event: error\ndata: {\"message\":\"m\",\"type\":\"server_error\"}\n\n";
    let (_, ended) = read(&OFFICIAL, STREAM, [stream.as_bytes()]);
    assert_eq!(ended.unwrap_err().code(), "upstream_unavailable");
}

#[test]
fn a_stop_sequence_is_a_text_next_to_the_end() {
    for (end, sequence) in [
        (r#""finish_reason":"stop","stop_reason":"END""#, Some("END")),
        (r#""finish_reason":"stop","stop_reason":"\n\n""#, Some("\n\n")),
        (r#""finish_reason":"stop","stop_reason":null,"matched_stop":"</a>""#, Some("</a>")),
        (r#""finish_reason":"stop","stop_reason":128009,"matched_stop":128009"#, None),
        (r#""finish_reason":"stop","stop_reason":{"a":"b"}"#, None),
        (r#""finish_reason":"stop","stop_reason":"""#, None),
        (r#""finish_reason":"stop","stop_reason":"end_turn""#, None),
        (r#""finish_reason":"length","stop_reason":"END""#, None),
        (r#""finish_reason":null,"stop_reason":"END""#, None),
    ] {
        let choice = |member: &str| format!(r#"{{"choices":[{{"index":0,"{member}":{{"content":"a"}},{end}}}]}}"#);
        let stream = format!("data: {}\n\ndata: [DONE]\n\n", choice("delta"));
        for (content_type, reply) in [("application/json", choice("message")), (STREAM, stream)] {
            let (deltas, ended) = read(&OFFICIAL, content_type, [reply.as_bytes()]);
            let named: Vec<_> = deltas.iter().filter(|delta| matches!(delta, Delta::StopSequence(_))).collect();
            let expected = sequence.map(|text| Delta::StopSequence(text.to_owned()));
            assert_eq!((named, ended), (expected.iter().collect(), Ok(())), "{end}");
        }
    }
}

#[test]
fn an_error_inside_the_choice_fails_the_reply() {
    for reason in ["null", r#""stop""#] {
        for member in ["message", "delta"] {
            let chunk = format!(
                r#"{{"choices":[{{"{member}":{{"content":"half of it"}},"finish_reason":{reason},"error":{{"code":502,"message":"no"}}}}]}}"#
            );
            let outcomes = [
                read(&OFFICIAL, "application/json", [chunk.as_bytes()]).1,
                read_events(&OFFICIAL, &[&chunk, "[DONE]"]).1,
            ];
            for ended in outcomes {
                assert!(matches!(ended, Err(Error::UpstreamUnavailable { .. })), "{chunk}: {ended:?}");
            }
        }
    }
    let other = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop","error":null},{"index":1,"error":{"code":502}}]}"#;
    assert_eq!(read(&OFFICIAL, "application/json", [other.as_bytes()]).1, Ok(()));
}

#[test]
fn an_unknown_reason_counts_only_with_the_end_marker() {
    let chunk = r#"{"choices":[{"delta":{"content":"half"},"finish_reason":"mystery"}]}"#;
    assert_eq!(read_events(&OFFICIAL, &[chunk]).1, Err(Error::UpstreamCut));
    assert_eq!(read_events(&OFFICIAL, &[chunk, "[DONE]"]).1, Ok(()));
    let known = chunk.replace("mystery", "stop");
    assert_eq!(read_events(&OFFICIAL, &[&known]).1, Ok(()));
}

#[test]
fn a_call_in_another_shape_is_read_and_named() {
    for calls in [
        r#"{"id":"7","function":{"name":"look","arguments":"{}"}}"#,
        r#"[null,{"id":"7","function":{"name":"look","arguments":"{}"}}]"#,
        r#"[{"id":7,"function":{"name":"look","arguments":"{}"}}]"#,
        r#"[{"id":"7","function":{"name":"look","arguments":null}}]"#,
        r#"[{"id":"7","name":"look","arguments":"{}"}]"#,
    ] {
        let message = format!(r#"{{"content":null,"tool_calls":{calls}}}"#);
        let expected = [repaired(Repair::CallShape), call("7", "look", "{}")];
        assert_eq!(read_deltas(&[&message]), expected, "{calls}");
        let (mut whole, ended) = read_message(&message, "tool_calls");
        assert_eq!((whole.pop(), ended), (Some(finish(FinishReason::ToolCalls)), Ok(())), "{calls}");
        whole.sort_by_key(|delta| matches!(delta, Delta::Call { .. }));
        assert_eq!(whole, expected, "{calls}");
    }
}

#[test]
fn content_in_another_place_or_of_one_piece_is_read_and_named() {
    let expected = [text("Red."), repaired(Repair::ContentShape)];
    let piece = r#"{"content":{"type":"text","text":"Red."}}"#;
    assert_eq!(read_message(piece, "stop").0[..2], expected);
    for choice in
        [r#"{"text":"Red.","finish_reason":"stop"}"#, r#"{"text":"Red.","message":null,"finish_reason":"stop"}"#]
    {
        let body = format!(r#"{{"choices":[{choice}],"usage":{USAGE}}}"#);
        let (mut deltas, ended) = read(&OFFICIAL, "application/json", [body.as_bytes()]);
        deltas.retain(|delta| !matches!(delta, Delta::Usage(_)));
        assert_eq!((&deltas[..2], ended), (&expected[..], Ok(())), "{choice}");
    }
}
