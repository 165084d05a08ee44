//! Clients as they are: what they send beyond the APIs does not stop them, and refusals say how to
//! correct a request.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    config,
    fake::Call,
    hand::{Hand, post},
    upstream,
};

const PATHS: [&str; 4] = ["/v1/turns", "/v1/responses", "/v1/chat/completions", "/v1/messages"];

/// A request at an API, with these members.
fn request(path: &str, members: &Value) -> Value {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let mut body = match path {
        "/v1/turns" => json!({ "input": "hi" }),
        "/v1/responses" => json!({ "model": "default", "input": "hi" }),
        "/v1/chat/completions" => json!({ "model": "default", "messages": messages }),
        _ => json!({ "model": "default", "messages": messages, "max_tokens": 100 }),
    };
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// Sends a request, and lets the model answer. Returns the call and the answer.
#[track_caller]
fn answered(hand: &Hand, path: &str, members: &Value, answer: impl FnOnce(&mut Call)) -> (Value, Answer) {
    let mut pending = hand.post(path, request(path, members).to_string());
    pending.wait();
    let mut call = hand.upstream.call();
    answer(&mut call);
    (call.json(), pending.answer())
}

/// Sends a request that the model answers with a call.
#[track_caller]
fn called(hand: &Hand, path: &str, members: &Value, name: &str, args: &str) -> (Value, Answer) {
    answered(hand, path, members, |call| {
        let function = json!({ "name": name, "arguments": args });
        let message = json!({ "role": "assistant", "content": null,
            "tool_calls": [{ "id": "c1", "type": "function", "function": function }] });
        call.head(200, &[("content-type", "application/json")]);
        call.send(crate::support::fake::completion(&message));
        call.end();
    })
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text()).unwrap()
}

/// The message of an error in any shape.
fn message(answer: &Answer) -> String {
    let body = json(answer);
    let text = body["detail"].as_str().or_else(|| body["error"]["message"].as_str());
    text.unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[test]
fn what_is_above_a_ceiling_is_lowered_and_named() {
    let ceilings = "max_output_tokens_most = 50\nreasoning_effort_most = \"low\"\n";
    let hand = Hand::of(config(&format!("{}{ceilings}", upstream("openai", "http://127.0.0.1:1"))));
    let tokens = |path: &str, count: u32| match path {
        "/v1/turns" | "/v1/responses" => json!({ "max_output_tokens": count }),
        _ => json!({ "max_tokens": count }),
    };
    let effort = |path: &str, effort: &str| match path {
        "/v1/responses" => json!({ "reasoning": { "effort": effort } }),
        "/v1/chat/completions" => json!({ "reasoning_effort": effort }),
        _ => json!({ "output_config": { "effort": effort } }),
    };
    for path in PATHS {
        for (asked, sent, names) in [(51, 50, "max_output_tokens"), (50, 50, ""), (49, 49, "")] {
            let (body, answer) = answered(&hand, path, &tokens(path, asked), |call| call.reply("hello"));
            let named = answer.headers.get("x-holdall-ignored").map_or("", |names| names.to_str().unwrap());
            assert_eq!((&body["max_tokens"], named), (&json!(sent), names), "{path} {body}");
            assert_eq!(body["reasoning_effort"], "low", "the default of the service is above the ceiling");
        }
        if path == "/v1/turns" {
            continue;
        }
        for (asked, sent, names) in [("high", "low", "reasoning_effort"), ("low", "low", "")] {
            let mut members = effort(path, asked);
            members.as_object_mut().unwrap().extend(tokens(path, 50).as_object().unwrap().clone());
            hand.log.take();
            let (body, answer) = answered(&hand, path, &members, |call| call.reply("hello"));
            let named = answer.headers.get("x-holdall-ignored").map_or("", |names| names.to_str().unwrap());
            assert_eq!((&body["reasoning_effort"], named), (&json!(sent), names), "{path} {body}");
            assert!(hand.log.take()[0].ignored.iter().copied().eq(names.split_terminator(' ')), "{path}");
        }
    }
    // A request without a limit gets the ceiling.
    let (body, answer) = answered(&hand, "/v1/turns", &json!({}), |call| call.reply("hello"));
    assert_eq!((&body["max_tokens"], answer.headers.contains_key("x-holdall-ignored")), (&json!(50), false));
}

#[test]
fn what_is_left_out_is_named_in_the_response_and_in_the_record() {
    let hand = Hand::new("cors_origins = [\"https://app.example\"]");
    let two = json!([{ "type": "web_search" }, { "type": "mcp", "server_label": "a" }]);
    let dated = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
    for (path, tools, names, kinds) in [
        ("/v1/responses", two, "web_search, mcp", &["mcp", "web_search"][..]),
        ("/v1/chat/completions", json!([{ "type": "web_search" }]), "web_search", &["web_search"]),
        ("/v1/messages", dated, "web_search_20250305", &["web_search"]),
        // The client's own words are only for the client.
        ("/v1/responses", json!([{ "type": "ada@home" }, { "type": "b" }]), "ada_home, b", &["other"]),
    ] {
        hand.log.take();
        let (sent, answer) = answered(&hand, path, &json!({ "tools": tools }), |call| call.reply("hello"));
        assert_eq!((answer.status, answer.header("x-holdall-ignored")), (StatusCode::OK, names), "{path}");
        assert_eq!(sent.get("tools"), None, "{path}");
        assert!(hand.log.take()[0].ignored.iter().eq(kinds), "{path}");
        // Also in a stream, and in a refusal.
        let mut pending = hand.post(path, request(path, &json!({ "tools": tools, "stream": true })).to_string());
        pending.wait();
        let mut call = hand.upstream.call();
        call.stream();
        call.say("hello");
        call.stop();
        assert_eq!(pending.answer().header("x-holdall-ignored"), names, "{path}");
        let unknown = request(path, &json!({ "tools": tools, "model": "unknown" })).to_string();
        assert_eq!(hand.post(path, unknown).answer().header("x-holdall-ignored"), names);
        let (_, plain) = answered(&hand, path, &json!({}), |call| call.reply("hello"));
        assert!(!plain.headers.contains_key("x-holdall-ignored"));
    }
    let mut from_page = post("/v1/responses").body(Full::from(r#"{"input":5}"#)).unwrap();
    from_page.headers_mut().insert("origin", "https://app.example".parse().unwrap());
    let answer = hand.ask(from_page).answer();
    assert!(answer.header("access-control-expose-headers").split(", ").any(|name| name == "x-holdall-ignored"));
}

#[test]
fn a_tool_that_is_required_and_cannot_be_offered_is_refused_by_name() {
    let hand = Hand::new("");
    for (path, members, param) in [
        (
            "/v1/responses",
            json!({ "tools": [{ "type": "web_search" }], "tool_choice": { "type": "web_search" } }),
            "tool_choice",
        ),
        (
            "/v1/chat/completions",
            json!({ "tools": [{ "type": "web_search" }], "tool_choice": "required" }),
            "tool_choice",
        ),
    ] {
        let error = json(&hand.post(path, request(path, &members).to_string()).answer())["error"].take();
        assert_eq!((&error["code"], &error["param"]), (&json!("unsupported"), &json!(param)), "{path}");
    }
    assert!(!hand.upstream.is_called());
}

#[test]
fn a_coding_agent_gets_its_calls_back_in_its_own_terms() {
    let hand = Hand::new("");
    let exec = json!({ "type": "custom", "name": "exec", "description": "Runs code.",
        "format": { "type": "grammar", "syntax": "lark", "definition": "start: /.+/" } });
    let wait = json!({ "type": "function", "name": "wait", "strict": false, "parameters": { "type": "object" } });
    let tools = json!([{ "type": "namespace", "name": "functions", "description": "", "tools": [exec, wait] }]);
    let listed = json!({ "type": "additional_tools", "id": "at_1", "role": "developer", "tools": tools });
    let asked =
        json!([listed, { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "go" }] }]);
    let (sent, answer) =
        called(&hand, "/v1/responses", &json!({ "input": asked }), "functions__exec", r#"{"input":"text('a')\n"}"#);
    let names: Vec<_> = sent["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(names, ["functions__exec", "functions__wait"]);
    assert!(sent["tools"][0]["function"]["description"].as_str().unwrap().contains("start: /.+/"));
    let answer = answer.json();
    let mut call = answer["output"][0].clone();
    let id = call.as_object_mut().unwrap().remove("id").unwrap();
    assert!(id.as_str().unwrap().starts_with("ctc_"));
    assert_eq!(
        call,
        json!({ "type": "custom_tool_call", "call_id": "c1", "namespace": "functions", "name": "exec",
            "input": "text('a')\n", "status": "completed" })
    );
    // The client may repeat the call, and it may send its tools in either place.
    let output = json!({ "type": "custom_tool_call_output", "call_id": "c1", "output": [{ "type": "input_text", "text": "a" }] });
    for members in [
        json!({ "input": [listed, output] }),
        json!({ "tools": tools, "input": [asked[1], call, output] }),
        json!({ "input": [output] }),
    ] {
        let mut members = members;
        members["previous_response_id"] = answer["id"].clone();
        let (again, answer) = answered(&hand, "/v1/responses", &members, |call| call.reply("done"));
        assert_eq!(answer.json()["output"][0]["content"][0]["text"], "done");
        let messages = again["messages"].as_array().unwrap();
        assert_eq!(messages[..1], sent["messages"].as_array().unwrap()[..]);
        let function = json!({ "name": "functions__exec", "arguments": r#"{"input":"text('a')\n"}"# });
        assert_eq!(messages[1]["tool_calls"][0]["function"], function);
        assert!(messages[2]["content"].to_string().contains('a'));
    }
}

#[test]
fn the_loop_of_the_tutorials_continues_the_conversation() {
    let hand = Hand::new("");
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let mut messages = vec![json!({ "role": "user", "content": "one" })];
        for turn in 1..4 {
            let (sent, answer) = answered(&hand, path, &json!({ "messages": messages }), |call| call.reply("well"));
            let answer = answer.json();
            assert_eq!(answer["holdall"]["turn"], turn, "{path}");
            assert_eq!(sent["messages"].as_array().unwrap().len(), 2 * turn - 1);
            // As `messages.append(response.choices[0].message)` does.
            messages.push(match path {
                "/v1/chat/completions" => answer["choices"][0]["message"].clone(),
                _ => json!({ "role": answer["role"], "content": answer["content"] }),
            });
            messages.push(json!({ "role": "user", "content": "next" }));
        }
        let both = json!({ "messages": messages, "conversation_token": "other" });
        let refused = hand.post(path, request(path, &both).to_string()).answer();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(message(&refused).starts_with("`conversation_token` differs from the token in the last message"));
    }
}

#[test]
fn a_websocket_is_refused_at_once() {
    let hand = Hand::new("");
    let ask = |method: Method, path: &str, upgrade: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("connection", "Upgrade").header("upgrade", upgrade);
        hand.ask(request.body(Full::<bytes::Bytes>::default()).unwrap()).answer()
    };
    for path in PATHS {
        let answer = ask(Method::GET, path, "WebSocket");
        assert_eq!(answer.status, StatusCode::UPGRADE_REQUIRED, "{path}");
        assert_eq!((answer.header("upgrade"), answer.header("connection")), ("HTTP/1.1", "upgrade"));
        assert_eq!(answer.header("x-should-retry"), "false");
        assert!(message(&answer).contains("`POST`"), "{path}");
        assert_eq!(ask(Method::GET, path, "h2c").status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let error = json(&ask(Method::GET, "/v1/responses", "h2c, websocket"))["error"].take();
    assert_eq!((&error["code"], &error["type"]), (&json!("websocket_unsupported"), &json!("invalid_request_error")));
    // A POST request with this header asks for a turn.
    let mut turn = post("/v1/turns").body(Full::from(r#"{"input":"hi"}"#)).unwrap();
    turn.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    hand.ask(turn).wait();
}

#[test]
fn faults_of_json_are_explained_at_every_api() {
    let hand = Hand::new("");
    for path in PATHS {
        let body = request(path, &json!({})).to_string();
        let half = body.replace("\"hi\"", r#""so \ud83d""#);
        let place = match path {
            "/v1/turns" | "/v1/responses" => "input",
            _ => "messages[0].content",
        };
        let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (sent, words) in [
            ([b"\xef\xbb\xbf", body.as_bytes()].concat(), "starts with a byte order mark".to_owned()),
            ([b"\xff\xfe", &utf16[..]].concat(), "is UTF-16".to_owned()),
            (
                half.into_bytes(),
                format!("`{place}` has half of a surrogate pair, `\\ud83d`, as character 4 of its text."),
            ),
            (b"".to_vec(), "The request body is empty. Send a JSON object.".to_owned()),
            (
                request(path, &json!({ "stream": 5 })).to_string().into_bytes(),
                "`stream` must be true or false, not the number 5.".to_owned(),
            ),
        ] {
            let answer = hand.post(path, sent).answer();
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
            assert!(message(&answer).contains(&words), "{path}: {}", message(&answer));
        }
        let name = match path {
            "/v1/turns" | "/v1/responses" => "max_output_tokens",
            _ => "max_tokens",
        };
        let answer = hand.post(path, request(path, &json!({ name: "many" })).to_string()).answer();
        assert_eq!(message(&answer), format!("`{name}` must be a whole number of at least 1, not text."));
    }
}

#[test]
fn an_id_that_is_not_found_is_refused_in_the_words_that_clients_look_for() {
    let hand = Hand::of(config(&format!("ttl = \"1h\"\n{}", upstream("openai", "http://model.test"))));
    let (_, answer) = answered(&hand, "/v1/responses", &json!({ "user": "ada" }), |call| call.reply("hello"));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let refused = |id: &str, user: &str| {
        let body = request("/v1/responses", &json!({ "previous_response_id": id, "user": user }));
        let answer = hand.post("/v1/responses", body.to_string()).answer();
        let error = json(&answer)["error"].take();
        assert_eq!((answer.status.as_u16(), &error["code"]), (400, &json!("previous_response_not_found")));
        let message = error["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("Previous response with id 'resp_…' not found. ") && !message.contains(id),
            "{message}"
        );
        message
    };
    let invalid = refused("resp_x.y.z", "ada");
    assert_eq!(refused(&id, "eve"), invalid);
    hand.clock.advance_seconds(7_200);
    assert_ne!(refused(&id, "ada"), invalid);
    assert_eq!(refused(&id, "eve"), invalid);
}
