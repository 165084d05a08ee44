//! Limits on concurrent requests and connections: of all peers together, and of each peer.
//!
//! A slow peer cannot lock out the others, since it holds at most its share of the slots.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::proto::error::Error;

/// A limited number of slots.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: usize,
    limit_of_peer: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// The count of each peer with a slot. Its size is limited by the number of slots.
    of_peers: HashMap<IpAddr, usize>,
}

impl Slots {
    /// `limit` slots, of which one peer holds at most `limit_of_peer`.
    pub(crate) fn new(limit: usize, limit_of_peer: usize) -> Self {
        Self { limit, limit_of_peer, taken: Arc::default() }
    }

    /// Takes a slot, until the result is dropped. Without an address it counts for no peer.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if all slots are taken; [`Error::PeerBusy`] if this peer holds its
    /// share.
    pub(crate) fn take(&self, peer: Option<IpAddr>) -> Result<Slot, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.limit {
            return Err(Error::Overloaded);
        }
        if let Some(peer) = peer {
            let of_peer = taken.of_peers.entry(peer).or_default();
            if *of_peer >= self.limit_of_peer {
                return Err(Error::PeerBusy { limit: self.limit_of_peer });
            }
            *of_peer += 1;
        }
        taken.all += 1;
        Ok(Slot { peer, taken: Arc::clone(&self.taken) })
    }

    /// The number of slots that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// A taken slot.
#[derive(Debug)]
pub(crate) struct Slot {
    peer: Option<IpAddr>,
    taken: Arc<Mutex<Taken>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(peer) = self.peer
            && let Some(of_peer) = taken.of_peers.get_mut(&peer)
        {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.of_peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn a_peer_holds_at_most_its_share() {
        let slots = Slots::new(4, 2);
        let mut held = vec![slots.take(peer(1)).unwrap(), slots.take(peer(1)).unwrap()];
        assert_eq!(slots.take(peer(1)).unwrap_err(), Error::PeerBusy { limit: 2 });
        held.extend([slots.take(peer(2)).unwrap(), slots.take(None).unwrap()]);
        assert_eq!((slots.take(peer(3)).unwrap_err(), slots.taken()), (Error::Overloaded, 4));
        held.remove(0);
        assert!(slots.take(peer(1)).is_ok());
        drop(held);
        assert_eq!(slots.taken(), 0);
        assert!(slots.taken.lock().unwrap().of_peers.is_empty(), "a peer without a slot is forgotten");
    }
}
