//! `holdall keys api` and `holdall keys operator`: new keys for callers and operators. A server
//! knows only their digests.
//!
//! The text for the configuration goes to standard output, so that `>>` can append it to a file.
//! The key itself goes to standard error, and is shown only once.

use serde_json::json;

use super::{console::Console, error::CliError, secret::CallerKey};
use crate::{principal::IDP_KEY, proto::principal::Principal};

/// Prints a new key of `user`, and its line for the file of caller keys.
///
/// # Errors
/// [`CliError`] if the system gives no random bytes or standard output fails.
pub(super) fn api(user: &str, json: bool, console: Console) -> Result<(), CliError> {
    let key = CallerKey::generate()?;
    let digest = key.digest.to_hex();
    if json {
        return console.print(&format!("{}\n", json!({ "key": key.text.as_str(), "digest": digest, "user": user })));
    }
    console.note(&format!("key for the user {user}, shown only once: {}", *key.text));
    console.note("line for identity.api_key.keys_file (append it with `>> FILE`):");
    console.print(&format!("{digest} {user}\n"))
}

/// Prints a new operator key and its digest.
///
/// # Errors
/// [`CliError`] if the system gives no random bytes or standard output fails.
pub(super) fn operator(json: bool, console: Console) -> Result<(), CliError> {
    let key = CallerKey::generate()?;
    let digest = key.digest.to_hex();
    if json {
        return console.print(&format!("{}\n", json!({ "key": key.text.as_str(), "digest": digest })));
    }
    console.note(&format!("key for the operator, shown only once: {}", *key.text));
    console.note("digest for operator_keys (HOLDALL_OPERATOR_KEYS):");
    console.print(&format!("{digest}\n"))
}

/// Checks a user name: 1 to 256 bytes without control characters, and without white space at either
/// end, because it is the end of a line in the file of caller keys.
///
/// # Errors
/// The rule that the name breaks.
pub(super) fn parse_user(text: &str) -> Result<String, &'static str> {
    if text.trim() != text {
        return Err("the name starts or ends with white space");
    }
    Principal::new(text, IDP_KEY).map(|_| text.to_owned())
}
