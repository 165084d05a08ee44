//! Every answer, event and error that the server writes is valid under the document, without
//! undocumented members. Each part of the response schemas occurs in one of them.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    examples,
    schema::{Document, Undocumented, Validation},
};
use crate::{
    problem::{self, Problem},
    proto::{
        allowance::Allowance,
        api::{
            APIS, Api, Operation, ReplyWriter,
            native::{self, Native, RevocationScope},
        },
        chat::{Item, Output, Part, Role},
        deployment::ApiSettings,
        error::Error,
        sse,
        time::UnixSeconds,
        turn::{Answer, Delta, FinishReason, Partial, Usage},
    },
    service::{
        models::{ModelBody, ModelsBody},
        probes::StatusBody,
        usage::{LimitBody, UsageBody},
    },
};

#[test]
fn every_answer_is_documented_and_the_document_has_no_others() {
    let document = Document::read();
    let mut answers = Answers::new(&document);
    let custom = json!({ "type": "custom", "custom": { "name": "add" } });
    let usage = json!({ "stream_options": { "include_usage": true } });
    answers.api("/v1/chat/completions", &[json!({}), usage, json!({ "tools": [custom] })]);
    answers.api("/v1/messages", &[json!({})]);
    answers.api("/v1/messages/count_tokens", &[]);
    answers.api("/v1/responses", &responses_requests());
    answers.api("/v1/responses/input_tokens", &[]);
    answers.api("/v1/turns", &[json!({})]);
    answers.history_and_revocations();
    answers.pages();
    answers.assert_complete();
}

/// Parts of the response schemas that no answer of this server has. They are there because the
/// formats have them.
const UNUSED: [&str; 4] = [
    // No error has the status 403.
    "/components/schemas/AnthropicError/properties/type/enum/\"permission_error\"",
    // A server has at least one model.
    "/components/schemas/ModelList/properties/first_id/type/null",
    "/components/schemas/ModelList/properties/last_id/type/null",
    // No error has the status 403.
    "/components/schemas/OpenAiError/properties/type/enum/\"permission_error\"",
];

/// A run over answers: validates them, and records the parts of the schemas that they met.
struct Answers<'a> {
    document: &'a Document,
    validation: Validation<'a>,
    /// The schemas of the answers so far, by their JSON pointers.
    schemas: BTreeSet<String>,
}

impl<'a> Answers<'a> {
    fn new(document: &'a Document) -> Self {
        let validation = Validation::new(document, Undocumented::Refused);
        Self { document, validation, schemas: BTreeSet::new() }
    }

    /// Writes all kinds of replies to these requests in the format at `path`, and all errors.
    fn api(&mut self, path: &str, requests: &[Value]) {
        let api = *APIS.iter().find(|api| api.path() == path).unwrap();
        if api.operation() == Operation::CountTokens {
            self.body(path, &api.token_count_body(3));
        }
        for members in requests {
            for answer in replies() {
                self.body(path, &writer(api, members).body(&answer));
                self.stream(path, &complete_stream(&mut *writer(api, members), &answer));
                let mut open = writer(api, members);
                open.show_service_state();
                self.body(path, &open.body(&answer));
                self.stream(path, &complete_stream(&mut *open, &answer));
            }
            let partial = Partial { reply: "So f".to_owned(), token: "a.b.c".to_owned() };
            for (error, partial) in
                errors().into_iter().flat_map(|error| [(error.clone(), None), (error, Some(&partial))])
            {
                self.stream(path, &failed_stream(&mut *writer(api, members), error, partial));
            }
        }
        for error in errors() {
            let problem = Problem::new(error, "req_1").shaped(|error| api.error_response(error));
            self.check(path, "400", "json", &serde_json::from_slice(&problem.into_body()).unwrap());
        }
    }

    fn history_and_revocations(&mut self) {
        for answer in replies() {
            self.body("/v1/history", &native::history_answer(&all_items(), &answer.conversation));
        }
        for scope in [RevocationScope::Conversation, RevocationScope::Token, RevocationScope::User] {
            for live in [None, Some(2)] {
                self.body("/v1/revocations", &native::revocation_answer(scope, "ada", live));
            }
        }
    }

    fn pages(&mut self) {
        for (path, status) in [("/health", "ok"), ("/healthz", "ok"), ("/ready", "ready"), ("/readyz", "ready")] {
            self.page(path, &StatusBody { status });
        }
        let model = || ModelBody::new("default", "holdall");
        self.page("/v1/models/{model}", &model());
        let id = Some("default");
        let data = vec![model()];
        self.page("/v1/models", &ModelsBody { object: "list", data, has_more: false, first_id: id, last_id: id });
        let allowance = Allowance { name: "turns", limit: 5, remaining: 1, period_seconds: 60, reset_seconds: 30 };
        for user_id in [None, Some("ada")] {
            let limits = vec![LimitBody::new(&allowance, UnixSeconds(0))];
            self.page("/v1/usage", &UsageBody { user_id, limits, turns_at_once: 8 });
        }
    }

    fn page(&mut self, path: &str, body: &impl Serialize) {
        self.body(path, &serde_json::to_vec(body).unwrap());
    }

    /// Validates the body of a success.
    fn body(&mut self, path: &str, body: &[u8]) {
        self.check(path, "200", "json", &serde_json::from_slice(body).unwrap());
    }

    /// Validates every event of a stream.
    fn stream(&mut self, path: &str, mut stream: &[u8]) {
        let mut decoder = sse::Decoder::new(1 << 20);
        while let Some(event) = decoder.next_event(&mut stream).unwrap() {
            // `[DONE]` is not JSON.
            let data = serde_json::from_str(&event.data).unwrap_or_else(|_| json!(event.data));
            let mut value = json!({ "data": data });
            if !event.name.is_empty() {
                value["event"] = json!(event.name);
            }
            self.check(path, "200", "event-stream", &value);
        }
    }

    /// Validates a value as a response with this status, and with a media type that ends so.
    fn check(&mut self, path: &str, status: &str, media: &str, value: &Value) {
        let operation = format!("/paths/{}", path.replace('/', "~1"));
        let method = self.document.at(&operation).as_object().unwrap().keys().next().unwrap();
        let content = format!("{operation}/{method}/responses/{status}/content");
        let medias = self.document.at(&content).as_object().unwrap();
        let media = medias.keys().find(|name| name.ends_with(media)).unwrap().replace('/', "~1");
        let schema = format!("{content}/{media}/schema");
        self.validation.check(&schema, value);
        let fault = self.validation.faults.first();
        assert!(fault.is_none(), "{value}\n    {}", fault.unwrap());
        self.schemas.insert(schema);
    }

    /// Each API has answered, and each part of the schemas has occurred, except [`UNUSED`].
    fn assert_complete(&self) {
        for path in APIS.iter().map(|api| api.path()) {
            let operation = format!("/paths/{}/", path.replace('/', "~1"));
            let has_answered = self.schemas.iter().any(|schema| schema.starts_with(&operation));
            assert!(has_answered, "add `answers.api(\"{path}\", …)` to the test above");
        }
        let mut parts = BTreeSet::new();
        for schema in &self.schemas {
            self.document.parts(schema, &mut parts);
        }
        let missing: Vec<_> = parts.difference(&self.validation.met).collect();
        assert_eq!(missing, UNUSED, "parts of the document that no answer has");
    }
}

/// The writer of the reply to a request with these members.
fn writer(api: &dyn Api, members: &Value) -> Box<dyn ReplyWriter> {
    let mut request = examples::request(api.path(), "hi", None);
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    api.parse_request(&request.to_string(), &ApiSettings::default()).unwrap().writer
}

fn complete_stream(writer: &mut dyn ReplyWriter, answer: &Answer) -> Vec<u8> {
    let mut stream = Vec::new();
    writer.start(&answer.conversation.claims, &mut stream);
    writer.deltas(&deltas(answer), &mut stream);
    writer.finish(answer, &mut stream);
    stream
}

fn failed_stream(writer: &mut dyn ReplyWriter, error: Error, partial: Option<&Partial>) -> Vec<u8> {
    let (answer, mut stream) = (answer(), Vec::new());
    writer.start(&answer.conversation.claims, &mut stream);
    writer.deltas(&[Delta::Text("So f".to_owned())], &mut stream);
    Problem::new(error, "req_1").with_public_error(|error| writer.fail(error, partial, &mut stream));
    stream
}

/// The deltas that an answer is made of.
fn deltas(answer: &Answer) -> Vec<Delta> {
    let delta = |item: &Item| match item.clone() {
        Item::Call { id, name, args } => Some(Delta::Call { id, name, args }),
        Item::Message { parts, .. } => parts.into_iter().find_map(|part| match part {
            Part::Text(text) => (!text.is_empty()).then_some(Delta::Text(text)),
            Part::Image(_) => None,
        }),
        Item::Result { .. } => None,
        Item::Think { provider_id, blob } => Some(Delta::Think { provider_id, blob }),
    };
    answer.output.iter().filter_map(delta).chain([Delta::Finish(answer.finish), Delta::Usage(answer.usage)]).collect()
}

fn answer() -> Answer {
    examples::take_turn(&Native, &json!({ "input": "hi" }), 1).1
}

/// Answers of every kind.
fn replies() -> Vec<Answer> {
    let say = |text: &str| Item::text(Role::Assistant, text);
    let think = |id: &str, blob: Value| Item::Think { provider_id: id.to_owned(), blob: blob.to_string() };
    let called = |name: &str| Item::Call { id: "c".to_owned(), name: name.to_owned(), args: "{\"a\":1}".to_owned() };
    let call = called("add");
    let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": "c2ln" });
    let redacted = json!({ "type": "redacted_thinking", "data": "AAAA" });
    let reasoning = json!({
        "type": "reasoning", "summary": [{ "text": "Hm." }], "content": [{ "text": "well" }], "encrypted_content": "AAAA",
    });
    let outputs = [
        (FinishReason::Stop, vec![say("Hi.")]),
        (FinishReason::ToolCalls, vec![say("I add."), call.clone()]),
        (FinishReason::ToolCalls, vec![call]),
        (FinishReason::ToolCalls, vec![called("math__add"), called("math__run")]),
        (FinishReason::Stop, vec![say("Hi."), think("openai", json!({ "for": "message", "members": {} }))]),
        (FinishReason::Stop, vec![think("anthropic", thinking), think("anthropic", redacted), say("Hi.")]),
        (FinishReason::Length, vec![think("openai-responses", reasoning), say("Hi")]),
        (FinishReason::ContentFilter, vec![think("openai-responses", json!({ "type": "reasoning" })), say("")]),
    ];
    let answer = answer();
    let usage = Usage {
        input_tokens: 9,
        output_tokens: 8,
        cached_tokens: 1,
        cache_written_tokens: 2,
        reasoning_tokens: 3,
        estimated: true,
    };
    let mut answers: Vec<_> = outputs
        .into_iter()
        .map(|(finish, output)| Answer { reply: text_of(&output), finish, output, ..answer.clone() })
        .collect();
    answers[0].usage = usage;
    answers[0].conversation.summarized_items = 1;
    answers[0].conversation.elided_images = 1;
    answers[0].stop_sequence = Some("END".to_owned());
    answers[0].conversation.claims.asserted = true;
    answers
}

fn text_of(output: &[Item]) -> String {
    let parts = output.iter().flat_map(|item| match item {
        Item::Message { parts, .. } => parts.as_slice(),
        _ => &[],
    });
    parts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

/// Items of every kind, as a history has them.
fn all_items() -> Vec<Item> {
    let parts = || vec![Part::Text("a".to_owned()), Part::Image("https://e.test/a.png".to_owned())];
    let result = |out, error| Item::Result { id: "c".to_owned(), out, error };
    vec![
        Item::Message { role: Role::User, parts: parts(), cut: false },
        Item::Message { role: Role::Assistant, parts: parts(), cut: true },
        Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: "{}".to_owned() },
        result(Output::Text("3".to_owned()), false),
        result(Output::Parts(parts()), true),
        Item::Think { provider_id: "anthropic".to_owned(), blob: "{}".to_owned() },
    ]
}

/// Every error that the server returns.
fn errors() -> Vec<Error> {
    let overflow =
        Error::UpstreamRefused { names: String::new(), status: 400, message: None, retry_after: None, overflow: true };
    problem::tests::all().into_iter().map(|(error, ..)| error).chain([overflow]).collect()
}

/// Requests to the Responses API that make it repeat each of their members in all its forms.
fn responses_requests() -> Vec<Value> {
    let tool = json!({
        "type": "function", "name": "add", "description": "adds", "parameters": { "type": "object" }, "strict": true,
    });
    let function = json!({ "type": "function", "name": "add" });
    let custom = json!({ "type": "custom", "name": "run" });
    let text = |format: Value| json!({ "text": { "format": format } });
    let schema =
        |description: Value| json!({ "type": "json_schema", "name": "n", "schema": {}, "description": description });
    vec![
        json!({}),
        json!({ "store": false }),
        json!({ "metadata": { "holdall_stream": "live" } }),
        json!({
            "include": ["reasoning.encrypted_content"], "instructions": "Be brief.", "max_output_tokens": 9,
            "max_tool_calls": 1, "metadata": { "a": "b" }, "prompt_cache_key": "k", "safety_identifier": "s",
            "reasoning": { "effort": "low", "summary": "auto" }, "text": { "verbosity": "low" }, "tools": [tool, function],
            "tool_choice": function, "truncation": "auto", "user": "u",
        }),
        json!({ "tools": [tool], "tool_choice": { "type": "allowed_tools", "tools": [function] } }),
        json!({
            "tools": [{ "type": "custom", "name": "add" }, { "type": "namespace", "name": "math", "tools": [tool, custom] }],
            "tool_choice": { "type": "custom", "name": "run", "namespace": "math" },
        }),
        text(json!({ "type": "json_object" })),
        text(schema(json!("d"))),
        text(schema(Value::Null)),
    ]
}
