//! Fingerprints of values, so that a reload can compare values that it must not keep.

use std::fmt;

use crate::principal::KeyDigest;

/// The SHA-256 digest of a value, which may be a secret. Equal values have equal fingerprints.
#[derive(Clone)]
pub(super) struct Fingerprint(Option<KeyDigest>);

impl Fingerprint {
    /// The fingerprint of a value whose `Debug` output shows all of it. Not for secrets: types of
    /// secrets do not show them.
    pub(super) fn of(value: impl fmt::Debug) -> Self {
        Self(Some(KeyDigest::of(&format!("{value:?}"))))
    }

    /// The fingerprint of several values, in order.
    pub(super) fn of_each(values: impl Iterator<Item: fmt::Debug>) -> Self {
        Self::of(values.collect::<Vec<_>>())
    }

    /// The fingerprint of a secret, or of its absence.
    pub(super) fn of_secret(secret: Option<&str>) -> Self {
        Self(secret.map(KeyDigest::of))
    }

    /// True if both are of the same value. The comparison takes constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(other)) => mine.ct_eq(other).into(),
            (mine, other) => mine.is_none() && other.is_none(),
        }
    }
}
