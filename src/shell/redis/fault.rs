//! Failures of the store, with causes for the operator's log. A cause never shows a password.

use std::{fmt, io, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::shell::tls::explain as explain_tls;

/// The reason why a call to the store failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreFault {
    cause: String,
    /// True if other calls would fail as well, so that they should pause.
    pub(super) affects_all_calls: bool,
    /// True if the store may have run the script in spite of the failure.
    pub(super) may_have_run: bool,
}

impl StoreFault {
    /// A fault of the whole store. No script has run.
    pub(super) fn of_store(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), affects_all_calls: true, may_have_run: false }
    }

    /// The store did not answer within `timeout`.
    pub(super) fn timed_out(timeout: Duration) -> Self {
        let cause = format!("no answer within {} ms", timeout.as_millis());
        Self { may_have_run: true, ..Self::of_store(cause) }
    }

    /// A part of a script failed with `message`. The other parts were done and are not repeated.
    pub(super) fn of_script_part(message: &str) -> Self {
        Self { cause: one_line(message), affects_all_calls: false, may_have_run: true }
    }

    /// The queue of ended turns is full, so the store does not hear of this end.
    pub(super) fn queue_full() -> Self {
        let cause = "turns end faster than the store can process; some turns hold what they consumed until their \
                     leases end";
        Self { affects_all_calls: false, ..Self::of_store(cause) }
    }

    /// The connection cannot be opened.
    pub(super) fn unreachable(error: &io::Error) -> Self {
        let cause = explain_tls(error, "guard.redis_ca_file").unwrap_or_else(|| error.to_string());
        Self::of_store(format!("cannot connect: {}", one_line(&cause)))
    }

    /// The store answered with an error, or the connection failed.
    pub(super) fn of_error(error: &RedisError) -> Self {
        let message = one_line(&error.to_string());
        let explanation = explain(error, &message);
        let cause = match explanation {
            Some(explanation) => format!("{explanation}: {message}"),
            None => message,
        };
        // A key that another client has written to affects only the caller whose key it is.
        let affects_all_calls = !explanation.is_some_and(|text| [UNEXPECTED_VALUE, WRONG_TYPE].contains(&text));
        // A script that failed at a key may have done a part of its work.
        Self { cause, affects_all_calls, may_have_run: error.is_io_error() || !affects_all_calls }
    }

    /// The fault that `INFO` reveals: a server in a mode that cannot be used.
    pub(super) fn of_mode(info: &str) -> Option<Self> {
        // Redis and Valkey name the field differently.
        match field(info, "redis_mode").or_else(|| field(info, "server_mode")) {
            Some("cluster") => Some(Self::of_store(CLUSTER)),
            Some("sentinel") => Some(Self::of_store(
                "the server is a Redis Sentinel, which stores no data; set `guard.redis_url` to the primary, or to an \
                 address that always leads to it",
            )),
            _ => None,
        }
    }

    /// The same fault for a call that was not sent.
    pub(super) fn of_unsent_call(self) -> Self {
        Self { may_have_run: false, ..self }
    }

    /// The same fault without `secret`, which a server may have repeated in its message.
    pub(super) fn without(self, secret: Option<&str>) -> Self {
        match secret {
            Some(secret) if !secret.is_empty() && self.cause.contains(secret) => {
                Self { cause: self.cause.replace(secret, "…"), ..self }
            }
            _ => self,
        }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits store: {}", self.cause)
    }
}

/// The explanation of an error, in words for the operator.
fn explain(error: &RedisError, message: &str) -> Option<&'static str> {
    let text = match error.kind() {
        ErrorKind::AuthenticationFailed => "the user or password in `guard.redis_url` is wrong",
        ErrorKind::Parse => "the server at this address does not use the Redis protocol",
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "the server is still loading its data",
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
            "the server is a replica; set `guard.redis_url` to the primary"
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => NO_PERMISSION,
        _ if NO_PERMISSION_MESSAGES.iter().any(|words| message.contains(words)) => NO_PERMISSION,
        _ if error.is_cluster_error() || error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot) => CLUSTER,
        _ => return explain_code(error.code(), message),
    };
    Some(text)
}

/// The explanation of an error by its code, or by its message if a script passes the error on.
fn explain_code(code: Option<&str>, message: &str) -> Option<&'static str> {
    match code {
        Some("NOAUTH" | "WRONGPASS") => {
            Some("the server requires a user or password that `guard.redis_url` does not have")
        }
        Some("OOM") => Some(OUT_OF_MEMORY),
        Some("WRONGTYPE") => Some(WRONG_TYPE),
        _ if message.contains("WRONGTYPE") => Some(WRONG_TYPE),
        _ if message.contains("OOM command not allowed") => Some(OUT_OF_MEMORY),
        _ if is_of_key(message) => Some(UNEXPECTED_VALUE),
        _ => None,
    }
}

/// Returns true if a script failed because of the value of a key. The scripts never change, so only
/// a value can make one of them fail by itself. Failures of the whole store have one of the codes
/// below in their message.
fn is_of_key(message: &str) -> bool {
    let store_codes = ["BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "READONLY"];
    message.contains("user_script") && !store_codes.iter().any(|code| message.contains(code))
}

/// A field of the answer to `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `text` as one line of at most [`MESSAGE_CHARS_MAX`] characters. Servers of another kind may
/// answer with any bytes.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(MESSAGE_CHARS_MAX).collect()
}

const CLUSTER: &str = "the server is a node of a Redis Cluster, which is not supported; use one server, or a proxy that \
    represents the primary";
const OUT_OF_MEMORY: &str = "the server's memory is full";
const WRONG_TYPE: &str = "another client has written to a key of this deployment";
const NO_PERMISSION: &str = "the user in `guard.redis_url` lacks a permission (docs/configuration.md)";
/// The messages of a missing permission: the error's code, and the texts from within a script
/// before and since Redis 7.2, which Valkey follows.
const NO_PERMISSION_MESSAGES: [&str; 3] = ["NOPERM", "can't run this command", "ACL failure in script"];
const UNEXPECTED_VALUE: &str = "a key of this deployment holds an unexpected value";
const MESSAGE_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, detail: &str) -> StoreFault {
        StoreFault::of_error(&redis::make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn each_failure_has_its_explanation() {
        for (code, detail, words) in [
            ("NOAUTH", "Authentication required.", "requires a user or password"),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", "memory is full"),
            ("ERR", "Error running script: -OOM command not allowed", "memory is full"),
            ("ERR", "something else", "limits store: "),
            (
                "ERR",
                "The user executing the script can't run this command or subcommand script: 0a1b, on @user_script:3.",
                "lacks a permission",
            ),
            (
                "ERR",
                "ACL failure in script: User ada has no permissions to run the 'pttl' command script: 0a1b, \
                 on @user_script:1.",
                "lacks a permission",
            ),
            ("NOPERM", "User ada has no permissions to run the 'pttl' command", "lacks a permission"),
            ("MISCONF", "Errors writing to the AOF file script: 0a1b, on @user_script:9.", "MISCONF"),
        ] {
            let fault = server(code, detail);
            assert!(fault.to_string().contains(words) && fault.affects_all_calls, "{fault}");
        }
        let error = RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY"));
        assert!(StoreFault::of_error(&error).to_string().contains("is a replica"));
        let error = RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "MOVED"));
        assert!(StoreFault::of_error(&error).to_string().contains("Redis Cluster"));
    }

    #[test]
    fn a_bad_key_does_not_mark_the_store_as_down() {
        for (code, detail) in [
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
            ("ERR", "Error running script: WRONGTYPE Operation against a key"),
            ("ERR", "user_script:64: attempt to compare number with nil script: 0a1b, on @user_script:64."),
            ("ERR", "Error running script (call to f_0a1b): @user_script:64: hash value is not an integer"),
        ] {
            assert!(!server(code, detail).affects_all_calls, "{code}");
        }
    }

    #[test]
    fn clusters_and_sentinels_are_recognized_by_their_mode() {
        assert_eq!(StoreFault::of_mode(""), None);
        for field in ["redis_mode", "server_mode"] {
            let info = |mode: &str| format!("# Server\r\nredis_version:7.0.15\r\n{field}:{mode}\r\nos:Linux\r\n");
            assert_eq!(StoreFault::of_mode(&info("standalone")), None);
            assert!(StoreFault::of_mode(&info("cluster")).unwrap().to_string().contains("Cluster"));
            assert!(StoreFault::of_mode(&info("sentinel")).unwrap().to_string().contains("Sentinel"));
        }
    }

    #[test]
    fn a_password_that_a_server_repeats_is_not_shown() {
        let fault =
            server("ERR", "unknown command 'AUTH', with args beginning with: 'hunter2'").without(Some("hunter2"));
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
        assert_eq!(server("ERR", "x").without(Some("")), server("ERR", "x"));
    }

    #[test]
    fn an_unknown_answer_becomes_one_short_line() {
        let text = server("HTTP/1.1", &"400\r\n\u{1b}[2J".repeat(100)).to_string();
        assert!(text.chars().count() < 300 && !text.contains(char::is_control), "{text}");
    }
}
