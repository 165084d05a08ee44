//! What is done to the schemas that are made of types, so that they say to people and programs what the types say to us.

use serde_json::{Map, Value, json};

/// The schemas under their names, in order; `problem` is what a problem looks like.
pub(super) fn finished(mut named: Map<String, Value>, problem: &Value) -> Map<String, Value> {
    for schema in named.values_mut() {
        finish(schema);
    }
    named["Problem"]["examples"] = json!([problem]);
    named.sort_keys();
    named
}

/// Finishes a schema and all within it.
fn finish(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(finish),
        Value::Object(members) => {
            names(members);
            numbers(members);
            // Makers of types take a member with a default for one that is always there, in requests as well.
            members.retain(|name, value| name != "default" || value.is_object());
            if let Some(Value::String(description)) = members.get_mut("description") {
                *description = one_line(description);
            }
            members.values_mut().for_each(finish);
        }
        _ => {}
    }
}

/// A choice between texts is an `enum`; what is said of each goes into the description.
fn names(members: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = members.get("oneOf") else { return };
    let names: Vec<_> = choices.iter().filter_map(|choice| choice["const"].as_str().map(str::to_owned)).collect();
    if names.len() != choices.len() {
        return;
    }
    let said = |choice: &Value| {
        Some(format!("- `{}`: {}", choice["const"].as_str()?, one_line(choice["description"].as_str()?)))
    };
    let said: Vec<_> = choices.iter().filter_map(said).collect();
    let description = members.get("description").and_then(Value::as_str).map(one_line);
    let paragraphs: Vec<_> =
        description.into_iter().chain(Some(said.join("\n")).filter(|list| !list.is_empty())).collect();
    members.remove("oneOf");
    members.insert("type".to_owned(), json!("string"));
    members.insert("enum".to_owned(), json!(names));
    members.insert("description".to_owned(), json!(paragraphs.join("\n\n")));
}

/// The widths of our integers are bounds.
fn numbers(members: &mut Map<String, Value>) {
    let Some(format) = members.get("format").and_then(Value::as_str) else { return };
    let most = match format {
        "uint8" => Some(json!(u8::MAX)),
        "uint16" => Some(json!(u16::MAX)),
        "uint32" => Some(json!(u32::MAX)),
        "uint" | "uint64" => None,
        _ => return,
    };
    members.remove("format");
    if let Some(most) = most {
        members.entry("maximum").or_insert(most);
    }
}

/// Lines that were broken for us alone.
fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        if paragraph.contains("\n- ") || paragraph.starts_with("- ") {
            paragraph.to_owned()
        } else {
            paragraph.replace('\n', " ")
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
