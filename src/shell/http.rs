//! TLS and HTTP client set-up for every outgoing connection.
//!
//! Clients follow no redirects, which could send a credential to another server. They use no proxy
//! from the environment. Certificates are checked against the Mozilla roots in the binary, since a
//! scratch image has no system roots.

use std::{error::Error as _, fmt, sync::Arc};

/// A client builder with the settings that all clients share.
///
/// # Errors
/// [`SetupError`] if TLS cannot be set up.
pub(super) fn client_builder() -> Result<reqwest::ClientBuilder, SetupError> {
    let mut tls = tls()?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    Ok(builder.redirect(reqwest::redirect::Policy::none()).no_proxy())
}

/// Builds a client.
///
/// # Errors
/// [`SetupError`] if the HTTP client cannot be set up.
pub(super) fn build_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, SetupError> {
    builder.build().map_err(|error| SetupError(format!("cannot set up the HTTP client: {error}")))
}

/// The TLS settings of a client.
///
/// # Errors
/// [`SetupError`] if the crypto provider does not offer the safe default versions.
pub(super) fn tls() -> Result<rustls::ClientConfig, SetupError> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(format!("cannot set up TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The cause of a failed request: the innermost message and the one around it, without the URL.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut outer, mut text) = (None, error.to_string());
    let mut source = error.source();
    while let Some(inner) = source {
        outer = Some(std::mem::replace(&mut text, inner.to_string()));
        source = inner.source();
    }
    match outer {
        // Some errors quote their source.
        Some(outer) if !outer.contains(&text) => format!("{outer}: {text}"),
        Some(outer) => outer,
        None => text,
    }
}

/// The reason why a client cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(pub(super) String);

impl std::error::Error for SetupError {}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
