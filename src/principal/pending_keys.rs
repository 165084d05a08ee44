//! A wait for the keys of an issuer.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

/// A future that ends when a fetch of keys has ended, with or without success.
#[derive(Clone)]
pub struct PendingKeys {
    ended: Shared<BoxFuture<'static, ()>>,
    /// Held while the request waits: the number of its clones is the number of waiting requests.
    _slot: Arc<()>,
}

impl PendingKeys {
    #[cfg(feature = "jwt")]
    pub(super) fn new(ended: Shared<BoxFuture<'static, ()>>, slot: Arc<()>) -> Self {
        Self { ended, _slot: slot }
    }
}

impl Future for PendingKeys {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.ended.poll_unpin(context)
    }
}

impl fmt::Debug for PendingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingKeys").finish_non_exhaustive()
    }
}
