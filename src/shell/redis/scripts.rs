//! The four scripts, with their keys and arguments.
//!
//! Each script is atomic and uses the clock of the store. Each argument is a number, a word of the
//! scripts, a hash or random bytes; none is text of a user.

use redis::{Script, ScriptInvocation};

use super::{
    keys::{Keys, conversation},
    lua::{integer, millis, turn_micros},
    turn_entry::TurnEntry,
};
use crate::guard::{GuardPurpose, LimitSubject, Quota, Revocation, Rules, TurnEnd};

/// The scripts with their SHA-1 digests, which identify them in the store.
#[derive(Debug)]
pub(super) struct Scripts {
    admit: Script,
    allowances: Script,
    revoke: Script,
    settle: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            admit: Script::new(include_str!("admit.lua")),
            allowances: Script::new(include_str!("allowances.lua")),
            revoke: Script::new(include_str!("revoke.lua")),
            settle: Script::new(include_str!("settle.lua")),
        }
    }

    /// Admits or refuses a turn. The reply is an `Admission`.
    pub(super) fn admit(&self, keys: &Keys, turn: &TurnEntry) -> ScriptInvocation<'_> {
        let mut call = self.admit.prepare_invoke();
        call.key(keys.birth()).key(keys.turn_ended(&turn.holder)).key(keys.turns_in_flight(&turn.subject));
        call.key(if turn.is_turn() { keys.rate(&turn.subject) } else { keys.read_rate(&turn.subject) });
        call.key(keys.user_revoked(&turn.principal)).key(keys.conversation_revoked(turn.conversation));
        add_quota_keys(&mut call, keys, &turn.subject, &turn.rules.quotas);
        if let Some(presented) = turn.presented {
            call.key(keys.token_revoked(presented.token_id)).key(keys.token_used(presented.token_id));
        }
        add_admit_arguments(&mut call, turn);
        call
    }

    /// Ends a turn. The reply is the first error of a part of the script, or an empty text.
    pub(super) fn settle(&self, keys: &Keys, turn: &TurnEntry, end: TurnEnd) -> ScriptInvocation<'_> {
        let mut call = self.settle.prepare_invoke();
        call.key(keys.turn_ended(&turn.holder)).key(keys.turns_in_flight(&turn.subject));
        call.key(keys.conversation_revoked(turn.conversation)).key(keys.live_conversations(&turn.principal));
        add_quota_keys(&mut call, keys, &turn.subject, turn.charged_quotas());
        if let Some(token) = turn.single_use_token() {
            call.key(keys.token_used(token.token_id));
        }
        add_settle_arguments(&mut call, keys, turn, end);
        call
    }

    /// Revokes tokens. The reply has three numbers, for `Store::revoke`.
    pub(super) fn revoke(&self, keys: &Keys, rules: &Rules, revocation: &Revocation) -> ScriptInvocation<'_> {
        let mut call = self.revoke.prepare_invoke();
        call.arg(millis(rules.revocation_ttl)).arg(rules.live_conversations.is_some());
        call.arg(keys.conversation_revoked_prefix());
        match revocation {
            Revocation::Conversation { id } => call.key(keys.conversation_revoked(*id)),
            Revocation::Token { id } => call.key(keys.token_revoked(*id)),
            Revocation::User { principal } => {
                call.key(keys.user_revoked(principal)).key(keys.live_conversations(principal))
            }
        };
        call
    }

    /// Reads the counts of a caller. The reply is the debt under the rate of reads, then the
    /// numbers of `Counts`.
    pub(super) fn allowances(&self, keys: &Keys, rules: &Rules, subject: &LimitSubject) -> ScriptInvocation<'_> {
        let mut call = self.allowances.prepare_invoke();
        call.key(keys.rate(subject)).key(keys.read_rate(subject));
        add_quota_keys(&mut call, keys, subject, &rules.quotas);
        for quota in &rules.quotas {
            call.arg(quota.period_seconds);
        }
        call
    }
}

fn add_quota_keys(call: &mut ScriptInvocation<'_>, keys: &Keys, subject: &LimitSubject, quotas: &[Quota]) {
    for quota in quotas {
        call.key(keys.quota(subject, quota.period_seconds));
    }
}

fn add_admit_arguments(call: &mut ScriptInvocation<'_>, turn: &TurnEntry) {
    let rules = &*turn.rules;
    // The owner of a revoked token may revoke its other tokens with it.
    let may_be_revoked = turn.purpose == GuardPurpose::Revoke;
    call.arg(if turn.is_turn() { "turn" } else { "read" }).arg(&turn.holder[..]).arg(millis(rules.lease));
    call.arg(birth_counts(rules) && !may_be_revoked).arg(rules.revocation && !may_be_revoked);
    match turn.presented {
        Some(token) => call.arg(token.issued_at.0).arg(rules.single_use).arg(&token.request[..]),
        None => call.arg("").arg(false).arg(""),
    };
    let rate = rules.rate_of(turn.purpose);
    let (micros, burst) = rate.map_or((0, 0), |(_, rate)| (turn_micros(rate), rate.burst));
    call.arg(rules.max_concurrent_turns).arg(micros).arg(burst).arg(turn.starts_conversation);
    for quota in &rules.quotas {
        call.arg(quota.period_seconds);
        for limit in quota.limits() {
            call.arg(limit.map_or(-1, integer));
        }
    }
}

fn add_settle_arguments(call: &mut ScriptInvocation<'_>, keys: &Keys, turn: &TurnEntry, end: TurnEnd) {
    let rules = &*turn.rules;
    let charge = end.charge();
    let end = match end {
        TurnEnd::ClientLeft(_) => "left",
        TurnEnd::Complete(_) => "whole",
        TurnEnd::Cut(_) => "cut",
        TurnEnd::Failed(_) => "failed",
    };
    let token = turn.single_use_token();
    call.arg(&turn.holder[..]).arg(end).arg(millis(turn.end_ttl())).arg(token.is_some());
    match token {
        Some(token) => call.arg(&token.request[..]).arg(millis(TurnEntry::spent_ttl(token))),
        None => call.arg("").arg(0),
    };
    let is_turn = turn.purpose == GuardPurpose::Turn;
    call.arg(is_turn).arg(is_turn && turn.starts_conversation);
    call.arg(integer(charge.model_tokens)).arg(integer(charge.history_bytes)).arg(integer(charge.upstream_millis));
    call.arg(turn.live_conversations().map_or(0, integer)).arg(conversation(turn.conversation));
    call.arg(millis(rules.revocation_ttl)).arg(keys.conversation_revoked_prefix());
    for (number, quota) in turn.charged_quotas().iter().enumerate() {
        let period = turn.admitted.as_ref().and_then(|counts| counts.period(number));
        call.arg(quota.period_seconds).arg(period.unwrap_or(-1));
        for limit in quota.limits() {
            call.arg(limit.is_some());
        }
    }
}

/// Returns true if tokens from before the birth of the store are refused. The birth matters only if
/// the store keeps revocations or spent tokens, which it may have lost.
fn birth_counts(rules: &Rules) -> bool {
    (rules.revocation || rules.single_use) && !rules.trusts_empty_store
}
