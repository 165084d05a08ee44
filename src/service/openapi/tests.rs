//! The kept document is the one that the types make.

use std::fs;

use super::*;
use crate::{problem, proto::error::Code};

#[test]
fn the_kept_document_is_what_the_types_say() {
    let text = document::text();
    let differs = text.lines().zip(DOCUMENT.lines()).position(|(made, kept)| made != kept);
    assert!(
        text == DOCUMENT,
        "docs/openapi.json is not what the types say, from line {} on; renew it:\n    \
         cargo test --lib service::openapi::tests::renew -- --ignored",
        differs.map_or_else(|| text.lines().count(), |line| line + 1)
    );
}

#[test]
#[ignore = "writes docs/openapi.json anew"]
fn renew() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    fs::write(path, document::text()).unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let (before, _, after) = parts(PAGE);
    fs::write(page, format!("{before}{}{after}", codes())).unwrap();
}

#[test]
fn the_page_for_people_has_every_code_with_its_status() {
    let (_, kept, _) = parts(PAGE);
    assert!(
        kept == codes(),
        "the codes in docs/api.md are not those of the types; renew them:\n    \
         cargo test --lib service::openapi::tests::renew -- --ignored"
    );
}

#[test]
fn the_page_for_people_names_every_path() {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(PAGE.contains(path.as_str()), "docs/api.md does not name {path}");
    }
}

const PAGE: &str = include_str!("../../../docs/api.md");

/// The table of codes, with what is before and after it.
fn parts(page: &str) -> (&str, &str, &str) {
    let (begin, end) = ("<!-- codes -->\n", "<!-- /codes -->");
    let at = page.find(begin).unwrap() + begin.len();
    let (before, rest) = page.split_at(at);
    let (table, after) = rest.split_at(rest.find(end).unwrap());
    (before, table, after)
}

/// Each code with its status and what is to be done: what the document says of them.
fn codes() -> String {
    let schema = schemars::schema_for!(Code);
    let said = schema.get("oneOf").unwrap().as_array().unwrap();
    let row = |(code, said): (Code, &serde_json::Value)| {
        let said = said["description"].as_str().unwrap().replace('\n', " ");
        format!("| `{}` | {} | {said} |\n", code.as_str(), problem::status(code).as_u16())
    };
    let rows: String = Code::ALL.into_iter().zip(said).map(row).collect();
    format!("| code | status | what it means, and what to do |\n|---|---|---|\n{rows}")
}
