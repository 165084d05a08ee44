//! Holdall as a Cloudflare Worker: every API of the native server, with the same service.
//!
//! ```text
//! fetch event ─▶ Request ─▶ holdall::Service ─▶ Response ─▶ the client
//!                              │      ▲
//!                              └ fetch ┘ upstream.rs
//! ```
//! An isolate builds the service at its first request and keeps it. The service holds no
//! conversation. In a Worker, a request must not wait for the I/O of another. Requests therefore
//! share only counters and keys.

mod clock;
mod entropy;
mod isolate;
mod log;
mod settings;
mod stream;
mod upstream;
mod visit;

use std::{cell::OnceCell, rc::Rc};

use worker::{Context, Env, event, web_sys};

use self::isolate::Isolate;

thread_local! {
    /// The part that the isolate keeps between requests.
    static ISOLATE: OnceCell<Rc<Isolate>> = const { OnceCell::new() };
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let isolate = ISOLATE.with(|isolate| Rc::clone(isolate.get_or_init(|| Rc::new(Isolate::start(&env)))));
    isolate.answer(&request, &context).await
}
