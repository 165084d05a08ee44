//! The HTTP interface: status, code and headers of errors, limits, web pages, connections,
//! shutdown.

mod drain;
mod errors;
mod hardening;
mod limits;
mod log;
mod models;
mod openapi;
mod pages;
mod revocations;
mod signals;
mod transport;
