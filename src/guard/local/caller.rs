//! The counts of one caller: its schedules under the rates, its usage in each period, and its turns
//! and reads in flight.

use std::time::Duration;

use super::compiled_rules::CompiledRules;
use crate::{
    guard::{
        admit::{GuardPurpose, Moment},
        gcra::{Gcra, Schedule},
        rules::{QUOTA_COUNTS, Quota, Rate},
        turn_end::Charge,
    },
    proto::{allowance::Allowance, time::seconds_rounded_up},
};

/// The counts of one caller.
#[derive(Debug, Default)]
pub(super) struct CallerState {
    /// Under the rate of turns.
    turn_schedule: Schedule,
    /// Under the rate of reads.
    read_schedule: Schedule,
    /// One entry for each length of period in which something was counted.
    usage: Vec<PeriodUsage>,
    /// Turns and reads.
    pub(super) in_flight: usize,
}

/// One period. A turn counts in the periods in which it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    seconds: u64,
    /// Periods of this length since 1970.
    index: u64,
}

/// The usage of a caller in a period.
#[derive(Debug)]
struct PeriodUsage {
    period: Period,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    turns: u64,
    conversations: u64,
    model_tokens: u64,
    history_bytes: u64,
    upstream_millis: u64,
}

/// The cost of a request under the quotas. It is refunded if a turn fails.
#[derive(Clone, Debug)]
pub(super) struct TurnCost {
    /// The periods of admission.
    periods: Vec<Period>,
    turns: u64,
    conversations: u64,
}

/// The state of one limit: the allowance, and the time until it admits a turn.
pub(super) struct LimitStanding {
    pub(super) allowance: Allowance,
    /// Zero if the limit admits a turn now.
    pub(super) wait_seconds: u64,
    pub(super) scope: LimitScope,
}

/// The requests that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitScope {
    /// Turns that start a conversation, as a quota.
    NewConversations,
    /// Everything except turns, as a rate.
    ReadRate,
    /// Turns, as a rate.
    TurnRate,
    /// Turns, as a quota.
    Turns,
}

impl LimitScope {
    /// Returns true if responses to requests with this purpose report the limit.
    pub(super) fn is_reported(self, purpose: GuardPurpose) -> bool {
        match self {
            Self::NewConversations | Self::Turns => true,
            Self::ReadRate => purpose != GuardPurpose::Turn,
            Self::TurnRate => purpose == GuardPurpose::Turn,
        }
    }
}

impl CallerState {
    /// The state of each limit: the rate of turns, the quotas in the order of the rules, and the
    /// rate of reads.
    pub(super) fn standings(&self, rules: &CompiledRules, moment: Moment) -> Vec<LimitStanding> {
        let standing = |scope, name, (gcra, rate): (Gcra, Rate), schedule| {
            let allowance = Allowance {
                name,
                limit: rate.burst,
                remaining: gcra.remaining(schedule, moment.elapsed),
                period_seconds: rate.burst_seconds(),
                reset_seconds: seconds_rounded_up(gcra.full_in(schedule, moment.elapsed)),
            };
            let wait_seconds = seconds_rounded_up(gcra.wait(schedule, moment.elapsed));
            LimitStanding { allowance, wait_seconds, scope }
        };
        let turns = rules.rate.map(|rate| standing(LimitScope::TurnRate, "rate", rate, self.turn_schedule));
        let quotas = rules.rules.quotas.iter().flat_map(|quota| self.quota_standings(quota, moment));
        let reads = rules.read_rate.map(|rate| standing(LimitScope::ReadRate, "read_rate", rate, self.read_schedule));
        turns.into_iter().chain(quotas).chain(reads).collect()
    }

    fn quota_standings<'a>(&self, quota: &'a Quota, moment: Moment) -> impl Iterator<Item = LimitStanding> + use<'a> {
        let period = self.period(quota.period_seconds, moment);
        let used = self.usage(period).map_or_else(Counts::default, |usage| usage.counts).in_order();
        let reset_seconds = period.ends_in(moment);
        used.into_iter().enumerate().filter_map(move |(count, used)| {
            let allowance = quota.allowance(count, used, reset_seconds)?;
            let wait_seconds = if allowance.remaining == 0 { reset_seconds } else { 0 };
            let scope =
                if allowance.name == "conversations" { LimitScope::NewConversations } else { LimitScope::Turns };
            Some(LimitStanding { allowance, wait_seconds, scope })
        })
    }

    /// Charges one request to the rate of its purpose.
    pub(super) fn charge_rate(&mut self, purpose: GuardPurpose, rules: &CompiledRules, moment: Moment) {
        let (rate, schedule) = match purpose {
            GuardPurpose::Turn => (rules.rate, &mut self.turn_schedule),
            GuardPurpose::Count | GuardPurpose::Read | GuardPurpose::Revoke => {
                (rules.read_rate, &mut self.read_schedule)
            }
        };
        if let Some((gcra, _)) = rate {
            *schedule = gcra.after_turn(*schedule, moment.elapsed);
        }
    }

    /// Charges turns and conversations to each quota. A request that is no turn charges neither.
    pub(super) fn charge(&mut self, turns: u64, conversations: u64, rules: &CompiledRules, moment: Moment) -> TurnCost {
        let periods: Vec<_> =
            rules.rules.quotas.iter().map(|quota| self.period(quota.period_seconds, moment)).collect();
        for period in &periods {
            let counts = self.counts(*period);
            counts.turns = counts.turns.saturating_add(turns);
            counts.conversations = counts.conversations.saturating_add(conversations);
        }
        TurnCost { periods, turns, conversations }
    }

    /// Refunds the cost of a failed turn. The rate is not refunded, so that a client whose turns
    /// fail fast cannot retry just as fast.
    pub(super) fn refund(&mut self, cost: &TurnCost) {
        for counts in self.charged(cost) {
            counts.turns = counts.turns.saturating_sub(cost.turns);
            counts.conversations = counts.conversations.saturating_sub(cost.conversations);
        }
    }

    /// Adds what a request used to the periods in which it was admitted, if they have not ended.
    pub(super) fn add(&mut self, charge: Charge, cost: &TurnCost) {
        for counts in self.charged(cost) {
            counts.model_tokens = counts.model_tokens.saturating_add(charge.model_tokens);
            counts.history_bytes = counts.history_bytes.saturating_add(charge.history_bytes);
            counts.upstream_millis = counts.upstream_millis.saturating_add(charge.upstream_millis);
        }
    }

    /// Resets the schedule of turns. Its unit belongs to the old rate and means nothing under a new
    /// one.
    pub(super) fn reset_rate(&mut self) {
        self.turn_schedule = Schedule::default();
    }

    /// Resets the schedule of reads.
    pub(super) fn reset_read_rate(&mut self) {
        self.read_schedule = Schedule::default();
    }

    /// The time until this caller has the state of a new caller, turns and reads in flight aside.
    pub(super) fn expires_in(&self, rules: &CompiledRules, moment: Moment) -> Duration {
        let turns = rules.rate.map(|(gcra, _)| gcra.full_in(self.turn_schedule, moment.elapsed));
        let reads = rules.read_rate.map(|(gcra, _)| gcra.full_in(self.read_schedule, moment.elapsed));
        let periods = self.usage.iter().filter(|usage| usage.counts != Counts::default()).filter_map(|usage| {
            let current = self.period(usage.period.seconds, moment) == usage.period;
            current.then(|| Duration::from_secs(usage.period.ends_in(moment)))
        });
        periods.chain(turns).chain(reads).max().unwrap_or_default()
    }

    /// The turns in the period that has the most turns.
    pub(super) fn turns(&self) -> u64 {
        self.usage.iter().map(|usage| usage.counts.turns).max().unwrap_or(0)
    }

    /// The period of this length at `moment`.
    ///
    /// If the clock is set back over the end of a period, the later period stays current, so that
    /// its quota is not granted twice. The counts of a clock that was further ahead are ignored, so
    /// that they lock no caller out.
    fn period(&self, seconds: u64, moment: Moment) -> Period {
        let index = moment.now.0.checked_div(seconds).unwrap_or(0);
        let next = Period { seconds, index: index.saturating_add(1) };
        if self.usage(next).is_some() { next } else { Period { seconds, index } }
    }

    fn usage(&self, period: Period) -> Option<&PeriodUsage> {
        self.usage.iter().find(|usage| usage.period == period)
    }

    /// The counts of a period. They replace those of another period of the same length.
    fn counts(&mut self, period: Period) -> &mut Counts {
        let index = match self.usage.iter().position(|usage| usage.period.seconds == period.seconds) {
            Some(index) => index,
            None => {
                self.usage.push(PeriodUsage { period, counts: Counts::default() });
                self.usage.len().saturating_sub(1)
            }
        };
        let usage = &mut self.usage[index];
        if usage.period != period {
            *usage = PeriodUsage { period, counts: Counts::default() };
        }
        &mut usage.counts
    }

    /// The counts of the turn's periods that have not been replaced.
    fn charged(&mut self, cost: &TurnCost) -> impl Iterator<Item = &mut Counts> {
        let usage = self.usage.iter_mut().filter(|usage| cost.periods.contains(&usage.period));
        usage.map(|usage| &mut usage.counts)
    }
}

impl Counts {
    /// The counts in the order of [`QUOTA_COUNTS`].
    fn in_order(&self) -> [u64; QUOTA_COUNTS.len()] {
        let Self { turns, conversations, model_tokens, history_bytes, upstream_millis } = *self;
        [turns, conversations, model_tokens, history_bytes, upstream_millis]
    }
}

impl Period {
    /// Seconds until the period ends, at least 1.
    fn ends_in(self, moment: Moment) -> u64 {
        let end = self.index.saturating_add(1).saturating_mul(self.seconds);
        end.saturating_sub(moment.now.0).max(1)
    }
}
