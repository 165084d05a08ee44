//! What clients see of the words of a model service that quotes the operator's key and prompt, and
//! what a client can learn by guesses.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{
    MODEL_KEY,
    client::Client,
    config,
    model::{Model, Step},
    server::Running,
    upstream,
};

/// Base64 of it needs no padding.
const PROMPT: &str = "You are Ada, the gardener of ACME. Never name the moon, Bob.";

/// A way in which the service quotes a text.
type Quote = fn(&str) -> String;

const QUOTES: [Quote; 6] = [
    str::to_owned,
    str::to_uppercase,
    |text| text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
    |text| text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
    |text| BASE64_STANDARD.encode(text),
    |text| BASE64_STANDARD.encode(text.to_lowercase()).replace('=', "%3D"),
];

/// Requests that have the guess in a message, in the name of a tool and in a schema.
fn guesses(guess: &str) -> [Value; 3] {
    let with_tool = |name: &str, values: &[&str]| {
        let schema = json!({ "type": "object", "properties": { "at": { "enum": values } } });
        let function = json!({ "name": name, "parameters": schema });
        let messages = json!([{ "role": "user", "content": "hi" }]);
        json!({ "model": "default", "messages": messages, "tools": [{ "type": "function", "function": function }] })
    };
    let message = json!({ "model": "default", "messages": [{ "role": "user", "content": guess }] });
    [message, with_tool(guess, &["here"]), with_tool("look", &[guess])]
}

/// The answers to all guesses, for each way of quoting. `words` are what the service says of a
/// guess, given a way of quoting.
async fn answers(settings: &str, guess: &'static str, words: fn(&str, Quote) -> String) -> Vec<String> {
    let model = Model::start(move |number| {
        let words = words(guess, QUOTES[number / 6]);
        let body = json!({ "error": { "message": words, "type": "invalid_request_error" } }).to_string();
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n";
        vec![Step::send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))]
    });
    let model = model.await;
    let settings = format!("{}system_prompt = \"{PROMPT}\"\n{settings}", upstream("openai", &model.url()));
    let server = Running::start(config(&settings)).await;
    let mut client = Client::connect(server.address).await;
    let mut answers = Vec::new();
    for quote in QUOTES {
        for stream in [false, true] {
            for mut request in guesses(guess) {
                request["stream"] = stream.into();
                let answer = client.post("/v1/chat/completions", &request).await;
                let answer: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(answer["error"]["code"], "upstream_refused", "{answer}");
                let message = answer["error"]["message"].as_str().unwrap().to_owned();
                answers.push(message.replace(&quote(guess), "GUESS"));
            }
        }
    }
    answers
}

#[tokio::test]
async fn a_right_guess_gets_the_same_answer_as_a_wrong_one() {
    let words =
        |guess: &str, quote: Quote| format!("No '{}'. Sent: '{}', '{}'", quote(guess), quote(MODEL_KEY), quote(PROMPT));
    let expected = "The model service refused the request with status 400. \
                    Its message: No 'GUESS'. Sent: '[redacted]', '[redacted]'";
    for guess in ["sk-operator-4", "sk-operator-5", "4f9a1c7e2b8d4f9a1c7e2b8d", "4f9a1c7e2b8d4f9a1c7e2b8e"] {
        for answer in answers("", guess, words).await {
            assert_eq!(answer, expected, "{guess}");
        }
    }
}

#[tokio::test]
async fn no_words_are_shown_if_the_alias_hides_them() {
    for answer in answers("upstream_words = \"hide\"\n", "hello", |guess, quote| quote(guess)).await {
        assert_eq!(answer, "The model service refused the request with status 400.");
    }
}
