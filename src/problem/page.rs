//! docs/errors.md has every code: its sections are generated from the table of codes.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{Problem, tests};
use crate::proto::error::{Code, Error};

const PAGE: &str = include_str!("../../docs/errors.md");
const BEGIN: &str = "<!-- codes -->\n";
const END: &str = "<!-- /codes -->";
/// The width of a line of prose.
const WIDTH: usize = 100;

#[test]
fn the_page_is_current() {
    assert!(
        PAGE == renewed(),
        "the codes in docs/errors.md differ from the table in src/proto/error/code.rs. Renew the page:\n    \
         cargo test --lib problem::page::renew -- --ignored"
    );
}

#[test]
#[ignore = "writes docs/errors.md"]
fn renew() {
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md"), renewed()).unwrap();
}

#[test]
fn the_page_shows_a_real_problem_document() {
    let (_, rest) = PAGE.split_once("```json\n").unwrap();
    let shown: Value = serde_json::from_str(rest.split_once("```").unwrap().0).unwrap();
    let (quota, ..) = tests::all().into_iter().find(|(error, ..)| error.kind() == Code::QuotaExceeded).unwrap();
    let problem = Problem::new(quota, shown["request_id"].as_str().unwrap());
    assert_eq!(shown, serde_json::from_str::<Value>(&problem.to_json()).unwrap());
}

/// The page with the generated part made again.
fn renewed() -> String {
    let (before, rest) = PAGE.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let sections: String = Code::ALL.iter().map(|code| section(*code)).collect();
    format!("{before}{BEGIN}\n{}{sections}\n{END}{after}", by_status())
}

/// A table of all statuses with their codes.
fn by_status() -> String {
    let mut codes = BTreeMap::<u16, Vec<String>>::new();
    for code in Code::ALL {
        codes.entry(code.status()).or_default().push(format!("[`{0}`](#{0})", code.as_str()));
    }
    let rows = codes.iter().map(|(status, codes)| format!("| {status} | {} |\n", codes.join(", ")));
    format!("| status | codes |\n|---|---|\n{}", rows.collect::<String>())
}

fn section(code: Code) -> String {
    let samples: Vec<Error> =
        tests::all().into_iter().map(|(error, ..)| error).filter(|error| error.kind() == code).collect();
    let retries = distinct(samples.iter().map(|error| format!("`{}`", error.retry().as_str())));
    let details = distinct(samples.iter().map(Error::to_string));
    let mut lines = vec![
        format!("Status: {}", code.status()),
        format!("Title: {}", code.title()),
        format!("Retry: {}", retries.join(" or ")),
        format!("Cause: {}", code.cause()),
        format!("Remedy: {}", code.remedy()),
    ];
    lines.extend(details.iter().map(|detail| format!("Example of `detail`: {detail}")));
    let lines: String = lines.iter().map(|line| wrapped(line)).collect();
    format!("\n## {}\n\n{lines}", code.as_str())
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut found = Vec::new();
    texts.for_each(|text| {
        if !found.contains(&text) {
            found.push(text);
        }
    });
    found
}

/// An element of a Markdown list, in lines of at most [`WIDTH`] columns.
fn wrapped(text: &str) -> String {
    let (mut element, mut columns) = ("-".to_owned(), 1);
    for word in text.split(' ') {
        let width = word.chars().count();
        if columns + 1 + width > WIDTH {
            element.push_str("\n ");
            columns = 1;
        }
        element.push(' ');
        element.push_str(word);
        columns += 1 + width;
    }
    element.push('\n');
    element
}
