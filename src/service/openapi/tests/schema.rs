//! The document, and a validator for the JSON Schema keywords that it uses.
//!
//! The validator knows only these keywords and panics on another one, so that none is skipped
//! silently. It also records which parts of the schemas a value has met. Together with
//! [`Document::parts`] this shows the parts that no value met.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::service::openapi::DOCUMENT;

/// docs/openapi.json.
pub(super) struct Document {
    root: Value,
    patterns: BTreeMap<String, Regex>,
}

impl Document {
    /// The document in the repository.
    pub(super) fn read() -> Self {
        let root: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut patterns = BTreeMap::new();
        collect_patterns(&root, &mut patterns);
        Self { root, patterns }
    }

    /// The value at a JSON pointer (RFC 6901).
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.root.pointer(pointer).unwrap_or_else(|| panic!("docs/openapi.json has nothing at {pointer}"))
    }

    /// The schema that a schema refers to, or the schema itself.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema["$ref"].as_str().map_or(schema, |reference| self.at(target(reference)))
    }

    /// True if a value is valid under a schema that is not part of the document.
    pub(super) fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut validation = Validation::new(self, Undocumented::Accepted);
        validation.apply(schema, "", value, &mut BTreeSet::new());
        validation.faults.is_empty()
    }

    /// The faults of a value under the schema at `pointer`.
    pub(super) fn faults(&self, pointer: &str, value: &Value) -> Vec<String> {
        let mut validation = Validation::new(self, Undocumented::Accepted);
        validation.check(pointer, value);
        validation.faults
    }

    /// Every part of the schema at `pointer`, and of the schemas it refers to, that a value can
    /// meet.
    pub(super) fn parts(&self, pointer: &str, parts: &mut BTreeSet<String>) {
        let schema = self.at(pointer);
        if let Some(reference) = schema["$ref"].as_str() {
            // A schema that was visited before has left the mark of its first visit.
            if parts.insert(target(reference).to_owned()) {
                self.parts(target(reference), parts);
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for at in 0..schema[keyword].as_array().map_or(0, Vec::len) {
                let alternative = format!("{pointer}/{keyword}/{at}");
                self.parts(&alternative, parts);
                parts.extend((keyword != "allOf").then_some(alternative));
            }
        }
        if let Some(types) = schema["type"].as_array() {
            parts.extend(types.iter().map(|kind| format!("{pointer}/type/{}", text(kind))));
        }
        for value in schema["enum"].as_array().into_iter().flatten() {
            parts.insert(format!("{pointer}/enum/{value}"));
        }
        for name in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
            let member = format!("{pointer}/properties/{name}");
            self.parts(&member, parts);
            parts.extend((!is_required(schema, name)).then(|| format!("{member} (absent)")));
            parts.insert(member);
        }
        for keyword in ["additionalProperties", "items"] {
            if schema[keyword].is_object() && schema["maxItems"] != 0 {
                self.parts(&format!("{pointer}/{keyword}"), parts);
                parts.insert(format!("{pointer}/{keyword}"));
            }
        }
    }
}

/// The verdict on members that the schema of an object does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Undocumented {
    /// As JSON Schema has it: they are valid unless `additionalProperties` says otherwise.
    Accepted,
    /// They are faults.
    Refused,
}

/// A run over values: collects their faults, and the parts of the schemas that they met.
pub(super) struct Validation<'a> {
    document: &'a Document,
    undocumented: Undocumented,
    pub(super) faults: Vec<String>,
    pub(super) met: BTreeSet<String>,
}

impl<'a> Validation<'a> {
    pub(super) fn new(document: &'a Document, undocumented: Undocumented) -> Self {
        Self { document, undocumented, faults: Vec::new(), met: BTreeSet::new() }
    }

    /// Validates a value against the schema at `pointer`.
    pub(super) fn check(&mut self, pointer: &str, value: &Value) {
        self.check_under(self.document.at(pointer), pointer, value);
    }

    /// Validates a value against a schema, whose place is `pointer`.
    fn check_under(&mut self, schema: &Value, pointer: &str, value: &Value) {
        let mut named = BTreeSet::new();
        self.apply(schema, pointer, value, &mut named);
        if self.undocumented == Undocumented::Refused
            && let Value::Object(members) = value
        {
            for name in members.keys().filter(|name| !named.contains(*name)) {
                self.fault(pointer, &format!("the member `{name}` is not documented"));
            }
        }
    }

    /// Applies every keyword of a schema. Adds the members that it names to `named`.
    fn apply(&mut self, schema: &Value, pointer: &str, value: &Value, named: &mut BTreeSet<String>) {
        let Value::Object(schema) = schema else { panic!("{pointer} is not a schema") };
        for (keyword, argument) in schema {
            match keyword.as_str() {
                "$ref" => {
                    let target = target(text(argument));
                    self.met.insert(target.to_owned());
                    self.apply(self.document.at(target), target, value, named);
                }
                "allOf" => {
                    for (at, part) in list(argument).iter().enumerate() {
                        self.apply(part, &format!("{pointer}/allOf/{at}"), value, named);
                    }
                }
                "anyOf" | "oneOf" => self.alternatives(&format!("{pointer}/{keyword}"), list(argument), value, named),
                "type" => self.kind(pointer, argument, value),
                "not" => {
                    let matches = self.document.is_valid(argument, value);
                    self.hold(!matches, pointer, "a value that another schema has");
                }
                "const" => self.hold(argument == value, pointer, "another constant"),
                "enum" => {
                    self.hold(list(argument).contains(value), pointer, "not a value of the enumeration");
                    self.met.insert(format!("{pointer}/enum/{value}"));
                }
                "description" | "examples" | "format" => {}
                _ => match value {
                    Value::Array(items) => self.array(pointer, schema, keyword, items),
                    Value::Number(number) => self.number(pointer, keyword, argument, number.as_f64().unwrap()),
                    Value::Object(members) => self.object(pointer, schema, keyword, members, named),
                    Value::String(string) => self.string(pointer, keyword, argument, string),
                    Value::Bool(_) | Value::Null => assert_known(keyword),
                },
            }
        }
    }

    fn alternatives(&mut self, pointer: &str, schemas: &[Value], value: &Value, named: &mut BTreeSet<String>) {
        let (mut matches, mut reasons) = (0, Vec::<String>::new());
        for (at, schema) in schemas.iter().enumerate() {
            let alternative = format!("{pointer}/{at}");
            let mut trial = Self::new(self.document, self.undocumented);
            let mut trial_named = BTreeSet::new();
            trial.apply(schema, &alternative, value, &mut trial_named);
            match trial.faults.into_iter().next() {
                Some(fault) => reasons.push(fault),
                None => {
                    matches += 1;
                    self.met.append(&mut trial.met);
                    self.met.insert(alternative);
                    named.append(&mut trial_named);
                }
            }
        }
        // The alternative that came furthest has the deepest fault.
        let reason = reasons.into_iter().max_by_key(|reason| reason.matches('/').count()).unwrap_or_default();
        self.hold(matches > 0, pointer, &format!("no alternative matches ({reason})"));
        self.hold(matches < 2 || pointer.ends_with("anyOf"), pointer, "more than one alternative matches");
    }

    fn kind(&mut self, pointer: &str, kinds: &Value, value: &Value) {
        let is = |kind: &Value| match text(kind) {
            "array" => value.is_array(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "object" => value.is_object(),
            "string" => value.is_string(),
            other => panic!("{pointer}: {other} is not a type"),
        };
        match kinds {
            Value::Array(kinds) => {
                let met = kinds.iter().find(|kind| is(kind));
                self.met.extend(met.map(|kind| format!("{pointer}/type/{}", text(kind))));
                self.hold(met.is_some(), pointer, "another type");
            }
            kind => self.hold(is(kind), pointer, "another type"),
        }
    }

    fn array(&mut self, pointer: &str, schema: &Map<String, Value>, keyword: &str, items: &[Value]) {
        let bound = || usize::try_from(schema[keyword].as_u64().unwrap()).unwrap();
        match keyword {
            "contains" => {
                let contains = items.iter().any(|item| self.document.is_valid(&schema[keyword], item));
                self.hold(contains, pointer, "no item matches `contains`");
            }
            // A list over its bound is a fault, whatever its items are.
            "items" if schema.get("maxItems").and_then(Value::as_u64).is_some_and(|most| items.len() as u64 > most) => {
            }
            "items" => {
                for item in items {
                    self.met.insert(format!("{pointer}/items"));
                    self.check_under(&schema[keyword], &format!("{pointer}/items"), item);
                }
            }
            "maxItems" => self.hold(items.len() <= bound(), pointer, "too many items"),
            "minItems" => self.hold(items.len() >= bound(), pointer, "too few items"),
            other => assert_known(other),
        }
    }

    fn number(&mut self, pointer: &str, keyword: &str, bound: &Value, number: f64) {
        match keyword {
            "maximum" => self.hold(number <= bound.as_f64().unwrap(), pointer, "too large"),
            "minimum" => self.hold(number >= bound.as_f64().unwrap(), pointer, "too small"),
            other => assert_known(other),
        }
    }

    fn object(
        &mut self,
        pointer: &str,
        schema: &Map<String, Value>,
        keyword: &str,
        members: &Map<String, Value>,
        named: &mut BTreeSet<String>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_other = |name: &str| properties.is_none_or(|properties| !properties.contains_key(name));
        let argument = &schema[keyword];
        match keyword {
            "additionalProperties" => {
                for (name, value) in members.iter().filter(|(name, _)| is_other(name)) {
                    named.insert(name.clone());
                    self.additional(pointer, argument, name, value);
                }
            }
            "maxProperties" => {
                self.hold(members.len() as u64 <= argument.as_u64().unwrap(), pointer, "too many members");
            }
            "properties" => self.properties(pointer, properties.unwrap(), members, named),
            "propertyNames" => {
                for name in members.keys() {
                    let name = Value::from(name.as_str());
                    self.check_under(argument, &format!("{pointer}/propertyNames"), &name);
                }
            }
            "required" => {
                for name in list(argument) {
                    self.hold(members.contains_key(text(name)), pointer, &format!("{name} is missing"));
                }
            }
            other => assert_known(other),
        }
    }

    fn properties(
        &mut self,
        pointer: &str,
        properties: &Map<String, Value>,
        members: &Map<String, Value>,
        named: &mut BTreeSet<String>,
    ) {
        for (name, schema) in properties {
            let member = format!("{pointer}/properties/{name}");
            match members.get(name) {
                None => drop(self.met.insert(format!("{member} (absent)"))),
                Some(value) => {
                    self.check_under(schema, &member, value);
                    self.met.insert(member);
                    named.insert(name.clone());
                }
            }
        }
    }

    fn additional(&mut self, pointer: &str, schema: &Value, name: &str, value: &Value) {
        match schema {
            Value::Bool(accepted) => self.hold(*accepted, pointer, &format!("`{name}` is not accepted")),
            schema => {
                let pointer = format!("{pointer}/additionalProperties");
                self.check_under(schema, &pointer, value);
                self.met.insert(pointer);
            }
        }
    }

    fn string(&mut self, pointer: &str, keyword: &str, argument: &Value, string: &str) {
        let bound = || argument.as_u64().unwrap();
        let characters = string.chars().count() as u64;
        match keyword {
            "maxLength" => self.hold(characters <= bound(), pointer, "too long"),
            "minLength" => self.hold(characters >= bound(), pointer, "too short"),
            "pattern" => {
                let matches = self.document.patterns[text(argument)].is_match(string);
                self.hold(matches, pointer, "does not match the pattern");
            }
            other => assert_known(other),
        }
    }

    fn hold(&mut self, holds: bool, pointer: &str, fault: &str) {
        if !holds {
            self.fault(pointer, fault);
        }
    }

    fn fault(&mut self, pointer: &str, fault: &str) {
        self.faults.push(format!("{pointer}: {fault}"));
    }
}

/// Panics on a keyword that [`Validation`] does not apply to any type.
fn assert_known(keyword: &str) {
    const KNOWN: [&str; 14] = [
        "additionalProperties",
        "contains",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "propertyNames",
        "required",
    ];
    assert!(KNOWN.contains(&keyword), "the validator does not know the keyword {keyword}");
}

/// True if the schema of an object requires this member.
pub(super) fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|required| required == name))
}

/// The JSON pointer of a reference within the document.
fn target(reference: &str) -> &str {
    reference.strip_prefix('#').unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn collect_patterns(value: &Value, patterns: &mut BTreeMap<String, Regex>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_patterns(value, patterns)),
        Value::Object(members) => {
            if let Some(Value::String(pattern)) = members.get("pattern") {
                patterns.insert(pattern.clone(), Regex::new(pattern).unwrap());
            }
            members.values().for_each(|value| collect_patterns(value, patterns));
        }
        _ => {}
    }
}

#[test]
fn every_keyword_is_applied() {
    let document = Document::read();
    for (schema, valid, invalid) in [
        (json!({ "$ref": "#/components/schemas/ToolName" }), json!({ "name": "x" }), json!({})),
        (json!({ "additionalProperties": false, "properties": { "a": {} } }), json!({ "a": 1 }), json!({ "b": 1 })),
        (json!({ "additionalProperties": { "type": "null" } }), json!({ "a": null }), json!({ "a": 1 })),
        (json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }), json!(2), json!(3)),
        (json!({ "anyOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(2), json!(0)),
        (json!({ "const": "a" }), json!("a"), json!("b")),
        (json!({ "contains": { "const": 1 } }), json!([0, 1]), json!([0])),
        (json!({ "enum": [1, null] }), json!(null), json!(2)),
        (json!({ "items": { "type": "boolean" } }), json!([true]), json!([true, 1])),
        (json!({ "maxItems": 1 }), json!([1]), json!([1, 2])),
        (json!({ "maxLength": 1 }), json!("é"), json!("éé")),
        (json!({ "maxProperties": 1 }), json!({ "a": 1 }), json!({ "a": 1, "b": 1 })),
        (json!({ "maximum": 1 }), json!(1), json!(1.5)),
        (json!({ "minItems": 1 }), json!([1]), json!([])),
        (json!({ "minLength": 1 }), json!("a"), json!("")),
        (json!({ "minimum": 1 }), json!(1), json!(0.5)),
        (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(1), json!(2)),
        (json!({ "not": { "const": 1 } }), json!(2), json!(1)),
        (json!({ "pattern": "^[A-Za-z0-9_-]{1,64}$" }), json!("a"), json!("a b")),
        (json!({ "properties": { "a": { "type": "null" } } }), json!({ "a": null }), json!({ "a": 1 })),
        (json!({ "propertyNames": { "maxLength": 1 } }), json!({ "a": 1 }), json!({ "ab": 1 })),
        (json!({ "required": ["a"] }), json!({ "a": null }), json!({ "b": 1 })),
        (json!({ "type": "integer" }), json!(1), json!(1.5)),
        (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
    ] {
        assert!(document.is_valid(&schema, &valid), "{schema}: {valid}");
        assert!(!document.is_valid(&schema, &invalid), "{schema}: {invalid}");
    }
}
