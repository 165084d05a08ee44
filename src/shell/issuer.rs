//! Fetches the key set of an identity issuer.
//!
//! This module limits the size of the document, and does not check its content. The caller limits
//! the time, by dropping the future.

use futures_util::StreamExt as _;
use http::{StatusCode, header};

use super::{
    http::{PROXY_CREDENTIAL, build_client, cause, client_builder},
    tls::SetupError,
};
use crate::{config::NetworkConfig, principal::jwt::KeyDocument};

/// A client of identity issuers.
#[derive(Clone, Debug)]
pub(super) struct Issuer(reqwest::Client);

impl Issuer {
    /// A client without connections.
    ///
    /// # Errors
    /// [`SetupError`] if TLS or the proxy cannot be set up.
    pub(super) fn new(network: &NetworkConfig) -> Result<Self, SetupError> {
        // There are ten minutes between two fetches. No server keeps an idle connection so long.
        build_client(client_builder(network)?.pool_max_idle_per_host(0)).map(Self)
    }

    /// The document at `url`, within the size limit of [`KeyDocument`].
    ///
    /// # Errors
    /// The cause of the failure. It contains nothing that the issuer sent.
    pub(super) async fn fetch(&self, url: String) -> Result<String, String> {
        let response = self.0.get(url).header(header::ACCEPT, KeyDocument::ACCEPT).send().await.map_err(cause)?;
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(PROXY_CREDENTIAL.to_owned());
        }
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
