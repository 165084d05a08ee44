//! The common behaviour of all commands: wrong arguments are exit code 2, the help is compact, and
//! completions know every command.

use super::home::Home;

#[test]
fn wrong_arguments_are_exit_code_2() {
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
        &["send", "-t", "-", "hello"],
        &["chat", "-t", "-"],
        &["send", "-t", "a", "one", "two"],
        &["serve", "now"],
        &["token"],
        &["token", "inspect", "a", "b"],
        &["token", "inspect", "a", "-t", "a"],
        &["token", "verify", "--idp", "none", "a"],
        &["token", "export", "--format", "pdf"],
        &["token", "export", "--format", "jsonl", "--json"],
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
        &["revoke", "--idp", "none"],
        &["revoke", "--user", "ada", "--idp", "jwt"],
        &["revoke", "--user", "ada", "--idp", "nobody"],
        &["token", "verify", "--user", "ada", "--idp", "jwt:", "a"],
        &["token", "import", "--idp", "api_key", "a"],
        &["token", "import", "--model", "", "a"],
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
        // Without a subcommand, clap prints the help.
        let helps = ran.err.ends_with("For more information, try '--help'.\n") || ran.err.contains("Usage: holdall");
        assert!(helps, "{arguments:?}: {}", ran.err);
    }
    assert!(home.files().is_empty() && !home.path("data").exists());
}

#[test]
fn help_is_complete_and_fits_every_terminal() {
    let home = Home::new();
    home.run(&["--help"]).ok("\
A stateless conversation proxy for language models: the signed token holds the chat, and the server
stores nothing

Usage: holdall <COMMAND>

Commands:
  chat         Chat with a model; the chat is saved and continues next time
  send         Send one message and print the reply
  serve        Serve the APIs over HTTP
  token        Inspect, verify, export and import tokens
  keys         Create, list and rotate keys
  revoke       Revoke tokens before they expire
  upstreams    List the upstreams with the profile of each service
  openapi      Print the OpenAPI 3.1 description of the HTTP API
  completions  Print a completion script for a shell

Options:
  -h, --help     Print help
  -V, --version  Print version
");
    home.run(&["--version"]).ok(concat!("holdall ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in COMMANDS {
        let ran = home.run(&[*command, &["--help"]].concat());
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{command:?}");
        assert!(ran.out.contains(&format!("Usage: holdall {}", command.join(" "))), "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
        assert_eq!(ran.out, home.run(&[*command, &["-h"]].concat()).out, "one form of help");
    }
}

#[test]
fn headings_have_the_same_order_in_every_help() {
    let home = Home::new();
    for command in COMMANDS {
        let help = home.run(&[*command, &["--help"]].concat()).out;
        let is_heading = |line: &&str| line.ends_with(':') && !line.starts_with(' ');
        let headings: Vec<_> = help.lines().filter(is_heading).map(|line| line.trim_end_matches(':')).collect();
        let ordered: Vec<_> = HEADINGS.iter().copied().filter(|heading| headings.contains(heading)).collect();
        assert_eq!(headings, ordered, "{command:?}");
        // The command's own flags come first, up to --help.
        let (own, _) = help.split_once("  -h, --help").unwrap();
        for flag in ["--token-file", "--json", "--user", "--idp", "--new", "--dev", "--kid", "--format", "--scope"] {
            let with_connection = flag == "--user" && help.contains("\nConnection:\n");
            assert_eq!(own.contains(flag), help.contains(flag) && !with_connection, "{command:?} {flag}");
        }
    }
}

const HEADINGS: &[&str] = &[
    "Commands",
    "Arguments",
    "Options",
    "Connection",
    "Model",
    "Tokens",
    "Callers",
    "APIs",
    "Limits on users",
    "Stopping",
];

const COMMANDS: &[&[&str]] = &[
    &["chat"],
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
    &["keys", "api"],
    &["keys", "operator"],
    &["keys", "rotate"],
    &["keys", "rotate", "add"],
    &["keys", "rotate", "use"],
    &["keys", "rotate", "drop"],
    &["revoke"],
    &["upstreams"],
    &["openapi"],
    &["completions"],
];

#[test]
fn every_command_takes_a_token_file_in_the_same_way() {
    let home = Home::new();
    home.run(&["send", "--token", "a", "Repeat one"]).ok("one\n");
    for flag in ["-t", "--token-file", "--token"] {
        for command in ["inspect", "verify", "history", "export"] {
            let user = if command == "verify" { &["--user", "local"][..] } else { &[] };
            let by_argument = home.run(&[&["token", command, "--json", "a"], user].concat());
            assert_eq!((by_argument.code, &*by_argument.err), (Some(0), ""), "{command}");
            assert_eq!(by_argument, home.run(&[&["token", command, "--json", flag, "a"], user].concat()));
            let by_input = home.feed(&[&["token", command, "--json", flag, "-"], user].concat(), &home.read("a"));
            assert_eq!(by_argument, by_input, "{command}");
        }
        home.run(&["revoke", flag, "none"]).fails("error: the file `none` does not exist\n");
        home.run(&["send", flag, "a", "Repeat two"]).ok("two\n");
        home.feed(&["chat", flag, "a"], "Repeat three\n").ok("three\n");
    }
    for command in [&["chat"][..], &["send"], &["token", "history"], &["revoke"]] {
        let help = home.run(&[command, &["--help"]].concat()).out;
        assert!(help.contains("  -t, --token-file <FILE>") && !help.contains("--token "), "{help}");
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
