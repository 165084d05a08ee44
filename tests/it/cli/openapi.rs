//! `holdall openapi`: the kept document, whole.

use super::home::Home;

#[test]
fn the_document_is_printed_as_it_is_kept() {
    let ran = Home::new().run(&["openapi"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(ran.out == include_str!("../../../docs/openapi.json"), "not the kept document");
}
