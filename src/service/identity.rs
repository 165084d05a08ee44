//! Who sends a request, and the keeping of the keys that tell.

use futures_util::FutureExt as _;
use http::request;

use super::{Clock, Sender, Service};
use crate::{
    guard::Guard,
    principal::{self, Asking, Peer, Verdict},
    proto::error::Error,
    upstream::Upstream,
};

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// Asks who the credential names. That takes no time, but where an issuer's keys have to be waited for.
    ///
    /// # Errors
    /// Those of [`Authenticator::authenticate`](principal::Authenticator::authenticate).
    pub(super) async fn authenticate(&self, head: &request::Parts) -> Result<Sender, Error> {
        let access = self.access();
        let peer = head.extensions.get().map(|Peer(address)| *address);
        let ask = |has_waited| {
            let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
            access.authenticator.authenticate(&Asking { headers: &head.headers, peer, now, elapsed, has_waited })
        };
        let mut verdict = ask(false)?;
        if let Verdict::Wait(coming) = verdict {
            futures_util::select_biased! {
                () = coming.fuse() => {}
                () = self.clock.sleep(self.settings.timeouts.issuer).fuse() => {}
            }
            verdict = ask(true)?;
        }
        let Verdict::Told(identity) = verdict else {
            return Err(Error::internal("who has waited was told to wait"));
        };
        let peer = peer.map(|peer| principal::sender(peer, &head.headers, &access.trusted_proxies));
        Ok(Sender { identity, peer })
    }

    /// Keeps an issuer's keys fresh for as long as it is polled, if there are any to be fetched; `fetch` gets the document
    /// at a URL, or says why it cannot, and is dropped when it takes too long.
    #[cfg(feature = "jwt")]
    pub async fn keep_keys<F>(&self, fetch: impl Fn(String) -> F)
    where
        F: Future<Output = Result<String, String>>,
    {
        // A reload keeps these.
        let Some(keys) = self.access().authenticator.remote_keys().cloned() else { return };
        let limit = self.settings.timeouts.issuer;
        loop {
            let (wait, due) = keys.due_in(self.clock.elapsed());
            if !wait.is_zero() {
                futures_util::select_biased! {
                    () = due.fuse() => {}
                    () = self.clock.sleep(wait).fuse() => {}
                }
            }
            keys.begin();
            let fetching = Box::pin(fetch(keys.url().to_owned()));
            let fetched = futures_util::select_biased! {
                fetched = fetching.fuse() => fetched,
                () = self.clock.sleep(limit).fuse() => Err(format!("no whole answer within {} ms", limit.as_millis())),
            };
            let (notice, detail) = match keys.settle(fetched, self.clock.elapsed()) {
                Ok(None) => continue,
                Ok(Some(said)) => ("issuer_keys_fetched", said),
                Err(failure) => ("issuer_keys_failed", failure),
            };
            self.log.notice(&super::Notice { notice, detail });
        }
    }
}
