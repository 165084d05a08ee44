//! The checks of the fuzz targets. `cargo test` also runs them on every seed and past finding
//! (`tests/it/corpus.rs`).
//!
//! A target is a module here with a function `check`, one line in [`TARGETS`], and a file in
//! `fuzz_targets/` that calls the check. A check panics if the input shows a fault. Checks use only
//! the public interface of the crate, and the crate has no code for them.

#![allow(clippy::expect_used, reason = "a check that cannot run should stop")]

mod agreement;
pub mod anthropic_reply;
pub mod builtin_reply;
pub mod chat_request;
pub mod client_address;
pub mod credential;
pub mod echo;
pub mod issuer_keys;
pub mod key_ring;
pub mod messages_request;
pub mod native_bodies;
pub mod native_request;
pub mod openai_reply;
mod reference;
mod replies;
pub mod responses_reply;
pub mod responses_request;
pub mod seeds;
pub mod settings;
pub mod sse;
pub mod token_payload;
pub mod token_text;

/// The targets. A name is also the name of the binary, of `corpus/NAME` and of `findings/NAME`.
pub const TARGETS: &[(&str, Check)] = &[
    ("anthropic_reply", anthropic_reply::check),
    ("builtin_reply", builtin_reply::check),
    ("chat_request", chat_request::check),
    ("client_address", client_address::check),
    ("credential", credential::check),
    ("echo", echo::check),
    ("issuer_keys", issuer_keys::check),
    ("key_ring", key_ring::check),
    ("messages_request", messages_request::check),
    ("native_bodies", native_bodies::check),
    ("native_request", native_request::check),
    ("openai_reply", openai_reply::check),
    ("responses_reply", responses_reply::check),
    ("responses_request", responses_request::check),
    ("settings", settings::check),
    ("sse", sse::check),
    ("token_payload", token_payload::check),
    ("token_text", token_text::check),
];

/// Panics on an input that shows a fault.
pub type Check = fn(&[u8]);
