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
//! | turn end | turn, conversation | history | model tokens, time | single-use token |
//! |---|---|---|---|---|
//! | complete | count | counts | count | spent |
//! | cut after output was shown | count | counts | count | spent |
//! | client left before any output | count | counts | count | stays valid |
//! | failed before any output | do not count | does not count | count | stays valid |
//!
//! Model tokens and time are those of all upstream calls for the turn that the operator pays for. A
//! turn always counts for the rate. A guard stores only counts and hashes. This module names no
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
