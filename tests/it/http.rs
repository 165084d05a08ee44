//! The HTTP surface: every status, code and header of design §6, limits, web pages, connections, and the end.

mod drain;
mod errors;
mod hardening;
mod limits;
mod models;
mod openapi;
mod pages;
mod revocations;
mod signals;
mod transport;
