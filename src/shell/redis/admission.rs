//! The reply of `admit.lua`.

use redis::{FromRedisValue, ParsingError, Value};

use super::counts::Counts;

/// The reply of `admit.lua`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) reply: AdmissionReply,
    pub(super) counts: Counts,
}

/// The decision about a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdmissionReply {
    /// The guard reported the end of the turn before the script ran.
    Abandoned,
    Admitted,
    /// Too many concurrent turns.
    Busy,
    /// The token was issued before the birth of the store.
    OlderThanStore {
        birth_second: u64,
    },
    /// The quota at index `quota` is exceeded in the count at index `count`.
    QuotaExceeded {
        quota: usize,
        count: usize,
    },
    /// The rate is exceeded.
    RateExceeded {
        wait_micros: u64,
    },
    /// The token, its conversation or its user is revoked.
    Revoked,
    /// The token is spent, or in use. `in_flight` is true if the same request uses it.
    TokenUsed {
        in_flight: bool,
    },
}

impl FromRedisValue for Admission {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (verdict, numbers) = <(String, Vec<i64>)>::from_redis_value(value)?;
        let [a, b, counts @ ..] = numbers.as_slice() else { return Err("too few numbers".into()) };
        // Lua counts from 1.
        let index = |number: i64| usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        let reply = match verdict.as_str() {
            "busy" => AdmissionReply::Busy,
            "fast" => AdmissionReply::RateExceeded { wait_micros: a.unsigned_abs() },
            "ok" => AdmissionReply::Admitted,
            "older" => AdmissionReply::OlderThanStore { birth_second: a.unsigned_abs() },
            "revoked" => AdmissionReply::Revoked,
            "short" => AdmissionReply::QuotaExceeded { quota: index(*a), count: index(*b) },
            "stale" => AdmissionReply::Abandoned,
            "used" => AdmissionReply::TokenUsed { in_flight: *a == 1 },
            _ => return Err("unknown verdict".into()),
        };
        Ok(Self { reply, counts: Counts::new(counts.to_vec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(verdict: &str, numbers: &[i64]) -> Result<Admission, ParsingError> {
        let numbers = numbers.iter().map(|number| Value::Int(*number)).collect();
        Admission::from_redis_value(Value::Array(vec![Value::BulkString(verdict.into()), Value::Array(numbers)]))
    }

    #[test]
    fn only_the_known_verdicts_are_read() {
        for (word, numbers, reply) in [
            ("busy", [0, 0], AdmissionReply::Busy),
            ("fast", [1_500_000, 0], AdmissionReply::RateExceeded { wait_micros: 1_500_000 }),
            ("ok", [0, 0], AdmissionReply::Admitted),
            ("older", [1_795_000_000, 0], AdmissionReply::OlderThanStore { birth_second: 1_795_000_000 }),
            ("revoked", [0, 0], AdmissionReply::Revoked),
            ("short", [2, 3], AdmissionReply::QuotaExceeded { quota: 1, count: 2 }),
            ("stale", [0, 0], AdmissionReply::Abandoned),
            ("used", [1, 0], AdmissionReply::TokenUsed { in_flight: true }),
            ("used", [0, 0], AdmissionReply::TokenUsed { in_flight: false }),
        ] {
            let counts = Counts::new(vec![7]);
            assert_eq!(parse(word, &[&numbers[..], &[7]].concat()).unwrap(), Admission { reply, counts }, "{word}");
        }
        assert!(parse("maybe", &[0, 0]).is_err() && parse("ok", &[0]).is_err());
        assert!(Admission::from_redis_value(Value::Okay).is_err());
    }
}
