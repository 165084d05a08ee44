//! Holdall is a stateless conversation proxy for language models.
//!
//! The client carries the conversation. In each turn it sends its token and one new message.
//! Holdall checks the token, rebuilds the history from it, calls the model, returns the reply, and
//! issues a fresh token. The server keeps no conversation.
//!
//! # Three ways to use this crate
//!
//! | goal | start with |
//! |---|---|
//! | run a server | the `holdall` command, with the default features |
//! | serve the same API on another platform | [`Service`], with your own [`Host`](service::Host) |
//! | take turns inside your own program | [`Exchange`], the state machine of one turn |
//!
//! # Example: two turns in your own program
//!
//! The core writes the request to the model service and reads the answer. Your program only moves
//! the bytes. This example uses the built-in model, which needs no network.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use holdall::{
//!     Deployment, Error, Exchange, KeyRing,
//!     proto::{
//!         chat::{Item, Role},
//!         deployment::{Model, Models, Target},
//!         exchange::{Caller, Entropy, Planned, ResponseState},
//!         provider,
//!         time::UnixSeconds,
//!         token::Codec,
//!         turn::{Answer, TurnRequest},
//!         usage::Spent,
//!     },
//! };
//!
//! /// Takes one turn. `token` is the token of the turn before.
//! fn turn(
//!     deployment: &Arc<Deployment>,
//!     text: &str,
//!     token: Option<String>,
//! ) -> Result<Answer, Error> {
//!     let input = vec![Item::text(Role::User, text)];
//!     let request = TurnRequest { token, input, ..TurnRequest::default() };
//!     let caller = Caller::Unauthenticated { user_id: None };
//!     let now = UnixSeconds(1_795_219_200);
//!     // Fixed bytes keep the example short. Use fresh random bytes of the operating system.
//!     let entropy =
//!         Entropy { token_id: [1; 16], conversation: [2; 16], user: [3; 16], nonce: [4; 24] };
//!     let mut codec = Codec::new().expect("memory for the compressor");
//!
//!     // Verify the token, then join its history with the input and write the upstream's request.
//!     let deployment = Arc::clone(deployment);
//!     let opened = Exchange::open(deployment, request, &caller, now, &entropy, &mut codec)?;
//!     let Planned::Ready(exchange) = opened.plan(&mut codec)? else {
//!         unreachable!("the model does not allow summaries")
//!     };
//!
//!     // Send `exchange.request()` to `exchange.upstream()`. Here, the built-in model answers it.
//!     let pieces = provider::builtin_answer(exchange.request().body())?;
//!     let content_type = provider::builtin_content_type(false);
//!     let head = http::Response::builder().header("content-type", content_type).body(());
//!     let (head, ()) = head.expect("a valid head").into_parts();
//!
//!     // Pass the answer to the exchange. A complete reply gives a fresh token.
//!     let response = exchange.respond(&head).map_err(|attempt| attempt.error)?;
//!     let ResponseState::Replying(mut exchange) = response else {
//!         unreachable!("the built-in model always replies")
//!     };
//!     let mut deltas = Vec::new();
//!     for piece in pieces {
//!         exchange.push(&piece, &mut deltas)?;
//!     }
//!     exchange.close(&mut deltas)?;
//!     let spent = Spent { usage: exchange.call_usage(), elapsed: Duration::ZERO };
//!     exchange.finish(spent, &mut codec).map_err(|failure| failure.error)
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")?;
//!     let builtin = provider::by_name("builtin").expect("a known provider");
//!     let model = Model::new("default", Target::new("local", builtin, "builtin"));
//!     let models = Models::new(vec![model]).expect("at least one model");
//!     let deployment = Arc::new(Deployment::new(keys, models));
//!
//!     let first = turn(&deployment, "My name is Ada.", None)?;
//!     // The client keeps the token. Every instance with the same keys can continue from it.
//!     let second = turn(&deployment, "What is my name?", Some(first.token))?;
//!     assert_eq!(second.reply, "Your name is Ada.");
//!     assert_eq!(second.conversation.claims.turn, 2);
//!     Ok(())
//! }
//! ```
//!
//! [`exchange`](proto::exchange) shows all states of a turn, with streams and failures.
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | [`proto`] | the core: tokens, items, API and provider formats, and [`Exchange`] |
//! | [`principal`] | authentication: credentials become users |
//! | [`guard`] | rates, quotas, single use and revocation |
//! | [`upstream`] | the interface to model services |
//! | [`problem`] | errors as HTTP answers |
//! | [`config`] | the configuration file |
//! | [`service`] | the HTTP API, without sockets: it routes requests and drives exchanges |
//! | `shell` | the native server and AWS Lambda: sockets, timers, randomness. Feature `shell` |
//! | `cli` | the `holdall` command. Feature `cli` |
//!
//! # Features
//!
//! | feature | adds | includes |
//! |---|---|---|
//! | `cli` (default) | the `holdall` command | `shell`, `lambda`, `redis` |
//! | `shell` | the native server: sockets, TLS, timers, randomness | `jwt` |
//! | `lambda` | the native server as an AWS Lambda function | `shell` |
//! | `redis` | limits, single use and revocation for all instances, on Redis or Valkey | `shell` |
//! | `jwt` | callers that are authenticated by JSON Web Tokens | |
//!
//! Without default features, the crate opens no socket and builds for `wasm32-unknown-unknown`. It
//! then has the core, [`service`], and the guard in memory ([`guard::LocalGuard`]).

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod guard;
pub mod principal;
pub mod problem;
pub mod proto;
pub mod service;
#[cfg(feature = "shell")]
pub mod shell;
pub mod upstream;

pub use crate::{
    proto::{
        deployment::Deployment,
        error::Error,
        exchange::Exchange,
        key::KeyRing,
        limits::Limits,
        token::{RawToken, TokenPolicy, issue},
    },
    service::Service,
    upstream::Upstream,
};
