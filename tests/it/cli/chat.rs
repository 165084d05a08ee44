//! `holdall chat` over a pipe: a line is a turn, and standard output has the replies alone.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use super::home::{Home, at, cutting_upstream, no_upstream};

#[test]
fn a_saved_chat_goes_on() {
    let home = Home::new();
    home.feed(&["chat"], "My name is Ada.\n\nRepeat after me: two\n").ok("…\ntwo\n");
    home.feed(&["chat"], "What is my name?\r\nHow many turns do you see?").ok("…Ada…\n…turn 4…\n");
    home.run(&["chat"]).ok("");
    let files = fs::read_dir(home.data("")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["chat.token", "keys"]);
}

#[test]
fn a_chat_goes_on_after_its_process_was_killed() {
    let home = Home::new();
    let mut child = home.holdall(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
    // The answer to the second line says that the turn before it is over.
    child.stdin.as_mut().unwrap().write_all(b"My name is Ada.\n/info\n").unwrap();
    while !replies.next().unwrap().unwrap().starts_with("can undo") {}
    child.kill().unwrap();
    child.wait().unwrap();
    home.feed(&["chat"], "What is my name?\n").ok("…Ada…\n");
}

#[test]
fn turns_are_taken_back_as_far_as_this_run_went() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    home.feed(&["chat", "-t", "a"], "Repeat two\nRepeat three\n/undo\n/history\n/undo\n/undo\n").expect(
        1,
        "two\nthree\nuser: Repeat one\nassistant: one\nuser: Repeat two\nassistant: two\n",
        "(the chat stands after turn 2)\n(the chat stands after turn 1)\n\
         error: there is nothing to undo\nhint: only turns since the chat was opened can be taken back\n\
         error: 1 of 6 lines failed\n",
    );
    home.feed(&["chat", "-t", "a"], "How many turns do you see?\n").ok("…turn 2…\n");
    home.feed(&["chat", "-t", "b"], "Repeat one\n/undo\n/history\n").expect(
        1,
        "one\n",
        "(the chat stands before its first turn)\nerror: nothing has been said yet\nerror: 1 of 3 lines failed\n",
    );
    assert_eq!(home.files(), ["a"]);
}

#[test]
fn a_fork_goes_on_beside() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a.token"], "/fork early\nRepeat one\n/fork b\nRepeat two\n/fork b\n/fork ../c\n")
        .expect(
            1,
            "one\ntwo\n",
            "error: there is nothing to fork yet\n\
         (the chat goes on in b.token; a.token stays as it is)\n\
         error: a chat has b.token open (chat, process …)\nhint: leave that chat first, or use another file\n\
         error: a fork has a name of letters, digits, `.`, `_` and `-`\nhint: /fork idea\n\
         error: 3 of 6 lines failed\n",
        );
    home.run(&["token", "history", "a.token"]).ok("user: Repeat one\nassistant: one\n");
    home.run(&["token", "history", "b.token"])
        .ok("user: Repeat one\nassistant: one\nuser: Repeat two\nassistant: two\n");
    home.feed(&["chat", "-t", "a.token"], "/fork b\n").expect(
        1,
        "",
        "error: b.token is there already\nhint: take another name\nerror: 1 of 1 lines failed\n",
    );
    assert_eq!(home.files(), ["a.token", "b.token"]);
}

#[test]
fn copies_and_new_chats_take_nothing_away() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "/save b\nRepeat one\n/save b\n/save b\n/save\n/new\nRepeat two\n/undo\n/undo\n")
        .expect(
            1,
            "one\ntwo\n",
            "error: there is nothing to save yet\n(a copy is in b)\n\
         error: b is there already\nhint: take another name\n\
         error: /save wants a file\nhint: /save FILE writes a copy; after each turn the chat is saved in a anyway\n\
         (a new chat; the old one is kept in a.bak)\n\
         (the chat stands before its first turn)\n(the chat stands after turn 1)\n\
         error: 3 of 9 lines failed\n",
        );
    assert_eq!(home.files(), ["a", "a.bak", "b"]);
    assert_eq!((home.read("a"), home.read("a.bak")), (home.read("b"), home.read("b")));
    home.feed(&["chat", "-t", "a", "--new"], "Repeat three\n").expect(0, "three\n", "the old chat is kept in a.bak2\n");
    home.run(&["token", "history", "a"]).ok("user: Repeat three\nassistant: three\n");
}

#[test]
fn info_says_where_the_chat_stands() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "/info\nRepeat one\n/info\n").ok("\
model         the built-in model, which needs no network and knows little
file          a
turns         none yet
one
model         the built-in model, which needs no network and knows little
file          a
conversation  …-7…
turns         1
began         20…Z
good until    20…Z
history       2 items, … bytes
token         … bytes
can undo      1 turn
");
}

#[test]
fn a_slash_begins_a_command_and_a_space_before_it_does_not() {
    let home = Home::new();
    home.feed(&["chat"], "/bogus\n/undo now\n Repeat /bogus\n/quit\nRepeat never\n").expect(
        1,
        "/bogus\n",
        "error: there is no command /bogus\n\
         hint: /help lists them; put a space before the slash to say it to the model\n\
         error: /undo takes no argument\nerror: 2 of 4 lines failed\n",
    );
    let help = home.feed(&["chat"], "/help\n");
    for command in ["/undo", "/fork NAME", "/save FILE", "/new", "/keep", "/history", "/info", "/quit"] {
        assert!(help.out.lines().any(|line| line.starts_with(command)), "{command}");
    }
}

#[test]
fn a_line_that_fails_does_not_end_the_chat() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    let before = home.read("a");
    let down = no_upstream();
    let error = "error: The model service could not be reached, or failed. Retry the request. (tcp connect error: Connection refused…)\n\
                 hint: nothing is lost; see that the model service runs, and say it again\n";
    home.feed(&at(&down, &["chat", "-t", "a"]), "hi\nhi again\n/history\n").expect(
        1,
        "user: Repeat one\nassistant: one\n",
        &format!("{error}{error}error: 2 of 3 lines failed\n"),
    );
    assert_eq!(home.read("a"), before);
}

#[test]
fn a_cut_reply_is_kept_only_when_asked_for() {
    let home = Home::new();
    let cut = cutting_upstream("It was");
    let error = "error: The model service stopped before the end of its reply. Retry the request.\n\
                 hint: the chat stands as before; /keep goes on from the part of the reply above instead\n";
    home.feed(&at(&cut, &["chat", "-t", "a"]), "Why?\n/history\n/keep\n/history\n/keep\n").expect(
        1,
        "It was\nuser: Why?\nassistant: It was [cut]\n",
        &format!(
            "{error}error: nothing has been said yet\n(the chat goes on from the cut reply)\n\
             error: there is no cut reply to keep\nerror: 3 of 5 lines failed\n"
        ),
    );
    home.run(&["token", "history", "a"]).ok("user: Why?\nassistant: It was [cut]\n");
}

#[test]
fn a_full_disk_leaves_the_saved_chat() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    let before = home.read("a");
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let command = home.program("sh", &["-c", full, super::home::BINARY, "chat", "-t", "a"]);
    home.feed_to(command, "Repeat two\nHow many turns do you see?\n").expect(
        1,
        "two\n…turn 3…\n",
        "error: cannot write a: File too large\nhint: the chat goes on, not saved; `/save FILE` keeps it elsewhere\n\
         error: cannot write a: File too large\nhint: the chat goes on, not saved; `/save FILE` keeps it elsewhere\n\
         error: 2 of 2 lines failed\n",
    );
    assert_eq!((home.read("a"), home.files()), (before, vec!["a".to_owned()]));
}

#[test]
fn nobody_else_writes_the_file_of_an_open_chat() {
    let home = Home::new();
    let mut child = home.holdall(&["chat", "-t", "a"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
    child.stdin.as_mut().unwrap().write_all(b"Repeat one\n").unwrap();
    assert_eq!(replies.next().unwrap().unwrap(), "one");
    let error = "error: a chat has a open (chat, process …)\nhint: leave that chat first, or use another file\n";
    home.run(&["send", "-t", "a", "hi"]).fails(error);
    home.run(&["chat", "-t", "a"]).fails(error);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    home.run(&["send", "-t", "a", "Repeat two"]).ok("two\n");
}

#[test]
fn a_chat_that_cannot_go_on_says_so_at_its_start() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    home.feed(&["chat", "-t", "a", "--user", "bob"], "hi\n").fails(
        "error: The server does not accept this token from this caller. … (subject: another caller's token)\n\
         hint: a stays; `holdall token verify --user bob a` looks closer\n",
    );
    home.write("b", "no token\n");
    home.feed(&["chat", "-t", "b"], "hi\n").fails(
        "error: The server does not accept this token from this caller. … (charset: a byte outside […])\n\
         hint: b stays; `holdall token verify --user local b` looks closer\n",
    );
    assert_eq!(home.read("b"), "no token\n");
    home.feed(&["chat", "-t", "c", "--url", "http://127.0.0.1:1"], "hi\n").fails(
        "error: the server cannot be reached: …\nhint: see that a server runs there; `holdall serve` starts one\n",
    );
}

#[test]
fn an_expired_chat_says_so_and_begins_anew_on_request() {
    let home = Home::new();
    super::token::old_token(&home, "a", 8);
    home.feed(&["chat", "-t", "a"], "hi\n").fails(
        "error: the chat in a expired at 20…Z\n\
         hint: `holdall token history a` reads it; with --new a chat begins anew and keeps this one beside\n",
    );
    home.feed(&["chat", "-t", "a", "--new"], "Repeat one\n").expect(0, "one\n", "the old chat is kept in a.bak\n");
    home.run(&["token", "history", "a.bak"]).ok("user: hi\n");
    super::token::old_token(&home, "b", 40);
    home.feed(&["chat", "-t", "b"], "hi\n").fails(
        "error: The token expired at 20…Z. Start a new conversation.\n\
         hint: b stays; `holdall token history b` reads it\n",
    );
}

#[test]
fn what_is_not_text_is_refused_line_by_line() {
    let home = Home::new();
    let mut child = home.holdall(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\xfe\nRepeat \xc3\xbc\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ü\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: the line is not UTF-8\nerror: 1 of 2 lines failed\n");
}
