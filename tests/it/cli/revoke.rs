//! `holdall revoke`, as far as no store is needed; `tests/guard` has the rest.

use super::home::{Home, Ran};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn without_a_store_nothing_is_revoked() {
    let home = Home::new();
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    for arguments in [
        &["-t", "a"][..],
        &["--token-id", ID],
        &["--conversation-id", ID, "--json"],
        &["--user", "ada", "--idp", "none"],
    ] {
        home.run(&[&["revoke"], arguments].concat()).fails(
            "error: nothing is revoked without a store that all instances share\n\
             hint: set HOLDALL_REDIS_URL, or guard.redis_url in the file of --config, as the servers have it\n",
        );
    }
}

#[test]
fn what_is_named_must_be_one_thing_that_can_be() {
    let home = Home::new();
    home.run(&["revoke", "-t", "none"]).fails("error: there is no file none\n");
    home.run(&["revoke", "--token-id", "1"]).fails("error: --token-id: `1` is no id of ours (UUIDv7)\n");
    home.run(&["revoke", "--conversation-id", &ID.to_uppercase()])
        .fails("error: --conversation-id: `…` is no id of ours (UUIDv7)\n");
    home.run(&["revoke", "--user", "", "--idp", "none"]).fails("error: --user, --idp: subject is empty\n");
    home.run(&["send", "-t", "a", "Repeat one"]).ok("one\n");
    home.feed(&["revoke", "-t", "-"], "hello")
        .fails("error: the token does not verify: layout: not exactly two dots\n");
}

#[test]
fn a_store_out_of_reach_is_told_without_its_password() {
    let home = Home::new();
    let revoke = |url: &str| {
        let mut command = home.holdall(&["revoke", "--token-id", ID]);
        Ran::of(command.env("HOLDALL_REDIS_URL", url).output().unwrap(), &home.path(""))
    };
    // A port of the system's that no service has (RFC 6335 §6).
    revoke("redis://:hush@127.0.0.1:0").fails("error: not revoked: limits store: cannot connect: …\n");
    revoke("redis://:hush@host:port").fails("error: not revoked: guard.redis_url: is not a valid URL (…)\n");
    revoke("redis-cluster://:hush@a,b").fails("error: guard.redis_url: Redis Cluster is not supported: …\n");
    home.write("holdall.toml", "[guard]\nredis_url = \"redis://127.0.0.1:0\"\nrevocation = false\n");
    home.run(&["revoke", "--config", "holdall.toml", "--token-id", ID])
        .fails("error: not revoked: Revocation is off, so no server would enforce it. Set guard.revocation.\n");
}
