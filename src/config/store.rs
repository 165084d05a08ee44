//! The limits store: the server that the guards of all instances share.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use super::authorities::Authorities;

/// The address of the limits store, a server of the Redis protocol. `Debug` does not show the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// A `redis://` or `rediss://` URL; may hold a password.
    pub url: Zeroizing<String>,
    /// The authorities that a TLS connection accepts.
    pub authorities: Authorities,
    /// The longest time for one answer.
    pub timeout: Duration,
    /// The deployment's name, which the names of its keys are derived from.
    pub namespace: String,
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("timeout", &self.timeout)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
