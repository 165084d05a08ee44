//! Variables that look like settings and are none.

use super::home::{Home, Ran};

/// Runs a command with these variables.
fn run(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = home.holdall(arguments);
    Ran::of(command.envs(variables.iter().copied()).output().unwrap(), &home.path(""))
}

/// The commands that read settings, and do not get far.
const COMMANDS: &[&[&str]] = &[
    &["chat"],
    &["chat", "--url", "http://127.0.0.1:0"],
    &["send", "-t", "t", "hi"],
    &["token", "history", "t"],
    &["token", "import", "t"],
    &["keys", "list"],
    &["revoke", "--token-id", "01890a5d-ac96-774b-bcce-b302099a8057"],
    &["serve", "--listen", "192.0.2.1:1"],
    &["upstreams"],
];

/// A file that some commands can read.
const TRANSCRIPT: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n";

#[test]
fn every_command_refuses_a_misspelt_variable_by_name() {
    let home = Home::new();
    home.write("t", TRANSCRIPT);
    for command in COMMANDS {
        let ran = run(&home, command, &[("HOLDALL_IDENTITTY", "jwt-and-a-secret"), ("HOLDALL_ZEBRA", "hush")]);
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{command:?}");
        assert_eq!(
            ran.err,
            "error: the variable `HOLDALL_IDENTITTY` is not a setting\n\
             hint: write `HOLDALL_IDENTITY`, or rename the variable if it is not for Holdall\n",
            "{command:?}"
        );
    }
    // A command without settings does not look.
    let ran = run(&home, &["keys", "new"], &[("HOLDALL_RATEE", "1")]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
}

#[test]
fn every_command_warns_once_of_any_other_variable() {
    let home = Home::new();
    home.write("t", TRANSCRIPT);
    let warning = "warning: these variables are not settings and have no effect: `HOLDALL_COLOURS`, `HOLDALL_ZEBRA`\n";
    for command in COMMANDS {
        let ran = run(&home, command, &[("HOLDALL_ZEBRA", "hush"), ("HOLDALL_COLOURS", "hush"), ("HOLDALL_TTL", "1h")]);
        assert_eq!(ran.err.matches(warning).count(), 1, "{command:?}: {}", ran.err);
        assert!(!ran.err.contains("hush"), "{}", ran.err);
    }
}

#[test]
fn variables_that_the_file_names_are_used() {
    let home = Home::new();
    home.write(
        "conf",
        "[[upstream]]\nname = \"m\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:0\"\n\
         api_key_env = \"HOLDALL_UPSTREAM_KEY2\"\nproxy_env = \"HOLDALL_OUR_PROXY\"\n",
    );
    let variables = [("HOLDALL_UPSTREAM_KEY2", "hush"), ("HOLDALL_OUR_PROXY", "http://127.0.0.1:0")];
    let ran = run(&home, &["upstreams", "--config", "conf"], &variables);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    run(&home, &["upstreams"], &variables[..1]).fails(
        "error: the variable `HOLDALL_UPSTREAM_KEY2` is not a setting\n\
         hint: write `HOLDALL_UPSTREAM_KEY`, or rename the variable if it is not for Holdall\n",
    );
    let kubernetes = [("HOLDALL_PORT", "tcp://10.0.0.1:80"), ("HOLDALL_SERVICE_HOST", "10.0.0.1")];
    let ran = run(&home, &["upstreams"], &kubernetes);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
}
