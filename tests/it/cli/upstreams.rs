//! `holdall upstreams`: each upstream with its profile, from the tables `upstream` alone.

use serde_json::{Value, json};

use super::home::Home;

const FILE: &str = r#"
[[upstream]]
name = "kimi"
kind = "openai"
base_url = "https://api.moonshot.ai/v1"

[[upstream]]
name = "gateway"
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
profile = "mistral"
stream_options = true

[[upstream]]
name = "own"
kind = "openai"
base_url = "http://127.0.0.1:9/v2"

[[model]]
alias = "default"
upstreams = ["kimi", "gateway", "own"]
model = "m"
"#;

fn home() -> Home {
    let home = Home::new();
    home.write("holdall.toml", FILE);
    home
}

#[test]
fn every_upstream_is_listed_with_its_profile() {
    let ran = home().run(&["upstreams", "--config", "holdall.toml"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    for lines in [
        "kimi (openai at https://api.moonshot.ai/v1)\n  profile                     moonshot, chosen by host\n",
        "gateway (openai at http://127.0.0.1:9/v1)\n  profile                     mistral, chosen by setting\n",
        "own (openai at http://127.0.0.1:9/v2)\n  profile                     compatible, chosen by default\n",
        "  stream_options              yes (set)\n",
        "  seed                        random_seed\n",
        "  message_members             reasoning_content\n",
        "  call_ids                    plain, at most 40 characters\n",
        "  required_with_calls         none\n",
    ] {
        assert!(ran.out.contains(lines), "{lines}{}", ran.out);
    }
}

#[test]
fn the_list_is_json_for_programs() {
    let ran = home().run(&["upstreams", "--config", "holdall.toml", "--json"]);
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    let summary = list.as_array().unwrap().iter().map(|entry| {
        json!([
            entry["name"],
            entry["kind"],
            entry["base_urls"],
            entry["profile"],
            entry["chosen_by"],
            entry["overrides"]
        ])
    });
    let expected = json!([
        ["kimi", "openai", ["https://api.moonshot.ai/v1"], "moonshot", "host", []],
        ["gateway", "openai", ["http://127.0.0.1:9/v1"], "mistral", "setting", ["stream_options"]],
        ["own", "openai", ["http://127.0.0.1:9/v2"], "compatible", "default", []],
    ]);
    assert_eq!(Value::Array(summary.collect()), expected);
    assert_eq!(list[1]["members"]["stream_options"], true);
    assert_eq!(list[0]["members"]["call_ids"], "as_given");
}

#[test]
fn an_unknown_profile_is_refused_with_the_list() {
    let home = home();
    home.write("holdall.toml", &FILE.replace("\"mistral\"", "\"mixtral\""));
    let ran = home.run(&["upstreams", "--config", "holdall.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("`upstream.profile` is `mixtral`"), "{}", ran.err);
}

/// The snippets of a page that begin with `[[upstream]]`.
fn snippets(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.filter(|block| block.starts_with("[[upstream]]")).collect()
}

#[test]
fn the_snippets_of_the_pages_need_no_key_and_no_model() {
    let pages =
        [include_str!("../../../docs/compatibility.md"), include_str!("../../../docs/configuration.md")].map(snippets);
    assert!(pages[0].len() >= 2 && !pages[1].is_empty(), "{pages:?}");
    for snippet in pages.concat() {
        let home = Home::new();
        home.write("holdall.toml", snippet);
        let ran = home.run(&["upstreams", "--config", "holdall.toml"]);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{snippet}");
        assert!(ran.out.contains("  profile  "), "{}", ran.out);
    }
}

#[test]
fn keys_proxies_certificates_and_models_are_not_read() {
    let home = Home::new();
    let lines = "api_key_env = \"UNSET\"\nproxy_env = \"UNSET\"\nca_file = \"missing.pem\"";
    home.write("holdall.toml", &format!("[[upstream]]\nname = \"cloud\"\nkind = \"openai\"\n{lines}\n"));
    let ran = home.run(&["upstreams", "--config", "holdall.toml"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(ran.out.starts_with("cloud (openai at https://api.openai.com/v1)\n"), "{}", ran.out);
}
