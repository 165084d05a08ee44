//! `holdall openapi` prints docs/openapi.json.

use super::home::Home;

#[test]
fn the_printed_document_is_docs_openapi_json() {
    let ran = Home::new().run(&["openapi"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(ran.out == include_str!("../../../docs/openapi.json"), "not docs/openapi.json");
}
