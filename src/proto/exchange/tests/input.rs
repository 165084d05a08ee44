//! Input of clients: repeated conversations, history of their own, system prompts and images.

use super::*;

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
fn clients_may_bring_history_if_it_is_configured() {
    let mut fixture = Fixture::changed(|deployment| deployment.accepts_client_history = true);
    let call = Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    let result = Item::Result { id: "c".to_owned(), out: Output::Text("3".to_owned()), error: false };
    let brought = vec![user("hi"), assistant("I promise"), user("add"), call.clone(), result, user("and?")];
    let first = fixture.turn(turn_with(None, brought.clone()), "yes");
    let items = fixture.history(&first.token).unwrap().0;
    assert_eq!(items[..brought.len()], brought);
    // Repeated items are still dropped, and items that differ are new.
    let mut again = items.clone();
    again.push(user("continue"));
    let second = fixture.turn(turn_with(Some(&first.token), again), "sure");
    assert_eq!(fixture.history(&second.token).unwrap().0.len(), items.len() + 2);
    let other = turn_with(Some(&first.token), vec![assistant("besides"), user("continue")]);
    let other = fixture.turn(other, "yes").token;
    assert_eq!(fixture.history(&other).unwrap().0.len(), items.len() + 3);
    // A copy with changed user messages would enter the conversation a second time.
    let mut changed = items.clone();
    changed[0] = user("hi!");
    changed.push(user("continue"));
    assert_eq!(error_code(fixture.ready(turn_with(Some(&first.token), changed))), "request_invalid");
    for wrong in [vec![user("hi"), assistant("bye")], vec![user("hi"), call.clone(), user("and?")], vec![call]] {
        assert_eq!(error_code(fixture.ready(turn_with(None, wrong))), "request_invalid");
    }
    let think = Item::Think { provider_id: "openai".to_owned(), blob: "{}".to_owned() };
    assert_eq!(error_code(fixture.ready(turn_with(None, vec![think, user("hi")]))), "role_forbidden");
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
    assert_eq!(error_code(fixture.ready(with(None))), "role_forbidden");
    assert_eq!(request_body(&fixture.ready(first_turn("hi")).unwrap())["messages"][0]["content"], "Be kind.");
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
        let counting = fixture.open(request, &anonymous()).and_then(Exchange::<Opened>::count);
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
