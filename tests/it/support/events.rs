//! Server-sent events, as a client reads them.

use serde_json::Value;

/// The events of a stream, as name and data, without comments.
pub(crate) fn events(text: &str) -> Vec<(String, Value)> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "{text:?}");
    let block = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let data: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        Some((field("event: ")?, serde_json::from_str(&data.join("\n")).unwrap()))
    };
    text.split_terminator("\n\n").filter_map(block).collect()
}

/// The text of all deltas, joined.
pub(crate) fn text_of(events: &[(String, Value)]) -> String {
    let deltas = events.iter().filter(|(name, _)| name == "delta");
    deltas.map(|(_, data)| data["text"].as_str().unwrap()).collect()
}
