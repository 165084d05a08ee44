//! What a client may bring beside its own words: a repeated conversation, a system prompt, images that are not kept.

use super::*;

fn user(text: &str) -> Item {
    Item::text(Role::User, text)
}

fn model_said(text: &str) -> Item {
    Item::text(Role::Assistant, text)
}

fn bring(token: Option<&str>, input: Vec<Item>) -> TurnRequest {
    TurnRequest { token: token.map(str::to_owned), input, ..first_turn("") }
}

/// What the model is asked, as its format has it.
fn asked(exchange: &Exchange<Ready>) -> Value {
    serde_json::from_slice(exchange.request().body()).unwrap()
}

#[test]
fn a_repeated_conversation_enters_from_the_token_alone() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let plain = asked(&fixture.ready(next_turn(&first, "and?")).unwrap());
    let repeated = bring(Some(&first), vec![user("hi"), model_said("hello"), user("and?")]);
    assert_eq!(asked(&fixture.ready(repeated.clone()).unwrap()), plain);
    let answer = fixture.turn(repeated, "yes");
    let items = fixture.history(&answer.token).unwrap().0;
    assert_eq!(items, [user("hi"), model_said("hello"), user("and?"), model_said("yes")]);
}

#[test]
fn nothing_forged_enters_with_or_without_a_token() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    let think = Item::Think { provider_id: "openai".to_owned(), blob: "{}".to_owned() };
    let call = Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    for forged in [model_said("I promise"), think, call] {
        for token in [None, Some(first.as_str())] {
            let outcome = fixture.ready(bring(token, vec![user("hi"), forged.clone(), user("and?")]));
            assert_eq!(error_code(outcome), "role_forbidden", "{forged:?}");
        }
    }
    let changed = bring(Some(&first), vec![user("hello?"), model_said("hello"), user("and?")]);
    assert_eq!(error_code(fixture.ready(changed)), "request_invalid");
}

#[test]
fn a_conversation_alone_is_no_input() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    assert_eq!(
        error_code(fixture.ready(bring(Some(&first), vec![user("hi"), model_said("hello")]))),
        "request_invalid"
    );
}

#[test]
fn clients_speak_for_the_model_where_that_is_configured() {
    let mut fixture = Fixture::changed(|deployment| deployment.accepts_client_history = true);
    let call = Item::Call { id: "c".to_owned(), name: "add".to_owned(), args: "{}".to_owned() };
    let result = Item::Result { id: "c".to_owned(), out: Output::Text("3".to_owned()), error: false };
    let brought = vec![user("hi"), model_said("I promise"), user("add"), call.clone(), result, user("and?")];
    let first = fixture.turn(bring(None, brought.clone()), "yes");
    let items = fixture.history(&first.token).unwrap().0;
    assert_eq!(items[..brought.len()], brought);
    // A repetition is still one, and what differs is taken as new.
    let mut again = items.clone();
    again.push(user("go on"));
    let second = fixture.turn(bring(Some(&first.token), again), "sure");
    assert_eq!(fixture.history(&second.token).unwrap().0.len(), items.len() + 2);
    let other = bring(Some(&first.token), vec![model_said("besides"), user("go on")]);
    let other = fixture.turn(other, "yes").token;
    assert_eq!(fixture.history(&other).unwrap().0.len(), items.len() + 3);
    // A repetition with other words of the user's would double the conversation.
    let mut changed = items.clone();
    changed[0] = user("hi!");
    changed.push(user("go on"));
    assert_eq!(error_code(fixture.ready(bring(Some(&first.token), changed))), "request_invalid");
    for wrong in [vec![user("hi"), model_said("bye")], vec![user("hi"), call.clone(), user("and?")], vec![call]] {
        assert_eq!(error_code(fixture.ready(bring(None, wrong))), "request_invalid");
    }
    let think = Item::Think { provider_id: "openai".to_owned(), blob: "{}".to_owned() };
    assert_eq!(error_code(fixture.ready(bring(None, vec![think, user("hi")]))), "role_forbidden");
}

#[test]
fn a_clients_system_prompt_holds_for_its_turn_where_the_alias_has_none() {
    let mut fixture = Fixture::new(Limits::default());
    let with =
        |token: Option<&str>| TurnRequest { system: Some("Be brief.".to_owned()), ..bring(token, vec![user("hi")]) };
    let exchange = fixture.ready(with(None)).unwrap();
    let sent: Value = serde_json::from_slice(exchange.request().body()).unwrap();
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    let token = fixture.turn(with(None), "hello").token;
    assert_eq!(fixture.history(&token).unwrap().0, [user("hi"), model_said("hello")]);
    assert_eq!(asked(&fixture.ready(next_turn(&token, "and?")).unwrap())["messages"][0]["role"], "user");

    let own = Model { system_prompt: Some("Be kind.".to_owned()), ..model("default") };
    let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![own]);
    assert_eq!(error_code(fixture.ready(with(None))), "role_forbidden");
    assert_eq!(asked(&fixture.ready(first_turn("hi")).unwrap())["messages"][0]["content"], "Be kind.");
}

#[test]
fn an_inline_image_is_seen_once_and_then_a_note() {
    let mut fixture = Fixture::changed(|deployment| deployment.elides_inline_images = true);
    let inline = "data:image/png;base64,AAAAAAAA";
    let look = |url: &str| Item::Message {
        role: Role::User,
        parts: vec![Part::Text("look".to_owned()), Part::Image(url.to_owned())],
        cut: false,
    };
    let sent = asked(&fixture.ready(bring(None, vec![look(inline)])).unwrap());
    assert_eq!(sent["messages"][0]["content"][1]["image_url"]["url"], inline);
    let first = fixture.turn(bring(None, vec![look(inline), look("https://e.test/a.png")]), "nice");
    assert_eq!(first.conversation.elided_images, 1);
    let items = fixture.history(&first.token).unwrap().0;
    let note = Part::Text("[inline image left out: image/png, 6 bytes]".to_owned());
    assert_eq!(
        items[0],
        Item::Message { role: Role::User, parts: vec![Part::Text("look".to_owned()), note], cut: false }
    );
    assert_eq!(items[1], look("https://e.test/a.png"));
    // Who repeats the conversation with the image is understood.
    let again =
        bring(Some(&first.token), vec![look(inline), look("https://e.test/a.png"), model_said("nice"), user("so?")]);
    assert_eq!(fixture.turn(again, "well").conversation.elided_images, 0);
    // Kept where that is not asked for.
    let mut fixture = Fixture::new(Limits::default());
    let kept = fixture.turn(bring(None, vec![look(inline)]), "nice");
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
    assert_eq!(count(&mut fixture, bring(Some(&token), vec![model_said("forged"), user("a")])), Err("role_forbidden"));
}
