//! `holdall token`: what a key holder sees of a token, and the exact cause where it is refused.

use std::{
    fs,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use holdall::proto::{
    key::KeyRing,
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{self, Claims, Codec, Id, TokenContext, TokenPolicy},
};

use super::home::{Home, Ran};

/// Writes a token into `name` that was issued to `local` this many days ago, under the chat's own key.
pub(super) fn old_token(home: &Home, name: &str, days: u64) {
    if !home.data("keys").exists() {
        home.run(&["chat"]).ok("");
    }
    let keys = KeyRing::parse(&fs::read_to_string(home.data("keys")).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = UnixSeconds(now - days * 86_400);
    let (policy, limits) = (TokenPolicy::default(), Limits::default());
    let ids = [Id::new(then, [1; 16]), Id::new(then, [2; 16])];
    let claims = Claims::first(Principal::new("local", "none").unwrap(), "default".to_owned(), ids, then, &policy);
    let context = TokenContext { keys: &keys, policy: &policy, limits: &limits };
    let lines = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n";
    let issued = token::issue(&claims, None, lines, context, &[3; 24], &mut Codec::new().unwrap()).unwrap();
    home.write(name, &issued.token);
}

/// A home with two turns in `a`.
fn two_turns() -> Home {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    home.run(&["send", "-t", "a", "Repeat two"]).ok("two\n");
    home
}

const HISTORY: &str = "user: Repeat one\nassistant: one\nuser: Repeat two\nassistant: two\n";
const ITEMS: &str = r#"{"t":"msg","role":"user","parts":[{"text":"Repeat one"}]}
{"t":"msg","role":"assistant","parts":[{"text":"one"}]}
{"t":"msg","role":"user","parts":[{"text":"Repeat two"}]}
{"t":"msg","role":"assistant","parts":[{"text":"two"}]}
"#;

#[test]
fn inspect_shows_all_that_a_token_says() {
    let home = two_turns();
    home.run(&["token", "inspect", "a"]).ok("\
kind            holdall1s, sealed: only key holders can read it
key             local
deployment      holdall
user            local (vouched for by nobody)
conversation    …-7…
token           …-7…
continues       …-7…
turn            2
model           default
began           20…Z
issued          20…Z
good until      20…Z, … from now
readable until  20…Z
history         4 items, 228 bytes in 1 frame
size            844 bytes
model tokens    7 in (0 of them cached), 2 out
checked         tag, frames, claims, items
not checked     whose it is: `holdall token verify --user NAME` does that
");
    home.run(&["token", "inspect", "--json", "a"]).ok(
        "{\"cid\":\"…\",\"expired\":false,\"expires_at\":\"20…Z\",\"frames\":1,\"history_bytes\":228,\"idp\":\"none\",\
         \"iss\":\"holdall\",\"issued_at\":\"20…Z\",\"items\":4,\"jti\":\"…\",\"kid\":\"local\",\"model\":\"default\",\
         \"par\":\"…\",\"started_at\":\"20…Z\",\"sub\":\"local\",\"token_bytes\":844,\"turn\":2,\"typ\":\"holdall1s\",\
         \"usage\":{…}}\n",
    );
    home.run(&["send", "--seal", "false", "-t", "b", "hi"]);
    let clear = home.run(&["token", "inspect", "b"]).out;
    assert!(clear.contains("holdall1, clear: anyone can read it") && clear.contains("nothing, it is the first"));
    old_token(&home, "c", 9);
    let old = home.run(&["token", "inspect", "c"]).out;
    assert!(old.lines().any(|line| line.ends_with("Z: expired 2 d 0 h ago")), "{old}");
    home.feed(&["token", "inspect", "--issuer", "other", "-"], &home.read("a")).ok(&home
        .run(&["token", "inspect", "a"])
        .out
        .replace("deployment      holdall\n", "deployment      holdall (the settings say other: refused here)\n"));
}

#[test]
fn verify_says_the_exact_cause() {
    let home = two_turns();
    home.run(&["token", "verify", "--user", "local", "a"])
        .ok("ok: turn 2 of local (vouched for by nobody), good until 20…Z\n");
    home.run(&["token", "verify", "--user", "local", "--json", "a"])
        .ok("{\"expires_at\":\"20…Z\",\"ok\":true,\"turn\":2,\"user\":\"local\"}\n");
    let token = home.read("a");
    let does_not = "error: the token does not verify:";
    let another = format!("{does_not} subject: another caller's token\nhint: it is of local (vouched for by nobody)\n");
    home.run(&["token", "verify", "--user", "bob", "a"]).fails(&another);
    home.run(&["token", "verify", "--user", "local", "--idp", "jwt:x", "a"]).fails(&another);
    home.run(&["token", "verify", "a"]).fails(&another);
    home.run(&["token", "verify", "--user", "bob", "--json", "a"]).expect(
        1,
        "{\"cause\":\"subject: another caller's token\",\"code\":\"token_invalid\",\"ok\":false}\n",
        &another,
    );
    home.run(&["token", "verify", "--user", "local", "--issuer", "other", "a"]).fails(&format!(
        "{does_not} issuer: another deployment's token\n\
         hint: it is of holdall; pass --issuer to check it as one of those\n"
    ));
    let middle = token.len() / 2;
    let flipped = if &token[middle..=middle] == "A" { "B" } else { "A" };
    home.write("b", &format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]));
    home.run(&["token", "verify", "--user", "local", "b"]).fails(&format!("{does_not} tag: does not match\n"));
    home.write("b", "hello");
    home.run(&["token", "verify", "--user", "local", "b"]).fails(&format!("{does_not} layout: not exactly two dots\n"));
    old_token(&home, "c", 8);
    home.run(&["token", "verify", "--user", "local", "c"])
        .fails(&format!("{does_not} The token expired at 20…Z. Start a new conversation.\n"));
    home.run(&["token", "verify", "--user", "local", "--max-age", "90d", "--ttl", "90d", "c"])
        .fails(&format!("{does_not} The token expired at 20…Z. Start a new conversation.\n"));
}

#[test]
fn a_history_is_read_out_whole() {
    let home = two_turns();
    home.run(&["token", "history", "a"]).ok(HISTORY);
    home.run(&["token", "history", "--json", "a"]).ok(ITEMS);
    home.feed(&["token", "history", "-"], &home.read("a")).ok(HISTORY);
    home.run(&["token", "export", "--format", "jsonl", "a"]).ok(ITEMS);
    home.run(&["token", "export", "a"]).ok("\
# Conversation …-7…

- User: local
- Model: default
- Turns: 2
- Began: 20…Z
- Last turn: 20…Z

## User

Repeat one

## Assistant

one

## User

Repeat two

## Assistant

two
");
    home.feed(&["chat"], "Repeat it\n").ok("it\n");
    home.run(&["token", "history"]).ok("user: Repeat it\nassistant: it\n");
    home.run(&["token", "history", "none"]).fails("error: there is no file none\n");
    home.run(&["token", "history", "/"]).fails("error: cannot read /: Is a directory\n");
    home.feed(&["token", "history", "-"], "").fails("error: - holds no token\n");
}

#[test]
fn a_transcript_becomes_a_token_that_goes_on() {
    let home = Home::new();
    home.write(
        "chat.json",
        r#"[{"role":"system","content":"be brief"},{"role":"user","content":"My name is Ada."},
            {"role":"assistant","content":"Hello Ada."}]"#,
    );
    let left_out = "warning: 1 system message left out; the system prompt is the server's (--system-prompt)\n";
    let ran = home.run(&["token", "import", "chat.json"]).expect(0, "…\n", left_out);
    home.write("a", &ran.out);
    home.run(&["token", "verify", "--user", "local", "a"]).ok("ok: turn 1 of …\n");
    home.run(&["send", "-t", "a", "What is my name?"]).ok("…Ada…\n");
    home.write("chat.json", r#"[{"type":"human","data":{"content":"hi"}},{"type":"ai","data":{"content":"ho"}}]"#);
    let ran = home.run(&["token", "import", "--user", "bob", "--idp", "jwt:x", "--model", "m", "chat.json"]).ok("…\n");
    home.write("b", &ran.out);
    home.run(&["token", "verify", "--user", "bob", "--idp", "jwt:x", "b"])
        .ok("ok: turn 1 of bob (vouched for by jwt:x), good until …\n");
    home.run(&["token", "history", "b"]).ok("user: hi\nassistant: ho\n");
}

#[test]
fn what_was_exported_imports_again() {
    let home = two_turns();
    let ran = home.feed(&["token", "import", "-"], &home.run(&["token", "export", "--format", "jsonl", "a"]).out);
    home.write("b", &ran.ok("…\n").out);
    home.run(&["token", "history", "--json", "b"]).ok(ITEMS);
    home.feed(&["token", "import", "-"], "[{\"role\":\"user\"}]").fails("error: -: message 1: there is no `content`\n");
    home.feed(&["token", "import", "--user", "a\nb", "-"], ITEMS)
        .fails("error: --user, --idp: subject holds a control character\n");
}

#[test]
fn settings_come_from_file_variable_and_flag_in_this_order() {
    let home = two_turns();
    home.write(
        "holdall.toml",
        "issuer = \"of the file\"\nttl = \"1h\"\n[[upstream]]\nname = \"x\"\nkind = \"openai\"\n",
    );
    let issuer = |command: &mut std::process::Command| {
        let ran = Ran::of(command.output().unwrap(), &home.path(""));
        ran.out.lines().find_map(|line| line.strip_prefix("deployment      ")).map(str::to_owned)
    };
    let inspect = ["token", "inspect", "a", "--config", "holdall.toml"];
    let says = |who: &str| Some(format!("holdall (the settings say {who}: refused here)"));
    assert_eq!(issuer(&mut home.holdall(&inspect)), says("of the file"));
    assert_eq!(issuer(home.holdall(&inspect).env("HOLDALL_ISSUER", "of the variable")), says("of the variable"));
    let flagged = [&inspect[..], &["--issuer", "holdall"]].concat();
    assert_eq!(issuer(home.holdall(&flagged).env("HOLDALL_ISSUER", "no")).as_deref(), Some("holdall"));
    home.write("holdall.toml", "isuer = 1");
    let ran = home.run(&inspect);
    assert!(ran.err.starts_with("error: configuration: ") && ran.err.contains("unknown field `isuer`"), "{}", ran.err);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    home.run(&["token", "inspect", "a", "--config", "none"])
        .fails("error: cannot read the configuration none: No such file or directory…\n");
}

#[test]
fn who_stops_reading_gets_no_error() {
    let home = two_turns();
    for command in ["history", "inspect", "export"] {
        let mut child = home.holdall(&["token", command, "a"]).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{command}");
    }
}
