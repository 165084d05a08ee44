//! `holdall send`: one turn, and a token file that never loses its token.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    thread,
};

use super::home::{Home, Ran, at, cutting_upstream, hostile_server, no_upstream, refusing_upstream};

#[test]
fn the_conversation_is_in_the_file() {
    let home = Home::new();
    home.run(&["send", "-t", "a.token", "Repeat one"]).ok("one\n");
    home.run(&["send", "-t", "a.token", "My name is Ada."]).ok("…\n");
    home.run(&["send", "-t", "a.token", "What is my name?"]).ok("…Ada…\n");
    assert_eq!(home.files(), ["a.token"]);
    for file in [home.path("a.token"), home.data("keys")] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(home.data("")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_dash_is_standard_input() {
    let home = Home::new();
    home.feed(&["send", "-t", "a", "-"], "Repeat two\nlines\n").ok("two\nlines\n");
    home.run(&["token", "history", "a"]).ok("user: Repeat two\n  lines\nassistant: two\n  lines\n");
}

#[test]
fn json_is_the_complete_response() {
    let home = Home::new();
    let ran = home.run(&["send", "-t", "a", "--json", "Repeat one"]).ok(
        "{\"reply\":\"one\",\"output\":[{\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"one\"}]}],\
         \"token\":\"…\",\"user_id\":\"local\",\"conversation\":{\"id\":\"…\",\"turn\":1,…},\
         \"usage\":{…},\"finish_reason\":\"stop\"}\n",
    );
    let token = home.read("a");
    assert!(ran.out.contains(&format!("\"token\":\"{}\"", token.trim_end())));
}

#[test]
fn a_failed_turn_leaves_the_file_unchanged() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    let before = home.read("a");
    let (down, cut, refusing) = (no_upstream(), cutting_upstream("It was"), refusing_upstream());
    home.run(&at(&down, &["send", "-t", "a", "hi"])).fails(
        "error: The model service could not be reached, or failed. Retry the request. \
         Cause: tcp connect error: Connection refused…\n\
         hint: the chat is unchanged; check that the model service runs\n",
    );
    home.run(&at(&refusing, &["send", "-t", "a", "hi"])).fails(
        "error: The model service is not available. Cause: status 404 invalid_request_error: model\n\
         hint: check the API key, the account, the model name and the URL of the model service\n",
    );
    home.run(&at(&cut, &["send", "-t", "a", "hi"])).expect(
        1,
        "It was\n",
        "error: The model service stopped before the end of its reply. Retry the request.\nhint: the chat is unchanged\n",
    );
    home.run(&["send", "-t", "a", ""]).fails("error: The input message is empty. Send text or an image.\n");
    home.run(&["send", "-t", "a", "--user", "bob", "hi"]).fails(
        "error: The server does not accept this token from this caller. … Cause: subject: another caller's token\n\
         hint: the file is unchanged; `holdall token verify --user bob a` prints the cause\n",
    );
    assert_eq!((home.read("a"), home.files()), (before, vec!["a".to_owned()]));
    home.run(&["send", "-t", "a", "How many turns do you see?"]).ok("…turn 2…\n");
}

#[test]
fn a_failed_first_turn_creates_no_file() {
    let home = Home::new();
    home.run(&at(&no_upstream(), &["send", "-t", "a", "--json", "hi"])).expect(
        1,
        "{\"type\":\"urn:holdall:problem:upstream_unavailable\",…,\"request_id\":\"…\"}\n",
        "error: …\nhint: …\n",
    );
    assert!(home.files().is_empty());
}

#[test]
fn a_full_disk_leaves_the_file_unchanged() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    let before = home.read("a");
    // No file can grow. The reply goes to a pipe.
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let run = |arguments: &[&str]| {
        let output = home.program("sh", &[&["-c", full, super::home::BINARY], arguments].concat()).output().unwrap();
        Ran::of(output, &home.path(""))
    };
    run(&["send", "-t", "a", "Repeat two"]).expect(
        1,
        "two\n",
        "error: cannot write `a`: File too large\n\
         hint: the file still has the token from before this turn; free some space, then send again\n",
    );
    assert_eq!((home.read("a"), home.files()), (before.clone(), vec!["a".to_owned()]));
    // A program gets the reply and the token even if the file cannot be written.
    let answer = run(&["send", "-t", "a", "--json", "Repeat three"]);
    assert_eq!((answer.code, answer.out.contains("\"reply\":\"three\"")), (Some(1), true));
    assert_eq!(home.read("a"), before);
}

#[test]
fn a_reply_that_cannot_be_printed_leaves_the_file_unchanged() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    let before = home.read("a");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home.holdall(&["send", "-t", "a", "Repeat two"]).stdout(full).output().unwrap();
    Ran::of(output, &home.path("")).fails("error: cannot write to standard output: No space left on device\n");
    assert_eq!(home.read("a"), before);
}

#[test]
fn a_closed_standard_output_is_no_error_and_loses_no_turn() {
    let home = Home::new();
    let mut command = home.holdall(&["send", "-t", "a", "Write 5000 words"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    home.run(&["send", "-t", "a", "How many turns do you see?"]).ok("…turn 2…\n");
}

#[test]
fn concurrent_turns_on_one_file_take_turns() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat 0"]).ok("0\n");
    thread::scope(|scope| {
        for number in 1..=6 {
            let home = &home;
            scope.spawn(move || {
                let ran = home.run(&["send", "-t", "a", &format!("Repeat {number}")]);
                assert_eq!((ran.code, ran.out), (Some(0), format!("{number}\n")), "{}", ran.err);
                let waited = "waiting: another holdall process is using `a`\n";
                assert!(ran.err.is_empty() || ran.err == waited, "{}", ran.err);
            });
        }
    });
    home.run(&["send", "-t", "a", "How many turns do you see?"]).ok("…turn 8…\n");
    assert_eq!(home.files(), ["a"]);
}

#[test]
fn only_a_regular_file_can_be_a_token_file() {
    let home = Home::new();
    home.run(&["send", "-t", "/dev/null", "hi"]).fails("error: `/dev/null` is not a regular file\n");
    home.run(&["send", "-t", "none/a", "hi"]).fails(
        "error: cannot create the lock file `none/a.lock`: No such file or directory\n\
         hint: check that the folder exists and is writable\n",
    );
}

#[test]
fn a_running_server_works_in_the_same_way() {
    let home = Home::new();
    let mut server =
        home.holdall(&["serve", "--dev", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let url = lines.find_map(|line| Some(line.unwrap().split_once("listens on ")?.1.to_owned())).unwrap();
    home.run(&["send", "-t", "a", "--url", &url, "My name is Ada."]).ok("…\n");
    home.run(&["send", "-t", "a", "--url", &url, "What is my name?"]).ok("…Ada…\n");
    home.run(&["send", "-t", "a", "--url", &url, "--user", "eve", "What is my name?"]).fails(
        "error: The server does not accept this token from this caller. …\n\
         hint: the file is unchanged; its token may belong to another user, or to a server with other keys\n",
    );
    home.run(&["send", "-t", "a", "--url", &url, "--model", "none", "hi"])
        .fails("error: Unknown model `none`. Available models: default, builtin.\n");
    home.run(&["send", "-t", "b", "--url", &format!("{url}/v2"), "hi"])
        .fails("error: The server has nothing at this path. Send turns with POST to /v1/turns, /v1/responses, …\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    home.run(&["send", "-t", "a", "--url", &url, "hi"]).fails(
        "error: the server cannot be reached: tcp connect error: Connection refused…\n\
         hint: check the URL, and that a server runs there; `holdall serve` starts one\n",
    );
}

#[test]
fn model_selects_a_model_of_the_configuration() {
    let home = Home::new();
    let model = |alias| format!("[[model]]\nalias = \"{alias}\"\nupstreams = [\"u\"]\nmodel = \"builtin\"\n");
    let upstream = "[[upstream]]\nname = \"u\"\nkind = \"builtin\"\n";
    home.write("holdall.toml", &format!("listen = \"0.0.0.0:1\"\n{upstream}{}{}", model("small"), model("large")));
    let send = ["send", "-t", "a", "--config", "holdall.toml", "Repeat one"];
    let model_of = || {
        let shown = home.run(&["token", "inspect", "a"]).out;
        shown.lines().find_map(|line| line.strip_prefix("model           ")).unwrap().to_owned()
    };
    home.run(&send).ok("one\n");
    assert_eq!(model_of(), "small");
    home.run(&[&send[..], &["--model", "large"]].concat()).ok("one\n");
    assert_eq!(model_of(), "large");
    // Without --model, the conversation keeps its model.
    home.run(&send).ok("one\n");
    assert_eq!(model_of(), "large");
    home.run(&[&send[..], &["--model", "none"]].concat()).fails(
        "error: no `[[model]]` table in the configuration file `holdall.toml` has the alias `none`\n\
                hint: use one of these: small, large\n",
    );
    home.run(&["send", "-t", "a", "--upstream-url", "http://127.0.0.1:1", "hi"]).fails(
        "error: `--upstream-url` (HOLDALL_UPSTREAM_URL) is set, but the built-in model has no URL\n\
         hint: also name the kind of the service: `--upstream openai`, `openai-responses` or `anthropic` (HOLDALL_UPSTREAM)\n",
    );
    home.run(&["send", "-t", "a", "--upstream", "openai", "hi"])
        .fails("error: no model is named\nhint: pass `--model NAME` (HOLDALL_MODEL)\n");
}

#[test]
fn an_error_of_a_server_cannot_write_to_the_terminal() {
    let home = Home::new();
    let url = hostile_server();
    let shown = "error: no \u{fffd}]0;owned\u{fffd}\u{fffd}2J \u{fffd}txt\n  hint: run this\u{fffd}\n";
    home.run(&["send", "-t", "a", "--url", &url, "hi"]).fails(shown);
    home.run(&["chat", "-t", "a", "--url", &url]).fails(shown);
    // A program gets the document unchanged.
    let ran = home.run(&["send", "-t", "a", "--url", &url, "--json", "hi"]);
    assert!(ran.out.contains(r"\u001b]0;owned") && ran.err == shown, "{ran:?}");
}

#[test]
fn a_token_file_that_another_user_could_have_placed_is_refused() {
    let home = Home::new();
    home.write("victim", "precious\n");
    std::os::unix::fs::symlink(home.path("victim"), home.path("a")).unwrap();
    let refused = "error: `a` is a symbolic link; name the file that it leads to\n";
    home.run(&["send", "-t", "a", "hi"]).fails(refused);
    home.run(&["chat", "-t", "a"]).fails(refused);
    home.run(&["chat", "-t", "a", "--new"]).fails(refused);
    std::os::unix::fs::symlink(home.path("victim"), home.path("b.lock")).unwrap();
    home.run(&["send", "-t", "b", "hi"]).fails(
        "error: `b.lock` is a symbolic link; name the file that it leads to\n\
         hint: check that the folder exists and is writable\n",
    );
    assert_eq!(home.read("victim"), "precious\n");
    assert_eq!(home.files(), ["a", "b.lock", "victim"]);
}

#[test]
fn a_credential_in_a_url_is_never_quoted() {
    let home = Home::new();
    for url in ["http://ada:hunter2@127.0.0.1:1", "http://127.0.0.1:1/?key=hunter2", "hunter2"] {
        home.run(&["send", "-t", "a", "--url", url, "hi"]).fails(
            "error: `…` (not shown: it may hold a secret) is not a valid server URL: use http: or https:, without \
             credentials and query\n",
        );
    }
}
