//! The guard on a limits store: limits that apply across all instances, single use and revocation.
//!
//! The store is a server of the Redis protocol (Redis or Valkey).
//!
//! ```text
//!                 admit.lua                                 settle.lua
//! turn ─▶ admit ─────────────▶ permit ─▶ upstream ─▶ end ─────────────▶ charged, or refunded
//!           │ refused: nothing is consumed                   │ no answer: repeated in the
//!           ▼                                                ▼ background
//!         Error                                        settle queue
//! ```
//!
//! # Calls
//!
//! - A turn makes two calls: one before it and one after it. Each call is one round trip and runs
//!   one atomic script.
//! - The scripts use the store's clock. Only the times in tokens are those of an instance's clock.
//! - Names of keys are hashes. Values are numbers, random bytes and keyed hashes. The store holds
//!   no text (see `keys`). Each key expires by itself, except the birth.
//!
//! # Admission
//!
//! The script checks, in this order: the birth, revocation (user, conversation, token), single use,
//! rate, quotas, concurrent turns and reads.
//!
//! - If the rate and quotas refuse, the error reports the longest wait.
//! - If any check refuses, nothing is consumed.
//! - To read a history or to count model tokens consumes the read rate and a concurrency slot, and
//!   neither single use nor a quota is checked.
//! - To revoke own tokens is the same, except that birth and revocation are not checked.
//!
//! # End
//!
//! - What a turn used is charged to the periods in which the turn was admitted, also if its client
//!   left.
//! - A failed turn gives back its turn and its conversation. As in [`LocalGuard`], the rate is not
//!   refunded.
//! - A report is safe to repeat: the store remembers the turns that have ended.
//! - If the store does not answer, the settle queue repeats the report for the length of the lease.
//!
//! # Birth
//!
//! The store records the second in which it was first found empty: its birth.
//!
//! - While revocation or single use is on, a token issued before that second gets
//!   `guard_unavailable`: the store may have lost its revocation or its use.
//! - An instance's clock dates the token. If that clock is a few seconds behind the store's, the
//!   tokens of the first few seconds are refused.
//! - A fleet that gets its first store has nothing to lose yet. There,
//!   `dangerous_trust_empty_guard` accepts older tokens. It can be removed after `ttl`.
//!
//! # Single use
//!
//! - While a turn is in flight, it holds a lease on its token. The lease names the turn by random
//!   bytes, and holds the keyed hash of the request.
//! - If the process dies, the store forgets the lease after [`Rules::lease`].
//! - After a complete or a cut reply, the token is spent until it would have expired.
//! - A spent token is accepted again with the same request for ten minutes from its first use,
//!   because the reply may have been lost.
//! - A turn that failed, or whose client left before any output, releases the token.
//!
//! # Outages
//!
//! - Each call fails within the timeout. After a failure, all calls fail immediately for one
//!   second.
//! - With revocation or single use on, turns are refused (`guard_unavailable`). Otherwise the
//!   limits of this instance apply ([`LocalGuard`]).
//! - If it is not known whether a turn was admitted, the settle queue reports it as failed, and the
//!   store refuses to admit it later.
//! - A server that is not a single store of this protocol (a node of a cluster, a Sentinel, another
//!   kind of server) counts as an outage. The operator's log names it.
//!
//! [`LocalGuard`]: crate::guard::LocalGuard
//! [`Rules::lease`]: crate::guard::Rules::lease

mod admission;
mod bounded;
mod client;
mod counts;
mod fault;
mod guard;
mod keys;
mod lua;
mod permit;
mod scripts;
mod settle_queue;
mod store;
mod turn_entry;

pub use self::{
    client::{StoreEvent, StoreObserver},
    guard::RedisGuard,
    permit::RedisPermit,
};
