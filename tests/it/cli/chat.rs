//! `holdall chat` on a pipe: each line is a turn, and standard output contains only replies.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use super::home::{Home, at, cutting_upstream, no_upstream};

#[test]
fn a_saved_chat_resumes() {
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
fn a_chat_resumes_after_a_kill() {
    let home = Home::new();
    let mut child = home.holdall(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
    // The answer to the second line shows that the first turn is over.
    child.stdin.as_mut().unwrap().write_all(b"My name is Ada.\n/info\n").unwrap();
    while !replies.next().unwrap().unwrap().starts_with("can undo") {}
    child.kill().unwrap();
    child.wait().unwrap();
    home.feed(&["chat"], "What is my name?\n").ok("…Ada…\n");
}

#[test]
fn undo_reaches_back_to_the_start_of_the_run() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    home.feed(&["chat", "-t", "a"], "Repeat two\nRepeat three\n/undo\n/history\n/undo\n/undo\n").expect(
        1,
        "two\nthree\nuser: Repeat one\nassistant: one\nuser: Repeat two\nassistant: two\n",
        "(undone; the chat now has 2 turns)\n(undone; the chat now has 1 turn)\n\
         error: there is nothing to undo\nhint: /undo reaches back to the start of this run only\n\
         error: 1 of 6 lines failed\n",
    );
    home.feed(&["chat", "-t", "a"], "How many turns do you see?\n").ok("…turn 2…\n");
    home.feed(&["chat", "-t", "b"], "Repeat one\n/undo\n/history\n").expect(
        1,
        "one\n",
        "(undone; the chat now has 0 turns)\nerror: the chat has no turns yet\nerror: 1 of 3 lines failed\n",
    );
    assert_eq!(home.files(), ["a"]);
}

#[test]
fn a_fork_continues_in_another_file() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a.token"], "/fork early\nRepeat one\n/fork b\nRepeat two\n/fork b\n/fork ../c\n")
        .expect(
            1,
            "one\ntwo\n",
            "error: there is nothing to fork: the chat has no turns yet\n\
         (the chat continues in b.token; a.token is unchanged)\n\
         error: `b.token` is open in a chat (process …)\nhint: leave that chat first, or use another file\n\
         error: /fork needs a name of 1 to 64 bytes: letters, digits, `.`, `_` and `-`, not beginning with `.`\n\
         hint: /fork idea\n\
         error: 3 of 6 lines failed\n",
        );
    home.run(&["token", "history", "a.token"]).ok("user: Repeat one\nassistant: one\n");
    home.run(&["token", "history", "b.token"])
        .ok("user: Repeat one\nassistant: one\nuser: Repeat two\nassistant: two\n");
    home.feed(&["chat", "-t", "a.token"], "/fork b\n").expect(
        1,
        "",
        "error: `b.token` already exists\nhint: choose another name\nerror: 1 of 1 lines failed\n",
    );
    assert_eq!(home.files(), ["a.token", "b.token"]);
}

#[test]
fn copies_and_new_chats_keep_the_old_files() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "/save b\nRepeat one\n/save b\n/save b\n/save\n/new\nRepeat two\n/undo\n/undo\n")
        .expect(
            1,
            "one\ntwo\n",
            "error: there is nothing to save: the chat has no turns yet\n(saved a copy in b)\n\
         error: `b` already exists\nhint: choose another name\n\
         error: /save needs a file name\n\
         hint: /save FILE saves a copy; the chat itself is saved in a after each turn\n\
         (new chat; the old one is now in a.bak)\n\
         (undone; the chat now has 0 turns)\n(undone; the chat now has 1 turn)\n\
         error: 3 of 9 lines failed\n",
        );
    assert_eq!(home.files(), ["a", "a.bak", "b"]);
    assert_eq!((home.read("a"), home.read("a.bak")), (home.read("b"), home.read("b")));
    home.feed(&["chat", "-t", "a", "--new"], "Repeat three\n").expect(0, "three\n", "The old chat is now in a.bak2.\n");
    home.run(&["token", "history", "a"]).ok("user: Repeat three\nassistant: three\n");
}

#[test]
fn info_prints_the_state_of_the_chat() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "/info\nRepeat one\n/info\n").ok("\
model         the built-in model (no network, simple answers)
file          a
turns         none yet
one
model         the built-in model (no network, simple answers)
file          a
conversation  …-7…
turns         1
started       20…Z
expires       20…Z
history       2 items, … bytes
token         … bytes
can undo      1 change
");
}

#[test]
fn a_slash_begins_a_command_unless_a_space_precedes_it() {
    let home = Home::new();
    home.feed(&["chat"], "/bogus\n/undo now\n Repeat /bogus\n/quit\nRepeat never\n").expect(
        1,
        "/bogus\n",
        "error: unknown command /bogus\n\
         hint: /help lists the commands; to send a message that begins with a slash, put a space before it\n\
         error: /undo takes no argument\nerror: 2 of 4 lines failed\n",
    );
    let help = home.feed(&["chat"], "/help\n");
    for command in ["/undo", "/fork NAME", "/save FILE", "/new", "/keep", "/history", "/info", "/quit"] {
        assert!(help.out.lines().any(|line| line.starts_with(command)), "{command}");
    }
}

#[test]
fn the_chat_continues_after_a_failed_line() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    let before = home.read("a");
    let down = no_upstream();
    let error = "error: The model service could not be reached, or failed. Retry the request. \
         Cause: tcp connect error: Connection refused…\n\
                 hint: the chat is unchanged; check that the model service runs\n";
    home.feed(&at(&down, &["chat", "-t", "a"]), "hi\nhi again\n/history\n").expect(
        1,
        "user: Repeat one\nassistant: one\n",
        &format!("{error}{error}error: 2 of 3 lines failed\n"),
    );
    assert_eq!(home.read("a"), before);
}

#[test]
fn only_keep_continues_with_an_interrupted_reply() {
    let home = Home::new();
    let cut = cutting_upstream("It was");
    let error = "error: The model service stopped before the end of its reply. Retry the request.\n\
                 hint: the chat is unchanged; /keep continues it with this part of the reply\n";
    home.feed(&at(&cut, &["chat", "-t", "a"]), "Why?\n/history\n/keep\n/history\n/keep\n").expect(
        1,
        "It was\nuser: Why?\nassistant: It was [interrupted]\n",
        &format!(
            "{error}error: the chat has no turns yet\n(the chat continues with the interrupted reply)\n\
             error: /keep has no interrupted reply to continue with\nerror: 3 of 5 lines failed\n"
        ),
    );
    home.run(&["token", "history", "a"]).ok("user: Why?\nassistant: It was [interrupted]\n");
}

#[test]
fn a_full_disk_keeps_the_saved_chat() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    let before = home.read("a");
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let command = home.program("sh", &["-c", full, super::home::BINARY, "chat", "-t", "a"]);
    home.feed_to(command, "Repeat two\nHow many turns do you see?\n").expect(
        1,
        "two\n…turn 3…\n",
        "error: cannot write `a`: File too large\nhint: the chat continues without being saved; save it with /save FILE\n\
         error: cannot write `a`: File too large\nhint: the chat continues without being saved; save it with /save FILE\n\
         error: 2 of 2 lines failed\n",
    );
    assert_eq!((home.read("a"), home.files()), (before, vec!["a".to_owned()]));
}

#[test]
fn no_other_command_writes_the_file_of_an_open_chat() {
    let home = Home::new();
    let mut child = home.holdall(&["chat", "-t", "a"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
    child.stdin.as_mut().unwrap().write_all(b"Repeat one\n").unwrap();
    assert_eq!(replies.next().unwrap().unwrap(), "one");
    let error = "error: `a` is open in a chat (process …)\nhint: leave that chat first, or use another file\n";
    home.run(&["send", "-t", "a", "hi"]).fails(error);
    home.run(&["chat", "-t", "a"]).fails(error);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    home.run(&["send", "-t", "a", "Repeat two"]).ok("two\n");
}

#[test]
fn a_chat_that_cannot_resume_fails_at_its_start() {
    let home = Home::new();
    home.feed(&["chat", "-t", "a"], "Repeat one\n").ok("one\n");
    home.feed(&["chat", "-t", "a", "--user", "bob"], "hi\n").fails(
        "error: The server does not accept this token from this caller. … Cause: subject: another caller's token\n\
         hint: the file is unchanged; `holdall token verify --user bob a` prints the cause\n",
    );
    home.write("b", "no token\n");
    home.feed(&["chat", "-t", "b"], "hi\n").fails(
        "error: The server does not accept this token from this caller. … Cause: charset: a byte outside […]\n\
         hint: the file is unchanged; `holdall token verify --user local b` prints the cause\n",
    );
    assert_eq!(home.read("b"), "no token\n");
    home.feed(&["chat", "-t", "c", "--url", "http://127.0.0.1:1"], "hi\n").fails(
        "error: the server cannot be reached: …\nhint: check the URL, and that a server runs there; `holdall serve` starts one\n",
    );
}

#[test]
fn an_expired_chat_is_an_error_and_new_starts_another() {
    let home = Home::new();
    super::token::old_token(&home, "a", 8);
    home.feed(&["chat", "-t", "a"], "hi\n").fails(
        "error: the chat in `a` expired at 20…Z\n\
         hint: `holdall token history a` prints it; `holdall chat --new -t a` keeps it in a backup and starts a new chat\n",
    );
    home.feed(&["chat", "-t", "a", "--new"], "Repeat one\n").expect(0, "one\n", "The old chat is now in a.bak.\n");
    home.run(&["token", "history", "a.bak"]).ok("user: hi\n");
    super::token::old_token(&home, "b", 40);
    home.feed(&["chat", "-t", "b"], "hi\n").fails(
        "error: The token expired at 20…Z. Start a new conversation.\n\
         hint: the file is unchanged; `holdall token history b` prints the conversation\n",
    );
}

#[test]
fn a_line_that_is_not_utf8_is_an_error() {
    let home = Home::new();
    let mut child = home.holdall(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\xfe\nRepeat \xc3\xbc\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ü\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: the line is not UTF-8\nerror: 1 of 2 lines failed\n");
}
