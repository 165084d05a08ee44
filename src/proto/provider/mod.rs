//! Providers: the wire formats of model services, one file each, written from the neutral items.
//!
//! ```text
//!  items  ──▶ Provider::request ──▶ bytes to the upstream
//!  deltas ◀── ReplyReader::push ◀── bytes from the upstream
//! ```
//!
//! To add a provider, add one file and one line in [`PROVIDERS`]. It then works with every API,
//! because [`api`](super::api) and `provider` meet only in the neutral items.
//!
//! A provider opens no socket and keeps nothing between replies.
//!
//! - **Requests are stable.** The same items are always written as the same bytes, so that the
//!   provider's prompt cache hits turn after turn. The messages are the last member of every
//!   request, and the bytes of an item never depend on a later turn. So each request, except for
//!   its closing brackets, is the beginning of the next one. Therefore every reply leaves at least
//!   one item, even if it is an empty message.
//! - **Replies are read in pieces of any size.** The deltas do not depend on where the network
//!   splits the bytes.
//! - **Reasoning goes only to the provider that wrote it**: the same format at the same host
//!   ([`ModelCall::provider_id`]).

mod anthropic;
mod builtin;
mod call;
mod call_id;
mod call_ids;
mod duration;
mod end;
mod error_body;
mod error_names;
mod half_pairs;
mod inner_token;
mod openai_chat;
mod openai_responses;
mod own_member;
mod profile;
mod refusal;
mod reply;
mod reply_builder;
mod reply_json;
mod retry_after;
mod safe_text;
mod service_state;
mod traits;
mod upstream_error;

#[cfg(test)]
pub(in crate::proto) mod testing;

pub use self::{
    builtin::{answer as builtin_answer, content_type as builtin_content_type},
    call::{ModelCall, ReplyBounds, TokenCount},
    own_member::{OwnMember, RefusedMember},
    profile::{COMPATIBLE, CallIds, PROFILES, Profile, Seed, ServiceState, TokenLimit},
    traits::{Provider, ReplyReader},
};

pub(in crate::proto) use self::{call::images, inner_token::without_tokens};

/// The provider with this name in configuration.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// All providers, one line each.
pub const PROVIDERS: &[&dyn Provider] = &[
    &anthropic::Anthropic, //
    &builtin::Builtin,
    &openai_chat::OpenAiChat,
    &openai_responses::OpenAiResponses,
];
