//! How many there are of something at once, of all peers and of one: requests, connections.
//!
//! One peer may hold a share of the places alone, so that a peer which takes its time over each does not lock out the
//! others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::proto::error::Error;

/// The places.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: usize,
    limit_of_peer: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// No longer than the places are many.
    of_peers: HashMap<IpAddr, usize>,
}

impl Slots {
    /// So many places, of which one peer has so many at most.
    pub(crate) fn new(limit: usize, limit_of_peer: usize) -> Self {
        Self { limit, limit_of_peer, taken: Arc::default() }
    }

    /// Takes a place, until what it gives is dropped. Without an address it counts for nobody.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where there is none, [`Error::PeerBusy`] where this peer has its share.
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

    /// The places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// One place taken.
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
    fn a_peer_has_its_share_and_leaves_the_rest_to_others() {
        let slots = Slots::new(4, 2);
        let mut held = vec![slots.take(peer(1)).unwrap(), slots.take(peer(1)).unwrap()];
        assert_eq!(slots.take(peer(1)).unwrap_err(), Error::PeerBusy { limit: 2 });
        held.extend([slots.take(peer(2)).unwrap(), slots.take(None).unwrap()]);
        assert_eq!((slots.take(peer(3)).unwrap_err(), slots.taken()), (Error::Overloaded, 4));
        held.remove(0);
        assert!(slots.take(peer(1)).is_ok());
        drop(held);
        assert_eq!(slots.taken(), 0);
        assert!(slots.taken.lock().unwrap().of_peers.is_empty(), "peers are remembered");
    }
}
