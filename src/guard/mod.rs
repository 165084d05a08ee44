//! Guards: what bounds a caller beyond a single request.

mod local;

pub use local::{LocalGuard, LocalPermit};

use crate::proto::{error::Error, principal::Principal};

/// Admits turns, or says why not.
pub trait Guard: Send + Sync + 'static {
    /// Held while a turn is under way; dropping it ends the turn.
    type Permit: Send + 'static;

    /// Asks for a turn of this caller's. Comes after every check of the request and before the upstream is called.
    ///
    /// # Errors
    /// [`Error::UserBusy`].
    fn admit(&self, principal: &Principal) -> impl Future<Output = Result<Self::Permit, Error>> + Send;
}
