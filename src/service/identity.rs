//! Who sends a request, and the keeping of the keys that tell.

#[cfg(feature = "jwt")]
use std::time::Duration;

use futures_util::FutureExt as _;
use http::request;

#[cfg(feature = "jwt")]
use super::FetchKeys;
use super::{Clock as _, Host, Sender, Service};
#[cfg(feature = "jwt")]
use crate::principal::jwt::RemoteKeys;
use crate::{
    principal::{self, AuthOutcome, AuthRequest, Peer, PendingKeys},
    proto::error::Error,
};

impl<H: Host> Service<H> {
    /// Asks who the credential names. That takes no time, but where an issuer's keys have to be waited for.
    ///
    /// # Errors
    /// Those of [`Authenticator::authenticate`](principal::Authenticator::authenticate).
    pub(super) async fn authenticate(&self, head: &request::Parts) -> Result<Sender, Error> {
        let access = self.access();
        let peer = head.extensions.get().map(|Peer(address)| *address);
        let ask = |has_waited| {
            let (now, elapsed) = (self.host.clock().now(), self.host.clock().elapsed());
            access.authenticator.authenticate(&AuthRequest { headers: &head.headers, peer, now, elapsed, has_waited })
        };
        let mut verdict = ask(false)?;
        if let AuthOutcome::Wait(coming) = verdict {
            self.await_keys(coming).await;
            verdict = ask(true)?;
        }
        let AuthOutcome::Identified(identity) = verdict else {
            return Err(Error::internal("who has waited was told to wait"));
        };
        let peer = peer.map(|peer| principal::client_address(peer, &head.headers, &access.trusted_proxies));
        Ok(Sender { identity, peer })
    }

    /// Waits for what an identity issuer is being asked for, as long as that may take.
    async fn await_keys(&self, coming: PendingKeys) {
        #[cfg(feature = "jwt")]
        if self.fetch_keys.is_some() {
            return self.see_to_keys().await;
        }
        futures_util::select_biased! {
            () = coming.fuse() => {}
            () = self.host.clock().sleep(self.settings.timeouts.issuer).fuse() => {}
        }
    }
}

#[cfg(feature = "jwt")]
impl<H: Host> Service<H> {
    /// Keeps an issuer's keys fresh for as long as it is polled, if there are any to be fetched; `fetch` gets the document
    /// at a URL, or says why it cannot, and is dropped when it takes too long.
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
            self.renew(&keys, fetch(keys.url().to_owned())).await;
        }
    }

    /// Has each request see to an issuer's keys itself, by `fetch`: for platforms on which nothing runs beside requests, and
    /// none may wait for what another one does. [`Self::keep_keys`] is not needed then.
    #[must_use]
    pub fn fetching_keys(mut self, fetch: FetchKeys) -> Self {
        self.fetch_keys = Some(fetch);
        self
    }

    /// Whether [`Self::refresh_keys`] has something to do.
    pub fn are_keys_due(&self) -> bool {
        let limit = self.settings.timeouts.issuer;
        let access = self.access();
        access.authenticator.remote_keys().is_some_and(|keys| keys.is_fetch_due(self.host.clock().elapsed(), limit))
    }

    /// Fetches an issuer's keys, if that is due and nobody is at it.
    pub async fn refresh_keys(&self) {
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        if let Some(fetch) = &self.fetch_keys
            && keys.is_fetch_due(self.host.clock().elapsed(), self.settings.timeouts.issuer)
        {
            self.renew(&keys, fetch(keys.url().to_owned())).await;
        }
    }

    /// Fetches the keys, or looks again and again whether the request that does has them.
    async fn see_to_keys(&self) {
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        let since = self.host.clock().elapsed();
        loop {
            self.refresh_keys().await;
            let now = self.host.clock().elapsed();
            if !keys.is_fetch_expected(now) || now.saturating_sub(since) >= self.settings.timeouts.issuer {
                return;
            }
            self.host.clock().sleep(GLANCE).await;
        }
    }

    /// One fetch, with what the operator is told of it.
    async fn renew(&self, keys: &RemoteKeys, fetching: impl Future<Output = Result<String, String>>) {
        let limit = self.settings.timeouts.issuer;
        let begun = self.host.clock().elapsed();
        keys.fetch_started(begun);
        // Whoever asks may leave, and what it began with it.
        let left = Defer(Some(|| keys.fetch_abandoned(begun)));
        let fetching = Box::pin(fetching);
        let fetched = futures_util::select_biased! {
            fetched = fetching.fuse() => fetched,
            () = self.host.clock().sleep(limit).fuse() => Err(format!("no whole answer within {} ms", limit.as_millis())),
        };
        left.cancel();
        let (notice, detail) = match keys.fetch_finished(fetched, self.host.clock().elapsed()) {
            Ok(None) => return,
            Ok(Some(said)) => ("issuer_keys_fetched", said),
            Err(failure) => ("issuer_keys_failed", failure),
        };
        self.log.notice(&super::Notice { notice, detail });
    }
}

/// What is done when it is dropped, unless it was cancelled.
#[cfg(feature = "jwt")]
struct Defer<F: FnOnce()>(Option<F>);

#[cfg(feature = "jwt")]
impl<F: FnOnce()> Defer<F> {
    fn cancel(mut self) {
        self.0 = None;
    }
}

#[cfg(feature = "jwt")]
impl<F: FnOnce()> Drop for Defer<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}

/// How often a request looks whether another one has fetched the keys.
#[cfg(feature = "jwt")]
const GLANCE: Duration = Duration::from_millis(20);
