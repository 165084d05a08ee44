//! `holdall keys`: a secret is shown only once, and a rotation has three steps.

use std::{fs, os::unix::fs::PermissionsExt as _};

use holdall::principal::KeyDigest;

use super::home::{Home, Ran};

#[test]
fn a_new_key_is_a_line_for_a_keys_file() {
    let home = Home::new();
    let ran = home.run(&["keys", "new", "--kid", "k1"]).ok("k1:…\n");
    let secret = ran.out.trim_end().split_once(':').unwrap().1;
    assert_eq!(secret.len(), 43, "32 bytes in base64url");
    assert_ne!(ran, home.run(&["keys", "new", "--kid", "k1"]));
    home.run(&["keys", "new"]).ok("k20…:…\n");
    let json = home.run(&["keys", "new", "--kid", "k1", "--json"]).ok("{\"kid\":\"k1\",\"secret\":\"…\"}\n").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["secret"].as_str().unwrap().len(), 43);
    home.write("ring", &ran.out);
    home.run(&["keys", "list", "--keys-file", "ring"]).ok("k1  signs and verifies\n");
    assert!(home.files() == ["ring"] && !home.path("data").exists(), "no other file is created");
}

#[test]
fn a_key_in_a_readable_file_is_a_warning() {
    let home = Home::new();
    for (mode, warning) in
        [(0o644, "warning: other users can read the file with the new key; run `chmod 600` on it\n"), (0o600, "")]
    {
        home.write("ring", "");
        fs::set_permissions(home.path("ring"), fs::Permissions::from_mode(mode)).unwrap();
        let file = fs::OpenOptions::new().write(true).open(home.path("ring")).unwrap();
        let output = home.holdall(&["keys", "new"]).stdout(file).output().unwrap();
        Ran::of(output, &home.path("")).expect(0, "", warning);
    }
}

#[test]
fn tokens_stay_valid_during_a_rotation() {
    let home = Home::new();
    let distribute = "copy ring to all instances and reload them (SIGHUP)";
    home.run(&["keys", "rotate", "add", "ring", "--kid", "old"]).expect(
        0,
        "old  signs and verifies\n",
        "next: start the servers with --keys-file ring\n",
    );
    assert_eq!(fs::metadata(home.path("ring")).unwrap().permissions().mode() & 0o777, 0o600);
    home.run(&["send", "--keys-file", "ring", "-t", "a", "Repeat one"]).ok("one\n");
    home.run(&["keys", "rotate", "add", "ring", "--kid", "new"]).expect(
        0,
        "old  signs and verifies\nnew  verifies\n",
        &format!("next: {distribute}, then run `holdall keys rotate use ring new`\n"),
    );
    home.run(&["token", "inspect", "--keys-file", "ring", "--json", "a"]).ok("{…\"kid\":\"old\"…}\n");
    home.run(&["keys", "rotate", "drop", "ring", "old"]).fails(
        "error: cannot drop `old`: it is the signing key\n\
         hint: make another key the signing key: `holdall keys rotate use ring new`\n",
    );
    home.run(&["keys", "rotate", "use", "ring", "new"]).expect(
        0,
        "new  signs and verifies\nold  verifies\n",
        &format!(
            "next: {distribute}, wait for `ttl` (7 days by default), then run `holdall keys rotate drop ring old`\n"
        ),
    );
    home.run(&["keys", "rotate", "use", "ring", "new", "--json"]).fails(
        "error: nothing changed: `new` is already the signing key\n\
         hint: if instances still sign with another key, copy ring to all of them and reload them (SIGHUP)\n",
    );
    home.write("old.token", &home.read("a"));
    home.run(&["send", "--keys-file", "ring", "-t", "a", "How many turns do you see?"]).ok("…turn 2…\n");
    home.run(&["token", "inspect", "--keys-file", "ring", "--json", "a"]).ok("{…\"kid\":\"new\"…}\n");
    home.run(&["keys", "rotate", "drop", "ring", "old"]).expect(
        0,
        "new  signs and verifies\n",
        &format!("next: {distribute}\n"),
    );
    home.run(&["token", "verify", "--keys-file", "ring", "--user", "local", "a"]).ok("valid: …\n");
    home.run(&["token", "verify", "--keys-file", "ring", "--user", "local", "old.token"]).fails(
        "error: the token is not valid: header: not one that a key of the ring would write\n\
         hint: the token needs the key `old`, and the configured keys are new; pass another keys file with --keys-file\n",
    );
}

#[test]
fn an_invalid_keys_file_stays_unchanged() {
    let home = Home::new();
    home.write("ring", "k1:AQ\n");
    for step in [&["add", "ring"][..], &["use", "ring", "k1"], &["drop", "ring", "k1"]] {
        home.run(&[&["keys", "rotate"], step].concat()).fails(
            "error: the token keys are not valid: the secret of key k1 has 1 bytes; it must have 32 to 64\n\
             hint: make a valid key with `holdall keys new`\n",
        );
    }
    assert_eq!((home.read("ring"), home.files()), ("k1:AQ\n".to_owned(), vec!["ring".to_owned()]));
    home.run(&["keys", "rotate", "use", "none", "k1"])
        .fails("error: `none` has no key `k1`\nhint: add a key: `holdall keys rotate add none`\n");
    home.run(&["keys", "list"]).fails(
        "error: no token keys are configured\n\
         hint: pass --keys-file FILE, or set HOLDALL_KEYS_FILE or HOLDALL_KEYS\n",
    );
}

#[test]
fn lists_and_help_contain_no_secret() {
    let home = Home::new();
    home.feed(&["chat"], "hi\n");
    let secret = fs::read_to_string(home.data("keys")).unwrap();
    let secret = secret.trim_end().split_once(':').unwrap().1.to_owned();
    home.run(&["keys", "list"]).ok("local  signs and verifies\n");
    let json = home.run(&["keys", "list", "--json"]).ok("{\"signs\":\"local\",\"verifies_only\":[]}\n");
    assert!(!json.out.contains(&secret));
    // The help shows no value of a variable.
    let help =
        home.holdall(&["chat", "--help"]).env("HOLDALL_BEARER", "hush").env("HOLDALL_URL", "u").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("HOLDALL_BEARER") && !help.contains("hush"), "{help}");
}

/// The key: the text after the last `: ` of the first line.
fn shown_key(said: &str) -> &str {
    said.lines().next().unwrap().rsplit_once(": ").unwrap().1
}

#[test]
fn a_callers_key_is_shown_once_with_its_line_for_the_file() {
    let home = Home::new();
    let ran = home.run(&["keys", "api", "--user", "ada lovelace"]).expect(
        0,
        "… ada lovelace\n",
        "key for the user ada lovelace, shown only once: hk_…\n\
         line for identity.api_key.keys_file (append it with `>> FILE`):\n",
    );
    let (key, digest) = (shown_key(&ran.err), ran.out.split(' ').next().unwrap());
    assert_eq!(key.len(), 3 + 43, "32 bytes in base64url");
    assert_eq!(KeyDigest::of(key).to_hex(), digest);
    assert_ne!(ran, home.run(&["keys", "api", "--user", "ada lovelace"]));
    let json = home.run(&["keys", "api", "--user", "ada", "--json"]).ok("{…}\n").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["user"], "ada");
    assert_eq!(KeyDigest::of(json["key"].as_str().unwrap()).to_hex(), json["digest"]);
    // A server reads the line as it was printed.
    home.write("api-keys", &ran.out);
    home.write(
        "conf",
        "listen = \"192.0.2.1:1\"\n[identity]\nmode = \"api_key\"\napi_key = { keys_file = \"api-keys\" }\n",
    );
    let served = home.run(&["serve", "--dev", "--config", "conf"]);
    assert!(served.err.contains("error: cannot listen on 192.0.2.1:1"), "{}", served.err);
    assert!(home.files() == ["api-keys", "conf"] && !home.path("data").exists(), "no other file is created");
}

#[test]
fn an_operators_key_is_shown_once_with_its_digest() {
    let home = Home::new();
    let ran = home.run(&["keys", "operator"]).expect(
        0,
        "…\n",
        "key for the operator, shown only once: hk_…\n\
         digest for operator_keys (HOLDALL_OPERATOR_KEYS):\n",
    );
    assert_eq!(KeyDigest::of(shown_key(&ran.err)).to_hex(), ran.out.trim_end());
    let json: serde_json::Value = serde_json::from_str(&home.run(&["keys", "operator", "--json"]).out).unwrap();
    assert_eq!(KeyDigest::of(json["key"].as_str().unwrap()).to_hex(), json["digest"]);
}
