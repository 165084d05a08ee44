//! The settings of outgoing connections: the certificate authorities that they accept, and the
//! proxy that they use.

use std::{borrow::Cow, cell::OnceCell, fmt};

use zeroize::Zeroizing;

use super::{
    authorities::{Authorities, Certificates, certificates, system_certificates},
    error::ConfigError,
    sources::Sources,
};

/// The settings of connections to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The authorities that TLS connections accept.
    pub authorities: Authorities,
    /// The proxy, if there is one.
    pub proxy: ProxyConfig,
}

/// The proxy of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyConfig {
    /// The proxies of the usual variables: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    Environment {
        /// The proxy for `http:` URLs.
        http: Option<ProxyUrl>,
        /// The proxy for `https:` URLs.
        https: Option<ProxyUrl>,
        /// The hosts and networks that are called directly, comma-separated.
        direct: String,
    },
    /// This proxy, for every call.
    Fixed(ProxyUrl),
    /// No proxy.
    #[default]
    None,
}

impl ProxyConfig {
    /// The URLs with their passwords.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.urls().map(ProxyUrl::as_str)
    }

    fn urls(&self) -> impl Iterator<Item = &ProxyUrl> {
        let urls = match self {
            Self::Environment { http, https, .. } => [http.as_ref(), https.as_ref()],
            Self::Fixed(url) => [Some(url), None],
            Self::None => [None, None],
        };
        urls.into_iter().flatten()
    }
}

/// The URL of a proxy, which may contain a password. `Debug` shows scheme, host and port only.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Zeroizing<String>);

impl ProxyUrl {
    /// Accepts `http://[user:password@]host[:port]`, or the same with `https:`.
    ///
    /// # Errors
    /// The flaw, in words that repeat nothing of the text.
    fn new(text: &str) -> Result<Self, &'static str> {
        match text.split_once("://") {
            _ if text.is_empty() => return Err("it is empty"),
            None => return Err("it does not start with `http://` or `https://`"),
            Some(_) if has_scheme(text, "http") || has_scheme(text, "https") => {}
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err("SOCKS proxies are not supported");
            }
            Some(_) => return Err("its scheme is not `http` or `https`"),
        }
        // The parser drops a fragment, so that the result does not show it.
        if text.contains('#') {
            return Err("it has a `#`");
        }
        let uri: http::Uri = text.parse().map_err(|_| "it is not a URL")?;
        let authority = uri.authority().ok_or("it has no host")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it has a path or a query after the host");
        }
        if authority.host().is_empty() {
            return Err("it has no host");
        }
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        // The crate accepts a text after the colon that is not a port.
        if authority.port_u16().is_none() && !host.ends_with(']') && host.contains(':') {
            return Err("its port is not a number from 0 to 65535");
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The URL with its password.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_tls(&self) -> bool {
        is_tls(&self.0)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let host = rest.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{}", host.trim_end_matches('/'))
    }
}

/// The network settings of a table, as written.
pub(super) struct RawNetwork<'a> {
    /// The name of the table, which starts its keys: `upstream`.
    pub(super) keys: NetworkKeys,
    /// The name of the upstream in errors: `` of `cloud` ``; empty for other tables.
    pub(super) owner: String,
    pub(super) ca_file: Option<&'a str>,
    /// A URL, or `environment`.
    pub(super) proxy: Option<Zeroizing<String>>,
    /// The variable that `proxy` comes from, if it is not in the file.
    pub(super) proxy_variable: Option<&'a str>,
}

/// The keys of the network settings of a table.
#[derive(Clone, Copy)]
pub(super) struct NetworkKeys {
    pub(super) ca_file: &'static str,
    pub(super) proxy: &'static str,
}

/// The network settings of an upstream.
pub(super) const UPSTREAM: NetworkKeys = NetworkKeys { ca_file: "upstream.ca_file", proxy: "upstream.proxy" };
/// The network settings of an upstream whose proxy is in a variable.
pub(super) const UPSTREAM_VARIABLE: NetworkKeys = NetworkKeys { proxy: "upstream.proxy_env", ..UPSTREAM };
/// The network settings for the key set of a JWT issuer.
pub(super) const ISSUER: NetworkKeys = NetworkKeys { ca_file: "identity.jwt.ca_file", proxy: "identity.jwt.proxy" };

/// Reads network settings. `SSL_CERT_FILE` and `SSL_CERT_DIR` are read once, for the first service
/// that uses TLS.
pub(super) struct NetworkReader<'a, S> {
    sources: &'a S,
    system: OnceCell<Option<Certificates>>,
}

impl<'a, S: Sources> NetworkReader<'a, S> {
    pub(super) fn new(sources: &'a S) -> Self {
        Self { sources, system: OnceCell::new() }
    }

    /// The settings for calls of these URLs.
    ///
    /// # Errors
    /// [`ConfigError`] for a file without certificates, a proxy that is not valid, or a `ca_file`
    /// without an effect.
    pub(super) fn of(&self, raw: &RawNetwork<'_>, urls: &[String]) -> Result<NetworkConfig, ConfigError> {
        let proxy = self.proxy(raw, urls)?;
        let uses_tls = urls.iter().any(|url| is_tls(url)) || proxy.urls().any(ProxyUrl::is_tls);
        let authorities = self.authorities(raw.keys.ca_file, raw.ca_file, uses_tls)?;
        Ok(NetworkConfig { authorities, proxy })
    }

    /// The authorities of a service, with those of `ca_file` if it is set.
    ///
    /// # Errors
    /// [`ConfigError`] for a file without certificates, or a `ca_file` without an effect.
    pub(super) fn authorities(
        &self,
        key: &'static str,
        ca_file: Option<&str>,
        uses_tls: bool,
    ) -> Result<Authorities, ConfigError> {
        match ca_file {
            Some(_) if !uses_tls => {
                let fault = "has no effect, because no connection uses TLS; use an `https:` URL (`rediss:` for a \
                             store), or remove it";
                Err(ConfigError::invalid(key, fault))
            }
            None if !uses_tls => Ok(Authorities::default()),
            _ => {
                let own = ca_file.map(|path| certificates(self.sources, key, path)).transpose()?;
                Ok(Authorities { system: self.system()?, own })
            }
        }
    }

    fn system(&self) -> Result<Option<Certificates>, ConfigError> {
        if let Some(system) = self.system.get() {
            return Ok(system.clone());
        }
        let system = system_certificates(self.sources)?;
        Ok(self.system.get_or_init(|| system).clone())
    }

    fn proxy(&self, raw: &RawNetwork<'_>, urls: &[String]) -> Result<ProxyConfig, ConfigError> {
        let Some(text) = &raw.proxy else { return Ok(ProxyConfig::None) };
        if urls.iter().all(String::is_empty) {
            let fault = format!("{} is set, but the built-in model has no address; remove it", raw.owner);
            return Err(ConfigError::invalid(raw.keys.proxy, fault.trim_start()));
        }
        if text.as_str() == "environment" {
            let direct = direct_hosts(self.sources);
            // The HTTP client does not apply this entry to addresses.
            let uses_proxy = direct.split(',').all(|entry| entry != "*");
            let of = |scheme: &str, names| match uses_proxy && urls.iter().any(|url| has_scheme(url, scheme)) {
                true => environment_proxy(self.sources, names),
                false => Ok(None),
            };
            let http = of("http", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])?;
            let https = of("https", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?;
            return Ok(ProxyConfig::Environment { http, https, direct });
        }
        ProxyUrl::new(text).map(ProxyConfig::Fixed).map_err(|flaw| {
            let is = raw
                .proxy_variable
                .map_or_else(|| "is".to_owned(), |name| format!("names the variable `{name}`, which is"));
            let fault = format!("{} {is} not valid: {flaw}; it must be `environment`, {PROXY_URL}", raw.owner);
            ConfigError::invalid(raw.keys.proxy, fault.trim_start())
        })
    }
}

/// The first of these variables that is set.
fn environment_proxy(sources: &impl Sources, names: [&'static str; 4]) -> Result<Option<ProxyUrl>, ConfigError> {
    let found = names.into_iter().find_map(|name| Some((name, sources.variable(name)?)));
    let Some((name, text)) = found else { return Ok(None) };
    // Other programs accept a proxy without a scheme.
    let text = if text.contains("://") { text } else { Zeroizing::new(format!("http://{}", *text)) };
    let url = ProxyUrl::new(text.trim());
    url.map(Some).map_err(|flaw| ConfigError::invalid(name, format!("is not valid: {flaw}; it must be {PROXY_URL}")))
}

/// The entries of `NO_PROXY`, comma-separated. Programs differ in what they accept: white space
/// separates entries as well, and `*.example.com` means the same as `.example.com`.
fn direct_hosts(sources: &impl Sources) -> String {
    let text = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| sources.variable(name)).unwrap_or_default();
    let entries = text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    let entries =
        entries.map(|entry| entry.strip_prefix("*.").map_or(Cow::Borrowed(entry), |host| format!(".{host}").into()));
    entries.collect::<Vec<_>>().join(",")
}

/// Returns true for a URL of HTTP over TLS.
fn is_tls(url: &str) -> bool {
    has_scheme(url, "https")
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.split_once("://").is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

const PROXY_URL: &str = "`http://host:port` or `https://host:port`, with `user:password@` before the host \
                          if the proxy requires them; write other characters than letters and digits in a password \
                          with percent signs, such as `%40` for `@`";
