//! The names of keys in the store: `holdall1:{deployment}:kind:subject`.
//!
//! `deployment` and `subject` are hashes: the first 128 bits of SHA-256, in hexadecimal. The hash
//! covers `holdall1 guard `, a word for the kind of subject, a zero byte, and the parts of the
//! subject, each after its length. So two subjects have the same name only if the hash collides,
//! and a name reveals nothing.
//!
//! The braces make one hash tag of all keys of a deployment. A proxy in front of several servers
//! may place deployments on different servers, but never splits the keys of one turn.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::{
    guard::LimitSubject,
    proto::{principal::Principal, token::Id},
};

/// Makes the key names of one deployment.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// The names for the deployment called `namespace`.
    pub(super) fn new(namespace: &str) -> Self {
        Self { prefix: format!("holdall1:{{{}}}:", hash("deployment", &[namespace.as_bytes()])) }
    }

    /// Holds the second in which the store was first found empty. The only key that never expires.
    pub(super) fn birth(&self) -> String {
        format!("{}birth", self.prefix)
    }

    /// Written after an outage, to see that the store accepts writes. Expires at once.
    pub(super) fn recovery(&self) -> String {
        format!("{}recovery", self.prefix)
    }

    /// Exists if the turn with this holder id has ended.
    pub(super) fn turn_ended(&self, holder: &[u8; HOLDER_BYTES]) -> String {
        self.name("done", &hash("holder", &[holder]))
    }

    /// A sorted set of the caller's turns and reads in flight, scored by the end of their lease.
    pub(super) fn turns_in_flight(&self, subject: &LimitSubject) -> String {
        self.name("places", &limit_subject(subject))
    }

    /// Holds the time at which the caller's rate of turns is full again.
    pub(super) fn rate(&self, subject: &LimitSubject) -> String {
        self.name("rate", &limit_subject(subject))
    }

    /// Holds the time at which the caller's rate of reads is full again.
    pub(super) fn read_rate(&self, subject: &LimitSubject) -> String {
        self.name("read-rate", &limit_subject(subject))
    }

    /// A hash of the caller's counts in a period of this length.
    pub(super) fn quota(&self, subject: &LimitSubject, period_seconds: u64) -> String {
        self.name(&format!("quota-{period_seconds}"), &limit_subject(subject))
    }

    /// Holds the last second whose tokens of this user are revoked.
    pub(super) fn user_revoked(&self, principal: &Principal) -> String {
        self.name("revoked-user", &user(principal))
    }

    /// Exists if the conversation is revoked.
    pub(super) fn conversation_revoked(&self, id: Id) -> String {
        self.name(CONVERSATION_REVOKED, &conversation(id))
    }

    /// The prefix of [`Self::conversation_revoked`]; a hash from [`conversation`] follows.
    pub(super) fn conversation_revoked_prefix(&self) -> String {
        self.name(CONVERSATION_REVOKED, "")
    }

    /// Exists if the token is revoked.
    pub(super) fn token_revoked(&self, id: Id) -> String {
        self.name("revoked-token", &token(id))
    }

    /// A hash of the state of a single-use token that is in use or spent.
    pub(super) fn token_used(&self, id: Id) -> String {
        self.name("used-token", &token(id))
    }

    /// A sorted set of the user's live conversations, scored by the time of their last turn.
    pub(super) fn live_conversations(&self, principal: &Principal) -> String {
        self.name("live", &user(principal))
    }

    fn name(&self, kind: &str, subject: &str) -> String {
        format!("{}{kind}:{subject}", self.prefix)
    }
}

/// The member of [`Keys::live_conversations`] for a conversation.
pub(super) fn conversation(id: Id) -> String {
    hash("conversation", &[id.to_string().as_bytes()])
}

fn token(id: Id) -> String {
    hash("token", &[id.to_string().as_bytes()])
}

fn user(principal: &Principal) -> String {
    hash("user", &[principal.idp().as_bytes(), principal.subject().as_bytes()])
}

fn limit_subject(subject: &LimitSubject) -> String {
    match subject {
        LimitSubject::Peer(IpAddr::V4(address)) => hash("peer", &[&address.octets()]),
        LimitSubject::Peer(IpAddr::V6(address)) => hash("peer", &[&address.octets()]),
        LimitSubject::User(principal) => user(principal),
    }
}

/// 32 hexadecimal digits, which are 128 bits: collisions become likely only among about 2^64 names.
fn hash(kind: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"holdall1 guard ");
    hash.update(kind);
    hash.update([0]);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(first))
}

const CONVERSATION_REVOKED: &str = "revoked-conversation";

/// The length of a holder id: random bytes that identify the turn that holds a lease.
pub(super) const HOLDER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::proto::time::UnixSeconds;

    fn alice(idp: &str) -> Principal {
        Principal::new("alice", idp).unwrap()
    }

    #[test]
    fn all_names_differ() {
        let id = |byte| Id::new(UnixSeconds(1), [byte; 16]);
        let mut names = Vec::new();
        for keys in [Keys::new("one"), Keys::new("two")] {
            names.push(keys.birth());
            for principal in [alice("none"), alice("jwt:x"), Principal::new("none", "alice").unwrap()] {
                names.extend([keys.user_revoked(&principal), keys.live_conversations(&principal)]);
                let subject = LimitSubject::User(principal);
                names.extend([keys.turns_in_flight(&subject), keys.rate(&subject), keys.read_rate(&subject)]);
                names.extend([keys.quota(&subject, 1), keys.quota(&subject, 11)]);
            }
            for peer in ["0.0.0.1", "::1", "::2"] {
                names.push(keys.rate(&LimitSubject::Peer(peer.parse().unwrap())));
            }
            for id in [id(1), id(2)] {
                names.extend([keys.conversation_revoked(id), keys.token_revoked(id), keys.token_used(id)]);
            }
            names.extend([keys.turn_ended(&[1; 16]), keys.turn_ended(&[2; 16])]);
        }
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn the_parts_of_a_subject_are_separated() {
        let name = |subject: &str, idp: &str| Keys::new("x").live_conversations(&Principal::new(subject, idp).unwrap());
        assert_ne!(name("ab", "c"), name("b", "ca"));
        assert_ne!(name("b", "ac"), name("cb", "a"));
    }

    #[test]
    fn the_layout_of_names_never_changes() {
        let keys = Keys::new("shop");
        let name = keys.user_revoked(&alice("none"));
        // Computed with Python's hashlib. Instances of all versions share this layout: a change
        // would lose every revocation.
        assert_eq!(name, "holdall1:{33b8376c08e0c9c48d3aa66e63f94545}:revoked-user:a381f78abf104716e4a3ee8fb98a35ae");
        assert!(
            keys.conversation_revoked(Id::new(UnixSeconds(1), [1; 16]))
                .starts_with(&keys.conversation_revoked_prefix())
        );
    }
}
