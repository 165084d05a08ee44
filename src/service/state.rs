//! The state of the service, which all requests share.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt as _,
    future::{self, AbortHandle, Abortable, BoxFuture, Shared},
};

use super::{
    host::{Clock as _, EntropySource as _, Host},
    record::{Log, Notice},
    refused_members::RefusedMembers,
    slots::Slots,
};
use crate::{
    config::ServiceConfig,
    guard::{AdmitRequest, Guard, GuardPurpose, KeyedHash, Moment},
    principal::Access,
    proto::{
        deployment::Deployment,
        error::Error,
        exchange::{Entropy, PresentedToken},
        token::{Claims, Codec},
    },
};

/// The service. One instance serves all connections of a process.
///
/// Between requests it keeps only counters, compression contexts that contain no text, and the
/// names of members that upstreams refused.
pub struct Service<H> {
    reloadable: RwLock<Reloadable>,
    pub(super) settings: ServiceConfig,
    pub(super) host: H,
    pub(super) log: Box<dyn Log>,
    pub(super) slots: Slots,
    /// Derives the queue ids of users. Differs in each process.
    pub(super) user_hash: KeyedHash,
    codecs: Mutex<Vec<Codec>>,
    pub(super) refused_members: RefusedMembers,
    draining: AtomicBool,
    pub(super) stopped: Stopped,
    stop: AbortHandle,
    /// Fetches an issuer's keys on platforms without background tasks.
    #[cfg(feature = "jwt")]
    pub(super) fetch_keys: Option<FetchKeys>,
}

/// Fetches the key set at a URL. The error is the reason why it cannot.
#[cfg(feature = "jwt")]
pub type FetchKeys = Box<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// The part that a reload replaces.
#[derive(Clone)]
struct Reloadable {
    deployment: Arc<Deployment>,
    access: Arc<Access>,
}

/// Completes when the service must stop.
pub(super) type Stopped = Shared<BoxFuture<'static, ()>>;

impl<H: Host> Service<H> {
    /// A service on this host.
    pub fn new(deployment: Deployment, access: Access, settings: ServiceConfig, host: H, log: Box<dyn Log>) -> Self {
        let slots = Slots::new(settings.concurrent_requests, settings.requests_per_peer);
        let mut key = [0; 32];
        // Without randomness no turn can start, and no queue id is derived.
        let _ = host.entropy().fill(&mut key);
        let (stop, registration) = AbortHandle::new_pair();
        Self {
            reloadable: RwLock::new(Reloadable { deployment: Arc::new(deployment), access: Arc::new(access) }),
            settings,
            host,
            log,
            slots,
            user_hash: KeyedHash::new(key),
            codecs: Mutex::default(),
            refused_members: RefusedMembers::default(),
            draining: AtomicBool::new(false),
            stopped: Abortable::new(future::pending::<()>(), registration).map(drop).boxed().shared(),
            stop,
            #[cfg(feature = "jwt")]
            fetch_keys: None,
        }
    }

    /// Writes a notice to the log, next to the records of requests.
    pub fn notice(&self, notice: &'static str, detail: String) {
        self.log.notice(&Notice { notice, detail });
    }

    /// Replaces keys, token policy, limits, models and the rules for callers. Requests in progress
    /// continue with the old ones. Keys that were fetched from an issuer are kept.
    pub fn reload(&self, deployment: Deployment, mut access: Access) {
        let mut reloadable = self.reloadable.write().unwrap_or_else(PoisonError::into_inner);
        access.authenticator.inherit(&reloadable.access.authenticator);
        *reloadable = Reloadable { deployment: Arc::new(deployment), access: Arc::new(access) };
    }

    /// The guard.
    pub fn guard(&self) -> &H::Guard {
        self.host.guard()
    }

    /// Returns true if the operator lists `peer` as a proxy, whose connections are not limited as
    /// those of one client.
    #[cfg_attr(not(feature = "shell"), allow(dead_code, reason = "only a listener counts connections"))]
    pub(crate) fn is_listed_proxy(&self, peer: IpAddr) -> bool {
        self.access().is_listed_proxy(peer)
    }

    /// Makes `/ready` report from now on that this instance takes no more requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True after [`Self::drain`].
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends the turns in progress. Their clients get an error, with the part of the reply that has
    /// arrived.
    pub fn stop(&self) {
        self.stop.abort();
    }

    /// The number of requests in flight.
    pub fn requests_in_flight(&self) -> usize {
        self.slots.taken()
    }

    /// Asks the guard to admit a request.
    pub(super) async fn admit(
        &self,
        purpose: GuardPurpose,
        peer: Option<IpAddr>,
        claims: &Claims,
        presented: Option<PresentedToken>,
        brings_history: bool,
    ) -> Result<<H::Guard as Guard>::Permit, Error> {
        let (principal, conversation) = (claims.principal.clone(), claims.conversation);
        let moment = self.moment();
        let request = AdmitRequest { purpose, principal, peer, conversation, presented, brings_history, moment };
        self.host.guard().admit(request).await
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.host.clock().now(), elapsed: self.host.clock().elapsed() }
    }

    pub(super) fn deployment(&self) -> Arc<Deployment> {
        self.reloadable().deployment
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.reloadable().access
    }

    fn reloadable(&self) -> Reloadable {
        self.reloadable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` on about this many bytes, with a compression context. Long work runs where it
    /// does not stop other requests.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        bytes: usize,
        work: impl FnOnce(&mut Codec) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= SHORT_WORK_BYTES {
            return self.with_codec(work);
        }
        let service = Arc::clone(self);
        self.host.run(Box::new(move || service.with_codec(work))).await
    }

    /// Lends a compression context to `work`, a used one if there is one.
    pub(super) fn with_codec<T>(&self, work: impl FnOnce(&mut Codec) -> Result<T, Error>) -> Result<T, Error> {
        let kept = self.codecs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut codec = kept.or_else(Codec::new).ok_or_else(|| Error::internal("no memory for a zstd context"))?;
        let outcome = work(&mut codec);
        let mut kept = self.codecs.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < CODECS_MAX {
            kept.push(codec);
        }
        outcome
    }

    /// Random bytes for one exchange.
    pub(super) fn entropy(&self) -> Result<Entropy, Error> {
        let mut entropy = Entropy { token_id: [0; 16], conversation: [0; 16], user: [0; 16], nonce: [0; 24] };
        let source = self.host.entropy();
        source.fill(&mut entropy.token_id)?;
        source.fill(&mut entropy.conversation)?;
        source.fill(&mut entropy.user)?;
        source.fill(&mut entropy.nonce)?;
        Ok(entropy)
    }
}

/// The most bytes of a request's body and inflated history that are worked on in place. This takes
/// less than a millisecond, whatever they hold.
const SHORT_WORK_BYTES: usize = 64 << 10;
/// The most compression contexts that are kept for reuse. More may be in use at the same time.
const CODECS_MAX: usize = 64;
