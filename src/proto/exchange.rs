//! One turn, from the request of a client to the fresh token: a state machine. Read this first.
//!
//! ```text
//! TurnRequest
//!      │ open
//!      ▼
//!   Opened ─────── count ──────▶ Counting ──▶ number of model tokens
//!      │ plan
//!      ├─────────────────────────────┐
//!      ▼                             ▼ if the history is too long
//!    Ready ◀─── apply_summary ── Summarizing
//!      │ ▲ ▲
//!      │ │ └ into_failed_attempt ─ Refused ◀─┐
//!      │ └── into_retry ──┐                  │
//!      │ respond          │                  │ if the status is 4xx or 5xx
//!      ├──────────────────┼──────────────────┘
//!      ▼                  │ if nothing was shown
//!   Replying ─────────────┘
//!      │ push …
//!      ├── finish ──▶ Answer with the fresh token
//!      └── fail ────▶ Failure, with a partial token if text was shown
//! ```
//!
//! | state | the turn | next |
//! |---|---|---|
//! | [`Opened`] | verified except for the history; next claims fixed | [`plan`] or [`count`] |
//! | [`Summarizing`] | the history needs a summary | [`read_summary`], [`apply_summary`] |
//! | [`Ready`] | the request for the [`upstream`] is written | [`respond`] |
//! | [`Refused`] | the upstream answered with an error status | [`into_failed_attempt`] |
//! | [`Replying`] | the reply is arriving | [`finish`] or [`fail`] |
//! | [`Counting`] | the input is being counted | [`known_count`] or [`read_count`] |
//!
//! Each state is a type that has only its own operations. No operation waits, sends or stores
//! anything: the caller moves the bytes and passes the current time.
//!
//! An attempt that fails before the client was shown anything leads back to [`Ready`]. The same
//! request can then be sent again, or [`next_target`](Exchange::next_target) writes it for the next
//! target of the model. A turn that fails does not change the old token: the token's text is the
//! only state.
//!
//! [`plan`]: Exchange::plan
//! [`count`]: Exchange::count
//! [`read_summary`]: Exchange::read_summary
//! [`apply_summary`]: Exchange::apply_summary
//! [`upstream`]: Exchange::upstream
//! [`respond`]: Exchange::respond
//! [`into_failed_attempt`]: Exchange::into_failed_attempt
//! [`finish`]: Exchange::finish
//! [`fail`]: Exchange::fail
//! [`known_count`]: Exchange::known_count
//! [`read_count`]: Exchange::read_count
//!
//! # Example: a streamed turn
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use holdall::{
//! #     Deployment, Exchange, KeyRing,
//! #     proto::{
//! #         chat::{Item, Role}, deployment::{Model, Models, Target},
//! #         exchange::{Caller, Entropy, Planned, ResponseState},
//! #         provider, time::UnixSeconds, token::Codec, turn::{Delta, FinishReason, TurnRequest},
//! #         usage::Spent,
//! #     },
//! # };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")?;
//! # let builtin = provider::by_name("builtin").expect("a known provider");
//! # let model = Model::new("default", Target::new("local", builtin, "builtin"));
//! # let deployment = Arc::new(Deployment::new(keys, Models::new(vec![model]).expect("a model")));
//! # let mut codec = Codec::new().expect("memory");
//! # let now = UnixSeconds(1_795_219_200);
//! # let entropy =
//! #     Entropy { token_id: [1; 16], conversation: [2; 16], user: [3; 16], nonce: [4; 24] };
//! let request = TurnRequest {
//!     input: vec![Item::text(Role::User, "Count to 3.")],
//!     stream: true,
//!     ..TurnRequest::default()
//! };
//! let caller = Caller::Unauthenticated { user_id: Some("ada".to_owned()) };
//!
//! // Opened: the claims are known. A server asks its limits here, before the costly work.
//! let opened = Exchange::open(deployment, request, &caller, now, &entropy, &mut codec)?;
//! assert_eq!(opened.claims().principal.subject(), "ada");
//!
//! // Ready: the request is written. Send it, and read the head of the answer.
//! let Planned::Ready(exchange) = opened.plan(&mut codec)? else { unreachable!() };
//! assert_eq!((exchange.upstream(), exchange.request().uri().path()), ("local", "/answer"));
//! # let pieces = provider::builtin_answer(exchange.request().body())?;
//! # let head = http::Response::builder().header("content-type", "text/event-stream").body(())?;
//! # let (head, ()) = head.into_parts();
//!
//! // Replying: push the bytes in pieces of any size, and show the deltas to the client.
//! let Ok(ResponseState::Replying(mut exchange)) = exchange.respond(&head) else { unreachable!() };
//! let mut shown = String::new();
//! for piece in pieces {
//!     let mut deltas = Vec::new();
//!     exchange.push(&piece, &mut deltas)?;
//!     for delta in deltas {
//!         if let Delta::Text(text) = delta {
//!             shown.push_str(&text);
//!         }
//!     }
//! }
//! assert!(exchange.is_complete());
//!
//! // The answer has the fresh token. It goes to the client, and nothing else is kept.
//! exchange.close(&mut Vec::new())?;
//! let spent = Spent { usage: exchange.call_usage(), elapsed: Duration::from_millis(40) };
//! let answer = exchange.finish(spent, &mut codec);
//! let answer = answer.map_err(|failure| failure.error)?;
//! assert_eq!((shown.as_str(), answer.reply.as_str()), ("1 2 3", "1 2 3"));
//! assert_eq!(answer.finish, FinishReason::Stop);
//! assert_eq!(answer.conversation.claims.turn, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Example: a reply that breaks off
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use holdall::{
//! #     Deployment, Error, Exchange, KeyRing,
//! #     proto::{
//! #         chat::{Item, Role}, deployment::{Model, Models, Target},
//! #         exchange::{Caller, Entropy, Planned, PresentedHistory, ResponseState},
//! #         provider, time::UnixSeconds, token::Codec, turn::TurnRequest,
//! #         usage::Spent,
//! #     },
//! # };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")?;
//! # let builtin = provider::by_name("builtin").expect("a known provider");
//! # let model = Model::new("default", Target::new("local", builtin, "builtin"));
//! # let deployment = Arc::new(Deployment::new(keys, Models::new(vec![model]).expect("a model")));
//! # let mut codec = Codec::new().expect("memory");
//! # let now = UnixSeconds(1_795_219_200);
//! # let entropy =
//! #     Entropy { token_id: [1; 16], conversation: [2; 16], user: [3; 16], nonce: [4; 24] };
//! # let caller = Caller::Unauthenticated { user_id: None };
//! # let input = vec![Item::text(Role::User, "Count to 3.")];
//! # let request = TurnRequest { input, stream: true, ..TurnRequest::default() };
//! # let shared = Arc::clone(&deployment);
//! # let opened = Exchange::open(shared, request, &caller, now, &entropy, &mut codec)?;
//! # let Planned::Ready(exchange) = opened.plan(&mut codec)? else { unreachable!() };
//! # let pieces = provider::builtin_answer(exchange.request().body())?;
//! # let head = http::Response::builder().header("content-type", "text/event-stream").body(())?;
//! # let (head, ()) = head.into_parts();
//! let Ok(ResponseState::Replying(exchange)) = exchange.respond(&head) else { unreachable!() };
//!
//! // No delta was handed out yet: the turn can be retried.
//! assert!(exchange.can_retry());
//! let exchange = exchange.into_retry().expect("a turn to retry");
//!
//! // The second attempt breaks off after some text.
//! let Ok(ResponseState::Replying(mut exchange)) = exchange.respond(&head) else { unreachable!() };
//! let mut deltas = Vec::new();
//! for piece in pieces.iter().take(2) {
//!     exchange.push(piece, &mut deltas)?;
//! }
//! assert!(!exchange.can_retry());
//! assert_eq!(exchange.close(&mut deltas), Err(Error::UpstreamCut));
//!
//! // The client gets the text with a token that continues from it. Its old token stays valid.
//! let spent = Spent { usage: exchange.call_usage(), elapsed: Duration::from_millis(40) };
//! let failure = exchange.fail(Error::UpstreamCut, spent, &mut codec);
//! let partial = failure.partial.expect("text was streamed");
//! assert_eq!(partial.reply, "1 2");
//! let token = partial.token.as_str();
//! let history = PresentedHistory::open(&deployment, token, &caller, now, &mut codec)?;
//! let (items, conversation) = history.read(&deployment.limits, &mut codec)?;
//! assert!(matches!(items.last(), Some(Item::Message { cut: true, .. })));
//! assert_eq!(conversation.claims.turn, 1);
//! # Ok(())
//! # }
//! ```

mod caller;
mod client_history;
mod count;
mod fit;
mod history;
mod metering;
mod open;
mod plan;
mod ready;
mod reply;
mod replying;
mod state;
mod summary;
mod turn_state;

#[cfg(test)]
mod tests;

pub use self::{
    caller::Caller,
    count::Counting,
    history::PresentedHistory,
    metering::SideAnswer,
    open::{Entropy, Opened},
    plan::Planned,
    ready::{FailedAttempt, ResponseState},
    replying::Failure,
    state::{Exchange, Ready, Refused, Replying},
    summary::{Summarizing, Summary},
    turn_state::PresentedToken,
};

/// The most bytes that are read of the answer to a side call: a summary or a count.
pub const MAX_SIDE_ANSWER_BYTES: usize = 256 << 10;
