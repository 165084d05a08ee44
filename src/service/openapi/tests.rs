//! The kept document is the one that the types make.

use std::fs;

use super::*;

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
}

#[test]
fn the_page_for_people_names_every_path() {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(PAGE.contains(path.as_str()), "docs/api.md does not name {path}");
    }
}

const PAGE: &str = include_str!("../../../docs/api.md");
