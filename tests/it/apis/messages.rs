//! Messages: the token in and out, echoes, roles, results of tools, and errors before and in the middle of a stream.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    client::Client,
    config, config_with,
    events::events,
    fake::{Call, completion},
    hand::{Hand, PendingCall},
    server::Running,
    upstream,
};

const PATH: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

/// A body with the required members, this user's words, and these members beside.
fn says(input: &str, members: &Value) -> Value {
    asks(&json!([{ "role": "user", "content": input }]), members)
}

fn asks(messages: &Value, members: &Value) -> Value {
    let mut body = json!({ "model": "default", "max_tokens": 1_000, "messages": messages });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn ask(hand: &Hand, body: &Value) -> PendingCall {
    hand.post(PATH, body.to_string())
}

/// A turn whole: the model says `reply`, and the answer is no error. Also what the model was sent.
#[track_caller]
fn turn(hand: &Hand, body: &Value, reply: &str) -> (Value, Value) {
    let mut asked = ask(hand, body);
    asked.wait();
    let mut call = hand.upstream.call();
    let sent = call.json();
    call.reply(reply);
    (asked.answer().json(), sent)
}

/// The `error` of an answer in the API's shape, after a look at all that goes with it.
#[track_caller]
fn error(answer: &Answer, status: u16, class: &str, code: &str) -> Value {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "application/json"), "{body}");
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"], answer.header("request-id"));
    let error = body["error"].take();
    assert_eq!((&error["type"], &error["code"]), (&json!(class), &json!(code)), "{error}");
    assert!(["true", "false"].contains(&answer.header("x-should-retry")));
    error
}

/// The message that an SDK puts together from a stream, with what the events at its end tell.
fn accumulated(stream: &str) -> Value {
    let mut message = Value::Null;
    for (name, event) in events(stream) {
        assert_eq!(event["type"], name);
        match name.as_str() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => message["content"].as_array_mut().unwrap().push(event["content_block"].clone()),
            "content_block_delta" => {
                let block = &mut message["content"][usize::try_from(event["index"].as_u64().unwrap()).unwrap()];
                if let Some(json) = event["delta"]["partial_json"].as_str() {
                    block["input"] = serde_json::from_str(json).unwrap();
                } else {
                    let text = [&block["text"], &event["delta"]["text"]].map(|text| text.as_str().unwrap());
                    block["text"] = text.concat().into();
                }
            }
            "content_block_stop" => {}
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"].as_object_mut().unwrap().extend(event["usage"].as_object().unwrap().clone());
                message["conversation_token"] = event["conversation_token"].clone();
                message["holdall"] = event["holdall"].clone();
            }
            "message_stop" => assert_eq!(event["conversation_token"], message["conversation_token"]),
            other => panic!("{other}: {event}"),
        }
    }
    message
}

/// A message from this server, streamed or whole.
async fn message(server: &Running, body: &Value, stream: bool) -> Value {
    let mut body = body.clone();
    body["stream"] = json!(stream);
    let answer = Client::connect(server.address).await.post(PATH, &body).await;
    if !stream {
        return answer.json();
    }
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/event-stream"));
    accumulated(&answer.text())
}

#[tokio::test]
async fn a_conversation_goes_on_at_any_instance() {
    let servers = [Running::start(config("")).await, Running::start(config("")).await];
    let mut token = Value::Null;
    for (at, (input, reply)) in [
        ("My name is Ada.", "Noted: your name is Ada."),
        ("What is my name?", "Your name is Ada."),
        ("What is my name?", "Your name is Ada."),
        ("How many turns have we had?", "We have had 3 turns before this one."),
        ("What is my name?", "Your name is Ada."),
    ]
    .into_iter()
    .enumerate()
    {
        let members = json!({ "conversation_token": token, "metadata": { "user_id": "ada" } });
        let answer = message(&servers[at % 2], &says(input, &members), at % 3 > 0).await;
        if input.starts_with("What") || at == 0 {
            assert_eq!(answer["content"], json!([{ "type": "text", "text": reply, "citations": null }]));
        }
        assert_eq!((&answer["stop_reason"], &answer["model"]), (&json!("end_turn"), &json!("default")));
        assert_eq!((&answer["role"], &answer["type"]), (&json!("assistant"), &json!("message")));
        assert_eq!(answer["holdall"]["turn"], at + 1);
        assert!(
            answer["usage"]["input_tokens"].as_u64() > Some(0) && answer["usage"]["output_tokens"].as_u64() > Some(0)
        );
        token = answer["conversation_token"].clone();
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_taken_at_another_instance() {
    let servers = [Running::start(config("")).await, Running::start(config("")).await];
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let tools = json!([{ "name": "get_weather", "description": "Weather in a city", "input_schema": schema }]);
    for stream in [false, true] {
        let members = json!({ "tools": tools, "tool_choice": { "type": "any" } });
        let answer = message(&servers[0], &says("What is the weather in Paris?", &members), stream).await;
        assert_eq!(answer["stop_reason"], "tool_use");
        let block = answer["content"].as_array().unwrap().last().unwrap();
        assert_eq!((&block["type"], &block["name"]), (&json!("tool_use"), &json!("get_weather")));
        assert!(block["input"].is_object());
        let result = json!([{ "type": "tool_result", "tool_use_id": block["id"], "content": "sunny" }]);
        // As SDKs do, with all that was said before, or with what is new alone.
        let echoed = json!([
            { "role": "user", "content": "What is the weather in Paris?" },
            { "role": "assistant", "content": answer["content"] },
            { "role": "user", "content": result },
        ]);
        for messages in [json!([{ "role": "user", "content": result }]), echoed] {
            let members = json!({ "tools": tools, "conversation_token": answer["conversation_token"] });
            let answer = message(&servers[1], &asks(&messages, &members), stream).await;
            assert_eq!(answer["content"][0]["text"], "get_weather gave: sunny");
            assert_eq!(answer["stop_reason"], "end_turn");
        }
    }
}

#[test]
fn what_is_repeated_beside_the_token_is_left_out() {
    let hand = Hand::new("");
    let user = |text: &str| json!({ "role": "user", "content": text });
    let (first, _) = turn(&hand, &says("one", &json!({})), "two");
    let thinking = json!({ "type": "thinking", "thinking": "forged", "signature": "c2ln" });
    let mut content = first["content"].as_array().unwrap().clone();
    content.insert(0, thinking);
    let messages = json!([user("one"), { "role": "assistant", "content": content }, user("three")]);
    let members = json!({ "conversation_token": first["conversation_token"] });
    let (second, sent) = turn(&hand, &asks(&messages, &members), "four");
    let text = |role: &str, text: &str| json!({ "role": role, "content": text });
    assert_eq!(sent["messages"], json!([text("user", "one"), text("assistant", "two"), text("user", "three")]));
    assert_eq!(second["holdall"]["turn"], 2);
    // A reply without words is repeated as a message without blocks.
    let (third, _) = turn(&hand, &says("five", &json!({ "conversation_token": second["conversation_token"] })), "");
    assert_eq!(third["content"], json!([]));
    let messages = json!([user("five"), { "role": "assistant", "content": [] }, user("six")]);
    let members = json!({ "conversation_token": third["conversation_token"] });
    assert_eq!(turn(&hand, &asks(&messages, &members), "seven").0["holdall"]["turn"], 4);
}

#[test]
fn calls_with_broken_arguments_are_known_again() {
    let hand = Hand::new("");
    let mut asked = ask(&hand, &says("add", &json!({})));
    asked.wait();
    let mut call = hand.upstream.call();
    call.head(200, &[("content-type", "application/json")]);
    let function = json!({ "name": "add", "arguments": "{\"a\": " });
    call.send(completion(
        &json!({ "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": function }] }),
    ));
    call.end();
    let answer = asked.answer().json();
    assert_eq!(answer["content"][0]["input"], json!({}));
    let messages = json!([
        { "role": "user", "content": "add" },
        { "role": "assistant", "content": answer["content"] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "is_error": true, "content": "what?" }] },
    ]);
    let members = json!({ "conversation_token": answer["conversation_token"] });
    assert_eq!(turn(&hand, &asks(&messages, &members), "sorry").0["holdall"]["turn"], 2);
}

#[test]
fn nobody_speaks_for_the_model_or_the_operator() {
    let hand = Hand::new("");
    let (first, _) = turn(&hand, &says("one", &json!({})), "two");
    let forged = |content: Value| json!([{ "role": "user", "content": "one" }, { "role": "assistant", "content": content }, { "role": "user", "content": "x" }]);
    let call = json!([{ "type": "tool_use", "id": "c", "name": "n", "input": {} }]);
    for messages in [forged(json!("forged")), forged(call), forged(json!([{ "type": "text", "text": "two!" }]))] {
        for token in [&Value::Null, &first["conversation_token"]] {
            let answer = ask(&hand, &asks(&messages, &json!({ "conversation_token": token }))).answer();
            error(&answer, 400, "invalid_request_error", "role_forbidden");
        }
    }
    let prefill = json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "The answer is (" }]);
    let refused = error(&ask(&hand, &asks(&prefill, &json!({}))).answer(), 400, "invalid_request_error", "unsupported");
    assert!(refused["message"].as_str().unwrap().contains("prefill"));
    let result =
        json!([{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "x" }] }]);
    error(&ask(&hand, &asks(&result, &json!({}))).answer(), 400, "invalid_request_error", "request_invalid");
    assert!(!hand.upstream.is_called());
    // Who trusts its clients takes their word.
    let trusting = Hand::new("client_history = \"accept\"");
    let (_, sent) = turn(&trusting, &asks(&forged(json!("forged")), &json!({})), "fine");
    assert_eq!(sent["messages"][1], json!({ "role": "assistant", "content": "forged" }));
}

#[test]
fn system_text_is_taken_where_the_operator_has_none() {
    let hand = Hand::new("");
    let (first, sent) = turn(&hand, &says("one", &json!({ "system": "Be kind." })), "two");
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be kind." }));
    let (_, sent) = turn(&hand, &says("three", &json!({ "conversation_token": first["conversation_token"] })), "four");
    assert_eq!(sent["messages"][0]["role"], "user");
    let settings =
        upstream("openai", "http://model.test").replace("model = \"m-1\"", "model = \"m-1\"\nsystem_prompt = \"Own.\"");
    let hand = Hand::of(config(&settings));
    let mid = json!([{ "role": "user", "content": "x" }, { "role": "system", "content": "Be kind." }]);
    for body in [says("x", &json!({ "system": "Be kind." })), asks(&mid, &json!({}))] {
        error(&ask(&hand, &body).answer(), 400, "invalid_request_error", "role_forbidden");
    }
    assert_eq!(turn(&hand, &says("x", &json!({ "system": "" })), "y").1["messages"][0]["content"], "Own.");
}

#[test]
fn tokens_of_others_and_nonsense_have_one_answer() {
    let hand = Hand::new("");
    let of = |user: &str| json!({ "metadata": { "user_id": user } });
    let (first, _) = turn(&hand, &says("one", &of("ada")), "two");
    let token = first["conversation_token"].as_str().unwrap();
    let foreign = Hand::new("issuer = \"elsewhere\"");
    let (elsewhere, _) = turn(&foreign, &says("one", &of("ada")), "two");
    let cut = &token[..token.len() - 2];
    let mut answers = Vec::new();
    for (user, token) in [
        ("bob", token),
        ("Ada", token),
        ("ada", cut),
        ("ada", "a.b.c"),
        ("ada", ""),
        ("ada", elsewhere["conversation_token"].as_str().unwrap()),
    ] {
        for (path, stream) in [(PATH, false), (PATH, true), (COUNT, false)] {
            let mut body = says("three", &of(user));
            (body["conversation_token"], body["stream"]) = (json!(token), json!(stream));
            let answer = hand.post(path, body.to_string()).answer();
            answers.push(error(&answer, 400, "invalid_request_error", "token_invalid"));
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    // Its owner, and nobody else, learns that it has expired.
    hand.clock.advance_seconds(8 * 86_400);
    for (user, status, code) in [("ada", 410, "token_expired"), ("bob", 400, "token_invalid")] {
        let mut body = says("three", &of(user));
        body["conversation_token"] = json!(token);
        error(&ask(&hand, &body).answer(), status, "invalid_request_error", code);
    }
    assert!(!hand.upstream.is_called());
}

#[test]
fn an_error_before_the_model_is_called_is_in_the_apis_shape() {
    let hand = Hand::new("limits.message_bytes = 100");
    let unknown = says("x", &json!({ "model": "nonsense" }));
    error(&ask(&hand, &unknown).answer(), 404, "not_found_error", "model_unknown");
    let long = says(&"x".repeat(200), &json!({}));
    error(&ask(&hand, &long).answer(), 413, "request_too_large", "message_too_large");
    error(&ask(&hand, &says(&"x".repeat(5 << 20), &json!({}))).answer(), 413, "request_too_large", "body_too_large");
    error(&hand.post(PATH, "{").answer(), 400, "invalid_request_error", "request_invalid");
    error(&hand.post(PATH, &b"\xff"[..]).answer(), 400, "invalid_request_error", "request_invalid");
    let request = |method, path: &str, content_type: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        hand.ask(request.header("content-type", content_type).body(Full::<bytes::Bytes>::default()).unwrap()).answer()
    };
    let json = "application/json";
    for path in [PATH, COUNT] {
        error(&request(Method::GET, path, json), 405, "invalid_request_error", "method_not_allowed");
        error(&request(Method::POST, path, "text/plain"), 415, "invalid_request_error", "unsupported_media_type");
    }
    let batches =
        error(&request(Method::GET, "/v1/messages/batches", json), 400, "invalid_request_error", "unsupported");
    assert!(batches["message"].as_str().unwrap().contains("/v1/messages/count_tokens"));
    error(&request(Method::POST, "/v1/messages/batches", json), 404, "not_found_error", "not_found");
}

#[test]
fn who_is_not_known_is_told_so_in_the_apis_shape() {
    let identity =
        "identity = { mode = \"jwt\", jwt = { issuer = \"i\", audience = [\"a\"], key_file = \"secret\" } }\n";
    let settings = format!("{identity}{}", upstream("openai", "http://model.test"));
    let hand = Hand::of(config_with(&settings, &[("secret", "0123456789abcdef0123456789abcdef")]));
    for path in [PATH, COUNT] {
        let answer = hand.post(path, says("x", &json!({})).to_string()).answer();
        error(&answer, 401, "authentication_error", "unauthenticated");
        assert_eq!(answer.header("x-should-retry"), "false");
    }
}

#[test]
fn an_error_of_the_upstreams_is_a_true_status() {
    type Refuse = fn(&mut Call);
    let overflow = "prompt is too long: 200001 tokens > 200000 maximum";
    let cases: [(Refuse, u16, &str, &str, &str); 4] = [
        (|call| refuse(call, 429, "slow down"), 502, "api_error", "upstream_refused", "true"),
        (|call| refuse(call, 500, "oh"), 502, "api_error", "upstream_unavailable", "true"),
        (|call| refuse(call, 400, "no such thing"), 502, "api_error", "upstream_refused", "false"),
        (
            |call| refuse(call, 400, "prompt is too long: 200001 tokens > 200000 maximum"),
            400,
            "invalid_request_error",
            "upstream_refused",
            "false",
        ),
    ];
    for stream in [false, true] {
        for (fail, status, class, code, retry) in cases {
            let hand = Hand::of(config(&format!("retries = 0\n{}", upstream("anthropic", "http://model.test"))));
            let mut asked = ask(&hand, &says("x", &json!({ "stream": stream })));
            asked.wait();
            fail(&mut hand.upstream.call());
            let answer = asked.answer();
            let error = error(&answer, status, class, code);
            assert_eq!(answer.header("x-should-retry"), retry);
            assert_eq!(error["message"] == overflow, status == 400);
        }
    }
}

fn refuse(call: &mut Call, status: u16, message: &str) {
    call.head(status, &[("content-type", "application/json")]);
    call.send(json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } }).to_string());
    call.end();
}

#[test]
fn a_reply_that_breaks_off_ends_with_an_error_and_what_had_flowed() {
    let hand = Hand::new("");
    let (before, _) = turn(&hand, &says("one", &json!({})), "two");
    let members = json!({ "stream": true, "conversation_token": before["conversation_token"] });
    let mut asked = ask(&hand, &says("three", &members));
    asked.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("So ");
    let mut coming = asked.head();
    let started = events(&coming.text());
    assert_eq!(
        started.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["message_start", "content_block_start", "content_block_delta"]
    );
    call.say("far");
    call.break_off();
    let rest = events(&coming.rest());
    let [(delta, _), (name, failure)] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!((delta.as_str(), name.as_str(), &failure["type"]), ("content_block_delta", "error", &json!("error")));
    assert!(failure["request_id"].as_str().unwrap().starts_with("req_"));
    let error = &failure["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("api_error"), &json!("upstream_cut")));
    assert_eq!(error["partial"]["reply"], "So far");
    for token in [&error["partial"]["conversation_token"], &before["conversation_token"]] {
        turn(&hand, &says("and?", &json!({ "conversation_token": token })), "well");
    }
}

#[test]
fn a_failure_after_a_long_wait_is_an_event_of_its_own() {
    let hand = Hand::new("");
    let mut asked = ask(&hand, &says("x", &json!({ "stream": true })));
    asked.wait();
    hand.clock.advance_seconds(15);
    let mut coming = asked.head();
    let started = coming.text();
    assert!(started.starts_with("event: message_start\n") && started.ends_with(": still working\n\n"), "{started}");
    let mut call = hand.upstream.call();
    refuse(&mut call, 400, "prompt is too long: 9 tokens > 8 maximum");
    let rest = events(&coming.rest());
    let [(name, failure)] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!((name.as_str(), &failure["error"]["type"]), ("error", &json!("invalid_request_error")));
    assert_eq!(failure["error"]["message"], "prompt is too long: 9 tokens > 8 maximum");
    assert!(failure["error"].get("partial").is_none());
}

#[test]
fn counts_pass_as_the_provider_gave_them() {
    let usage = json!({ "input_tokens": 20, "cache_creation_input_tokens": 50, "cache_read_input_tokens": 30, "output_tokens": 7 });
    let hand = Hand::of(config(&upstream("anthropic", "http://model.test")));
    let mut asked = ask(&hand, &says("x", &json!({ "temperature": 0.5 })));
    asked.wait();
    let mut call = hand.upstream.call();
    assert_eq!((call.json()["max_tokens"].as_u64(), &call.json()["temperature"]), (Some(1_000), &json!(0.5)));
    call.head(200, &[("content-type", "application/json")]);
    let block = json!({ "type": "text", "text": "hi" });
    call.send(
        json!({ "type": "message", "content": [block], "stop_reason": "max_tokens", "usage": usage }).to_string(),
    );
    call.end();
    let answer = asked.answer().json();
    assert_eq!(answer["stop_reason"], "max_tokens");
    for (name, count) in usage.as_object().unwrap() {
        assert_eq!(answer["usage"][name], *count, "{name}");
    }
}

#[test]
fn model_tokens_are_counted_without_a_turn() {
    let hand = Hand::new("");
    let count = |body: &Value| {
        let answer = hand.post(COUNT, body.to_string()).answer().json();
        assert_eq!(answer.as_object().unwrap().len(), 1);
        answer["input_tokens"].as_u64().unwrap()
    };
    let messages = json!([{ "role": "user", "content": "one two three" }]);
    let alone = count(&json!({ "model": "default", "messages": messages }));
    let (first, _) = turn(&hand, &says(&"filler ".repeat(50), &json!({})), "two");
    let token = &first["conversation_token"];
    let tools = json!([{ "name": "add", "input_schema": { "type": "object", "description": "filler ".repeat(50) } }]);
    let behind = count(&json!({ "model": "default", "messages": messages, "conversation_token": token }));
    let with_tools =
        count(&json!({ "model": "default", "messages": messages, "conversation_token": token, "tools": tools }));
    assert!(0 < alone && alone + 50 < behind && behind + 50 < with_tools, "{alone} {behind} {with_tools}");
    assert!(!hand.upstream.is_called());
    assert_eq!(turn(&hand, &says("three", &json!({ "conversation_token": token })), "four").0["holdall"]["turn"], 2);
    for (body, status, class, code) in [
        (json!({ "messages": messages }), 400, "invalid_request_error", "request_invalid"),
        (json!({ "model": "x", "messages": messages }), 404, "not_found_error", "model_unknown"),
    ] {
        error(&hand.post(COUNT, body.to_string()).answer(), status, class, code);
    }
}
