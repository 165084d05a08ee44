//! What every command has in common: misuse is exit code 2, help is short, and completions know all commands.

use super::home::Home;

#[test]
fn misuse_is_exit_code_2() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["bogus"],
        &["help"],
        &["chat", "--bogus"],
        &["chat", "hello"],
        &["chat", "--seal", "maybe"],
        &["send"],
        &["send", "hello"],
        &["send", "-t", "a"],
        &["send", "-t", "a", "one", "two"],
        &["serve", "now"],
        &["token"],
        &["token", "inspect", "a", "b"],
        &["token", "verify", "--idp", "none", "a"],
        &["token", "export", "--format", "pdf"],
        &["token", "import"],
        &["token", "import", "a", "--format", "pdf"],
        &["keys"],
        &["keys", "new", "--kid", "a b"],
        &["keys", "api"],
        &["keys", "api", "--user", ""],
        &["keys", "api", "--user", " ada"],
        &["keys", "api", "--user", "a\nb"],
        &["keys", "operator", "ada"],
        &["keys", "rotate"],
        &["keys", "rotate", "add"],
        &["keys", "rotate", "use", "ring"],
        &["keys", "rotate", "drop", "ring"],
        &["revoke"],
        &["revoke", "--user", "ada"],
        &["revoke", "--idp", "none"],
        &["revoke", "-t", "a", "--token-id", "b"],
        &["revoke", "-t", "a", "--scope", "all"],
        &["revoke", "--token-id", "a", "--scope", "token"],
        &["completions"],
        &["completions", "tcsh"],
        &["openapi", "--json"],
        &["openapi", "openapi.json"],
    ] {
        let ran = home.run(arguments);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{arguments:?}: {}", ran.err);
        // With nothing to go by it is the help itself.
        let helps = ran.err.ends_with("For more information, try '--help'.\n") || ran.err.contains("Usage: holdall");
        assert!(helps, "{arguments:?}: {}", ran.err);
    }
    assert!(home.files().is_empty() && !home.path("data").exists());
}

#[test]
fn help_is_the_same_in_every_terminal_and_lists_all() {
    let home = Home::new();
    home.run(&["--help"]).ok("\
A stateless conversation proxy for language models: the signed token holds the chat, the server
holds nothing

Usage: holdall <COMMAND>

Commands:
  chat         Talk to a model; the chat is kept in a file and goes on next time
  send         Say one thing and print the reply
  serve        Answer requests over HTTP
  token        Look into tokens, check them, make them of transcripts
  keys         Make and change the keys that sign tokens
  revoke       Make tokens good no more, before their time
  openapi      Print the description of the HTTP API, an OpenAPI 3.1 document
  completions  Print a completion script

Options:
  -h, --help     Print help
  -V, --version  Print version
");
    home.run(&["--version"]).ok(concat!("holdall ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in [
        &["chat"][..],
        &["send"],
        &["serve"],
        &["token"],
        &["token", "inspect"],
        &["token", "verify"],
        &["token", "history"],
        &["token", "export"],
        &["token", "import"],
        &["keys"],
        &["keys", "new"],
        &["keys", "list"],
        &["keys", "rotate"],
        &["keys", "rotate", "add"],
        &["keys", "rotate", "use"],
        &["keys", "rotate", "drop"],
        &["revoke"],
        &["openapi"],
        &["completions"],
    ] {
        let ran = home.run(&[command, &["--help"]].concat());
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{command:?}");
        assert!(ran.out.contains(&format!("Usage: holdall {}", command.join(" "))), "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
    }
}

#[test]
fn completions_know_every_command() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = home.run(&["completions", shell]);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{shell}");
        for command in ["chat", "send", "serve", "inspect", "rotate", "revoke", "openapi", "completions"] {
            assert!(ran.out.contains(command), "{shell} {command}");
        }
    }
}
