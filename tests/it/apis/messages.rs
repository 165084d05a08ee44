//! The Messages API: where the token is, repeated messages, roles, tool results, and errors before
//! and inside a stream.

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

/// A request with the required members, this message of the user, and these members.
fn request(input: &str, members: &Value) -> Value {
    request_with(&json!([{ "role": "user", "content": input }]), members)
}

fn request_with(messages: &Value, members: &Value) -> Value {
    let mut body = json!({ "model": "default", "max_tokens": 1_000, "messages": messages });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn ask(hand: &Hand, body: &Value) -> PendingCall {
    hand.post(PATH, body.to_string())
}

/// Takes a turn in which the model replies `reply`. Returns the answer, and the body that the
/// upstream received.
#[track_caller]
fn turn(hand: &Hand, body: &Value, reply: &str) -> (Value, Value) {
    let mut pending = ask(hand, body);
    pending.wait();
    let mut call = hand.upstream.call();
    let sent = call.json();
    call.reply(reply);
    (pending.answer().json(), sent)
}

/// The `error` of an answer in Anthropic's format. Checks its status, class, code, headers and
/// request id.
#[track_caller]
fn expect_error(answer: &Answer, status: u16, class: &str, code: &str) -> Value {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "application/json"), "{body}");
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"], answer.header("request-id"));
    let error = body["error"].take();
    assert_eq!((&error["type"], &error["code"]), (&json!(class), &json!(code)), "{error}");
    assert!(["true", "false"].contains(&answer.header("x-should-retry")));
    error
}

/// The message that an SDK builds from a stream, with the members that the last events add.
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

/// Takes a turn at a server, streamed or not. Returns the message.
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
async fn a_conversation_alternates_between_two_servers() {
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
        let answer = message(&servers[at % 2], &request(input, &members), at % 3 > 0).await;
        if input.starts_with("What") || at == 0 {
            let mut content = answer["content"].clone();
            // Only a complete answer has the token in its last block.
            let in_block = content[0].as_object_mut().unwrap().remove("conversation_token");
            assert_eq!(in_block, (at % 3 == 0).then(|| answer["conversation_token"].clone()));
            assert_eq!(content, json!([{ "type": "text", "text": reply, "citations": null }]));
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
async fn a_tool_result_can_go_to_another_instance() {
    let servers = [Running::start(config("")).await, Running::start(config("")).await];
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let tools = json!([{ "name": "get_weather", "description": "Weather in a city", "input_schema": schema }]);
    for stream in [false, true] {
        let members = json!({ "tools": tools, "tool_choice": { "type": "any" } });
        let answer = message(&servers[0], &request("What is the weather in Paris?", &members), stream).await;
        assert_eq!(answer["stop_reason"], "tool_use");
        let block = answer["content"].as_array().unwrap().last().unwrap();
        assert_eq!((&block["type"], &block["name"]), (&json!("tool_use"), &json!("get_weather")));
        assert!(block["input"].is_object());
        let result = json!([{ "type": "tool_result", "tool_use_id": block["id"], "content": "sunny" }]);
        // SDKs send either the new message only, or the whole conversation.
        let echoed = json!([
            { "role": "user", "content": "What is the weather in Paris?" },
            { "role": "assistant", "content": answer["content"] },
            { "role": "user", "content": result },
        ]);
        for messages in [json!([{ "role": "user", "content": result }]), echoed] {
            let members = json!({ "tools": tools, "conversation_token": answer["conversation_token"] });
            let answer = message(&servers[1], &request_with(&messages, &members), stream).await;
            assert_eq!(answer["content"][0]["text"], "get_weather gave: sunny");
            assert_eq!(answer["stop_reason"], "end_turn");
        }
    }
}

#[test]
fn repeated_messages_are_skipped() {
    let hand = Hand::new("");
    let user = |text: &str| json!({ "role": "user", "content": text });
    let (first, _) = turn(&hand, &request("one", &json!({})), "two");
    let messages = json!([user("one"), { "role": "assistant", "content": first["content"] }, user("three")]);
    let members = json!({ "conversation_token": first["conversation_token"] });
    let (second, sent) = turn(&hand, &request_with(&messages, &members), "four");
    let text = |role: &str, text: &str| json!({ "role": role, "content": text });
    assert_eq!(sent["messages"], json!([text("user", "one"), text("assistant", "two"), text("user", "three")]));
    assert_eq!(second["holdall"]["turn"], 2);
    // A client repeats a reply without text as a message without blocks.
    let (third, _) = turn(&hand, &request("five", &json!({ "conversation_token": second["conversation_token"] })), "");
    assert_eq!(third["content"], json!([]));
    let messages = json!([user("five"), { "role": "assistant", "content": [] }, user("six")]);
    let members = json!({ "conversation_token": third["conversation_token"] });
    assert_eq!(turn(&hand, &request_with(&messages, &members), "seven").0["holdall"]["turn"], 4);
}

#[test]
fn repeated_calls_with_invalid_arguments_match() {
    let hand = Hand::new("");
    let mut pending = ask(&hand, &request("add", &json!({})));
    pending.wait();
    let mut call = hand.upstream.call();
    call.head(200, &[("content-type", "application/json")]);
    let function = json!({ "name": "add", "arguments": "{\"a\": " });
    call.send(completion(
        &json!({ "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": function }] }),
    ));
    call.end();
    let answer = pending.answer().json();
    assert_eq!(answer["content"][0]["input"], json!({}));
    let messages = json!([
        { "role": "user", "content": "add" },
        { "role": "assistant", "content": answer["content"] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "is_error": true, "content": "what?" }] },
    ]);
    let members = json!({ "conversation_token": answer["conversation_token"] });
    assert_eq!(turn(&hand, &request_with(&messages, &members), "sorry").0["holdall"]["turn"], 2);
}

#[test]
fn forged_messages_of_the_model_are_rejected() {
    let hand = Hand::new("");
    let (first, _) = turn(&hand, &request("one", &json!({})), "two");
    let forged = |content: Value| json!([{ "role": "user", "content": "one" }, { "role": "assistant", "content": content }, { "role": "user", "content": "x" }]);
    let call = json!([{ "type": "tool_use", "id": "c", "name": "n", "input": {} }]);
    for messages in [forged(json!("forged")), forged(call), forged(json!([{ "type": "text", "text": "two!" }]))] {
        for token in [&Value::Null, &first["conversation_token"]] {
            let answer = ask(&hand, &request_with(&messages, &json!({ "conversation_token": token }))).answer();
            expect_error(&answer, 400, "invalid_request_error", "role_forbidden");
        }
    }
    let prefill = json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "The answer is (" }]);
    let error = expect_error(
        &ask(&hand, &request_with(&prefill, &json!({}))).answer(),
        400,
        "invalid_request_error",
        "unsupported",
    );
    assert!(error["message"].as_str().unwrap().contains("prefill"));
    let result =
        json!([{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "x" }] }]);
    expect_error(
        &ask(&hand, &request_with(&result, &json!({}))).answer(),
        400,
        "invalid_request_error",
        "request_invalid",
    );
    assert!(!hand.upstream.is_called());
    // A server that accepts client history accepts them.
    let trusting = Hand::new("client_history = \"accept\"");
    let (_, sent) = turn(&trusting, &request_with(&forged(json!("forged")), &json!({})), "fine");
    assert_eq!(sent["messages"][1], json!({ "role": "assistant", "content": "forged" }));
}

#[test]
fn a_system_prompt_applies_to_its_turn_if_the_model_has_none() {
    let hand = Hand::new("");
    let (first, sent) = turn(&hand, &request("one", &json!({ "system": "Be kind." })), "two");
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be kind." }));
    let (_, sent) =
        turn(&hand, &request("three", &json!({ "conversation_token": first["conversation_token"] })), "four");
    assert_eq!(sent["messages"][0]["role"], "user");
    let settings =
        upstream("openai", "http://model.test").replace("model = \"m-1\"", "model = \"m-1\"\nsystem_prompt = \"Own.\"");
    let hand = Hand::of(config(&settings));
    let mid = json!([{ "role": "user", "content": "x" }, { "role": "system", "content": "Be kind." }]);
    for body in [request("x", &json!({ "system": "Be kind." })), request_with(&mid, &json!({}))] {
        expect_error(&ask(&hand, &body).answer(), 400, "invalid_request_error", "role_forbidden");
    }
    assert_eq!(turn(&hand, &request("x", &json!({ "system": "" })), "y").1["messages"][0]["content"], "Own.");
}

#[test]
fn invalid_and_foreign_tokens_get_the_same_error() {
    let hand = Hand::new("");
    let of = |user: &str| json!({ "metadata": { "user_id": user } });
    let (first, _) = turn(&hand, &request("one", &of("ada")), "two");
    let token = first["conversation_token"].as_str().unwrap();
    let foreign = Hand::new("issuer = \"elsewhere\"");
    let (elsewhere, _) = turn(&foreign, &request("one", &of("ada")), "two");
    let cut = &token[..token.len() - 2];
    let mut answers = Vec::new();
    for (user, token) in [
        ("bob", token),
        ("Ada", token),
        ("ada", cut),
        ("ada", "a.b.c"),
        ("ada", elsewhere["conversation_token"].as_str().unwrap()),
    ] {
        for (path, stream) in [(PATH, false), (PATH, true), (COUNT, false)] {
            let mut body = request("three", &of(user));
            (body["conversation_token"], body["stream"]) = (json!(token), json!(stream));
            let answer = hand.post(path, body.to_string()).answer();
            answers.push(expect_error(&answer, 400, "invalid_request_error", "token_invalid"));
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    // Only the owner learns that a token has expired.
    hand.clock.advance_seconds(8 * 86_400);
    for (user, status, code) in [("ada", 410, "token_expired"), ("bob", 400, "token_invalid")] {
        let mut body = request("three", &of(user));
        body["conversation_token"] = json!(token);
        expect_error(&ask(&hand, &body).answer(), status, "invalid_request_error", code);
    }
    assert!(!hand.upstream.is_called());
}

#[test]
fn invalid_requests_get_errors_in_the_api_format() {
    let hand = Hand::new("limits.message_bytes = 100");
    let unknown = request("x", &json!({ "model": "nonsense" }));
    expect_error(&ask(&hand, &unknown).answer(), 404, "not_found_error", "model_unknown");
    let long = request(&"x".repeat(200), &json!({}));
    expect_error(&ask(&hand, &long).answer(), 413, "request_too_large", "message_too_large");
    expect_error(
        &ask(&hand, &request(&"x".repeat(5 << 20), &json!({}))).answer(),
        413,
        "request_too_large",
        "body_too_large",
    );
    expect_error(&hand.post(PATH, "{").answer(), 400, "invalid_request_error", "request_invalid");
    expect_error(&hand.post(PATH, &b"\xff"[..]).answer(), 400, "invalid_request_error", "request_invalid");
    let send = |method, path: &str, content_type: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        hand.ask(request.header("content-type", content_type).body(Full::<bytes::Bytes>::default()).unwrap()).answer()
    };
    let json = "application/json";
    for path in [PATH, COUNT] {
        expect_error(&send(Method::GET, path, json), 405, "invalid_request_error", "method_not_allowed");
        expect_error(&send(Method::POST, path, "text/plain"), 415, "invalid_request_error", "unsupported_media_type");
    }
    let batches =
        expect_error(&send(Method::GET, "/v1/messages/batches", json), 400, "invalid_request_error", "unsupported");
    assert!(batches["message"].as_str().unwrap().contains("/v1/messages/count_tokens"));
    expect_error(&send(Method::POST, "/v1/messages/batches", json), 404, "not_found_error", "not_found");
}

#[test]
fn a_missing_credential_is_an_error_in_the_api_format() {
    let identity =
        "identity = { mode = \"jwt\", jwt = { issuer = \"i\", audience = [\"a\"], key_file = \"secret\" } }\n";
    let settings = format!("{identity}{}", upstream("openai", "http://model.test"));
    let hand = Hand::of(config_with(&settings, &[("secret", "0123456789abcdef0123456789abcdef")]));
    for path in [PATH, COUNT] {
        let answer = hand.post(path, request("x", &json!({})).to_string()).answer();
        expect_error(&answer, 401, "authentication_error", "unauthenticated");
        assert_eq!(answer.header("x-should-retry"), "false");
    }
}

#[test]
fn an_upstream_error_before_the_reply_has_its_own_status() {
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
            "context_length_exceeded",
            "false",
        ),
    ];
    for stream in [false, true] {
        for (fail, status, class, code, retry) in cases {
            let hand = Hand::of(config(&format!("retries = 0\n{}", upstream("anthropic", "http://model.test"))));
            let mut pending = ask(&hand, &request("x", &json!({ "stream": stream })));
            pending.wait();
            fail(&mut hand.upstream.call());
            let answer = pending.answer();
            let error = expect_error(&answer, status, class, code);
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
fn a_stream_that_breaks_off_ends_with_an_error_and_a_partial() {
    let hand = Hand::new("");
    let (before, _) = turn(&hand, &request("one", &json!({})), "two");
    let members = json!({ "stream": true, "conversation_token": before["conversation_token"] });
    let mut pending = ask(&hand, &request("three", &members));
    pending.wait();
    let mut call = hand.upstream.call();
    call.stream();
    call.say("So ");
    let mut reply = pending.head();
    let started = events(&reply.text());
    assert_eq!(
        started.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["message_start", "content_block_start", "content_block_delta"]
    );
    call.say("far");
    call.break_off();
    let rest = events(&reply.rest());
    let [(delta, _), (name, failure)] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!((delta.as_str(), name.as_str(), &failure["type"]), ("content_block_delta", "error", &json!("error")));
    assert!(failure["request_id"].as_str().unwrap().starts_with("req_"));
    let error = &failure["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("api_error"), &json!("upstream_cut")));
    assert_eq!(error["partial"]["reply"], "So far");
    for token in [&error["partial"]["conversation_token"], &before["conversation_token"]] {
        turn(&hand, &request("and?", &json!({ "conversation_token": token })), "well");
    }
}

#[test]
fn an_error_after_a_long_wait_is_an_event() {
    let hand = Hand::new("");
    let mut pending = ask(&hand, &request("x", &json!({ "stream": true })));
    pending.wait();
    hand.clock.advance_seconds(15);
    let mut reply = pending.head();
    let started = reply.text();
    assert!(started.starts_with("event: message_start\n") && started.ends_with(": still working\n\n"), "{started}");
    let mut call = hand.upstream.call();
    refuse(&mut call, 400, "prompt is too long: 9 tokens > 8 maximum");
    let rest = events(&reply.rest());
    let [(name, failure)] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!((name.as_str(), &failure["error"]["type"]), ("error", &json!("invalid_request_error")));
    assert_eq!(failure["error"]["message"], "prompt is too long: 9 tokens > 8 maximum");
    assert!(failure["error"].get("partial").is_none());
}

#[test]
fn usage_passes_unchanged_from_an_anthropic_upstream() {
    let usage = json!({ "input_tokens": 20, "cache_creation_input_tokens": 50, "cache_read_input_tokens": 30, "output_tokens": 7 });
    let hand = Hand::of(config(&upstream("anthropic", "http://model.test")));
    let mut pending = ask(&hand, &request("x", &json!({ "temperature": 0.5 })));
    pending.wait();
    let mut call = hand.upstream.call();
    assert_eq!((call.json()["max_tokens"].as_u64(), &call.json()["temperature"]), (Some(1_000), &json!(0.5)));
    call.head(200, &[("content-type", "application/json")]);
    let block = json!({ "type": "text", "text": "hi" });
    call.send(
        json!({ "type": "message", "content": [block], "stop_reason": "max_tokens", "usage": usage }).to_string(),
    );
    call.end();
    let answer = pending.answer().json();
    assert_eq!(answer["stop_reason"], "max_tokens");
    for (name, count) in usage.as_object().unwrap() {
        assert_eq!(answer["usage"][name], *count, "{name}");
    }
}

#[test]
fn counting_model_tokens_takes_no_turn() {
    let hand = Hand::new("");
    let count = |body: &Value| {
        let answer = hand.post(COUNT, body.to_string()).answer().json();
        assert_eq!(answer.as_object().unwrap().len(), 1);
        answer["input_tokens"].as_u64().unwrap()
    };
    let messages = json!([{ "role": "user", "content": "one two three" }]);
    let alone = count(&json!({ "model": "default", "messages": messages }));
    let (first, _) = turn(&hand, &request(&"filler ".repeat(50), &json!({})), "two");
    let token = &first["conversation_token"];
    let tools = json!([{ "name": "add", "input_schema": { "type": "object", "description": "filler ".repeat(50) } }]);
    let behind = count(&json!({ "model": "default", "messages": messages, "conversation_token": token }));
    let with_tools =
        count(&json!({ "model": "default", "messages": messages, "conversation_token": token, "tools": tools }));
    assert!(0 < alone && alone + 50 < behind && behind + 50 < with_tools, "{alone} {behind} {with_tools}");
    assert!(!hand.upstream.is_called());
    assert_eq!(turn(&hand, &request("three", &json!({ "conversation_token": token })), "four").0["holdall"]["turn"], 2);
    for (body, status, class, code) in [
        (json!({ "messages": messages }), 400, "invalid_request_error", "request_invalid"),
        (json!({ "model": "x", "messages": messages }), 404, "not_found_error", "model_unknown"),
    ] {
        expect_error(&hand.post(COUNT, body.to_string()).answer(), status, class, code);
    }
}
