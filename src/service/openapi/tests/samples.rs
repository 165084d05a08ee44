//! Requests made from a schema: valid ones for each of its alternatives, and others just past each
//! of its bounds.
//!
//! A request differs from a valid one in one place. The validator decides which of them are valid.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schema::{Document, is_required};

/// The name of a member that no schema documents. Its value is the list of the names that are
/// documented in its place.
pub(super) const UNDOCUMENTED_MEMBER: &str = "undocumented_member";

/// A value in the place of an enumeration, for any value that the enumeration does not have.
pub(super) const UNDOCUMENTED_VALUE: &str = "undocumented value";

/// The requests for the schema at `pointer`, each a variation of the valid request `base`.
pub(super) fn requests(document: &Document, pointer: &str, base: &Value) -> Vec<Value> {
    let mut samples = Samples { document, bounded: BTreeSet::new() };
    samples.variations(document.at(pointer), Some(base), BTreeSet::new())
}

struct Samples<'a> {
    document: &'a Document,
    /// The lists whose upper bound has been tried: such requests are large.
    bounded: BTreeSet<String>,
}

impl Samples<'_> {
    /// A valid value.
    fn valid(&self, schema: &Value) -> Value {
        let schema = self.merged(schema);
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(values) = schema.get("enum") {
            return values[0].clone();
        }
        if let Some(alternatives) = alternatives(&schema) {
            return self.valid(&alternatives[0]);
        }
        match kinds(&schema).first().map(String::as_str) {
            Some("array") => json!(vec![self.valid(&schema["items"]); count(&schema, "minItems").unwrap_or(0)]),
            Some("boolean") => json!(true),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
            Some("object") => {
                let required = members(&schema).filter(|(name, _)| is_required(&Value::Object(schema.clone()), name));
                required.map(|(name, member)| (name.clone(), self.valid(member))).collect::<Map<_, _>>().into()
            }
            Some("string") => self.valid_string(&schema),
            _ => Value::Null,
        }
    }

    /// The first text that fits; the last ones fit the patterns of the document.
    fn valid_string(&self, schema: &Map<String, Value>) -> Value {
        let schema = Value::Object(schema.clone());
        let texts = TEXTS.iter().map(|text| json!(text));
        texts.into_iter().find(|text| self.document.is_valid(&schema, text)).unwrap_or_else(|| {
            panic!("no text of `TEXTS` is valid for {schema}");
        })
    }

    /// Values around the bounds of a schema. Objects vary `base`, if there is one; lists end with
    /// the items of `base`. `documented` are the members of the other schemas for the same place:
    /// one parser may read them all.
    fn variations(&mut self, schema: &Value, base: Option<&Value>, mut documented: BTreeSet<String>) -> Vec<Value> {
        let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
        for other in READ_BY_ONE_PARSER.iter().filter(|group| group.contains(&name)).copied().flatten() {
            documented.extend(self.member_names(self.document.at(&format!("/components/schemas/{other}"))));
        }
        documented.extend(self.member_names(schema));
        let schema = self.merged(schema);
        let mut values = odd_values();
        values.extend(schema.get("const").cloned());
        values.extend(schema.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
        if schema.contains_key("const") || schema.contains_key("enum") {
            values.push(json!(UNDOCUMENTED_VALUE));
        }
        for alternative in alternatives(&schema).unwrap_or_default() {
            let base = base.filter(|base| self.document.is_valid(&alternative, base));
            values.extend(self.variations(&alternative, base, documented.clone()));
        }
        for kind in kinds(&schema) {
            match kind.as_str() {
                "array" => values.extend(self.lists(&schema, base.and_then(Value::as_array))),
                "integer" | "number" => values.extend(numbers(&schema)),
                "object" => values.extend(self.objects(&schema, base, &documented)),
                "string" => values.extend(strings(&schema)),
                _ => {}
            }
        }
        values
    }

    fn objects(
        &mut self,
        schema: &Map<String, Value>,
        base: Option<&Value>,
        documented: &BTreeSet<String>,
    ) -> Vec<Value> {
        let base = base.cloned().unwrap_or_else(|| self.valid(&Value::Object(schema.clone())));
        let with = |name: &str, value: Value| {
            let mut object = base.clone();
            object[name] = value;
            object
        };
        let mut objects = vec![base.clone(), with(UNDOCUMENTED_MEMBER, json!(documented))];
        let mut all = base.clone();
        for (name, member) in members(schema) {
            for value in self.variations(member, base.get(name), BTreeSet::new()) {
                objects.push(with(name, value));
            }
            let mut without = base.clone();
            without.as_object_mut().unwrap().remove(name);
            objects.push(without);
            if base.get(name).is_none() {
                all[name] = self.valid(member);
            }
        }
        objects.push(all);
        objects.extend(self.maps(schema, &base));
        objects
    }

    /// Objects whose members have any names.
    fn maps(&mut self, schema: &Map<String, Value>, base: &Value) -> Vec<Value> {
        let Some(member) = schema.get("additionalProperties").filter(|member| member.is_object()) else {
            return Vec::new();
        };
        let with = |members: Vec<(String, Value)>| {
            let mut object = base.clone();
            object.as_object_mut().unwrap().extend(members);
            object
        };
        let names = schema.get("propertyNames").and_then(Value::as_object);
        let longest = names.and_then(|names| count(names, "maxLength"));
        let names = longest.into_iter().flat_map(|longest| ["a".repeat(longest), "a".repeat(longest + 1)]);
        let valid = self.valid(member);
        let mut objects: Vec<_> = names.map(|name| with(vec![(name, valid.clone())])).collect();
        let most = count(schema, "maxProperties").into_iter().flat_map(|most| [most, most + 1]);
        objects.extend(most.map(|most| with((0..most).map(|at| (format!("a{at}"), valid.clone())).collect())));
        objects.extend(
            self.variations(member, None, BTreeSet::new()).into_iter().map(|value| with(vec![("a".to_owned(), value)])),
        );
        objects
    }

    fn lists(&mut self, schema: &Map<String, Value>, base: Option<&Vec<Value>>) -> Vec<Value> {
        let items = &schema["items"];
        let tail = || base.into_iter().flatten().cloned();
        let list = |first: Value| Value::Array([first].into_iter().chain(tail()).collect());
        let mut lists = vec![json!([])];
        let first = base.and_then(|items| items.first());
        lists.extend(self.variations(items, first, BTreeSet::new()).into_iter().map(list));
        let valid = base.and_then(|items| items.first().cloned()).unwrap_or_else(|| self.valid(items));
        if let Some(most) = count(schema, "maxItems").filter(|_| self.bounded.insert(json!(schema).to_string())) {
            // Validating a list of thousands of items takes long; one over the bound is rejected
            // without that.
            lists.extend((most < 2_000).then(|| json!(vec![valid.clone(); most])));
            lists.push(json!(vec![valid; most + 1]));
        }
        lists
    }

    /// The names of the members of an object, in all alternatives of its schema.
    fn member_names(&self, schema: &Value) -> BTreeSet<String> {
        let schema = self.merged(schema);
        let nested = alternatives(&schema).unwrap_or_default();
        let nested = nested.iter().flat_map(|alternative| self.member_names(alternative));
        members(&schema).map(|(name, _)| name.clone()).chain(nested).collect()
    }

    /// The schema with everything that it refers to or is put together from.
    fn merged(&self, schema: &Value) -> Map<String, Value> {
        let mut merged = Map::new();
        for part in schema["allOf"].as_array().into_iter().flatten().chain(schema.get("$ref").map(|_| schema)) {
            let part = if part.get("$ref").is_some() { self.document.resolve(part) } else { part };
            merge(&mut merged, self.merged(part));
        }
        let mut own = schema.as_object().cloned().unwrap_or_default();
        own.retain(|keyword, _| keyword != "allOf" && keyword != "$ref");
        merge(&mut merged, own);
        merged
    }
}

/// Schemas of objects that one type of a parser reads, in several places.
const READ_BY_ONE_PARSER: [&[&str]; 3] = [
    &["ChatPart", "ChatTextPart"],
    &[
        "MessageAssistantBlock",
        "MessageDocument",
        "MessageDocumentBlock",
        "MessageResultBlock",
        "MessageSearchResult",
        "MessageTextBlock",
        "MessageUserBlock",
    ],
    &["ResponseInputPart", "ResponseOtherPart", "ResponseTextPart"],
];

/// Adds the keywords of another schema. A member that both have must satisfy both.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (keyword, argument) in from {
        match (keyword.as_str(), into.get_mut(&keyword)) {
            ("properties", Some(Value::Object(properties))) => {
                for (name, member) in argument.as_object().unwrap() {
                    let both = properties.get(name).map(|other| json!({ "allOf": [other, member] }));
                    properties.insert(name.clone(), both.unwrap_or_else(|| member.clone()));
                }
            }
            ("required", Some(Value::Array(required))) => required.extend(argument.as_array().unwrap().iter().cloned()),
            _ => drop(into.insert(keyword, argument)),
        }
    }
}

fn alternatives(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array).cloned()
}

fn kinds(schema: &Map<String, Value>) -> Vec<String> {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect(),
        Some(Value::String(kind)) => vec![kind.clone()],
        _ => Vec::new(),
    }
}

fn members(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn count(schema: &Map<String, Value>, keyword: &str) -> Option<usize> {
    schema.get(keyword).map(|bound| usize::try_from(bound.as_u64().unwrap()).unwrap())
}

/// Numbers at the bounds, and next to them.
fn numbers(schema: &Map<String, Value>) -> Vec<Value> {
    let bounds = ["minimum", "maximum"].into_iter().filter_map(|bound| schema.get(bound));
    bounds
        .flat_map(|bound| match bound.as_i64() {
            Some(bound) => [json!(bound - 1), json!(bound), json!(bound + 1)],
            None => [json!(bound.as_f64().unwrap() - 0.5), bound.clone(), json!(bound.as_f64().unwrap() + 0.5)],
        })
        .collect()
}

/// Texts of any kind, and texts at the bounds of the length.
fn strings(schema: &Map<String, Value>) -> Vec<Value> {
    let bounds = ["minLength", "maxLength"].into_iter().filter_map(|bound| count(schema, bound));
    let lengths = bounds.flat_map(|bound| [bound.saturating_sub(1), bound, bound + 1]).chain(PATTERN_LENGTHS);
    let long = lengths.map(|length| "a".repeat(length)).chain(PATTERN_LENGTHS.map(image_type));
    TEXTS.iter().map(|text| json!(text)).chain(long.map(|text| json!(text))).collect()
}

/// A media type of an image, with a name of this length.
fn image_type(length: usize) -> String {
    format!("image/{}", "a".repeat(length))
}

/// The greatest lengths in the patterns of the document, each with the next one.
const PATTERN_LENGTHS: [usize; 4] = [64, 65, 128, 129];

/// Texts that fit the patterns of the document, and some that fit none.
const TEXTS: [&str; 13] = [
    "x",
    "image/png",
    "https://e.test/a.png",
    "data:,",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "01890A5D-AC96-774B-BCCE-B302099A8057",
    "",
    "a b",
    "image/",
    "a\u{1}",
    "computer_call",
    "computer_call_output",
    "web_search_tool_result",
];

/// Values of every type, for any place.
fn odd_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(5_000_000_000_u64),
        json!("auto"),
        json!("user"),
        json!([]),
        json!([null]),
        json!(["x"]),
        json!([{ "text": "x" }]),
        json!({}),
        json!({ "x": 1 }),
        json!({ "text": "x" }),
        json!({ "type": "text" }),
    ]
}
