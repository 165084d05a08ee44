//! What the unit tests of several files share: a key ring, terms and claims.

use zeroize::Zeroizing;

use super::{Claims, Codec, Id, TokenPolicy};
use crate::proto::{
    key::{KeyId, KeyRing},
    principal::Principal,
    time::UnixSeconds,
};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

pub(crate) fn ring() -> KeyRing {
    KeyRing::new([(KeyId::new("k1").unwrap(), Zeroizing::new(vec![1; 32]))]).unwrap()
}

pub(crate) fn codec() -> Codec {
    Codec::new().unwrap()
}

pub(crate) fn alice() -> Principal {
    Principal::new("alice", "none").unwrap()
}

pub(crate) fn claims(policy: &TokenPolicy) -> Claims {
    let ids = [Id::new(NOW, [1; 16]), Id::new(NOW, [2; 16])];
    Claims::first(alice(), "default".to_owned(), ids, NOW, policy)
}
