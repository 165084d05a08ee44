//! The sender of a request, and the keys of identity issuers that name it.

use std::net::IpAddr;
#[cfg(feature = "jwt")]
use std::time::Duration;

use futures_util::FutureExt as _;
use http::request;

#[cfg(feature = "jwt")]
use super::record::Notice;
#[cfg(feature = "jwt")]
use super::state::FetchKeys;
use super::{
    host::{Clock as _, Host},
    state::Service,
};
#[cfg(feature = "jwt")]
use crate::principal::jwt::RemoteKeys;
use crate::{
    guard,
    principal::{self, AuthOutcome, AuthRequest, Identity, Peer, PendingKeys},
    proto::{error::Error, exchange::Caller},
};

/// The sender of a request, by its head and its connection.
pub(super) struct Sender {
    pub(super) identity: Identity,
    /// The client's address.
    pub(super) peer: Option<IpAddr>,
}

impl Sender {
    /// The address whose concurrent requests are counted: the client's IPv4 address or IPv6
    /// network.
    pub(super) fn network(&self) -> Option<IpAddr> {
        self.peer.map(guard::network)
    }

    /// The caller, with the user that the body names. `user_hint` is a user that the body names in
    /// a member that is not meant for it; it counts only without authentication.
    pub(super) fn caller(self, user_id: Option<String>, user_hint: Option<String>) -> Caller {
        match self.identity {
            Identity::Anonymous => Caller::Unauthenticated { user_id: user_id.or(user_hint) },
            Identity::Known(principal) => Caller::Authenticated { principal, user_id },
        }
    }
}

impl<H: Host> Service<H> {
    /// Checks the credential of a request. Waits only for the keys of an identity issuer.
    ///
    /// # Errors
    /// Those of [`Authenticator::authenticate`](principal::Authenticator::authenticate).
    pub(super) async fn authenticate(&self, head: &request::Parts) -> Result<Sender, Error> {
        let access = self.access();
        let peer = head.extensions.get().map(|Peer(address)| *address);
        let check = |has_waited| {
            let (now, elapsed) = (self.host.clock().now(), self.host.clock().elapsed());
            access.authenticator.authenticate(&AuthRequest { headers: &head.headers, peer, now, elapsed, has_waited })
        };
        let mut outcome = check(false)?;
        if let AuthOutcome::Wait(keys) = outcome {
            self.await_keys(keys).await;
            outcome = check(true)?;
        }
        let AuthOutcome::Identified(identity) = outcome else {
            return Err(Error::internal("authentication asked to wait twice"));
        };
        let peer = peer.map(|peer| principal::client_address(peer, &head.headers, &access.trusted_proxies));
        Ok(Sender { identity, peer })
    }

    /// Waits for a fetch of an issuer's keys, up to its time limit.
    async fn await_keys(&self, keys: PendingKeys) {
        #[cfg(feature = "jwt")]
        if self.fetch_keys.is_some() {
            return self.await_keys_of_requests().await;
        }
        futures_util::select_biased! {
            () = keys.fuse() => {}
            () = self.host.clock().sleep(self.settings.timeouts.issuer).fuse() => {}
        }
    }
}

#[cfg(feature = "jwt")]
impl<H: Host> Service<H> {
    /// Keeps an issuer's keys fresh while it is polled. Returns immediately if there is no issuer.
    ///
    /// `fetch` returns the document at a URL or the reason why it cannot. It is dropped if it takes
    /// too long.
    pub async fn keep_keys<F>(&self, fetch: impl Fn(String) -> F)
    where
        F: Future<Output = Result<String, String>>,
    {
        // A reload keeps these.
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        loop {
            let (wait, due) = keys.due_in(self.host.clock().elapsed());
            if !wait.is_zero() {
                futures_util::select_biased! {
                    () = due.fuse() => {}
                    () = self.host.clock().sleep(wait).fuse() => {}
                }
            }
            self.fetch_into(&keys, fetch(keys.url().to_owned())).await;
        }
    }

    /// Makes each request fetch an issuer's keys with `fetch` if they are due. For platforms
    /// without background tasks, on which a request cannot wait for the I/O of another. It replaces
    /// [`Self::keep_keys`].
    #[must_use]
    pub fn fetching_keys(mut self, fetch: FetchKeys) -> Self {
        self.fetch_keys = Some(fetch);
        self
    }

    /// True if [`Self::refresh_keys`] would fetch keys.
    pub fn are_keys_due(&self) -> bool {
        let limit = self.settings.timeouts.issuer;
        let access = self.access();
        access.authenticator.remote_keys().is_some_and(|keys| keys.is_fetch_due(self.host.clock().elapsed(), limit))
    }

    /// Fetches an issuer's keys, if they are due and no other request fetches them.
    pub async fn refresh_keys(&self) {
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        if let Some(fetch) = &self.fetch_keys
            && keys.is_fetch_due(self.host.clock().elapsed(), self.settings.timeouts.issuer)
        {
            self.fetch_into(&keys, fetch(keys.url().to_owned())).await;
        }
    }

    /// Fetches the keys, or checks at intervals if another request has fetched them.
    async fn await_keys_of_requests(&self) {
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        let since = self.host.clock().elapsed();
        loop {
            self.refresh_keys().await;
            let now = self.host.clock().elapsed();
            if !keys.is_fetch_expected(now) || now.saturating_sub(since) >= self.settings.timeouts.issuer {
                return;
            }
            self.host.clock().sleep(POLL_INTERVAL).await;
        }
    }

    /// Fetches the keys once, and logs the result.
    async fn fetch_into(&self, keys: &RemoteKeys, fetching: impl Future<Output = Result<String, String>>) {
        let limit = self.settings.timeouts.issuer;
        let began = self.host.clock().elapsed();
        keys.fetch_started(began);
        // If the client of this request leaves, the fetch ends with it.
        let on_drop = OnDrop(Some(|| keys.fetch_abandoned(began)));
        let fetching = Box::pin(fetching);
        let fetched = futures_util::select_biased! {
            fetched = fetching.fuse() => fetched,
            () = self.host.clock().sleep(limit).fuse() => {
                Err(format!("no complete response within {} ms", limit.as_millis()))
            }
        };
        on_drop.cancel();
        let (notice, detail) = match keys.fetch_finished(fetched, self.host.clock().elapsed()) {
            Ok(None) => return,
            Ok(Some(detail)) => ("issuer_keys_fetched", detail),
            Err(failure) => ("issuer_keys_failed", failure),
        };
        self.log.notice(&Notice { notice, detail });
    }
}

/// Runs a function when it is dropped, unless it was cancelled.
#[cfg(feature = "jwt")]
struct OnDrop<F: FnOnce()>(Option<F>);

#[cfg(feature = "jwt")]
impl<F: FnOnce()> OnDrop<F> {
    fn cancel(mut self) {
        self.0 = None;
    }
}

#[cfg(feature = "jwt")]
impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

/// The interval at which a request checks if another one has fetched the keys.
#[cfg(feature = "jwt")]
const POLL_INTERVAL: Duration = Duration::from_millis(20);
