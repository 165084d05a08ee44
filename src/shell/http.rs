//! HTTP client set-up for every outgoing connection.
//!
//! Clients follow no redirects, which could send a credential to another server. They use a proxy
//! only if the settings name one.

use std::error::Error as _;

use reqwest::{NoProxy, Proxy};

use super::tls::{self, SetupError};
use crate::config::{NetworkConfig, ProxyConfig, ProxyUrl};

/// A client builder with the settings that all clients share.
///
/// # Errors
/// [`SetupError`] if TLS or the proxy cannot be set up.
pub(super) fn client_builder(network: &NetworkConfig) -> Result<reqwest::ClientBuilder, SetupError> {
    let mut tls = tls::client_config(&network.authorities)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let builder = builder.redirect(reqwest::redirect::Policy::none()).no_proxy();
    Ok(proxies(&network.proxy)?.into_iter().fold(builder, reqwest::ClientBuilder::proxy))
}

/// Builds a client.
///
/// # Errors
/// [`SetupError`] if the HTTP client cannot be set up.
pub(super) fn build_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, SetupError> {
    builder.build().map_err(|error| SetupError(format!("cannot set up the HTTP client: {error}")))
}

/// The proxies of a client. The first one that is for a URL is used.
fn proxies(config: &ProxyConfig) -> Result<Vec<Proxy>, SetupError> {
    // An error of the crate could show the password.
    let made = |proxy: reqwest::Result<Proxy>, url: &ProxyUrl| {
        proxy.map_err(|_| SetupError(format!("cannot use the proxy {url:?}: it is not a valid URL")))
    };
    match config {
        ProxyConfig::None => Ok(Vec::new()),
        ProxyConfig::Fixed(url) => Ok(vec![made(Proxy::all(url.as_str()), url)?]),
        ProxyConfig::Environment { http, https, direct } => {
            let http = http.iter().map(|url| made(Proxy::http(url.as_str()), url));
            let https = https.iter().map(|url| made(Proxy::https(url.as_str()), url));
            let proxies = http.chain(https).map(|proxy| Ok(proxy?.no_proxy(NoProxy::from_string(direct))));
            proxies.collect()
        }
    }
}

/// The cause of a failed request, without the URL: of TLS, of the proxy, or else the innermost
/// message and the one around it.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut outer, mut text) = (None, error.to_string());
    let mut proxy = None;
    let mut source = error.source();
    while let Some(inner) = source {
        outer = Some(std::mem::replace(&mut text, inner.to_string()));
        proxy = proxy.or_else(|| text.strip_prefix(TUNNEL).map(str::to_owned));
        source = inner.source();
    }
    let cause = tls::explain(&error, "ca_file").unwrap_or_else(|| match outer {
        // Some errors quote their source.
        Some(outer) if !outer.contains(&text) => format!("{outer}: {text}"),
        Some(outer) => outer,
        None => text,
    });
    match proxy.as_deref() {
        None => cause,
        Some("proxy authorization required") => PROXY_CREDENTIAL.to_owned(),
        Some("unsuccessful") => "the proxy refused to connect to the service".to_owned(),
        Some("failed to create underlying connection") => format!("{PROXY_UNREACHABLE}{cause}"),
        Some(_) => format!("the proxy did not connect to the service: {cause}"),
    }
}

/// The start of the messages of hyper-util about a proxy.
const TUNNEL: &str = "tunnel error: ";
/// The start of the cause of a request whose proxy cannot be reached.
pub(super) const PROXY_UNREACHABLE: &str = "the proxy cannot be reached: ";
/// The cause of a request that a proxy refused for lack of a credential (status 407).
pub(super) const PROXY_CREDENTIAL: &str =
    "the proxy requires a user and a password, or refused them; set them in the URL of `proxy`";
