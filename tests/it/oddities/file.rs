//! The files of `tests/servers/oddities/`. docs/oddities.md explains their members.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{client::Turn, expect::Expect, service::Answer};
use crate::support::wire::Wire;

/// Members that are not read by the runner, but by what it tests.
pub(super) type Members = Map<String, Value>;

/// One file: the cases of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The kind, in one sentence.
    #[expect(dead_code, reason = "for readers of the file; the runner only requires it")]
    kind: String,
    /// The upstreams of the cases that have none of their own.
    #[serde(default)]
    pub(super) upstreams: Vec<Members>,
    pub(super) cases: Vec<Case>,
    /// The name of the file. Set by [`Self::read`].
    #[serde(skip)]
    pub(super) name: String,
}

/// One conversation, with the requests and the outcome that it must have.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// True if the case must fail, because its behaviour does not exist yet.
    #[serde(default)]
    pub(super) pending: bool,
    /// Where the oddity was seen, for readers of the file.
    #[serde(default)]
    #[expect(dead_code, reason = "for readers of the file")]
    seen: Option<String>,
    /// The APIs that clients speak. Empty for all.
    #[serde(default)]
    pub(super) apis: Vec<Wire>,
    /// The modes of replies. Empty for those that all answers of the case have.
    #[serde(default)]
    pub(super) modes: Vec<Mode>,
    /// Settings outside of the tables `upstream` and `model`.
    #[serde(default)]
    pub(super) settings: Members,
    /// The members of the tables `upstream`.
    #[serde(default)]
    pub(super) upstreams: Vec<Members>,
    /// The members of the tables `model`. Without one, `default` calls all upstreams in order.
    #[serde(default)]
    pub(super) models: Vec<Members>,
    pub(super) turns: Vec<Exchange>,
}

/// One request of the client, the upstream calls that follow, and the outcome.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// The client's request.
    pub(super) client: Turn,
    /// The upstream calls. There must be exactly these.
    #[serde(default)]
    pub(super) calls: Vec<Call>,
    /// The members of [`Expect`], and in `at` those that differ by API.
    pub(super) expect: Members,
}

/// One upstream call.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// The name of the upstream. Without one, the first upstream.
    pub(super) upstream: Option<String>,
    /// The conditions on the request.
    #[serde(default)]
    pub(super) request: super::conditions::Conditions,
    pub(super) answer: Answer,
}

/// The mode of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Streamed,
    Whole,
}

impl Mode {
    pub(super) const ALL: [Self; 2] = [Self::Whole, Self::Streamed];
}

/// The folder of the files.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/oddities")
}

/// All files, by name.
pub(super) fn all() -> Vec<File> {
    let mut paths: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        File::read(name, &fs::read_to_string(path).unwrap()).unwrap_or_else(|fault| panic!("{fault}"))
    };
    paths.iter().map(read).collect()
}

impl File {
    /// Reads a file. Refuses unknown members, also in the expectations of each API.
    pub(super) fn read(name: &str, text: &str) -> Result<Self, String> {
        let mut file: Self = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        name.clone_into(&mut file.name);
        for case in &mut file.cases {
            case.take_upstreams(&file.upstreams);
            case.check().map_err(|fault| format!("{name}: {}: {fault}", case.name))?;
        }
        Ok(file)
    }
}

impl Case {
    /// Gives the case the upstreams of its file if it has none.
    fn take_upstreams(&mut self, of_file: &[Members]) {
        if self.upstreams.is_empty() {
            self.upstreams = of_file.to_vec();
        }
        if self.upstreams.is_empty() {
            let plain = json!({ "kind": "openai", "base_url": "http://model.test/v1" });
            self.upstreams = vec![plain.as_object().unwrap().clone()];
        }
        for (upstream, name) in self.upstreams.iter_mut().zip('a'..) {
            upstream.entry("name").or_insert_with(|| json!(name.to_string()));
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.turns.is_empty() {
            return Err("the case has no turns".to_owned());
        }
        for turn in &self.turns {
            if turn.client.body.is_some() && self.apis.len() != 1 {
                return Err("a turn with `body` needs exactly one entry in `apis`".to_owned());
            }
            for api in self.apis() {
                Expect::of(&turn.expect, api)?;
            }
            for call in &turn.calls {
                let name = self.upstream_of(call);
                self.kind_of(&name).ok_or_else(|| format!("`{name}` is not the name of an upstream"))?;
            }
        }
        Ok(())
    }

    /// The APIs in which the case runs.
    pub(super) fn apis(&self) -> Vec<Wire> {
        if self.apis.is_empty() { Wire::ALL.to_vec() } else { self.apis.clone() }
    }

    /// The modes in which the case runs: those that every answer has.
    pub(super) fn modes(&self) -> Vec<Mode> {
        let answers = self.turns.iter().flat_map(|turn| &turn.calls).map(|call| &call.answer);
        let named = |mode: &Mode| self.modes.is_empty() || self.modes.contains(mode);
        Mode::ALL.into_iter().filter(named).filter(|mode| answers.clone().all(|answer| answer.has(*mode))).collect()
    }

    /// The name of the upstream that a call must go to.
    pub(super) fn upstream_of(&self, call: &Call) -> String {
        call.upstream.clone().unwrap_or_else(|| name_of(&self.upstreams[0]).to_owned())
    }

    /// The kind of the upstream with this name.
    pub(super) fn kind_of(&self, upstream: &str) -> Option<&str> {
        let upstream = self.upstreams.iter().find(|candidate| name_of(candidate) == upstream)?;
        upstream["kind"].as_str()
    }

    /// The TOML of the configuration, with these settings instead of the case's if there are any.
    pub(super) fn toml(&self, settings: Option<&Members>) -> String {
        let mut toml = String::new();
        let settings = settings.unwrap_or(&self.settings);
        if !settings.contains_key("retries") {
            toml.push_str("retries = 0\n");
        }
        push_members(&mut toml, settings);
        for upstream in &self.upstreams {
            toml.push_str("[[upstream]]\n");
            let key = json!({ "api_key_env": "MODEL_KEY" });
            push_members(&mut toml, key.as_object().unwrap());
            push_members(&mut toml, upstream);
        }
        let names: Vec<_> = self.upstreams.iter().map(name_of).collect();
        let default = json!({ "alias": "default", "model": "m-1", "upstreams": names });
        let models = if self.models.is_empty() { vec![Members::new()] } else { self.models.clone() };
        for model in models {
            let mut table = default.as_object().unwrap().clone();
            table.extend(model);
            toml.push_str("[[model]]\n");
            push_members(&mut toml, &table);
        }
        toml
    }
}

fn name_of(upstream: &Members) -> &str {
    upstream["name"].as_str().unwrap()
}

/// Writes members as lines of TOML. The members of an object get dotted keys.
fn push_members(toml: &mut String, members: &Members) {
    let sorted: BTreeMap<_, _> = members.iter().collect();
    for (key, value) in sorted {
        match value {
            Value::Object(inner) => {
                let dotted = inner.iter().map(|(name, value)| (format!("{key}.{name}"), value.clone())).collect();
                push_members(toml, &dotted);
            }
            value => {
                toml.push_str(&format!("{key} = {}\n", inline(value)));
            }
        }
    }
}

/// A value in TOML. JSON's strings and numbers are also TOML's.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key} = {}", inline(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}
