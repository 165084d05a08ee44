//! A turn or a read as the scripts see it.

use std::{sync::Arc, time::Duration};

use super::{counts::Counts, keys::HOLDER_BYTES};
use crate::{
    guard::{AdmitRequest, GuardPurpose, LimitSubject, Quota, Rules},
    proto::{exchange::PresentedToken, principal::Principal, time::LEEWAY_SECONDS, token::Id},
};

/// A turn or a read as the scripts see it, for its admission and for its end.
#[derive(Clone, Debug)]
pub(super) struct TurnEntry {
    /// The rules at the admission. They apply to the end of the turn as well.
    pub(super) rules: Arc<Rules>,
    /// Random bytes that identify the turn as the holder of its leases.
    pub(super) holder: [u8; HOLDER_BYTES],
    pub(super) purpose: GuardPurpose,
    pub(super) subject: LimitSubject,
    pub(super) principal: Principal,
    pub(super) conversation: Id,
    pub(super) presented: Option<PresentedToken>,
    pub(super) starts_conversation: bool,
    /// The counts at the admission; `None` while it is not known that the turn was admitted.
    pub(super) admitted: Option<Counts>,
}

impl TurnEntry {
    pub(super) fn new(request: &AdmitRequest, rules: Arc<Rules>, holder: [u8; HOLDER_BYTES]) -> Self {
        Self {
            rules,
            holder,
            purpose: request.purpose,
            subject: request.subject(),
            principal: request.principal.clone(),
            conversation: request.conversation,
            presented: request.presented,
            starts_conversation: request.starts_conversation(),
            admitted: None,
        }
    }

    /// Returns true for a turn, false for a read.
    pub(super) fn is_turn(&self) -> bool {
        self.purpose == GuardPurpose::Turn
    }

    /// The quotas that the request is charged to. The admission of a read reports them, but charges
    /// none. A count of model tokens is charged for the time of its call.
    pub(super) fn charged_quotas(&self) -> &[Quota] {
        match self.purpose {
            GuardPurpose::Count | GuardPurpose::Turn => &self.rules.quotas,
            GuardPurpose::Read | GuardPurpose::Revoke => &[],
        }
    }

    /// The limit on the user's live conversations, if it applies to the turn.
    ///
    /// Each conversation of an anonymous caller has its own user. And each request that brings its
    /// earlier turns itself has a conversation id of its own, although the chat is the same.
    pub(super) fn live_conversations(&self) -> Option<u64> {
        let is_one_chat = self.presented.is_some() || self.starts_conversation;
        self.rules.live_conversations.filter(|_| is_one_chat && !self.principal.is_anonymous())
    }

    /// The token, if the turn spends it.
    pub(super) fn single_use_token(&self) -> Option<PresentedToken> {
        self.presented.filter(|_| self.is_turn() && self.rules.single_use)
    }

    /// How long the store remembers that the turn has ended: longer than the end is reported
    /// (`settle_queue`).
    pub(super) fn end_ttl(&self) -> Duration {
        let reported = self.rules.lease.saturating_add(END_TTL_MARGIN);
        if self.admitted.is_some() { reported } else { reported.max(UNSURE_END_TTL) }
    }

    /// How long the store remembers that `token` is spent: as long as the token could be presented
    /// if a shorter `ttl` were changed back. The leeway counts once for the verifier, and once for
    /// clocks that differ from the store's.
    pub(super) fn spent_ttl(token: PresentedToken) -> Duration {
        let lifetime = token.expires_at.0.saturating_sub(token.issued_at.0);
        Duration::from_secs(lifetime.saturating_add(2 * LEEWAY_SECONDS))
    }
}

/// How much longer the end of a turn is remembered than it is reported.
const END_TTL_MARGIN: Duration = Duration::from_secs(120);
/// The least time to remember the end if it is not known that the turn was admitted: the request
/// for admission may still be unread in the buffers of a store that hangs.
const UNSURE_END_TTL: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guard::Moment, proto::time::UnixSeconds};

    fn request(principal: &str, presented: Option<PresentedToken>, brings_history: bool) -> AdmitRequest {
        AdmitRequest {
            purpose: GuardPurpose::Turn,
            principal: Principal::new(principal, "none").unwrap(),
            peer: None,
            conversation: Id::new(UnixSeconds(1), [1; 16]),
            presented,
            brings_history,
            moment: Moment::default(),
        }
    }

    #[test]
    fn an_end_is_remembered_for_longer_than_it_is_reported() {
        let request = request("ada", None, false);
        for lease in [1, 660, 86_400].map(Duration::from_secs) {
            let rules = Arc::new(Rules { lease, ..Rules::default() });
            let mut turn = TurnEntry::new(&request, rules, [0; HOLDER_BYTES]);
            assert!(turn.end_ttl() > lease && turn.end_ttl() >= UNSURE_END_TTL);
            turn.admitted = Some(Counts::default());
            assert!(turn.end_ttl() > lease);
        }
    }

    #[test]
    fn only_a_conversation_with_a_token_of_its_own_is_live() {
        let token = PresentedToken {
            token_id: Id::new(UnixSeconds(1), [1; 16]),
            issued_at: UnixSeconds(1),
            expires_at: UnixSeconds(2),
            request: [0; 16],
        };
        let rules = Arc::new(Rules { live_conversations: Some(3), ..Rules::default() });
        for (name, presented, brings_history, starts, live) in [
            ("ada", None, false, true, Some(3)),
            ("ada", None, true, false, None),
            ("ada", Some(token), false, false, Some(3)),
            ("ada", Some(token), true, false, Some(3)),
            ("anon-1", None, false, true, None),
            ("anon-1", Some(token), false, false, None),
        ] {
            let request = request(name, presented, brings_history);
            let turn = TurnEntry::new(&request, Arc::clone(&rules), [0; HOLDER_BYTES]);
            assert_eq!((turn.starts_conversation, turn.live_conversations()), (starts, live), "{name}");
        }
    }
}
