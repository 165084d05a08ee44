//! What is asked of the store: four scripts, their keys and arguments, and what their answers mean.
//!
//! Each is atomic and runs by the store's own clock. An argument is a number, a hash or random bytes; none is text.

use std::{sync::Arc, time::Duration};

use redis::{FromRedisValue, ParsingError, Script, ScriptInvocation, Value};

use super::{
    keys::{HOLDER_BYTES, Keys, conversation},
    standing::Counts,
};
use crate::{
    guard::{AdmitRequest, Charge, GuardPurpose, LimitSubject, Quota, Revocation, Rules, TurnEnd},
    proto::{exchange::PresentedToken, principal::Principal, time::LEEWAY_SECONDS, token::Id},
};

/// The scripts, with their hashes.
#[derive(Debug)]
pub(super) struct Scripts {
    admit: Script,
    settle: Script,
    revoke: Script,
    standing: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            admit: Script::new(include_str!("admit.lua")),
            settle: Script::new(include_str!("settle.lua")),
            revoke: Script::new(include_str!("revoke.lua")),
            standing: Script::new(include_str!("standing.lua")),
        }
    }

    /// Asks for a turn.
    pub(super) fn admit(&self, keys: &Keys, turn: &TurnEntry) -> ScriptInvocation<'_> {
        let rules = &*turn.rules;
        // To count model tokens takes nothing of them, and says where its caller stands all the same.
        let quotas = if turn.purpose == GuardPurpose::Read { &[][..] } else { &rules.quotas };
        let mut call = self.admit.prepare_invoke();
        call.key(keys.birth())
            .key(keys.done(&turn.holder))
            .key(keys.places(&turn.counted))
            .key(keys.rate(&turn.counted));
        call.key(keys.user_revoked(&turn.principal)).key(keys.conversation_revoked(turn.conversation));
        for quota in quotas {
            call.key(keys.quota(&turn.counted, quota.period_seconds));
        }
        if let Some(presented) = turn.presented {
            call.key(keys.token_revoked(presented.token_id)).key(keys.token_used(presented.token_id));
        }
        let purpose = match turn.purpose {
            GuardPurpose::Count => "count",
            GuardPurpose::Read => "read",
            GuardPurpose::Turn => "turn",
        };
        call.arg(purpose).arg(&turn.holder[..]).arg(millis(rules.lease)).arg(counts_birth(rules)).arg(rules.revocation);
        match turn.presented {
            Some(presented) => call.arg(presented.issued_at.0).arg(rules.single_use).arg(&presented.input[..]),
            None => call.arg("").arg(false).arg(""),
        };
        let (interval, burst) =
            rules.rate.map_or((0, 0), |rate| (interval_micros(rate.turns, rate.period), rate.burst));
        call.arg(rules.turns_at_once).arg(interval).arg(burst).arg(turn.presented.is_none());
        for quota in quotas {
            call.arg(quota.period_seconds);
            for limit in quota.limits() {
                call.arg(limit.map_or(-1, whole));
            }
        }
        call
    }

    /// Ends a turn.
    pub(super) fn settle(&self, keys: &Keys, turn: &TurnEntry, ending: TurnEnd) -> ScriptInvocation<'_> {
        let (rules, quotas) = (&*turn.rules, turn.quotas());
        let once = turn.presented.filter(|_| turn.purpose == GuardPurpose::Turn && rules.single_use);
        let mut call = self.settle.prepare_invoke();
        call.key(keys.done(&turn.holder)).key(keys.places(&turn.counted));
        call.key(keys.conversation_revoked(turn.conversation)).key(keys.live(&turn.principal));
        for quota in quotas {
            call.key(keys.quota(&turn.counted, quota.period_seconds));
        }
        if let Some(presented) = once {
            call.key(keys.token_used(presented.token_id));
        }
        let (ending, used) = match ending {
            TurnEnd::Cut(used) => ("cut", used),
            TurnEnd::Failed => ("failed", Charge::default()),
            TurnEnd::ClientLeft(used) => ("left", used),
            TurnEnd::Complete(used) => ("whole", used),
        };
        call.arg(&turn.holder[..]).arg(ending).arg(millis(turn.done_memory())).arg(once.is_some());
        match once {
            Some(presented) => call.arg(&presented.input[..]).arg(millis(turn.memory(presented))),
            None => call.arg("").arg(0),
        };
        call.arg(turn.presented.is_none());
        call.arg(whole(used.model_tokens)).arg(whole(used.history_bytes)).arg(whole(used.upstream_millis));
        // Without a name there is one conversation: nobody can begin another as the same user.
        let live = rules.live_conversations.filter(|_| !turn.principal.is_anonymous());
        call.arg(live.map_or(0, whole)).arg(conversation(turn.conversation));
        call.arg(millis(rules.memory)).arg(keys.conversations_revoked());
        for (number, quota) in quotas.iter().enumerate() {
            let period = turn.admitted.as_ref().and_then(|counts| counts.period(number));
            call.arg(quota.period_seconds).arg(period.unwrap_or(-1));
            for limit in quota.limits() {
                call.arg(limit.is_some());
            }
        }
        call
    }

    /// Revokes.
    pub(super) fn revoke(&self, keys: &Keys, rules: &Rules, revocation: &Revocation) -> ScriptInvocation<'_> {
        let mut call = self.revoke.prepare_invoke();
        call.arg(millis(rules.memory));
        match revocation {
            Revocation::Conversation { id } => call.key(keys.conversation_revoked(*id)),
            Revocation::Token { id } => call.key(keys.token_revoked(*id)),
            Revocation::User { principal } => call.key(keys.user_revoked(principal)).key(keys.live(principal)),
        };
        call
    }

    /// Asks where a caller stands.
    pub(super) fn standing(&self, keys: &Keys, rules: &Rules, counted: &LimitSubject) -> ScriptInvocation<'_> {
        let mut call = self.standing.prepare_invoke();
        call.key(keys.rate(counted));
        for quota in &rules.quotas {
            call.key(keys.quota(counted, quota.period_seconds)).arg(quota.period_seconds);
        }
        call
    }
}

/// A turn as the store is told of it, before and after.
#[derive(Clone, Debug)]
pub(super) struct TurnEntry {
    /// The rules that it began under, and ends under.
    pub(super) rules: Arc<Rules>,
    /// Names the leases that it takes.
    pub(super) holder: [u8; HOLDER_BYTES],
    pub(super) purpose: GuardPurpose,
    pub(super) counted: LimitSubject,
    pub(super) principal: Principal,
    pub(super) conversation: Id,
    pub(super) presented: Option<PresentedToken>,
    /// The counts when it was admitted; none while that is not known.
    pub(super) admitted: Option<Counts>,
}

impl TurnEntry {
    pub(super) fn new(ask: &AdmitRequest, rules: Arc<Rules>, holder: [u8; HOLDER_BYTES]) -> Self {
        Self {
            rules,
            holder,
            purpose: ask.purpose,
            counted: ask.subject(),
            principal: ask.principal.clone(),
            conversation: ask.conversation,
            presented: ask.presented,
            admitted: None,
        }
    }

    /// The quotas that it counts against.
    fn quotas(&self) -> &[Quota] {
        if self.purpose == GuardPurpose::Turn { &self.rules.quotas } else { &[] }
    }

    /// How long it is remembered that it has ended: for longer than it is told again ([`super::settling`]).
    fn done_memory(&self) -> Duration {
        let told = self.rules.lease.saturating_add(DONE);
        if self.admitted.is_some() { told } else { told.max(UNSURE) }
    }

    /// How long its token could still be presented, were a shorter `ttl` taken back: the leeway once for the verifier's sake, and once for clocks that
    /// differ from the store's.
    fn memory(&self, presented: PresentedToken) -> Duration {
        let lasts = presented.expires_at.0.saturating_sub(presented.issued_at.0);
        Duration::from_secs(lasts.saturating_add(2 * LEEWAY_SECONDS))
    }
}

/// What `admit.lua` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) verdict: AdmissionReply,
    pub(super) counts: Counts,
}

/// Whether a turn may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdmissionReply {
    Admitted,
    Busy,
    /// Too fast by this many microseconds.
    Fast(u64),
    /// The token was issued before the store's birth, in this second.
    Older(u64),
    Revoked,
    /// The quota with this number, from 0, has nothing left of this count.
    Short(usize, usize),
    /// The turn was given up before.
    Stale,
    Charge {
        under_way: bool,
    },
}

impl FromRedisValue for Admission {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (verdict, numbers) = <(String, Vec<i64>)>::from_redis_value(value)?;
        let [a, b, rest @ ..] = numbers.as_slice() else { return Err("too few numbers".into()) };
        let number = |number: i64| usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        let verdict = match verdict.as_str() {
            "busy" => AdmissionReply::Busy,
            "fast" => AdmissionReply::Fast(a.unsigned_abs()),
            "ok" => AdmissionReply::Admitted,
            "older" => AdmissionReply::Older(a.unsigned_abs()),
            "revoked" => AdmissionReply::Revoked,
            "short" => AdmissionReply::Short(number(*a), number(*b)),
            "stale" => AdmissionReply::Stale,
            "used" => AdmissionReply::Charge { under_way: *a == 1 },
            _ => return Err("an unknown verdict".into()),
        };
        Ok(Self { verdict, counts: Counts::new(rest.to_vec()) })
    }
}

/// Whether tokens from before the store's birth are refused: only then does it matter what a store has forgotten.
fn counts_birth(rules: &Rules) -> bool {
    (rules.revocation || rules.single_use) && !rules.trusts_empty_store
}

/// What a turn costs of the rate, rounded up, so that no rounding lets one more through.
pub(super) fn interval_micros(turns: u64, period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX).div_ceil(turns.max(1)).clamp(1, WHOLE)
}

fn millis(duration: Duration) -> i64 {
    whole(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A number that Lua holds exactly.
fn whole(number: u64) -> i64 {
    i64::try_from(number.min(WHOLE)).unwrap_or(i64::MAX)
}

/// The greatest whole number that Lua's floating point counts up to, halved, for sums (IEEE 754 binary64).
const WHOLE: u64 = 1 << 52;
/// How much longer it is remembered that a turn has ended than it is told.
const DONE: Duration = Duration::from_secs(120);
/// The least for which it is remembered where it is not known whether the turn was ever admitted: what asks for it may
/// still lie unread at a store that hangs.
const UNSURE: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{guard::Moment, proto::time::UnixSeconds, shell::redis::scripts::*};

    fn answer(verdict: &str, numbers: &[i64]) -> Result<Admission, ParsingError> {
        let numbers = numbers.iter().map(|number| Value::Int(*number)).collect();
        Admission::from_redis_value(Value::Array(vec![Value::BulkString(verdict.into()), Value::Array(numbers)]))
    }

    #[test]
    fn each_verdict_is_read_and_no_other() {
        for (word, numbers, verdict) in [
            ("busy", [0, 0], AdmissionReply::Busy),
            ("fast", [1_500_000, 0], AdmissionReply::Fast(1_500_000)),
            ("ok", [0, 0], AdmissionReply::Admitted),
            ("older", [1_795_000_000, 0], AdmissionReply::Older(1_795_000_000)),
            ("revoked", [0, 0], AdmissionReply::Revoked),
            ("short", [2, 3], AdmissionReply::Short(1, 2)),
            ("stale", [0, 0], AdmissionReply::Stale),
            ("used", [1, 0], AdmissionReply::Charge { under_way: true }),
            ("used", [0, 0], AdmissionReply::Charge { under_way: false }),
        ] {
            let counts = Counts::new(vec![7]);
            assert_eq!(answer(word, &[&numbers[..], &[7]].concat()).unwrap(), Admission { verdict, counts }, "{word}");
        }
        assert!(answer("maybe", &[0, 0]).is_err() && answer("ok", &[0]).is_err());
        assert!(Admission::from_redis_value(Value::Okay).is_err());
    }

    #[test]
    fn an_end_is_remembered_for_longer_than_it_is_told() {
        let ask = AdmitRequest {
            purpose: GuardPurpose::Turn,
            principal: Principal::new("ada", "none").unwrap(),
            peer: None,
            conversation: Id::new(UnixSeconds(1), [1; 16]),
            presented: None,
            moment: Moment::default(),
        };
        for lease in [1, 660, 86_400].map(Duration::from_secs) {
            let rules = Arc::new(Rules { lease, ..Rules::default() });
            let mut turn = TurnEntry::new(&ask, rules, [0; HOLDER_BYTES]);
            assert!(turn.done_memory() > lease && turn.done_memory() >= UNSURE);
            turn.admitted = Some(Counts::default());
            assert!(turn.done_memory() > lease);
        }
    }

    proptest! {
        #[test]
        fn no_rounding_lets_one_turn_more_through(turns in 1_u64..=1_000_000_000, seconds in 1_u64..=366 * 86_400) {
            let (interval, micros) = (interval_micros(turns, Duration::from_secs(seconds)), seconds * 1_000_000);
            prop_assert!(interval * turns >= micros);
            prop_assert!((interval - 1) * turns < micros);
        }
    }
}
