use super::*;
use crate::proto::{
    chat::{Item, Output, Part, Role},
    provider::testing::*,
    turn::{Delta, FinishReason, ModelOptions, Reasoning, Tool, ToolChoice},
};

/// Takes these turns with the model. Returns the last answer.
fn last_answer(turns: &[&str]) -> String {
    let mut items = Vec::new();
    let mut last = String::new();
    for turn in turns {
        items.push(Item::text(Role::User, *turn));
        last = reply_text(&items, &ModelOptions::default());
        items.push(Item::text(Role::Assistant, last.as_str()));
    }
    last
}

/// The deltas of a streamed answer. Checks that the answer without a stream has the same content.
fn deltas(items: &[Item], options: &ModelOptions) -> Vec<Delta> {
    let [streamed, complete] = [true, false].map(|stream| {
        let pieces = answer(request(&Builtin, items, options, stream).body()).unwrap();
        assert_eq!(answer(request(&Builtin, items, options, stream).body()).unwrap(), pieces);
        let (deltas, ended) = read(&Builtin, content_type(stream), pieces.iter().map(|piece| &piece[..]));
        assert_eq!(ended, Ok(()));
        assert!(stream || pieces.len() == 1);
        deltas
    });
    let join = |deltas: &[Delta]| -> (String, Vec<Delta>) {
        let text = deltas.iter().filter_map(|delta| if let Delta::Text(text) = delta { Some(&**text) } else { None });
        (text.collect(), deltas.iter().filter(|delta| !matches!(delta, Delta::Text(_))).cloned().collect())
    };
    assert_eq!(join(&streamed), join(&complete));
    streamed
}

fn reply_text(items: &[Item], options: &ModelOptions) -> String {
    deltas(items, options)
        .into_iter()
        .map(|delta| if let Delta::Text(text) = delta { text } else { String::new() })
        .collect()
}

fn tools(names: &[&str]) -> ModelOptions {
    let tool = |name: &&str| Tool { name: (*name).to_owned(), description: None, parameters: None, strict: None };
    ModelOptions { tools: names.iter().map(tool).collect(), ..ModelOptions::default() }
}

fn calls(text: &str, options: &ModelOptions) -> Vec<(String, String)> {
    let call = |delta| if let Delta::Call { name, args, .. } = delta { Some((name, args)) } else { None };
    deltas(&[Item::text(Role::User, text)], options).into_iter().filter_map(call).collect()
}

#[test]
fn facts_are_recalled_and_never_invented() {
    for (turns, answer) in [
        (&["My name is Ada.", "What is my name?"][..], "Your name is Ada."),
        (&["hello, I am called Ada Lovelace!", "who am I?"], "Your name is Ada Lovelace."),
        (&["My secret is zx-4.2_9", "hi", "what's my secret"], "Your secret is zx-4.2_9."),
        (&["My name is Ada and my secret is x7.", "What is my secret?"], "Your secret is x7."),
        (&["My name is Ada and my secret is x7.", "What is my name?"], "Your name is Ada."),
        (&["My name is Ada. My cat's name is Tom", "Do you know what my cat's name is?"], "Your cat's name is Tom."),
        (&["My secret is one", "my secret is two", "Tell me my secret."], "Your secret is two."),
        (&["Remember the door code: 4711.", "What is the door code?"], "Your door code is 4711."),
        (&["Please remember that my colour is 'sea green'", "What is my colour?"], "Your colour is sea green."),
        (&["My secret is ž🐎", "Do you remember my secret?"], "Your secret is ž🐎."),
        (&["My name is Ada. What is my name?"], "Your name is Ada."),
        (&["What is my secret?"], "You have not told me your secret in this conversation."),
        (&["What is my name?", "What is my name?"], "You have not told me your name in this conversation."),
        (&["My secret is x7"], "Noted: your secret is x7."),
        (&["Remember to buy milk"], "Noted: to buy milk."),
    ] {
        assert_eq!(last_answer(turns), answer, "{turns:?}");
    }
}

#[test]
fn earlier_messages_are_quoted() {
    for (turns, answer) in [
        (&["one", "two", "three", "What did I say first?"][..], "Your first message was: \"one\""),
        (&["one", "two", "three", "What did I say last?"], "Your last message was: \"three\""),
        (&["one", "two", "What was my previous message?"], "Your last message was: \"two\""),
        (&["one", "help", "What was my first message?"], "Your first message was: \"one\""),
        (&["repeat so be it", "hi", "What did you say first?"], "My first message was: \"so be it\""),
        (&["What did I say first?"], "This is the first message of this conversation."),
        (&["hi", "how many turns?"], "I see 2 messages of yours and 1 reply of mine: this is turn 2."),
        (&["How many messages do you see?"], "I see 1 message of yours and 0 replies of mine: this is turn 1."),
        (
            &["My name is Ada", "my name is Eve, my dog is Rex", "Remember to eat", "List what I told you"],
            "You told me:\n- your name is Eve\n- your dog is Rex\n- to eat",
        ),
        (&["What do you know about me?"], "You have not told me anything in this conversation."),
        (&["My last name is Noether", "What is my last name?"], "Your last name is Noether."),
    ] {
        assert_eq!(last_answer(turns), answer, "{turns:?}");
    }
}

#[test]
fn it_says_that_it_is_the_builtin_model() {
    for message in [
        "Who are you?",
        "What is your name?",
        "are you GPT-5?",
        "hi",
        "Hello there!",
        "help",
        "",
        "Why is the sky blue?",
    ] {
        assert!(last_answer(&[message]).contains("the built-in model"), "{message}");
    }
    let long = "long ".repeat(50);
    assert!(last_answer(&["x", &long]).ends_with(&format!("At turn 2 you wrote: \"{}…\"", &long[..60])));
}

#[test]
fn it_repeats_counts_and_writes() {
    assert_eq!(last_answer(&["Repeat: a  b\n\n ž🐎 "]), "a  b\n\n ž🐎");
    assert_eq!(last_answer(&["please repeat after me: My name is Eve"]), "My name is Eve");
    assert_eq!(last_answer(&["Count to 5!"]), "1 2 3 4 5");
    assert_eq!(last_answer(&["count to 1000"]).split(' ').count(), 1000);
    assert_eq!(last_answer(&["count to 99999999999999999999"]), "I count to 1000 at most.");
    assert_eq!(last_answer(&["Write 200 words."]).split(' ').count(), 200);
    assert_eq!(last_answer(&["write 100001 words"]), "I write 100000 words at most.");
    let items = [Item::text(Role::User, "write 100000 words")];
    assert_eq!(answer(request(&Builtin, &items, &ModelOptions::default(), true).body()).unwrap().len(), 100_001);
}

#[test]
fn a_streamed_answer_has_one_event_for_each_word() {
    let items = [Item::text(Role::User, "repeat one  two\nthree")];
    let expected = [text("one"), text("  two"), text("\nthree"), usage(6, 3, 0), Delta::Finish(FinishReason::Stop)];
    assert_eq!(deltas(&items, &ModelOptions::default()), expected);
}

#[test]
fn the_output_limit_counts_words() {
    let items = [Item::text(Role::User, "repeat one two three")];
    for (max_words, expected, reason) in
        [(2, "one two", FinishReason::Length), (3, "one two three", FinishReason::Stop), (0, "", FinishReason::Length)]
    {
        let options = ModelOptions { max_output_tokens: Some(max_words), ..ModelOptions::default() };
        assert_eq!(reply_text(&items, &options), expected);
        assert_eq!(deltas(&items, &options).last(), Some(&Delta::Finish(reason)));
    }
}

#[test]
fn stop_sequences_end_the_reply() {
    let items = [Item::text(Role::User, "repeat one two three two")];
    for (stop, expected) in [(&["two"][..], "one "), (&["three", " two"], "one"), (&["four"], "one two three two")] {
        let stop = stop.iter().map(|text| (*text).to_owned()).collect();
        let options = ModelOptions { stop, ..ModelOptions::default() };
        assert_eq!(reply_text(&items, &options), expected);
        assert_eq!(deltas(&items, &options).last(), Some(&Delta::Finish(FinishReason::Stop)));
    }
}

#[test]
fn a_count_equals_the_usage_of_the_answer() {
    let items =
        [Item::text(Role::User, "repeat one  two"), call_item("c", "add", "{\"a\": 1}"), result_item("c", "x y")];
    let options = ModelOptions::default();
    let TokenCount::Known(count) = Builtin.count_tokens(&model_call(&Builtin, &items, &options)).unwrap() else {
        panic!("not an estimate")
    };
    let answered = deltas(&items, &options);
    assert!(answered.iter().any(|delta| matches!(delta, Delta::Usage(usage) if usage.input_tokens == count)));
    assert_eq!(count, 2 + 3 + 2 + 2);
}

#[test]
fn unsupported_options_are_ignored() {
    let unsupported = ModelOptions {
        top_p: Some(1.into()),
        seed: Some(7),
        format: schema_format(),
        reasoning: Reasoning { effort: Some("high"), ..Reasoning::default() },
        parallel_calls: Some(true),
        ..ModelOptions::default()
    };
    assert_eq!(options_body(&Builtin, &unsupported), options_body(&Builtin, &ModelOptions::default()));
}

#[test]
fn without_parallel_calls_there_is_one_call() {
    let message = "Call add with {\"a\": 1}, and call now with {}.";
    for (parallel, count) in [(None, 2), (Some(true), 2), (Some(false), 1)] {
        assert_eq!(calls(message, &ModelOptions { parallel_calls: parallel, ..tools(&["add", "now"]) }).len(), count);
    }
}

#[test]
fn tools_are_called_on_request() {
    let call = |name: &str, args: &str| (name.to_owned(), args.to_owned());
    for (message, expected) in [
        ("Call add with {\"a\": 1}", vec![call("add", "{\"a\": 1}")]),
        ("please use `add` with ` {\"a\": \"call now\"} ` thanks", vec![call("add", "{\"a\": \"call now\"}")]),
        ("use now", vec![call("now", "{}")]),
        (
            "call add with {\"a\":1} and call now, then use add with {}.",
            vec![call("add", "{\"a\":1}"), call("now", "{}"), call("add", "{}")],
        ),
        ("call add with [1]", vec![call("add", "{}")]),
        ("call add with {", vec![call("add", "{}")]),
        ("call someone", vec![]),
        ("recall now", vec![]),
        ("call", vec![]),
    ] {
        assert_eq!(calls(message, &tools(&["add", "now"])), expected, "{message}");
        assert_eq!(calls(message, &tools(&[])), vec![], "{message}");
    }
}

#[test]
fn the_tool_choice_is_obeyed() {
    let with = |choice| ModelOptions { tool_choice: Some(choice), ..tools(&["add", "now"]) };
    let name = |text, options: &ModelOptions| calls(text, options).first().map(|(name, _)| name.clone());
    assert_eq!(name("hi", &with(ToolChoice::Required)).as_deref(), Some("add"));
    assert_eq!(name("use now", &with(ToolChoice::Required)).as_deref(), Some("now"));
    assert_eq!(name("hi", &with(ToolChoice::Tool("now".into()))).as_deref(), Some("now"));
    assert_eq!(name("hi", &with(ToolChoice::Tool("gone".into()))), None);
    assert_eq!(name("use now", &with(ToolChoice::None)), None);
    assert_eq!(name("use now", &with(ToolChoice::Auto)).as_deref(), Some("now"));
}

#[test]
fn call_ids_continue_and_results_are_reported() {
    let mut items = vec![
        Item::text(Role::User, "use now"),
        call_item("call_1", "now", "{}"),
        result_item("call_1", "noon"),
        Item::text(Role::User, "use add and use now"),
    ];
    assert_eq!(
        deltas(&items, &tools(&["add", "now"])),
        [
            usage(11, 2, 0),
            call("call_2", "add", "{}"),
            call("call_3", "now", "{}"),
            Delta::Finish(FinishReason::ToolCalls)
        ]
    );
    items.extend([call_item("call_2", "add", "{}"), call_item("call_3", "now", "{}"), result_item("call_2", "5")]);
    items.push(Item::Result { id: "call_3".into(), out: Output::Text("no clock".into()), error: true });
    assert_eq!(reply_text(&items, &tools(&["add", "now"])), "add gave: 5\nnow failed: no clock");
    assert_eq!(reply_text(&[result_item("x", "5")], &tools(&[])), "a tool that I did not call gave: 5");
}

#[test]
fn any_history_gets_an_answer() {
    for items in [vec![], vec![Item::text(Role::Assistant, "a")], vec![call_item("c", "n", "")]] {
        assert_eq!(reply_text(&items, &ModelOptions::default()), "I see nothing to answer.");
    }
    let picture = Item::Message { role: Role::User, parts: vec![Part::Image("u".into())], cut: false };
    assert!(reply_text(&[picture], &ModelOptions::default()).ends_with("you wrote: \"[image]\""));
    for text in [
        "My ",
        "my is ",
        "my x is",
        "remember",
        "remember :",
        "ž my Ž is Ž",
        "ÅMY İ is ß?",
        "call me",
        "repeat",
        ";.!?\n;",
    ] {
        assert!(!last_answer(&[text, "what is my", "list what I told you"]).is_empty(), "{text}");
    }
}

#[test]
fn replies_read_the_same_at_every_split() {
    for stream in [true, false] {
        for message in ["repeat ž 🐎\n\u{2028} \"a\"", "use now and use add with {\"a\": 1}"] {
            let request = request(&Builtin, &[Item::text(Role::User, message)], &tools(&["now", "add"]), stream);
            let reply = answer(request.body()).unwrap().concat();
            read_at_every_cut(&Builtin, content_type(stream), &reply);
        }
    }
}

#[test]
fn each_request_begins_with_the_previous_one() {
    assert_each_request_begins_with_the_previous_one(&Builtin);
}

#[test]
fn a_body_of_another_format_is_refused() {
    for body in ["", "{}", "[]", r#"{"model":"m","stream":true,"items":[{"t":"x"}]}"#, "\u{ff}"] {
        assert_eq!(answer(body.as_bytes()).unwrap_err().code(), "request_invalid", "{body}");
    }
}
