//! Each rule finds a text that breaks it, and passes a similar text that does not.

use super::{
    Tree, assert_none, circles, files_named, forbidden, impure, leftward, misplaced, module, modules_named,
    source::read,
};

/// A tree of these files.
fn sources(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(name, text)| ((*name).to_owned(), read(&module(name), text))).collect()
}

#[test]
fn an_import_to_the_left_is_found_however_it_is_written() {
    for text in [
        "use crate::service::Service;",
        "use crate::{proto::time, service::{Service as S}};",
        "fn f() -> crate::shell::Server { todo!() }",
        "use super::super::cli;",
        "mod inner { use super::super::super::cli::run; }",
        "#[cfg(test)] mod tests { use crate::service::Service; }",
        "pub use holdall::shell;",
        "fn f<'a>(_: &'a str) { let _ = ('\"', \"\\\"\", r#\"\"\"#, b'\\''); crate::cli::run() }",
        "/* /* */ */ use crate::upstream::Upstream;",
    ] {
        assert_eq!(leftward(&sources(&[("proto/time.rs", text)])).len(), 1, "{text}");
    }
}

#[test]
fn what_points_right_or_only_looks_like_a_path_passes() {
    for text in [
        "use crate::proto::{self, time::UnixSeconds};\nuse super::check;",
        "// use crate::service::Service;\n/* crate::cli */ const A: &str = \"crate::cli::run\";",
        "const A: &str = r#\"\" crate::cli::run\"#; const B: &[u8] = b\"crate::cli\\\"::run\";",
        "//! [`Service`](crate::service::Service)\nfn service() {}",
    ] {
        assert_none(leftward(&sources(&[("config/raw.rs", text)])));
    }
}

#[test]
fn a_circle_within_a_layer_is_found() {
    let one_way = [("config/mod.rs", "use crate::principal::Authenticator;"), ("principal/mod.rs", "")];
    assert_none(circles(&modules_named(&sources(&one_way))));
    let circle = [one_way[0], ("principal/mod.rs", "use crate::config::Config;"), ("guard.rs", "use crate::proto;")];
    assert_eq!(circles(&modules_named(&sources(&circle))).len(), 1);
}

#[test]
fn a_circle_of_files_is_found_through_re_exports_and_over_several_files() {
    let front = ("guard/mod.rs", "mod a;\nmod b;\nmod c;\npub use self::{a::A, b::B, c::C as D};");
    let (a, c) = (("guard/a.rs", "use super::b::B;"), ("guard/c.rs", "pub struct C;"));
    assert_none(circles(&files_named(&sources(&[front, a, ("guard/b.rs", "use super::D;"), c]))));
    for back in ["use crate::guard::A;", "fn f() { super::a::g() }", "use super::{D, a};", "use super::a::*;"] {
        assert_eq!(circles(&files_named(&sources(&[front, a, ("guard/b.rs", back), c]))).len(), 1, "{back}");
    }
    let over = [front, a, ("guard/b.rs", "use super::c::C;"), ("guard/c.rs", "use super::A;")];
    let found = circles(&files_named(&sources(&over)));
    assert!(found.len() == 1 && found[0].starts_with("a circle of 3:"), "{found:?}");
    for tests_only in ["#[cfg(test)] mod tests { use super::super::a::A; }", "#[cfg(test)] use super::A;"] {
        assert_none(circles(&files_named(&sources(&[front, a, ("guard/b.rs", tests_only), c]))));
    }
}

#[test]
fn a_part_may_name_its_front_file_and_a_re_export_is_no_arrow() {
    let front = "mod a;\npub use self::a::A;\npub trait Guard {}";
    assert_none(circles(&files_named(&sources(&[("guard/mod.rs", front), ("guard/a.rs", "use super::Guard;")]))));
    let front = ("service/mod.rs", "mod turn;\nfn f() { self::turn::take() }");
    assert_none(circles(&files_named(&sources(&[front, ("service/turn.rs", "use super::Service;")]))));
}

#[test]
fn a_name_that_a_room_forbids_is_found() {
    let rules: &[(&str, &[&str])] = &[("proto/exchange", &["crate::proto::api"]), ("guard/", &["tokio"])];
    for (file, text) in [
        ("proto/exchange.rs", "use super::api::Api;"),
        ("proto/exchange/plan.rs", "use crate::proto::{api, turn};"),
        ("guard/local.rs", "fn f() { tokio::spawn(g()); }"),
    ] {
        assert_eq!(forbidden(&sources(&[(file, text)]), rules).len(), 1, "{text}");
        assert_none(forbidden(&sources(&[("service/mod.rs", text)]), rules));
    }
    assert_none(forbidden(&sources(&[("proto/exchange.rs", "use super::apis::Api;")]), rules));
}

#[test]
fn a_crate_in_the_wrong_place_is_found() {
    let places: &[(&str, &[&str])] = &[("tokio", &["shell/"]), ("zstd", &["proto/token/frames.rs"])];
    for text in [
        "use tokio::time;",
        "fn f() { ::tokio::spawn(async {}); }",
        "#[tokio::main] async fn f() {}",
        "use {std::fmt, zstd as z};",
        "fn f() { tokio::select! {} }",
        "fn f() -> Vec::<zstd::zstd_safe::CCtx<'static>> {}",
    ] {
        assert_eq!(misplaced(&sources(&[("service/mod.rs", text)]), places).len(), 1, "{text}");
        assert_none(misplaced(&sources(&[("proto/token/frames.rs", &text.replace("tokio", "zstd"))]), places));
    }
    assert_none(misplaced(&sources(&[("shell/clock/a.rs", "use tokio::time;")]), places));
}

#[test]
fn only_what_is_compiled_for_tests_alone_may_name_any_crate() {
    let places: &[(&str, &[&str])] = &[("tokio", &["shell/"])];
    let text = "use tokio::time;";
    for parent in ["#[cfg(test)] mod tests;", "#[cfg(all(test, unix))]\n#[path = \"x\"]\npub(crate) mod tests;"] {
        assert_none(misplaced(&sources(&[("service.rs", parent), ("service/tests.rs", text)]), places));
    }
    for parent in ["mod tests;", "#[cfg(not(test))] mod tests;", "#[cfg(test)] use a; mod tests;"] {
        assert_eq!(
            misplaced(&sources(&[("service.rs", parent), ("service/tests.rs", text)]), places).len(),
            1,
            "{parent}"
        );
    }
    let inline = "#[cfg(test)] mod tests { fn f() { tokio::spawn(a) } } fn g() { tokio::spawn(b) }";
    assert_eq!(misplaced(&sources(&[("service.rs", inline)]), places).len(), 1);
}

#[test]
fn impurity_is_found_in_the_core_alone() {
    for text in [
        "use std::{sync::Arc, time::{Duration, Instant}};",
        "use std::time::*;",
        "use std::time;",
        "use std::io::{self, Cursor};",
        "use std::fs;",
        "fn f() { std::env::var(\"A\"); }",
        "async fn f() {}",
        "fn f() { g.await; }",
        "fn f() { println!(\"\"); }",
        "fn f() { std::eprintln!(\"\"); }",
        "static A: u8 = 1;",
        "use std::sync::OnceLock;",
    ] {
        assert_eq!(impure(&sources(&[("proto/sse.rs", text)])).len(), 1, "{text}");
        assert_none(impure(&sources(&[("service/mod.rs", text)])));
    }
    let pure = "use std::{io::Cursor, time::Duration};\nconst A: &'static str = \"async\";";
    assert_none(impure(&sources(&[("proto/sse.rs", pure)])));
}
