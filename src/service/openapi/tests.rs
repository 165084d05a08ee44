//! The server does what docs/openapi.json says, and the document says all that the server does.
//!
//! People maintain the document. These tests compare it with the code in both directions:
//!
//! | test | compares |
//! |---|---|
//! | `requests` | the request schemas with the parsers |
//! | `answers` | the response schemas with the answers, events and errors of the writers |
//! | `operations` | the paths, methods, statuses and error codes |
//!
//! The parts of the document that follow from the code (error codes, error responses, examples,
//! version) are written by:
//!
//! ```sh
//! cargo test --lib service::openapi::tests::renew -- --ignored
//! ```

mod answers;
mod examples;
mod operations;
mod requests;
mod samples;
mod schema;

use std::fs;

use serde::Serialize as _;
use serde_json::{Serializer, Value, ser::PrettyFormatter};

use self::schema::Document;
use super::DOCUMENT;

#[test]
fn the_parts_that_follow_from_the_code_are_up_to_date() {
    let text = to_text(&operations::renewed(&Document::read()));
    let differs = text.lines().zip(DOCUMENT.lines()).position(|(new, old)| new != old);
    assert!(
        text == DOCUMENT,
        "docs/openapi.json is out of date from line {} on; renew it:\n    {RENEW}",
        differs.map_or_else(|| text.lines().count(), |line| line + 1)
    );
}

#[test]
fn the_page_for_people_names_every_path() {
    let document = Document::read();
    for path in document.at("/paths").as_object().unwrap().keys() {
        assert!(PAGE.contains(path.as_str()), "docs/api.md does not name {path}");
    }
}

#[test]
#[ignore = "writes docs/openapi.json"]
fn renew() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    fs::write(path, to_text(&operations::renewed(&Document::read()))).unwrap();
}

const RENEW: &str = "cargo test --lib service::openapi::tests::renew -- --ignored";

const PAGE: &str = include_str!("../../../docs/api.md");

/// The form of the file: members in alphabetical order, each on its own line, with an indentation
/// of one space, because the program contains the text.
fn to_text(document: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    document.serialize(&mut serializer).unwrap();
    text.push(b'\n');
    String::from_utf8(text).unwrap()
}
