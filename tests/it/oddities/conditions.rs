//! Conditions on JSON: on a request that an upstream received, or on the client's response.

use std::{collections::BTreeMap, fmt::Display};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// The conditions. Keys are JSON pointers (RFC 6901).
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Conditions {
    /// Members with these values.
    has: BTreeMap<String, Value>,
    /// Members that must be missing.
    lacks: Vec<String>,
    /// Texts that match a regular expression.
    matches: BTreeMap<String, String>,
    /// Pairs of members with the same value.
    same: Vec<[String; 2]>,
    /// Pairs of members with different values.
    differ: Vec<[String; 2]>,
    /// Words that the bytes contain.
    contains: Vec<String>,
    /// Words that the bytes contain in this order.
    in_order: Vec<String>,
    /// Words that the bytes do not contain.
    omits: Vec<String>,
    /// The number of an earlier upstream call of the conversation, from 1. Its bytes, without the
    /// closing brackets, must be the beginning of these.
    continues: Option<usize>,
}

impl Conditions {
    /// The conditions that `bytes` breaks. `earlier` are the bodies of all upstream calls before.
    pub(super) fn faults(&self, what: &str, bytes: &str, earlier: &[String]) -> Vec<String> {
        let value: Value = serde_json::from_str(bytes).unwrap_or_default();
        let mut faults = Vec::new();
        let mut fault = |text: String| faults.push(format!("{what}: {text}"));
        for (pointer, expected) in &self.has {
            let found = value.pointer(pointer);
            if found != Some(expected) {
                fault(format!("{pointer}{}", diff(expected, shown(found))));
            }
        }
        for pointer in &self.lacks {
            if let Some(found) = value.pointer(pointer) {
                fault(format!("{pointer}{}", diff("nothing", found)));
            }
        }
        for (pointer, pattern) in &self.matches {
            let found = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if !Regex::new(pattern).unwrap().is_match(found) {
                fault(format!("{pointer}{}", diff(format!("text like {pattern}"), found)));
            }
        }
        let pairs = self.same.iter().map(|pair| (pair, true)).chain(self.differ.iter().map(|pair| (pair, false)));
        for ([one, other], same) in pairs {
            let (left, right) = (value.pointer(one), value.pointer(other));
            if left.is_none() || right.is_none() || (left == right) != same {
                let relation = if same { "is not" } else { "is also" };
                fault(format!("{one} is {}, {other} {relation} that: {}", shown(left), shown(right)));
            }
        }
        for words in self.contains.iter().filter(|words| !bytes.contains(*words)) {
            fault(diff(format!("… {words} …"), bytes));
        }
        let mut rest = bytes;
        for words in &self.in_order {
            match rest.split_once(words.as_str()) {
                Some((_, after)) => rest = after,
                None => fault(diff(format!("{} in this order", self.in_order.join(" … ")), bytes)),
            }
        }
        for words in self.omits.iter().filter(|words| bytes.contains(*words)) {
            fault(diff(format!("nothing with {words}"), bytes));
        }
        if let Some(number) = self.continues {
            let start = earlier[number - 1].trim_end_matches(['}', ']']);
            if !bytes.starts_with(start) {
                let same = bytes.bytes().zip(start.bytes()).take_while(|(one, other)| one == other).count();
                fault(format!("differs from call {number} at byte {same}{}", diff(start, bytes)));
            }
        }
        faults
    }
}

/// An expected and a found value, one below the other. Long ones are cut.
pub(super) fn diff(expected: impl Display, found: impl Display) -> String {
    let shown = |value: String| match value.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{} …", &value[..end]),
        None => value,
    };
    format!("\n      - {}\n      + {}", shown(expected.to_string()), shown(found.to_string()))
}

/// The most characters of a value in a difference.
const MAX_SHOWN_CHARS: usize = 600;

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
