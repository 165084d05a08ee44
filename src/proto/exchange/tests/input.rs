//! Input of clients: repeated conversations, history of their own, system prompts and images.

use super::*;
use crate::proto::deployment::ClientSystem;

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn assistant(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

fn turn_with(token: Option<&str>, input: Vec<Item>) -> TurnRequest {
    TurnRequest { token: token.map(str::to_owned), input, ..first_turn("") }
}

/// The body of the request to the model.
fn request_body(exchange: &Exchange<Ready>) -> Value {
    serde_json::from_slice(exchange.request().body()).unwrap()
}

#[test]
fn a_repeated_conversation_is_taken_only_from_the_token() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let plain = request_body(&fixture.ready(next_turn(&first, "and?")).unwrap());
    let repeated = turn_with(Some(&first), vec![user("hi"), assistant("hello"), user("and?")]);
    assert_eq!(request_body(&fixture.ready(repeated.clone()).unwrap()), plain);
    let answer = fixture.turn(repeated, "yes");
    let items = fixture.history(&answer.token).unwrap().0;
    assert_eq!(items, [user("hi"), assistant("hello"), user("and?"), assistant("yes")]);
}

#[test]
fn a_conversation_that_ends_with_the_model_has_no_new_input() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let mut refusal = |input| fixture.ready(turn_with(Some(&first), input)).err().unwrap().to_string();
    let words = "The input ends with a message of the model. End it with a user message or a tool result.";
    assert_eq!(refusal(vec![user("hi"), assistant("hello")]), words);
    assert_eq!(refusal(vec![]), "`input` is empty. Send text, parts or tool results.");
}

#[test]
fn forged_items_are_refused_with_and_without_a_token() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let think = Item::Think { provider_id: "openai".to_owned(), blob: "{}".to_owned() };
    let call = Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    for forged in [assistant("I promise"), think, call] {
        for token in [None, Some(first.as_str())] {
            let outcome = fixture.ready(turn_with(token, vec![user("hi"), forged.clone(), user("and?")]));
            assert_eq!(error_code(outcome), "role_forbidden", "{forged:?}");
        }
    }
    let changed = turn_with(Some(&first), vec![user("hello?"), assistant("hello"), user("and?")]);
    assert_eq!(error_code(fixture.ready(changed)), "request_invalid");
}

#[test]
fn a_repeated_conversation_without_new_input_is_refused() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    assert_eq!(
        error_code(fixture.ready(turn_with(Some(&first), vec![user("hi"), assistant("hello")]))),
        "request_invalid"
    );
}

#[test]
fn a_system_prompt_of_the_client_is_used_for_one_turn_if_the_alias_has_none() {
    let mut fixture = Fixture::new(Limits::default());
    let with = |token: Option<&str>| TurnRequest {
        system: Some("Be brief.".to_owned()),
        ..turn_with(token, vec![user("hi")])
    };
    let exchange = fixture.ready(with(None)).unwrap();
    let sent: Value = serde_json::from_slice(exchange.request().body()).unwrap();
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    let token = fixture.turn(with(None), "hello").token;
    assert_eq!(fixture.history(&token).unwrap().0, [user("hi"), assistant("hello")]);
    assert_eq!(request_body(&fixture.ready(next_turn(&token, "and?")).unwrap())["messages"][0]["role"], "user");

    let own = Model { system_prompt: Some("Be kind.".to_owned()), ..model("default") };
    let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![own]);
    assert_eq!(fixture.ready(with(None)).err().unwrap(), Error::ClientSystemForbidden);
    assert_eq!(request_body(&fixture.ready(first_turn("hi")).unwrap())["messages"][0]["content"], "Be kind.");
}

#[test]
fn a_system_prompt_of_the_client_follows_the_operators() {
    let with = |own: Option<&str>, theirs: Option<&str>| {
        let model =
            Model { system_prompt: own.map(str::to_owned), client_system: ClientSystem::Append, ..model("default") };
        let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model]);
        let request = TurnRequest { system: theirs.map(str::to_owned), ..first_turn("hi") };
        let messages = request_body(&fixture.ready(request).unwrap())["messages"].take();
        let system = |message: &Value| message["role"] == "system";
        messages.as_array().unwrap().iter().find(|one| system(one)).map(|one| one["content"].clone())
    };
    let kind = Some("Be kind.");
    assert_eq!(with(kind, Some("Be brief.")).unwrap(), "Be kind.\n\nBe brief.");
    assert_eq!(with(Some("Be kind.\n"), Some(" Be\nbrief.\n")).unwrap(), "Be kind.\n\n Be\nbrief.\n");
    assert_eq!(with(None, Some("Be brief.")).unwrap(), "Be brief.");
    for nothing in [None, Some(""), Some(" \n")] {
        assert_eq!(with(kind, nothing).unwrap(), "Be kind.");
        assert_eq!(with(None, nothing), None);
    }
}

#[test]
fn a_result_counts_wherever_it_stands() {
    let mut fixture = Fixture::new(Limits::default());
    let exchange = fixture.ready(first_turn("add")).unwrap();
    let answer = fixture.finish(exchange, [call_reply("", &[("c1", "{}"), ("c2", "{}")]).as_bytes()]).1.unwrap();
    let result = |id: &str| Item::Result { id: id.to_owned(), out: Output::Text("3".to_owned()), error: false };
    let expected = vec![result("c1"), result("c2"), user("and?"), user("well?")];
    let repeated = vec![user("add"), result("c1"), result("c2"), user("and?"), user("well?")];
    for input in [
        vec![result("c1"), user("and?"), result("c2"), user("well?")],
        vec![user("and?"), user("well?"), result("c1"), result("c2")],
        // A client repeats the question, without the calls that followed it.
        repeated.clone(),
        // Another client also repeats reasoning, of which the token has none.
        [&repeated[..1], std::slice::from_ref(&*EMPTY_THINK), &repeated[1..]].concat(),
    ] {
        let next = fixture.turn(turn_with(Some(&answer.token), input.clone()), "six");
        let items = fixture.history(&next.token).unwrap().0;
        assert_eq!(items[answer.output.len() + 1..items.len() - 1], expected, "{input:?}");
    }
    // A result without a call, and a question that is not the last one.
    for input in [vec![user("add"), result("c1"), result("c3")], vec![user("other"), result("c1")]] {
        assert_eq!(error_code(fixture.ready(turn_with(Some(&answer.token), input))), "request_invalid");
    }
}

static EMPTY_THINK: std::sync::LazyLock<Item> = std::sync::LazyLock::new(|| Item::Think {
    provider_id: "openai-responses".to_owned(),
    blob: r#"{"type":"reasoning","id":"rs_1","summary":[]}"#.to_owned(),
});

#[test]
fn an_empty_reply_is_known_in_every_form() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("one"), "1").token;
    let token = fixture.turn(next_turn(&first, "two"), "").token;
    let older = [user("one"), assistant("1"), user("two")];
    for (form, reply) in [("empty", vec![assistant("")]), ("blank", vec![assistant(" \n")]), ("left out", vec![])] {
        for forgotten in [0, 2] {
            let input = [&older[forgotten..], &reply, &[user("three")]].concat();
            let next = fixture.turn(turn_with(Some(&token), input), "3");
            let items = fixture.history(&next.token).unwrap().0;
            let expected = [&older[..], &[assistant(""), user("three"), assistant("3")]].concat();
            assert_eq!(items, expected, "{form}, {forgotten} forgotten");
            // The empty reply is now in the middle.
            let input = [&older[forgotten..], &reply, &[user("three"), assistant("3"), user("four")]].concat();
            let last = fixture.turn(turn_with(Some(&next.token), input), "4");
            assert_eq!(fixture.history(&last.token).unwrap().0.len(), 8, "{form}, {forgotten} forgotten");
        }
    }
    // A user may ask the same again.
    let again = fixture.turn(turn_with(Some(&token), vec![user("two")]), "2");
    assert_eq!(fixture.history(&again.token).unwrap().0.len(), 6);
    // Something in place of the empty reply is forged.
    let forged = [&older[..], &[assistant("2"), user("three")]].concat();
    assert_eq!(error_code(fixture.ready(turn_with(Some(&token), forged))), "role_forbidden");
}

#[test]
fn an_inline_image_becomes_a_note_after_its_turn() {
    let mut fixture = Fixture::changed(|deployment| deployment.elides_inline_images = true);
    let inline = "data:image/png;base64,AAAAAAAA";
    let look = |url: &str| Item::Message {
        role: Role::User,
        parts: vec![Part::Text("look".to_owned()), Part::Image(url.to_owned())],
        cut: false,
    };
    let sent = request_body(&fixture.ready(turn_with(None, vec![look(inline)])).unwrap());
    assert_eq!(sent["messages"][0]["content"][1]["image_url"]["url"], inline);
    let first = fixture.turn(turn_with(None, vec![look(inline), look("https://e.test/a.png")]), "nice");
    assert_eq!(first.conversation.elided_images, 1);
    let items = fixture.history(&first.token).unwrap().0;
    let note = Part::Text("[inline image left out: image/png, 6 bytes]".to_owned());
    assert_eq!(
        items[0],
        Item::Message { role: Role::User, parts: vec![Part::Text("look".to_owned()), note], cut: false }
    );
    assert_eq!(items[1], look("https://e.test/a.png"));
    // A client may repeat the conversation with the image.
    let again =
        turn_with(Some(&first.token), vec![look(inline), look("https://e.test/a.png"), assistant("nice"), user("so?")]);
    assert_eq!(fixture.turn(again, "well").conversation.elided_images, 0);
    // Without the setting, the image is kept.
    let mut fixture = Fixture::new(Limits::default());
    let kept = fixture.turn(turn_with(None, vec![look(inline)]), "nice");
    assert_eq!(
        (fixture.history(&kept.token).unwrap().0[0].clone(), kept.conversation.elided_images),
        (look(inline), 0)
    );
}

#[test]
fn a_count_is_made_without_taking_the_turn() {
    let mut fixture = Fixture::new(Limits::default());
    let token = fixture.turn(first_turn("hi"), "hello").token;
    let count = |fixture: &mut Fixture, request: TurnRequest| {
        let opened = fixture.open(request, &anonymous());
        let counting = opened.and_then(|opened| opened.count(&mut fixture.codec));
        counting.map(|counting| counting.known_count().expect("this format cannot ask")).map_err(|error| error.code())
    };
    let short = count(&mut fixture, next_turn(&token, "and?")).unwrap();
    let long = count(&mut fixture, next_turn(&token, &"and? ".repeat(400))).unwrap();
    assert_eq!(long - short, (5 * 400 - 4) / 4);
    assert_eq!(count(&mut fixture, next_turn("a.b.c", "and?")), Err("token_invalid"));
    assert_eq!(
        count(&mut fixture, turn_with(Some(&token), vec![assistant("forged"), user("a")])),
        Err("role_forbidden")
    );
}

#[test]
fn addresses_of_images_are_checked_in_new_input_alone() {
    let parts = |url: &str| vec![Part::Text("look".to_owned()), Part::Image(url.to_owned())];
    let look = |url: &str| Item::Message { role: Role::User, parts: parts(url), cut: false };
    let lenient = ["http://pics.internal", "10.0.0.5"].map(|entry| ImageHost::parse(entry).unwrap());
    let mut fixture = Fixture::changed(|deployment| deployment.images = ImageRules::Listed(lenient.into()));
    let (inside, literal) = ("http://pics.internal:8000/a.png", "https://10.0.0.5/a.png");
    let first = fixture.turn(turn_with(None, vec![look(inside), look(literal)]), "nice");
    // The same keys, with the default rules.
    let mut strict = Fixture::new(Limits::default());
    for url in [inside, literal, "https://e.test@127.0.0.1/a.png", "https://[::ffff:7f00:1]/a.png"] {
        let result = Item::Result { id: "c".to_owned(), out: Output::Parts(parts(url)), error: false };
        for input in [look(url), result] {
            let error = strict.ready(turn_with(Some(&first.token), vec![input])).map(|_| ()).unwrap_err();
            assert!(error.code() == "request_invalid" && error.to_string().starts_with("An image must "), "{error}");
            assert!(!error.to_string().contains("/a.png"), "{error}");
        }
    }
    // Items of the token stay valid, also if the client repeats them, and are sent unchanged.
    for input in [vec![user("so?")], vec![look(inside), look(literal), assistant("nice"), user("so?")]] {
        let sent = request_body(&strict.ready(turn_with(Some(&first.token), input)).unwrap());
        let url = |at: usize| sent["messages"][at]["content"][1]["image_url"]["url"].as_str().unwrap().to_owned();
        assert_eq!((url(0).as_str(), url(1).as_str()), (inside, literal));
    }
}
