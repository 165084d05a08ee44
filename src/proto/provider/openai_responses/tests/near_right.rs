//! Replies that deviate from the format, and have one plain meaning.

use super::*;
use crate::proto::turn::Repair;

/// The deltas of a stream without its repairs, and the names of the repairs.
fn repaired(events: &[&str]) -> (Vec<Delta>, Vec<&'static str>) {
    let (deltas, ended) = read_events(&OFFICIAL, events);
    assert_eq!(ended, Ok(()), "{events:?}");
    apart(deltas)
}

fn repaired_body(body: &str) -> (Vec<Delta>, Vec<&'static str>) {
    let (deltas, ended) = read(&OFFICIAL, JSON, [body.as_bytes()]);
    assert_eq!(ended, Ok(()), "{body}");
    apart(deltas)
}

fn apart(deltas: Vec<Delta>) -> (Vec<Delta>, Vec<&'static str>) {
    let name = |delta: &Delta| match delta {
        Delta::Repaired(repair) => Some(Repair::as_str(*repair)),
        _ => None,
    };
    let repairs = deltas.iter().filter_map(name).collect();
    (deltas.into_iter().filter(|delta| name(delta).is_none()).collect(), repairs)
}

#[test]
fn events_without_an_index_belong_to_their_item() {
    let by_id = [
        r#"{"type":"response.output_item.added","item":{"id":"fc_1","type":"function_call","call_id":"a","name":"one","arguments":""}}"#,
        r#"{"type":"response.output_item.added","item":{"id":"fc_2","type":"function_call","call_id":"b","name":"two","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":"{\"x\""}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_2","delta":"{}"}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":":1}"}"#,
        COMPLETED,
    ];
    let calls = vec![call("a", "one", "{\"x\":1}"), call("b", "two", "{}"), finish(FinishReason::ToolCalls)];
    assert_eq!(repaired(&by_id), (calls.clone(), vec!["event_shape"]));
    let by_order = [
        r#"{"type":"response.output_item.added","item":{"type":"function_call","call_id":"a","name":"one"}}"#,
        r#"{"type":"response.function_call_arguments.delta","delta":"{\"x\":1}"}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"a","name":"one","arguments":"{\"x\":1}"}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"function_call","call_id":"b","name":"two"}}"#,
        r#"{"type":"response.function_call_arguments.delta","delta":"{}"}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"b","name":"two","arguments":"{}"}}"#,
        COMPLETED,
    ];
    assert_eq!(repaired(&by_order), (calls, vec!["event_shape"]));
}

#[test]
fn output_that_comes_only_at_the_end_is_read() {
    let output = r#"{"id":"rs_1","type":"reasoning","encrypted_content":"g"},{"type":"message","content":[{"type":"output_text","text":"a"}]},{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}"#;
    let completed =
        format!(r#"{{"type":"response.completed","response":{{"status":"completed","output":[{output}]}}}}"#);
    let reasoning = think(NAME, r#"{"id":"rs_1","type":"reasoning","encrypted_content":"g"}"#);
    let the_call = [call("c", "n", "{}"), finish(FinishReason::ToolCalls)];
    let expected = [&[reasoning.clone(), text("a")], &the_call[..]].concat();
    assert_eq!(repaired(&[&completed]), (expected, vec!["late_output"]));
    let expected = [&[text("a"), reasoning.clone()], &the_call[..]].concat();
    assert_eq!(repaired(&[TEXT_DELTA, &completed]), (expected.clone(), vec!["late_output"]));
    let done = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}}"#;
    let (deltas, _) = repaired(&[TEXT_DELTA, done, &completed]);
    assert_eq!(deltas.iter().filter(|delta| matches!(delta, Delta::Call { .. })).count(), 1);
}

#[test]
fn calls_of_another_shape_are_read() {
    for (item, expected, repairs) in [
        (r#""call_id":"c","name":"n","arguments":{"x": 1}"#, call("c", "n", "{\"x\": 1}"), vec!["call_shape"]),
        (r#""id":"fc_1","name":"n","arguments":"{}""#, call("fc_1", "n", "{}"), vec!["call_id"]),
        (r#""call_id":"","name":"n","arguments":null"#, call("call_3_1", "n", "{}"), vec!["call_id"]),
    ] {
        let item = format!(r#"{{"type":"function_call",{item}}}"#);
        let expected = (vec![expected, finish(FinishReason::ToolCalls)], repairs);
        assert_eq!(repaired_body(&format!(r#"{{"status":"completed","output":[{item}]}}"#)), expected, "{item}");
        let done = format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#);
        assert_eq!(repaired(&[&done, COMPLETED]), expected, "{item}");
    }
    let (deltas, _) = repaired(&[
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"n"}}"#,
        r#"{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"x\":1}"}"#,
        COMPLETED,
    ]);
    assert_eq!(deltas, [call("c", "n", "{\"x\":1}"), finish(FinishReason::ToolCalls)], "arguments without pieces");
}

#[test]
fn content_may_be_plain_text() {
    let body = r#"{"status":"completed","output":[{"type":"message","content":"hi"}]}"#;
    assert_eq!(repaired_body(body), (vec![text("hi"), finish(FinishReason::Stop)], vec!["content_shape"]));
    let reasoning = r#"{"type":"reasoning","content":"hm"}"#;
    let body =
        format!(r#"{{"status":"completed","output":[{reasoning},{{"type":"message","content":[{{"text":"a"}}]}}]}}"#);
    assert_eq!(repaired_body(&body).0, [think(NAME, reasoning), text("a"), finish(FinishReason::Stop)]);
}

#[test]
fn the_name_of_an_event_stands_for_its_type() {
    let stream =
        "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\nevent: response.completed\ndata: {}\n\n";
    let (deltas, ended) = read(&OFFICIAL, STREAM, [stream.as_bytes()]);
    assert_eq!(ended, Ok(()));
    assert_eq!(apart(deltas), (vec![text("a"), finish(FinishReason::Stop)], vec!["event_shape"]));
}

#[test]
fn errors_have_many_shapes() {
    for (event, code) in [
        ("data: {\"type\":\"error\",\"message\":\"m\",\"code\":\"server_error\"}", "upstream_unavailable"),
        (
            "data: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}",
            "upstream_refused",
        ),
        ("event: error\ndata: {\"detail\":\"m\"}", "upstream_unavailable"),
        ("event: error\ndata: out of memory", "upstream_unavailable"),
    ] {
        let (_, ended) = read(&OFFICIAL, STREAM, [format!("{event}\n\n").as_bytes()]);
        assert_eq!(ended.unwrap_err().code(), code, "{event}");
    }
}

#[test]
fn the_kind_of_the_last_event_counts_unless_the_status_is_worse() {
    for (kind, status, code) in [
        ("completed", "in_progress", None),
        ("completed", "queued", None),
        ("completed", "", None),
        ("completed", "completed", None),
        ("completed", "failed", Some("upstream_unavailable")),
        ("completed", "cancelled", Some("upstream_cut")),
        ("failed", "", Some("upstream_unavailable")),
        ("failed", "completed", Some("upstream_unavailable")),
        ("failed", "incomplete", Some("upstream_unavailable")),
        ("incomplete", "failed", Some("upstream_unavailable")),
    ] {
        let text = r#"{"type":"response.output_text.delta","delta":"half of it"}"#;
        let end = format!(r#"{{"type":"response.{kind}","response":{{"status":"{status}","error":null}}}}"#);
        let stream = format!("data: {text}\n\ndata: {end}\n\n");
        let (_, ended) = read(&OFFICIAL, "text/event-stream", [stream.as_bytes()]);
        assert_eq!(ended.err().map(|error| error.code()), code, "{kind} {status}");
    }
    for (kind, status) in [("incomplete", "completed"), ("incomplete", ""), ("completed", "incomplete")] {
        let end = format!(
            r#"{{"type":"response.{kind}","response":{{"status":"{status}","output":[{{"type":"message","content":"x"}}]}}}}"#
        );
        let (deltas, ended) = read(&OFFICIAL, "text/event-stream", [format!("data: {end}\n\n").as_bytes()]);
        assert_eq!((deltas.last(), ended), (Some(&Delta::Finish(FinishReason::Length)), Ok(())), "{kind} {status}");
    }
}

#[test]
fn text_may_come_only_when_its_part_is_done() {
    let done = r#"{"type":"response.output_text.done","output_index":0,"text":"a"}"#;
    let item = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"a"}]}}"#;
    let expected = (vec![text("a"), finish(FinishReason::Stop)], vec!["late_output"]);
    assert_eq!(repaired(&[done, COMPLETED]), expected);
    assert_eq!(repaired(&[done, item, COMPLETED]), expected);
    let (deltas, _) = repaired(&[TEXT_DELTA, done, item, COMPLETED]);
    assert_eq!(deltas, [text("a"), finish(FinishReason::Stop)], "it came in pieces");
    let (deltas, _) = repaired(&[TEXT_DELTA, done, &done.replace("\"a\"", "\"b\""), item, COMPLETED]);
    assert_eq!(deltas, [text("a"), text("b"), finish(FinishReason::Stop)], "the next part did not");
}

#[test]
fn text_may_be_only_next_to_the_output() {
    for (output, said) in [
        (r#""output_text":"a""#, "a"),
        (r#""output":[],"output_text":"a""#, "a"),
        (r#""output":[{"type":"message","content":[{"type":"output_text","text":"b"}]}],"output_text":"a""#, "b"),
    ] {
        let response = format!(r#"{{"status":"completed",{output}}}"#);
        let expected = vec![text(said), finish(FinishReason::Stop)];
        let (deltas, repairs) = repaired_body(&response);
        assert_eq!((&deltas, repairs.contains(&"content_shape")), (&expected, said == "a"), "{output}");
        let completed = format!(r#"{{"type":"response.completed","response":{response}}}"#);
        assert_eq!(repaired(&[&completed]).0, expected, "{output}");
    }
}

#[test]
fn an_incomplete_response_without_a_known_reason_was_too_long() {
    for (details, repairs) in [
        ("null", vec!["end_reason"]),
        (r#"{"reason":"zonk"}"#, vec!["end_reason"]),
        (r#"{"reason":"max_output_tokens"}"#, vec![]),
    ] {
        let end = format!(r#"{{"type":"response.incomplete","response":{{"incomplete_details":{details}}}}}"#);
        assert_eq!(
            repaired(&[TEXT_DELTA, &end]),
            (vec![text("a"), finish(FinishReason::Length)], repairs),
            "{details}"
        );
    }
}
