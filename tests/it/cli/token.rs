//! `holdall token`: the content of a token, and the exact cause of a refusal, for a key holder.

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

/// Writes a token to the file `name`. It was issued to `local` this many days ago, and signed with
/// the key in the data folder.
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

/// A home with a token of two turns in the file `a`.
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
fn inspect_prints_every_property_of_a_token() {
    let home = two_turns();
    home.run(&["token", "inspect", "a"]).ok("\
kind            holdall1s, sealed: only key holders can read it
key             local
deployment      holdall
user            `local` (not authenticated)
conversation    …-7…
token           …-7…
parent token    …-7…
turn            2
model           default
started         20…Z
issued          20…Z
expires         20…Z, in …
readable until  20…Z
history         4 items, 228 bytes in 1 frame
size            844 bytes
model tokens    7 in (0 of them cached), 2 out
asserted        no
checked         tag, frames, claims, items
not checked     the user; `holdall token verify --user NAME a` checks it
");
    home.run(&["token", "inspect", "--json", "a"]).ok(
        "{\"asserted\":false,\"cid\":\"…\",\"expired\":false,\"expires_at\":\"20…Z\",\"frames\":1,\"history_bytes\":228,\"idp\":\"none\",\
         \"iss\":\"holdall\",\"issued_at\":\"20…Z\",\"items\":4,\"jti\":\"…\",\"kid\":\"local\",\"model\":\"default\",\
         \"par\":\"…\",\"started_at\":\"20…Z\",\"sub\":\"local\",\"token_bytes\":844,\"turn\":2,\"typ\":\"holdall1s\",\
         \"usage\":{…}}\n",
    );
    home.run(&["send", "--seal", "false", "-t", "b", "hi"]);
    let clear = home.run(&["token", "inspect", "b"]).out;
    assert!(clear.contains("holdall1, clear: anyone can read it") && clear.contains("none, this is the first turn"));
    old_token(&home, "c", 9);
    let old = home.run(&["token", "inspect", "c"]).out;
    assert!(old.lines().any(|line| line.ends_with("Z, expired 2 d 0 h ago")), "{old}");
    let of_another_deployment = home
        .run(&["token", "inspect", "a"])
        .out
        .replace("deployment      holdall\n", "deployment      holdall (not valid here: the settings say other)\n")
        .replace("--user NAME a`", "--user NAME -`");
    home.feed(&["token", "inspect", "--issuer", "other", "-"], &home.read("a")).ok(&of_another_deployment);
}

#[test]
fn verify_prints_the_exact_cause() {
    let home = two_turns();
    home.run(&["token", "verify", "--user", "local", "a"])
        .ok("valid: turn 2 of user `local` (not authenticated), expires 20…Z\n");
    home.run(&["token", "verify", "--user", "local", "--json", "a"])
        .ok("{\"expires_at\":\"20…Z\",\"ok\":true,\"turn\":2,\"user\":\"local\"}\n");
    let token = home.read("a");
    let not_valid = "error: the token is not valid:";
    let another = format!(
        "{not_valid} subject: another caller's token\n\
         hint: the user of the token is `local` (not authenticated): `holdall token verify --user local a`\n"
    );
    home.run(&["token", "verify", "--user", "bob", "a"]).fails(&another);
    home.run(&["token", "verify", "--user", "local", "--idp", "jwt:x", "a"]).fails(&another);
    home.run(&["token", "verify", "a"]).fails(&another);
    home.run(&["token", "verify", "--user", "bob", "--json", "a"]).expect(
        1,
        "{\"cause\":\"subject: another caller's token\",\"code\":\"token_invalid\",\"ok\":false}\n",
        &another,
    );
    home.run(&["token", "verify", "--user", "local", "--issuer", "other", "a"]).fails(&format!(
        "{not_valid} issuer: another deployment's token\n\
         hint: the deployment of the token is `holdall`; pass it with --issuer\n"
    ));
    let middle = token.len() / 2;
    let flipped = if &token[middle..=middle] == "A" { "B" } else { "A" };
    home.write("b", &format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]));
    home.run(&["token", "verify", "--user", "local", "b"]).fails(&format!("{not_valid} tag: does not match\n"));
    home.write("b", "hello");
    home.run(&["token", "verify", "--user", "local", "b"])
        .fails(&format!("{not_valid} layout: not exactly two dots\n"));
    old_token(&home, "c", 8);
    let expired = format!("{not_valid} it expired at 20…Z\nhint: `holdall token history c` prints the conversation\n");
    home.run(&["token", "verify", "--user", "local", "c"]).fails(&expired);
    home.run(&["token", "verify", "--user", "local", "--max-age", "90d", "--ttl", "90d", "c"]).fails(&expired);
}

#[test]
fn history_and_export_print_the_complete_conversation() {
    let home = two_turns();
    home.run(&["token", "history", "a"]).ok(HISTORY);
    home.run(&["token", "history", "--json", "a"]).ok(ITEMS);
    home.feed(&["token", "history", "-"], &home.read("a")).ok(HISTORY);
    home.run(&["token", "export", "--format", "jsonl", "a"]).ok(ITEMS);
    home.run(&["token", "export", "--json", "a"]).ok(ITEMS);
    home.run(&["token", "export", "a"]).ok("\
# Conversation …-7…

- User: local
- Model: default
- Turns: 2
- Started: 20…Z
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
    home.run(&["token", "history", "none"]).fails("error: the file `none` does not exist\n");
    home.run(&["token", "history", "/"]).fails("error: cannot read `/`: Is a directory\n");
    home.feed(&["token", "history", "-"], "").fails("error: standard input contains no token\n");
}

#[test]
fn an_imported_conversation_continues() {
    let home = Home::new();
    home.write(
        "chat.json",
        r#"[{"role":"system","content":"be brief"},{"role":"user","content":"My name is Ada."},
            {"role":"assistant","content":"Hello Ada."}]"#,
    );
    let left_out = "warning: left out 1 system message: a token contains no system prompt; \
                    pass it to the server with --system-prompt\n";
    let ran = home.run(&["token", "import", "chat.json"]).expect(0, "…\n", left_out);
    home.write("a", &ran.out);
    home.run(&["token", "verify", "--user", "local", "a"]).ok("valid: turn 1 of …\n");
    home.run(&["send", "-t", "a", "What is my name?"]).ok("…Ada…\n");
    home.write("chat.json", r#"[{"type":"human","data":{"content":"hi"}},{"type":"ai","data":{"content":"ho"}}]"#);
    let ran = home.run(&["token", "import", "--user", "bob", "--idp", "jwt:x", "--model", "m", "chat.json"]).ok("…\n");
    home.write("b", &ran.out);
    home.run(&["token", "verify", "--user", "bob", "--idp", "jwt:x", "b"])
        .ok("valid: turn 1 of user `bob` (authenticated by jwt:x), expires …\n");
    home.run(&["token", "history", "b"]).ok("user: hi\nassistant: ho\n");
    let json = home
        .run(&["token", "import", "--json", "chat.json"])
        .ok("{\"expires_at\":\"20…Z\",\"token\":\"…\",\"turn\":1,\"user\":\"local\"}\n");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    home.write("c", json["token"].as_str().unwrap());
    home.run(&["token", "history", "c"]).ok("user: hi\nassistant: ho\n");
    home.run(&["token", "history"]).fails(
        "error: no chat is saved yet: `HOME/data/holdall/chat.token` does not exist\n\
         hint: start a chat with `holdall chat`, or name a token file\n",
    );
}

#[test]
fn an_import_takes_the_provider_of_the_settings() {
    let home = Home::new();
    home.write("chat.json", r#"[{"role":"user","content":"hi"}]"#);
    home.write("conf", "identity = { mode = \"jwt\", jwt = { issuer = \"x\" } }\n");
    let import = |arguments: &[&str]| {
        let ran = home.run(&[&["token", "import", "--config", "conf", "chat.json"], arguments].concat()).ok("…\n");
        home.write("t", &ran.out);
        let claims = home.run(&["token", "inspect", "--json", "t"]).out;
        let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
        format!("{} {}", claims["sub"].as_str().unwrap(), claims["idp"].as_str().unwrap())
    };
    assert_eq!(import(&["--user", "ada"]), "ada jwt:x");
    assert_eq!(import(&["--user", "ada", "--idp", "jwt:x"]), "ada jwt:x");
    // Local chats have the provider `none`, whatever the settings say.
    assert_eq!(import(&[]), "local none");
    assert_eq!(import(&["--user", "ada", "--idp", "none"]), "ada none");
    home.run(&["token", "import", "--config", "conf", "chat.json", "--idp", "jwt:x/"])
        .fails("error: no token of these servers has the identity provider `jwt:x/`: the settings say `jwt:x`\n…\n");
}

#[test]
fn an_export_imports_again() {
    let home = two_turns();
    let ran = home.feed(&["token", "import", "-"], &home.run(&["token", "export", "--format", "jsonl", "a"]).out);
    home.write("b", &ran.ok("…\n").out);
    home.run(&["token", "history", "--json", "b"]).ok(ITEMS);
    home.feed(&["token", "import", "-"], "[{\"role\":\"user\"}]")
        .fails("error: cannot import standard input: message 1: `content` is missing\n");
    home.feed(&["token", "import", "--user", "a\nb", "-"], ITEMS)
        .fails("error: --user, --idp: subject holds a control character\n");
}

#[test]
fn a_variable_replaces_the_file_and_a_flag_replaces_both() {
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
    let says = |who: &str| Some(format!("holdall (not valid here: the settings say {who})"));
    assert_eq!(issuer(&mut home.holdall(&inspect)), says("of the file"));
    assert_eq!(issuer(home.holdall(&inspect).env("HOLDALL_ISSUER", "of the variable")), says("of the variable"));
    let flagged = [&inspect[..], &["--issuer", "holdall"]].concat();
    assert_eq!(issuer(home.holdall(&flagged).env("HOLDALL_ISSUER", "no")).as_deref(), Some("holdall"));
    home.write("holdall.toml", "isuer = 1");
    let ran = home.run(&inspect);
    let unknown = "error: unknown key `isuer` in the configuration file `holdall.toml`, line 1; ";
    assert!(ran.err.starts_with(unknown), "{}", ran.err);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    home.run(&["token", "inspect", "a", "--config", "none"])
        .fails("error: cannot read the configuration file `none`: No such file or directory…\n");
}

#[test]
fn a_closed_standard_output_is_no_error() {
    let home = two_turns();
    for command in ["history", "inspect", "export"] {
        let mut child = home.holdall(&["token", command, "a"]).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{command}");
    }
}
