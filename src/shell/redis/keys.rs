//! The names of keys at the store: `holdall1:{deployment}:kind:whose`, the last and the first part being hashes.
//!
//! A name is the first 128 bits of SHA-256 over a word for what is named, a zero byte, and the parts, each led by its
//! length: two things have one name only if SHA-256 says so, and no name can be read. The braces make all keys of a
//! deployment one hash tag, so that what stands before a server may part deployments, and never a turn.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::{
    guard::LimitSubject,
    proto::{principal::Principal, token::Id},
};

/// Makes the names of one deployment's keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// For the deployment of this name.
    pub(super) fn new(namespace: &str) -> Self {
        Self { prefix: format!("holdall1:{{{}}}:", hash("deployment", &[namespace.as_bytes()])) }
    }

    /// When the store was born. The one key that does not expire.
    pub(super) fn birth(&self) -> String {
        self.named("birth", None)
    }

    /// That the turn with this holder's id has ended.
    pub(super) fn done(&self, holder: &[u8; HOLDER_BYTES]) -> String {
        self.named("done", Some(&hash("holder", &[holder])))
    }

    /// The turns that a caller has under way.
    pub(super) fn places(&self, counted: &LimitSubject) -> String {
        self.named("places", Some(&caller(counted)))
    }

    /// How far a caller is ahead of its rate.
    pub(super) fn rate(&self, counted: &LimitSubject) -> String {
        self.named("rate", Some(&caller(counted)))
    }

    /// What a caller has had in a period of this length.
    pub(super) fn quota(&self, counted: &LimitSubject, period_seconds: u64) -> String {
        self.named(&format!("quota-{period_seconds}"), Some(&caller(counted)))
    }

    /// That a user's tokens are revoked.
    pub(super) fn user_revoked(&self, principal: &Principal) -> String {
        self.named("revoked-user", Some(&user(principal)))
    }

    /// That a conversation is revoked.
    pub(super) fn conversation_revoked(&self, id: Id) -> String {
        self.named(CONVERSATION_REVOKED, Some(&conversation(id)))
    }

    /// What such keys begin with.
    pub(super) fn conversations_revoked(&self) -> String {
        self.named(CONVERSATION_REVOKED, Some(""))
    }

    /// That a token is revoked.
    pub(super) fn token_revoked(&self, id: Id) -> String {
        self.named("revoked-token", Some(&token(id)))
    }

    /// That a token is in use, or was used.
    pub(super) fn token_used(&self, id: Id) -> String {
        self.named("used-token", Some(&token(id)))
    }

    /// The conversations of a user that are live.
    pub(super) fn live(&self, principal: &Principal) -> String {
        self.named("live", Some(&user(principal)))
    }

    fn named(&self, kind: &str, whose: Option<&str>) -> String {
        match whose {
            Some(whose) => format!("{}{kind}:{whose}", self.prefix),
            None => format!("{}{kind}", self.prefix),
        }
    }
}

/// What a conversation is called in [`Keys::live`].
pub(super) fn conversation(id: Id) -> String {
    hash("conversation", &[id.to_string().as_bytes()])
}

fn token(id: Id) -> String {
    hash("token", &[id.to_string().as_bytes()])
}

fn user(principal: &Principal) -> String {
    hash("user", &[principal.idp().as_bytes(), principal.subject().as_bytes()])
}

fn caller(counted: &LimitSubject) -> String {
    match counted {
        LimitSubject::Peer(IpAddr::V4(address)) => hash("peer", &[&address.octets()]),
        LimitSubject::Peer(IpAddr::V6(address)) => hash("peer", &[&address.octets()]),
        LimitSubject::User(principal) => user(principal),
    }
}

/// 32 hexadecimal digits.
fn hash(what: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"holdall1 guard ");
    hash.update(what);
    hash.update([0]);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut digits = String::with_capacity(2 * HASH_BYTES);
    for byte in hash.finalize().iter().take(HASH_BYTES) {
        digits.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        digits.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    digits
}

const CONVERSATION_REVOKED: &str = "revoked-conversation";

/// As much of a hash as stands in a name: for 2^64 names, two of which are one by an even chance.
const HASH_BYTES: usize = 16;

/// The random bytes that name who holds a lease.
pub(super) const HOLDER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{proto::time::UnixSeconds, shell::redis::keys::*};

    fn alice(idp: &str) -> Principal {
        Principal::new("alice", idp).unwrap()
    }

    #[test]
    fn no_two_things_share_a_name() {
        let id = |byte| Id::new(UnixSeconds(1), [byte; 16]);
        let mut names = Vec::new();
        for keys in [Keys::new("one"), Keys::new("two")] {
            names.push(keys.birth());
            for principal in [alice("none"), alice("jwt:x"), Principal::new("none", "alice").unwrap()] {
                names.extend([keys.user_revoked(&principal), keys.live(&principal)]);
                let counted = LimitSubject::User(principal);
                names.extend([keys.places(&counted), keys.rate(&counted)]);
                names.extend([keys.quota(&counted, 1), keys.quota(&counted, 11)]);
            }
            for peer in ["0.0.0.1", "::1", "::2"] {
                names.push(keys.rate(&LimitSubject::Peer(peer.parse().unwrap())));
            }
            for id in [id(1), id(2)] {
                names.extend([keys.conversation_revoked(id), keys.token_revoked(id), keys.token_used(id)]);
            }
            names.extend([keys.done(&[1; 16]), keys.done(&[2; 16])]);
        }
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |subject: &str, idp: &str| Keys::new("x").live(&Principal::new(subject, idp).unwrap());
        assert_ne!(of("ab", "c"), of("b", "ca"));
        assert_ne!(of("b", "ac"), of("cb", "a"));
    }

    #[test]
    fn a_name_tells_nothing_and_is_the_same_everywhere() {
        let keys = Keys::new("shop");
        let name = keys.user_revoked(&alice("none"));
        // Computed by hand, with Python's hashlib. All instances share the layout, of whatever version: a change would
        // forget every revocation.
        assert_eq!(name, "holdall1:{33b8376c08e0c9c48d3aa66e63f94545}:revoked-user:a381f78abf104716e4a3ee8fb98a35ae");
        assert!(keys.conversation_revoked(Id::new(UnixSeconds(1), [1; 16])).starts_with(&keys.conversations_revoked()));
    }
}
