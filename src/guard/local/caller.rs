//! What one caller has taken: its place in the rate's schedule, what it used in each period, and its turns under way.

use std::time::Duration;

use super::limits::Limits;
use crate::{
    guard::{Charge, Moment, Quota, gcra::Schedule},
    proto::{allowance::Allowance, time::seconds_rounded_up},
};

/// One caller.
#[derive(Debug, Default)]
pub(super) struct CallerState {
    schedule: Schedule,
    /// One for each period that anything was counted in.
    tallies: Vec<Tally>,
    /// Turns under way.
    pub(super) places: usize,
}

/// The start of a period, by which a turn is counted in it and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    seconds: u64,
    index: u64,
}

#[derive(Debug)]
struct Tally {
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

/// What a turn took, to be given back if it fails.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    periods: Vec<Period>,
    conversations: u64,
}

/// A limit, how much of it is left, and how long until there is enough of it for a turn.
pub(super) struct LimitStanding {
    pub(super) allowance: Allowance,
    pub(super) wait_seconds: u64,
    pub(super) takers: LimitScope,
}

/// Who takes of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitScope {
    /// Turns that begin a conversation.
    Beginnings,
    /// All that is asked of the upstream.
    Calls,
    /// Turns.
    Turns,
}

impl CallerState {
    /// Where the caller stands under each limit.
    pub(super) fn standings(&self, limits: &Limits, moment: Moment) -> Vec<LimitStanding> {
        let quotas = limits.rules.quotas.iter().flat_map(|quota| self.quota_standings(quota, moment));
        self.rate_standing(limits, moment).into_iter().chain(quotas).collect()
    }

    fn rate_standing(&self, limits: &Limits, moment: Moment) -> Option<LimitStanding> {
        let (gcra, rate) = limits.rate?;
        let allowance = Allowance {
            name: "rate",
            limit: rate.burst,
            remaining: gcra.remaining(self.schedule, moment.elapsed),
            period_seconds: rate.burst_seconds(),
            reset_seconds: seconds_rounded_up(gcra.full_in(self.schedule, moment.elapsed)),
        };
        let wait_seconds = seconds_rounded_up(gcra.wait(self.schedule, moment.elapsed));
        Some(LimitStanding { allowance, wait_seconds, takers: LimitScope::Calls })
    }

    fn quota_standings<'a>(&self, quota: &'a Quota, moment: Moment) -> impl Iterator<Item = LimitStanding> + use<'a> {
        let period = self.period(quota.period_seconds, moment);
        let counts = self.tally(period).map_or_else(Counts::default, |tally| tally.counts);
        let reset_seconds = period.ends_in(moment);
        let Counts { turns, conversations, model_tokens, history_bytes, upstream_millis } = counts;
        let had = [turns, conversations, model_tokens, history_bytes, upstream_millis];
        had.into_iter().enumerate().filter_map(move |(count, had)| {
            let allowance = quota.allowance(count, had, reset_seconds)?;
            let wait_seconds = if allowance.remaining == 0 { reset_seconds } else { 0 };
            let takers = if allowance.name == "conversations" { LimitScope::Beginnings } else { LimitScope::Turns };
            Some(LimitStanding { allowance, wait_seconds, takers })
        })
    }

    /// Takes one turn of the rate.
    pub(super) fn take_rate(&mut self, limits: &Limits, moment: Moment) {
        if let Some((gcra, _)) = limits.rate {
            self.schedule = gcra.taken(self.schedule, moment.elapsed);
        }
    }

    /// Takes one turn of each quota, and a conversation if it begins one.
    pub(super) fn take_turn(&mut self, begins: bool, limits: &Limits, moment: Moment) -> Receipt {
        let conversations = u64::from(begins);
        let periods: Vec<_> =
            limits.rules.quotas.iter().map(|quota| self.period(quota.period_seconds, moment)).collect();
        for period in &periods {
            let counts = self.counts(*period);
            counts.turns = counts.turns.saturating_add(1);
            counts.conversations = counts.conversations.saturating_add(conversations);
        }
        Receipt { periods, conversations }
    }

    /// Gives back what a turn took. The rate's share is not given back: who fails fast is not to be asked again as fast.
    pub(super) fn give_back(&mut self, receipt: &Receipt) {
        for counts in self.counted(receipt) {
            counts.turns = counts.turns.saturating_sub(1);
            counts.conversations = counts.conversations.saturating_sub(receipt.conversations);
        }
    }

    /// Adds what a turn used, to the periods in which it began, as far as they still count.
    pub(super) fn add(&mut self, used: Charge, receipt: &Receipt) {
        for counts in self.counted(receipt) {
            counts.model_tokens = counts.model_tokens.saturating_add(used.model_tokens);
            counts.history_bytes = counts.history_bytes.saturating_add(used.history_bytes);
            counts.upstream_millis = counts.upstream_millis.saturating_add(used.upstream_millis);
        }
    }

    /// Forgets the rate's schedule, which counts in parts of a rate that is no more.
    pub(super) fn begin_anew(&mut self) {
        self.schedule = Schedule::default();
    }

    /// How long until this caller is as one that never called; turns under way aside.
    pub(super) fn matters_for(&self, limits: &Limits, moment: Moment) -> Duration {
        let rate = limits.rate.map(|(gcra, _)| gcra.full_in(self.schedule, moment.elapsed));
        let periods = self.tallies.iter().filter(|tally| tally.counts != Counts::default()).filter_map(|tally| {
            let current = self.period(tally.period.seconds, moment) == tally.period;
            current.then(|| Duration::from_secs(tally.period.ends_in(moment)))
        });
        periods.chain(rate).max().unwrap_or_default()
    }

    /// The turns of the period that has the most of them.
    pub(super) fn turns(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.counts.turns).max().unwrap_or(0)
    }

    /// The period of this length that `moment` lies in.
    ///
    /// A clock that was set back a little, over the end of a period, does not bring back the one before; one that had run
    /// far ahead is not believed for long.
    fn period(&self, seconds: u64, moment: Moment) -> Period {
        let index = moment.now.0.checked_div(seconds).unwrap_or(0);
        let next = Period { seconds, index: index.saturating_add(1) };
        if self.tally(next).is_some() { next } else { Period { seconds, index } }
    }

    fn tally(&self, period: Period) -> Option<&Tally> {
        self.tallies.iter().find(|tally| tally.period == period)
    }

    /// The counts of a period, which takes the place of an earlier one of its length.
    fn counts(&mut self, period: Period) -> &mut Counts {
        let at = match self.tallies.iter().position(|tally| tally.period.seconds == period.seconds) {
            Some(at) => at,
            None => {
                self.tallies.push(Tally { period, counts: Counts::default() });
                self.tallies.len().saturating_sub(1)
            }
        };
        let tally = &mut self.tallies[at];
        if tally.period != period {
            *tally = Tally { period, counts: Counts::default() };
        }
        &mut tally.counts
    }

    fn counted(&mut self, receipt: &Receipt) -> impl Iterator<Item = &mut Counts> {
        let tallies = self.tallies.iter_mut().filter(|tally| receipt.periods.contains(&tally.period));
        tallies.map(|tally| &mut tally.counts)
    }
}

impl Period {
    fn ends_in(self, moment: Moment) -> u64 {
        let end = self.index.saturating_add(1).saturating_mul(self.seconds);
        end.saturating_sub(moment.now.0).max(1)
    }
}
