//! The table of settings: complete, true, and the same as in docs/configuration.md.

use std::{collections::BTreeSet, fs};

use serde::de::DeserializeOwned;

use super::*;
use crate::config::{
    raw,
    setting::{DefaultValue, Reload, Setting},
    settings,
};

const PAGE: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_page_has_the_tables_of_the_settings() {
    for (name, table) in tables() {
        let (_, kept, _) = parts(PAGE, name);
        assert!(
            kept == table,
            "the table `{name}` in docs/configuration.md is not that of src/config/settings.rs; renew it:\n    \
             cargo test --lib config::tests::settings::renew -- --ignored"
        );
    }
}

#[test]
#[ignore = "writes docs/configuration.md"]
fn renew() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let mut page = fs::read_to_string(path).unwrap();
    for (name, table) in tables() {
        let (before, _, after) = parts(&page, name);
        page = format!("{before}{table}{after}");
    }
    fs::write(path, page).unwrap();
}

/// The generated tables of the page, by the name in their markers.
fn tables() -> [(&'static str, String); 2] {
    [("reload", reload_table()), ("settings", settings_table())]
}

/// The page before a table, the table, and the page after it.
fn parts<'a>(page: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let start = format!("<!-- {name} -->\n");
    let (before, rest) = page.split_at(page.find(&start).unwrap() + start.len());
    let (table, after) = rest.split_at(rest.find(&format!("<!-- /{name} -->")).unwrap());
    (before, table, after)
}

/// The keys whose change a reload does not apply. A table of such keys is one entry.
fn reload_table() -> String {
    let keys: Vec<_> = settings::all().filter(|setting| !setting.hidden).filter_map(|setting| setting.key).collect();
    let row = |effect: &str| {
        let mut names = Vec::new();
        for key in keys.iter().filter(|key| effect_of(key.reload) == effect) {
            let table = key.path.split_once('.').map_or(key.path, |(table, _)| table);
            let mut of_table = keys.iter().filter(|key| key.path.starts_with(&format!("{table}.")));
            let name = match key.reload {
                Reload::AppliedWithoutStore(_) => format!("{} with a store", key_name(key.path)),
                _ if of_table.clone().count() > 1 && of_table.all(|key| effect_of(key.reload) == effect) => {
                    format!("`[{table}]`")
                }
                _ => key_name(key.path),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        format!("| {effect} | {} |\n", names.join(", "))
    };
    format!("| reload | keys |\n|---|---|\n{}{}| yes | all other keys |\n", row("restart"), row("refused"))
}

/// The settings that are flags or variables.
fn settings_table() -> String {
    let rows = settings::all().filter(|setting| setting.variable.is_some() && !setting.hidden).map(settings_row);
    format!(
        "| flag | variable | key | default | reload | meaning |\n|---|---|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

fn settings_row(setting: &Setting) -> String {
    let code = |text: &str| format!("`{text}`");
    let default = match setting.default {
        Some(DefaultValue::Text(text)) => code(text),
        Some(DefaultValue::Description(description)) => description.to_owned(),
        None => String::new(),
    };
    let reload = match setting.key.map(|key| key.reload) {
        Some(Reload::AppliedWithoutStore(_)) => "yes; refused with a store",
        Some(reload) => effect_of(reload),
        None => "",
    };
    let cells = [
        setting.flag.map(code).unwrap_or_default(),
        setting.variable.map(code).unwrap_or_default(),
        setting.key.map(|key| key_name(key.path)).unwrap_or_default(),
        default,
        reload.to_owned(),
        lowercase_first_word(setting.help),
    ];
    cells.iter().fold(String::new(), |row, cell| row + "| " + cell + if cell.is_empty() { "" } else { " " }) + "|\n"
}

/// The key as the page writes it.
fn key_name(path: &str) -> String {
    if matches!(path, "upstream" | "model" | "guard.quota") { format!("`[[{path}]]`") } else { format!("`{path}`") }
}

fn effect_of(reload: Reload) -> &'static str {
    match reload {
        Reload::Applied => "yes",
        Reload::AppliedWithoutStore(_) | Reload::PartOfUpstream | Reload::Refused(_) => "refused",
        Reload::Restart(_) => "restart",
    }
}

/// The help as a cell of a table. Abbreviations keep their capitals.
fn lowercase_first_word(help: &str) -> String {
    let mut characters = help.chars();
    let first = characters.next().unwrap();
    let rest = characters.as_str();
    if rest.starts_with(|second: char| second.is_lowercase() || second == ' ') {
        first.to_lowercase().to_string() + rest
    } else {
        help.to_owned()
    }
}

#[test]
fn every_key_of_the_file_has_one_row() {
    let tables = [
        ("identity", keys_of::<raw::RawIdentity>()),
        ("identity.api_key", keys_of::<raw::RawApiKeys>()),
        ("identity.header", keys_of::<raw::RawHeader>()),
        ("identity.jwt", keys_of::<raw::RawJwt>()),
        ("guard", keys_of::<raw::RawGuard>()),
        ("limits", keys_of::<raw::RawLimits>()),
        ("timeouts", keys_of::<raw::RawTimeouts>()),
        ("upstream", keys_of::<raw::RawUpstream>()),
    ];
    let mut expected: BTreeSet<_> = keys_of::<RawConfig>().into_iter().collect();
    for (table, keys) in &tables {
        expected.extend(keys.iter().map(|key| format!("{table}.{key}")));
    }
    // A table of the file is not a setting. `upstream` is also a list.
    tables.iter().filter(|(table, _)| *table != "upstream").for_each(|(table, _)| assert!(expected.remove(*table)));
    let rows: Vec<_> = settings::all().filter_map(|setting| Some(setting.key?.path.to_owned())).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), expected, "rows left, keys of the file right");
    assert_eq!(rows.len(), expected.len(), "one row per key");
}

/// The keys of a table, as the error for an unknown key lists them.
fn keys_of<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("\"?\" = 1").err().unwrap().message().to_owned();
    let (_, listed) = error.split_once("expected ").unwrap();
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_flag_and_its_variable_have_the_same_name() {
    let mut names = BTreeSet::new();
    for setting in settings::all().filter(|setting| setting.variable.is_some()) {
        let variable = setting.variable.unwrap();
        assert!(names.insert(variable), "{variable} has two rows");
        assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{variable}");
        if let Some(flag) = setting.flag {
            let name = flag.strip_prefix("--").unwrap().replace('-', "_").to_uppercase();
            assert_eq!(variable, format!("HOLDALL_{name}"));
        }
    }
}

#[test]
fn a_default_has_the_effect_of_no_value() {
    let header = [
        ("HOLDALL_IDENTITY", "header"),
        ("HOLDALL_HEADER_NAME", "x-user"),
        ("HOLDALL_HEADER_PEERS", "::1"),
        ("HOLDALL_HEADER_SECRET", "a-secret-of-more-than-thirty-two-bytes"),
    ];
    let keys: &str = keys().split('"').nth(1).unwrap().to_owned().leak();
    let mut checked = 0;
    for setting in settings::all() {
        let (Some(DefaultValue::Text(text)), Some(variable)) = (setting.default, setting.variable) else { continue };
        let mut variables = HashMap::from([("HOLDALL_KEYS", keys)]);
        variables.extend(header.iter().copied().filter(|_| variable.starts_with("HOLDALL_HEADER")));
        let config = |variables: &HashMap<_, _>| {
            let sources = Fixture(variables.clone());
            let settings = ServeSettings::from_variables(&sources).unwrap();
            format!("{:?}", settings.load(None, Exposure::Listener, &sources).unwrap())
        };
        let without = config(&variables);
        variables.insert(variable, text);
        assert_eq!(config(&variables), without, "{variable}");
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}
