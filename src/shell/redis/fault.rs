//! What keeps a store from answering, in words for the operator's log. Never shows a password.

use std::{fmt, io, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the store gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreFault {
    cause: String,
    /// Whether other calls would fare the same: then they need not try for a while.
    pub(super) is_of_store: bool,
    /// Whether the store may have done what it was asked all the same.
    pub(super) may_have_run: bool,
}

impl StoreFault {
    pub(super) fn of_store(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_of_store: true, may_have_run: false }
    }

    /// It did not answer in time.
    pub(super) fn slow(timeout: Duration) -> Self {
        let cause = format!("no answer within {} ms", timeout.as_millis());
        Self { may_have_run: true, ..Self::of_store(cause) }
    }

    /// A part of a script failed; the rest was done, and is not done again.
    pub(super) fn of_part(said: &str) -> Self {
        Self { cause: plain(said), is_of_store: false, may_have_run: true }
    }

    /// There is no room to remember that it is to be told of a turn's end.
    pub(super) fn untold() -> Self {
        let cause = "turns end faster than it can be told; what some took stays taken until their leases end";
        Self { is_of_store: false, ..Self::of_store(cause) }
    }

    /// It cannot be connected to.
    pub(super) fn unreachable(error: &io::Error) -> Self {
        Self::of_store(format!("cannot connect: {}", plain(&error.to_string())))
    }

    /// What it answered, or what came of sending to it.
    pub(super) fn of(error: &RedisError) -> Self {
        let said = plain(&error.to_string());
        let advice = match error.kind() {
            ErrorKind::AuthenticationFailed => "it refuses the user or password of guard.redis_url",
            ErrorKind::Parse => "what answers there does not speak the Redis protocol",
            ErrorKind::Server(ServerErrorKind::BusyLoading) => "it is loading its data",
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
                "it is a replica; guard.redis_url is to name the primary"
            }
            ErrorKind::Server(ServerErrorKind::NoPerm) => NO_PERMISSION,
            _ if NO_PERMISSION_SAID.iter().any(|words| said.contains(words)) => NO_PERMISSION,
            _ if error.is_cluster_error() || error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot) => CLUSTER,
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => "it wants a user or password that guard.redis_url does not have",
                Some("OOM") => "its memory is full",
                Some("WRONGTYPE") => WRONG_TYPE,
                _ if said.contains("WRONGTYPE") => WRONG_TYPE,
                _ if said.contains("OOM command not allowed") => "its memory is full",
                _ if is_of_key(&said) => STRANGE,
                _ => "",
            },
        };
        let cause = if advice.is_empty() { said } else { format!("{advice}: {said}") };
        // A key that others have written to is the trouble of those alone whose key it is.
        let is_of_store = ![STRANGE, WRONG_TYPE].contains(&advice);
        // A script that failed may have come half the way.
        Self { cause, is_of_store, may_have_run: error.is_io_error() || !is_of_store }
    }

    /// What `INFO` says that no store of ours may say.
    pub(super) fn of_mode(info: &str) -> Option<Self> {
        // Valkey has a word of its own for it.
        match field(info, "redis_mode").or_else(|| field(info, "server_mode")) {
            Some("cluster") => Some(Self::of_store(CLUSTER)),
            Some("sentinel") => Some(Self::of_store(
                "it is a Redis Sentinel, which keeps no data; guard.redis_url is to name the primary itself, or an \
                 address that always leads to it",
            )),
            _ => None,
        }
    }

    /// The same for a call that was not even tried.
    pub(super) fn at_once(self) -> Self {
        Self { may_have_run: false, ..self }
    }

    /// The same without `secret`, which a server may have repeated.
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
        write!(f, "guard store: {}", self.cause)
    }
}

/// Whether a script of ours failed by what it found in a key: the values are all that differs from call to call. What the
/// store as a whole cannot do, scripts say in words that begin with a code of its own.
fn is_of_key(said: &str) -> bool {
    let of_store = ["BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "READONLY"];
    said.contains("user_script") && !of_store.iter().any(|code| said.contains(code))
}

/// A field of what `INFO` answers.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// One line of at most [`SAID_MOST`] characters; servers of other kinds answer with anything.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(SAID_MOST).collect()
}

const CLUSTER: &str = "it is a node of a Redis Cluster, which is not supported; name one server, or a proxy that stands \
    for the primary";
const WRONG_TYPE: &str = "a key of ours was written to by others";
const NO_PERMISSION: &str = "its user may not do what is needed (docs/configuration.md)";
/// How servers say it: by the error's code, and from within a script before and since Redis 7.2, which Valkey follows.
const NO_PERMISSION_SAID: [&str; 3] = ["NOPERM", "can't run this command", "ACL failure in script"];
const STRANGE: &str = "a key of ours holds what is none of ours";
const SAID_MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, detail: &str) -> StoreFault {
        StoreFault::of(&redis::make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn each_way_to_fail_is_told_apart() {
        for (code, detail, words) in [
            ("NOAUTH", "Authentication required.", "wants a user or password"),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", "memory is full"),
            ("ERR", "Error running script: -OOM command not allowed", "memory is full"),
            ("ERR", "something else", "guard store: "),
            (
                "ERR",
                "The user executing the script can't run this command or subcommand script: 0a1b, on @user_script:3.",
                "its user may not",
            ),
            (
                "ERR",
                "ACL failure in script: User ada has no permissions to run the 'pttl' command script: 0a1b, on @user_script:1.",
                "its user may not",
            ),
            ("NOPERM", "User ada has no permissions to run the 'pttl' command", "its user may not"),
            ("MISCONF", "Errors writing to the AOF file script: 0a1b, on @user_script:9.", "MISCONF"),
        ] {
            let fault = server(code, detail);
            assert!(fault.to_string().contains(words) && fault.is_of_store, "{fault}");
        }
        let error = RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY"));
        assert!(StoreFault::of(&error).to_string().contains("is a replica"));
        let error = RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "MOVED"));
        assert!(StoreFault::of(&error).to_string().contains("Redis Cluster"));
    }

    #[test]
    fn a_key_of_the_wrong_type_does_not_speak_for_the_store() {
        for (code, detail) in [
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
            ("ERR", "Error running script: WRONGTYPE Operation against a key"),
            ("ERR", "user_script:64: attempt to compare number with nil script: 0a1b, on @user_script:64."),
            ("ERR", "Error running script (call to f_0a1b): @user_script:64: hash value is not an integer"),
        ] {
            assert!(!server(code, detail).is_of_store, "{code}");
        }
    }

    #[test]
    fn clusters_and_sentinels_are_known_by_their_own_word() {
        assert_eq!(StoreFault::of_mode(""), None);
        for field in ["redis_mode", "server_mode"] {
            let info = |mode: &str| format!("# Server\r\nredis_version:7.0.15\r\n{field}:{mode}\r\nos:Linux\r\n");
            assert_eq!(StoreFault::of_mode(&info("standalone")), None);
            assert!(StoreFault::of_mode(&info("cluster")).unwrap().to_string().contains("Cluster"));
            assert!(StoreFault::of_mode(&info("sentinel")).unwrap().to_string().contains("Sentinel"));
        }
    }

    #[test]
    fn a_password_that_a_server_repeats_is_not_told() {
        let fault =
            server("ERR", "unknown command 'AUTH', with args beginning with: 'hunter2'").without(Some("hunter2"));
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
        assert_eq!(server("ERR", "x").without(Some("")), server("ERR", "x"));
    }

    #[test]
    fn what_a_stranger_answers_stays_one_short_line() {
        let told = server("HTTP/1.1", &"400\r\n\u{1b}[2J".repeat(100)).to_string();
        assert!(told.chars().count() < 300 && !told.contains(char::is_control), "{told}");
    }
}
