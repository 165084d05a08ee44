//! `holdall keys api` and `holdall keys operator`: keys that callers hold, of which a server knows the digests alone.
//!
//! What goes into a configuration is printed to standard output, so that `>>` appends it to a file; the key itself goes to
//! standard error, once, for whoever is to hold it.

use super::{console::Console, error::CliError, secret::CallerKey};
use crate::{principal::IDP_KEY, proto::principal::Principal};

/// Prints a new key that speaks for `user`, and its line for a keys file.
pub(super) fn api(user: &str, json: bool, console: Console) -> Result<(), CliError> {
    let key = CallerKey::generate()?;
    let line = format!("{} {user}", key.digest.to_hex());
    if json {
        let (key, digest) = (key.text.as_str(), key.digest.to_hex());
        return console.print(&format!("{}\n", serde_json::json!({ "key": key, "digest": digest, "user": user })));
    }
    console.say(&format!("key, for {user} alone and not shown again: {}", *key.text));
    console.say("line for identity.api_key.keys_file (append it with `>> FILE`):");
    console.print(&format!("{line}\n"))
}

/// Prints a new key of an operator's, and its digest.
pub(super) fn operator(json: bool, console: Console) -> Result<(), CliError> {
    let key = CallerKey::generate()?;
    let digest = key.digest.to_hex();
    if json {
        return console.print(&format!("{}\n", serde_json::json!({ "key": key.text.as_str(), "digest": digest })));
    }
    console.say(&format!("key, for the operator alone and not shown again: {}", *key.text));
    console.say("digest for operator_keys (HOLDALL_OPERATOR_KEYS):");
    console.print(&format!("{digest}\n"))
}

/// A user's name, as a line of a keys file can hold it.
pub(super) fn user(text: &str) -> Result<String, &'static str> {
    if text.trim() != text {
        return Err("white space before or behind the name");
    }
    Principal::new(text, IDP_KEY).map(|_| text.to_owned())
}
