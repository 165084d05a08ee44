//! Fetches the key set of an identity issuer.
//!
//! The manners are those of the upstreams' client: no redirects, no proxy from the environment, Mozilla's roots. The
//! answer is believed for its certificate alone, and what it is good for is decided by whoever reads it; here it is only
//! kept small. How long it may take is the caller's matter, who drops the future.

use futures_util::StreamExt as _;
use http::{StatusCode, header};

use super::http::{SetupError, build_client, cause, client_builder};
use crate::principal::jwt::KeyDocument;

/// A client of one issuer.
#[derive(Clone, Debug)]
pub(super) struct Issuer(reqwest::Client);

impl Issuer {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// [`SetupError`] if TLS cannot be set up.
    pub(super) fn new() -> Result<Self, SetupError> {
        // Ten minutes lie between two fetches: no connection lasts so long.
        build_client(client_builder()?.pool_max_idle_per_host(0)).map(Self)
    }

    /// The document at `url`, within the bounds of [`KeyDocument`].
    ///
    /// # Errors
    /// What went wrong, without a word of what was sent.
    pub(super) async fn fetch(&self, url: String) -> Result<String, String> {
        let response = self.0.get(url).header(header::ACCEPT, KeyDocument::ACCEPT).send().await.map_err(cause)?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let mut document = KeyDocument::with_length(response.content_length())?;
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            document.push(&piece.map_err(cause)?)?;
        }
        document.finish()
    }
}
