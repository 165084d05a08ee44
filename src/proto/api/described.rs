//! What a door says of itself in the API's description: its words, and the schemas of the types that it reads and writes.

use schemars::{
    JsonSchema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};

/// One operation: a path under a method.
pub struct ApiDescription {
    /// The name that generated clients give it.
    pub id: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else is to be known; Markdown.
    pub description: String,
    /// What is sent.
    pub request: Value,
    /// What comes back.
    pub answer: Value,
    /// One event of a streamed answer, if it can be streamed.
    pub event: Option<Value>,
    /// An error in the door's own shape; else it is the problem document.
    pub error: Option<Value>,
}

/// The schemas under `components`, and what makes them of types.
pub struct Schemas {
    reader: SchemaGenerator,
    writer: SchemaGenerator,
    named: Map<String, Value>,
}

impl Default for Schemas {
    /// None yet.
    fn default() -> Self {
        let generator = |contract: Contract| {
            SchemaSettings::draft2020_12()
                .with(|settings| {
                    settings.definitions_path = "/components/schemas".into();
                    settings.meta_schema = None;
                    settings.contract = contract;
                })
                .into_generator()
        };
        Self { reader: generator(Contract::Deserialize), writer: generator(Contract::Serialize), named: Map::new() }
    }
}

impl Schemas {
    /// The schema of what is read as a `T`.
    pub fn read<T: JsonSchema>(&mut self) -> Value {
        self.reader.subschema_for::<T>().to_value()
    }

    /// The schema of what is written of a `T`.
    pub fn written<T: JsonSchema>(&mut self) -> Value {
        self.writer.subschema_for::<T>().to_value()
    }

    /// Gives a schema a name of its own.
    pub fn name(&mut self, name: &str, schema: Value) -> Value {
        let before = self.named.insert(name.to_owned(), schema);
        assert!(before.is_none(), "two schemas are called {name}");
        refer(name)
    }

    /// The events of a stream, one schema of either; the name of an event is empty where it has none.
    pub fn events(&mut self, name: &str, events: &[(&str, Value)]) -> Value {
        let one_of: Vec<_> = events
            .iter()
            .map(|(event, data)| match *event {
                "" => json!({ "type": "object", "properties": { "data": data }, "required": ["data"] }),
                event => json!({
                    "type": "object",
                    "properties": { "event": { "const": event }, "data": data },
                    "required": ["event", "data"],
                }),
            })
            .collect();
        let description = "One event of the stream: its name, and what the JSON text in its `data` holds.";
        self.name(name, json!({ "description": description, "oneOf": one_of }))
    }

    /// All that have a name.
    pub fn into_all(mut self) -> Map<String, Value> {
        let mut all = self.named;
        for generator in [&mut self.reader, &mut self.writer] {
            for (name, schema) in generator.take_definitions(true) {
                if let Some(before) = all.insert(name.clone(), schema.clone()) {
                    assert_eq!(before, schema, "{name} is not read as it is written: one of them needs another name");
                }
            }
        }
        all
    }
}

/// A reference to a schema by its name.
pub fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The names that a member may have, for one that may also be `null`.
pub fn nullable(names: &[&'static str]) -> Vec<Option<&'static str>> {
    names.iter().copied().map(Some).chain([None]).collect()
}
