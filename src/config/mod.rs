//! `RawConfig` (unknown keys refused) → `Config` (checked): what an operator may set, and what must not start.
//!
//! Nothing is read here: files and variables come through [`Sources`], so that a test or a platform without files can
//! supply its own. Every refusal names the key, and the next step.

mod builder;
mod check;
mod checked;
mod error;
mod exposure;
mod fingerprint;
mod guard;
mod identity;
mod isolate;
mod overlay;
mod raw;
mod reload;
mod service;
mod setting;
mod settings;
mod sources;
mod store;
mod upstreams;

#[cfg(test)]
mod tests;

pub use self::{
    builder::ConfigBuilder,
    checked::{Concurrency, Config, LambdaResponse, ServerConfig, UpstreamConfig},
    error::ConfigError,
    exposure::Exposure,
    overlay::{KeySettings, ModelSettings, ServeSettings, TokenSettings},
    raw::{RawConfig, parse_duration},
    reload::ReloadSnapshot,
    service::{CorsOrigins, OriginError, ServiceConfig, Timeouts},
    sources::Sources,
    store::StoreConfig,
};
