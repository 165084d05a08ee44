//! The configuration: from the file, variables and flags to a checked [`Config`].
//!
//! ```text
//! file, flags, variables ─▶ ConfigBuilder ─▶ RawConfig ─▶ Config
//!                           (overrides)      (typed)      (checked)
//! ```
//! This module reads nothing itself. Files and variables come through [`Sources`], so that a test
//! or a platform without files can supply its own. Every error names the key and the next step.

mod authorities;
mod builder;
mod check;
mod checked;
mod error;
mod exposure;
mod fingerprint;
mod guard;
mod identity;
mod isolate;
mod limits;
mod network;
mod overlay;
mod profile;
mod raw;
mod reload;
mod service;
mod setting;
mod settings;
pub(crate) mod shown;
mod sources;
mod store;
mod toml_error;
mod upstreams;
mod variables;

#[cfg(test)]
mod tests;

pub use self::{
    authorities::{Authorities, Certificates},
    builder::ConfigBuilder,
    checked::{Concurrency, Config, LambdaResponse, ServerConfig, UpstreamConfig},
    error::ConfigError,
    exposure::Exposure,
    network::{NetworkConfig, ProxyConfig, ProxyUrl},
    overlay::{KeySettings, ModelSettings, OwnerSettings, ServeSettings, TokenSettings},
    profile::{ProfileChoice, ProfileSource},
    raw::{RawConfig, parse_duration},
    reload::ReloadSnapshot,
    service::{CorsOrigins, OriginError, ServiceConfig, Timeouts},
    sources::{FOLDER_FILES_MAX, Sources},
    store::StoreConfig,
};
