//! The native shell: sockets, timers, random bytes and signals for the service, and the client of
//! the command line.

mod busy;
pub mod client;
mod clock;
mod entropy;
mod forward;
mod guard;
mod http;
mod issuer;
#[cfg(feature = "lambda")]
mod lambda;
mod log;
mod native;
mod prepared;
mod process;
#[cfg(feature = "redis")]
mod redis;
mod serve;
mod socket;
mod stderr;
mod tls;
mod unread;
mod work_pool;

#[cfg(feature = "lambda")]
pub use self::lambda::{Function, FunctionError, LambdaEnvironment};
#[cfg(feature = "redis")]
pub use self::redis::{RedisGuard, RedisPermit, StoreEvent, StoreObserver};
pub use self::{
    clock::SystemClock,
    entropy::SystemEntropy,
    forward::{Forward, ForwardResponse},
    guard::{NativeGuard, NativePermit},
    log::StderrLog,
    native::{NativeHost, NativeService},
    prepared::StartError,
    process::{Interrupts, Runtime, Signal, Signals, first_of},
    serve::{Server, start},
    tls::SetupError,
};
