//! The rules of the module tree: arrows point one way, no circles, and each crate is named only
//! where the table says.
//!
//! - `cli → shell → service → {problem, principal, config, upstream, guard} → proto`: no module
//!   imports leftward.
//! - No circle of files anywhere in `src`. A file imports a name from the file that defines it, so
//!   re-exports are followed. The front file of a folder (`mod.rs`, or `x.rs` beside `x/`) and its
//!   parts are one room: a part may name its front file.
//! - `proto` is sans-IO: no async, file, socket, environment, thread, clock, global or line on a
//!   terminal.
//! - `proto::exchange` imports no API of clients, and `guard` names no runtime and no socket.
//!
//! The reader in `source` finds the names in each file. The rules are tested as well, in
//! `violations`: each sees a text that breaks it.

mod source;
mod violations;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use source::{Named, Source, read};

/// The layers from right to left: a module may name its own layer and those before it.
const LAYERS: &[&[&str]] = &[
    &["proto"],
    &["audit", "config", "guard", "principal", "problem", "upstream"],
    &["service"],
    &["shell"],
    &["cli"],
];

/// Where each dependency may be named, tests aside: a folder of `src/`, with `/`, or a file.
const CRATES: &[(&str, &[&str])] = &[
    ("base64", &["proto/base64url.rs", "proto/token/wire.rs", "shell/lambda/"]),
    (
        "bytes",
        &[
            "proto/api/",
            "proto/exchange.rs",
            "proto/exchange/",
            "proto/provider/",
            "proto/sse.rs",
            "service/",
            "shell/",
            "upstream.rs",
            "upstream/",
        ],
    ),
    ("chacha20poly1305", &["proto/token/seal.rs"]),
    // The flags of settings are made from the same rows as their variables.
    ("clap", &["cli/", "config/overlay/"]),
    ("clap_complete", &["cli/"]),
    ("etcetera", &["cli/"]),
    ("futures_core", &["service/", "shell/", "upstream.rs", "upstream/"]),
    ("futures_util", &["principal/", "service/", "shell/", "upstream/"]),
    ("getrandom", &["shell/entropy.rs"]),
    ("hkdf", &["proto/key.rs"]),
    ("hmac", &["proto/key.rs"]),
    (
        "http",
        &[
            "config/",
            "principal/",
            "problem.rs",
            "proto/api/",
            "proto/exchange.rs",
            "proto/exchange/",
            "proto/provider/",
            "service/",
            "shell/",
            "upstream.rs",
            "upstream/",
        ],
    ),
    ("http_body", &["service/", "shell/"]),
    ("http_body_util", &["service/", "shell/"]),
    ("hyper", &["shell/serve.rs"]),
    ("hyper_util", &["shell/serve.rs"]),
    ("jsonwebtoken", &["principal/"]),
    ("memchr", &["proto/token/frames.rs"]),
    ("mimalloc", &["main.rs"]),
    ("percent_encoding", &["service/uri.rs"]),
    ("pkcs1", &["principal/jwt/"]),
    ("redis", &["shell/redis/"]),
    (
        "reqwest",
        &["shell/client.rs", "shell/forward/mod.rs", "shell/http.rs", "shell/issuer.rs", "shell/lambda/runtime_api.rs"],
    ),
    ("rustix", &["cli/"]),
    ("rustls", &["shell/tls.rs"]),
    ("rustyline", &["cli/"]),
    (
        "serde",
        &[
            "cli/",
            "config/",
            "principal/",
            "problem.rs",
            "proto/api/",
            "proto/builtin_model/",
            "proto/chat/",
            "proto/json.rs",
            "proto/provider/",
            "proto/time.rs",
            "proto/token/claims.rs",
            "proto/token/id.rs",
            "proto/turn/",
            "service/",
            "shell/client.rs",
            "shell/lambda/",
            "shell/log.rs",
        ],
    ),
    (
        "serde_json",
        &[
            "cli/",
            "principal/",
            "problem.rs",
            "proto/api/",
            "proto/builtin_model/",
            "proto/chat/",
            "proto/json.rs",
            "proto/provider/",
            "proto/token/claims.rs",
            "proto/turn/",
            "service/",
            "shell/",
        ],
    ),
    ("serde_path_to_error", &["proto/api/json_fault.rs"]),
    ("sha2", &["guard/keyed_hash.rs", "principal/", "proto/key.rs", "shell/redis/keys.rs"]),
    ("simdutf8", &["proto/token/frames.rs"]),
    ("spki", &["principal/jwt/"]),
    ("subtle", &["principal/", "proto/key.rs"]),
    ("tempfile", &["cli/"]),
    ("thiserror", &["proto/error/", "proto/key.rs"]),
    ("tokio", &["cli/", "shell/"]),
    ("tokio_rustls", &["shell/redis/client.rs"]),
    ("toml", &["config/"]),
    ("uuid", &["proto/token/id.rs"]),
    ("webpki_roots", &["shell/tls.rs"]),
    ("zeroize", &["cli/", "config/", "proto/deployment.rs", "proto/key.rs", "proto/secrets/"]),
    ("zstd", &["proto/token/frames.rs"]),
];

/// For a folder or file of `src/`: the modules of this crate and the other crates that it may not
/// name, tests included for the former.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("proto/exchange", &["crate::proto::api"]),
    ("proto/deployment.rs", &["crate::proto::api", "crate::proto::exchange"]),
    ("proto/provider/", &["crate::proto::api", "crate::proto::exchange"]),
    ("proto/turn/", &["crate::proto::api", "crate::proto::exchange", "crate::proto::provider"]),
    ("proto/chat/", &["crate::proto::api", "crate::proto::exchange", "crate::proto::provider", "crate::proto::turn"]),
    ("proto/token/", &["crate::proto::api", "crate::proto::exchange", "crate::proto::provider", "crate::proto::turn"]),
    ("proto/key.rs", &["crate::proto::token"]),
    ("proto/base64url.rs", &["crate::proto::token", "crate::proto::key"]),
    ("guard/", &["futures_util", "hyper", "redis", "std::net::TcpStream", "tokio"]),
];

/// What of the standard library `proto` may not name: it would wait, act, remember or look around.
const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::LazyLock",
    "std::sync::OnceLock",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The words and macros that `proto` may not use, for the same reasons.
const IMPURE_WORDS: &[&str] =
    &["async", "await", "dbg!", "eprint!", "eprintln!", "print!", "println!", "static", "thread_local!"];

#[test]
fn nothing_imports_leftward() {
    assert_none(leftward(&tree()));
}

#[test]
fn modules_of_a_layer_do_not_import_each_other_in_circles() {
    assert_none(circles(&modules_named(&tree())));
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    assert_none(circles(&files_named(&tree())));
}

#[test]
fn rooms_name_only_what_their_rule_allows() {
    assert_none(forbidden(&tree(), FORBIDDEN));
}

#[test]
fn each_crate_is_named_only_where_it_may_be() {
    assert_none(misplaced(&tree(), CRATES));
}

#[test]
fn every_dependency_has_its_place() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    // Some are for one kind of system alone.
    let of_systems = manifest["target"].as_table().unwrap().values().filter_map(|system| system.get("dependencies"));
    let tables = [&manifest["dependencies"]].into_iter().chain(of_systems);
    let declared = tables.flat_map(|table| table.as_table().unwrap().keys()).map(|name| name.replace('-', "_"));
    let placed: BTreeSet<_> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(declared.collect::<BTreeSet<_>>(), placed, "Cargo.toml left, CRATES right");
    assert!(CRATES.is_sorted_by_key(|(name, _)| name));
}

#[test]
fn proto_is_sans_io() {
    assert_none(impure(&tree()));
}

/// Every file below `src/`, by its path there.
type Tree = BTreeMap<String, Source>;

fn tree() -> Tree {
    let mut tree = Tree::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let source = read(&module(&name), &fs::read_to_string(&path).unwrap());
                tree.insert(name, source);
            }
        }
    }
    tree
}

/// The module that a file holds, from the crate's root.
fn module(file: &str) -> String {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "main") { String::new() } else { path.replace('/', "::") }
}

/// The layer of a module, from the right; `None` for the crate's root, which ties everything
/// together.
fn layer(module: &str) -> Option<usize> {
    let head = module.split("::").next().filter(|head| !head.is_empty())?;
    let found = LAYERS.iter().position(|layer| layer.contains(&head));
    assert!(found.is_some(), "module `{head}` has no layer");
    found
}

/// The modules of this crate that a file names, each with its place.
fn imports(source: &Source) -> impl Iterator<Item = (&str, &Named)> {
    source.paths.iter().filter_map(|named| {
        let inner = named.text.strip_prefix("crate::").or_else(|| named.text.strip_prefix("holdall::"))?;
        let head = inner.split("::").next()?;
        // What stands in the root beside the modules is the modules' own, exported again.
        LAYERS.iter().any(|layer| layer.contains(&head)).then_some((head, named))
    })
}

fn leftward(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, source) in tree {
        let Some(own) = layer(&module(file)) else { continue };
        for (head, named) in imports(source) {
            if layer(head) > Some(own) {
                found.push(format!("src/{file}:{}: {} lies to the left", named.line, named.text));
            }
        }
    }
    found
}

/// Each node with the nodes that it names.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The modules of the crate's root, each with those that it names.
fn modules_named(tree: &Tree) -> Arrows {
    let mut arrows = Arrows::new();
    for (file, source) in tree {
        let own = module(file).split("::").next().unwrap_or_default().to_owned();
        if own.is_empty() {
            continue;
        }
        let heads =
            imports(source).filter(|(head, named)| *head != own && !named.test).map(|(head, _)| head.to_owned());
        arrows.entry(own.clone()).or_default().extend(heads);
    }
    arrows
}

/// The files, each with the files whose items it names. A re-export leads to the file that defines
/// the item.
fn files_named(tree: &Tree) -> Arrows {
    let modules: BTreeMap<String, &String> = tree.keys().map(|file| (module(file), file)).collect();
    let tests: BTreeSet<&String> = tree.values().flat_map(|source| &source.test_modules).collect();
    let mut arrows = Arrows::new();
    for (file, source) in tree {
        let own = module(file);
        if own.is_empty() || is_within(&own, &tests) {
            continue;
        }
        let targets = source.paths.iter().filter(|named| !named.test && !only_re_exported(source, named));
        let targets = targets.filter_map(|named| defining_file(tree, &modules, &own, &named.text));
        let targets = targets.filter(|target| *target != file && !is_front_of(&module(target), &own));
        arrows.entry(file.clone()).or_default().extend(targets.cloned());
    }
    arrows
}

/// True if the path is a re-export whose name the file does not use itself.
fn only_re_exported(source: &Source, named: &Named) -> bool {
    let import = source.imports.iter().find(|(_, import)| named.imported && import.path == named.text);
    let uses = |name: &str| source.words.iter().any(|word| word.text == name && !word.test);
    import.is_some_and(|(name, import)| import.exported && !uses(name))
}

/// True if `front` is the module of a folder that holds the module `part`.
fn is_front_of(front: &str, part: &str) -> bool {
    part.strip_prefix(front).is_some_and(|rest| front.is_empty() || rest.starts_with("::"))
}

/// The file that defines what `path` names in the module `own`; `None` if the path leads out of the
/// crate.
fn defining_file<'t>(tree: &Tree, modules: &BTreeMap<String, &'t String>, own: &str, path: &str) -> Option<&'t String> {
    let mut path = match path.strip_prefix("crate::").or_else(|| path.strip_prefix("holdall::")) {
        Some(path) => path.to_owned(),
        // A path that begins with a part of the module itself.
        None => format!("{own}::{path}"),
    };
    // Each step follows one re-export; a chain of them is short.
    for _ in 0..8 {
        let segments: Vec<&str> = path.split("::").collect();
        let (length, file) = (1..=segments.len())
            .rev()
            .find_map(|length| Some((length, *modules.get(&segments[..length].join("::"))?)))?;
        let Some(name) = segments.get(length) else { return Some(file) };
        let import = tree[file].imports.get(*name).filter(|import| !import.test);
        match import.and_then(|import| import.path.strip_prefix("crate::")) {
            Some(target) => path = [&[target], &segments[length + 1..]].concat().join("::"),
            None if path.starts_with(own) && length == own.split("::").count() => return None,
            None => return Some(file),
        }
    }
    None
}

/// The circles: sets of nodes that reach each other, each with the arrows inside it.
fn circles(arrows: &Arrows) -> Vec<String> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        arrows.keys().map(|node| (node, reachable(arrows, node))).collect();
    let mut found = Vec::new();
    for (node, reaches) in &reached {
        let circle: Vec<_> =
            reaches.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(node))).collect();
        // Each circle once, at its first node.
        if circle.first().is_some_and(|first| **first == *node) {
            let inside = |target: &&String| circle.iter().any(|member| **member == *target);
            let lines = circle
                .iter()
                .map(|member| format!("  {member} → {:?}", arrows[**member].iter().filter(inside).collect::<Vec<_>>()));
            found.push(format!("a circle of {}:\n{}", circle.len(), lines.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// The nodes that arrows lead to from `start`; `start` itself only if a circle leads back to it.
fn reachable<'a>(arrows: &'a Arrows, start: &str) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = arrows.get(start).into_iter().flatten().collect();
    while let Some(node) = open.pop() {
        if reached.insert(node) {
            open.extend(arrows.get(node).into_iter().flatten());
        }
    }
    reached
}

fn forbidden(tree: &Tree, rules: &[(&str, &[&str])]) -> Vec<String> {
    let tests: BTreeSet<&String> = tree.values().flat_map(|source| &source.test_modules).collect();
    let mut found = Vec::new();
    for (file, source) in tree {
        let rules = rules.iter().filter(|(room, _)| file.starts_with(room)).flat_map(|(_, paths)| *paths);
        for path in rules {
            if is_within(&module(file), &tests) {
                continue;
            }
            let named = source.paths.iter().filter(|named| !named.test && lies_in(&named.text, path));
            found.extend(named.map(|named| format!("src/{file}:{}: {} may not be named here", named.line, named.text)));
        }
    }
    found
}

/// True if `path` is `room` or lies in it.
fn lies_in(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn misplaced(tree: &Tree, places: &[(&str, &[&str])]) -> Vec<String> {
    let tests: BTreeSet<&String> = tree.values().flat_map(|source| &source.test_modules).collect();
    let mut found = Vec::new();
    for (file, source) in tree {
        if is_within(&module(file), &tests) {
            continue;
        }
        for named in source.paths.iter().filter(|named| !named.test) {
            let head = named.text.split("::").next().unwrap_or_default();
            let Some((_, places)) = places.iter().find(|(name, _)| *name == head) else { continue };
            let allowed = |place: &&str| file == place || (place.ends_with('/') && file.starts_with(*place));
            if !places.iter().any(allowed) {
                found.push(format!("src/{file}:{}: {} is not to be named here", named.line, named.text));
            }
        }
    }
    found
}

fn impure(tree: &Tree) -> Vec<String> {
    let tests: BTreeSet<&String> = tree.values().flat_map(|source| &source.test_modules).collect();
    let mut found = Vec::new();
    for (file, source) in tree {
        let module = module(file);
        if layer(&module) != Some(0) || is_within(&module, &tests) {
            continue;
        }
        let paths = source.paths.iter().filter(|named| IMPURE_PATHS.iter().any(|path| reaches(&named.text, path)));
        let words = source.words.iter().filter(|named| IMPURE_WORDS.contains(&named.text.as_str()));
        for named in paths.chain(words).filter(|named| !named.test) {
            found.push(format!("src/{file}:{}: {} has no place in the core", named.line, named.text));
        }
    }
    found
}

/// Whether a module is one of `tests`, or within one.
fn is_within(module: &str, tests: &BTreeSet<&String>) -> bool {
    tests.iter().any(|test| {
        module == test.as_str() || module.strip_prefix(test.as_str()).is_some_and(|rest| rest.starts_with("::"))
    })
}

/// Whether `path` names `banned`, something in it, or a module that has it.
fn reaches(path: &str, banned: &str) -> bool {
    let path = path.strip_suffix("::*").unwrap_or(path);
    let below = |path: &str, prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::"));
    path == banned || below(path, banned) || below(banned, path)
}

#[track_caller]
fn assert_none(found: impl AsRef<[String]>) {
    let found = found.as_ref();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
