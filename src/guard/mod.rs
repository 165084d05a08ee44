//! Guards: rates, quotas, single use and revocation. They limit a caller over many requests.
//!
//! ```text
//! turn ─▶ admit ─▶ permit ─▶ upstream ─▶ settle(turn end)
//!           │ refused: token revoked or used, rate or quota exceeded,
//!           ▼ too many concurrent turns
//!         Error
//! ```
//! The service calls the guard once before the model call and once after it. The end of the turn
//! decides what counts:
//!
//! | turn end | turn and quotas | single-use token |
//! |---|---|---|
//! | complete | counts, and what it used is charged | spent |
//! | cut after output was shown | counts, and what it used is charged | spent |
//! | client left before any output | counts, and what it used is charged | stays valid |
//! | failed before any output | does not count | stays valid |
//!
//! A turn always counts for the rate. A guard stores only counts and hashes. This module names no
//! runtime and opens no connection: [`LocalGuard`] counts in memory, and the guard on a shared
//! store is in the shell.

mod admit;
mod gcra;
mod keyed_hash;
mod local;
mod rules;
mod subject;
mod turn_end;

#[cfg(feature = "redis")]
pub(crate) use self::rules::QUOTA_COUNTS;
pub(crate) use self::subject::network;
pub use self::{
    admit::{AdmitRequest, Guard, GuardPurpose, Moment, Permit, Revocation, Revoked},
    keyed_hash::KeyedHash,
    local::{LocalGuard, LocalPermit},
    rules::{Quota, Rate, Rules},
    subject::LimitSubject,
    turn_end::{Charge, TurnEnd},
};
