//! The subjects that limits count.

use std::net::IpAddr;

use crate::proto::principal::Principal;

/// The subject that limits count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitSubject {
    /// A client address. It counts for anonymous callers, who could use a new name for each turn.
    /// An IPv6 address is reduced to its first 64 bits, the size of one network.
    Peer(IpAddr),
    /// A user.
    User(Principal),
}

impl LimitSubject {
    /// The subject of a turn of `principal` from the address `peer`.
    #[must_use]
    pub fn new(principal: &Principal, peer: Option<IpAddr>) -> Self {
        match peer {
            Some(peer) if principal.is_anonymous() => Self::Peer(network(peer)),
            _ => Self::User(principal.clone()),
        }
    }
}

/// The network that an address counts for: an IPv4 address itself, or the first 64 bits of an IPv6
/// address, which belong to one party. An IPv4 address mapped into IPv6 counts as IPv4.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_callers_count_by_address() {
        let (anonymous, ada) = (Principal::anonymous([1; 16]), Principal::new("ada", "none").unwrap());
        let peer = |text: &str| Some(text.parse().unwrap());
        let subject = |text: &str| LimitSubject::new(&anonymous, peer(text));
        assert_eq!(subject("192.0.2.7"), LimitSubject::Peer("192.0.2.7".parse().unwrap()));
        assert_eq!(subject("::ffff:192.0.2.7"), subject("192.0.2.7"));
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::2"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
        assert_eq!(LimitSubject::new(&ada, peer("192.0.2.7")), LimitSubject::User(ada.clone()));
        assert_eq!(LimitSubject::new(&anonymous, None), LimitSubject::User(anonymous.clone()));
    }
}
