//! Tests of the authorities and proxies of outgoing connections.

use std::collections::BTreeMap;

use super::{upstreams::upstream, *};
use crate::config::{Certificates, NetworkConfig, ProxyConfig, ProxyUrl};

const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\nMAI=\n-----END CERTIFICATE-----\n";

/// Files, folders and variables by name.
#[derive(Default)]
struct Machine {
    files: BTreeMap<&'static str, Vec<u8>>,
    variables: HashMap<&'static str, &'static str>,
}

impl Machine {
    fn new(files: &[(&'static str, &str)], variables: &[(&'static str, &'static str)]) -> Self {
        let files = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
        Self { files, variables: variables.iter().copied().collect() }
    }

    /// The configuration of an upstream at these URLs, with these lines.
    fn config(&self, urls: &[&str], lines: &str) -> Result<Config, String> {
        let upstream = format!("[[upstream]]\nname = \"u\"\nkind = \"openai\"\nbase_urls = {urls:?}\n{lines}\n");
        let model = "[[model]]\nalias = \"a\"\nupstreams = [\"u\"]\nmodel = \"m\"\n";
        self.check(&format!("{upstream}{model}"))
    }

    fn check(&self, text: &str) -> Result<Config, String> {
        let raw = RawConfig::parse(&format!("{}\n{text}", keys()), toml::Table::new());
        raw.and_then(|raw| raw.check(self)).map_err(|error| error.to_string())
    }

    fn network(&self, urls: &[&str], lines: &str) -> Result<NetworkConfig, String> {
        self.config(urls, lines).map(|config| config.upstreams[0].network.clone())
    }
}

impl Sources for Machine {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        let text = String::from_utf8(self.bytes(path)?).map_err(|error| error.to_string())?;
        Ok(Zeroizing::new(text))
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn folder(&self, path: &str) -> Result<Vec<String>, String> {
        let prefix = format!("{path}/");
        let files: Vec<_> =
            self.files.keys().filter(|file| file.starts_with(&prefix)).map(|file| (*file).to_owned()).collect();
        if files.is_empty() { Err("no such folder".to_owned()) } else { Ok(files) }
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        self.variables.get(name).map(|text| Zeroizing::new((*text).to_owned()))
    }
}

const TLS: &[&str] = &["https://model.test/v1"];
const PLAIN: &[&str] = &["http://model.test/v1"];

fn pem(certificates: Option<Certificates>) -> Option<String> {
    certificates.map(|certificates| certificates.pem.to_string())
}

#[test]
fn a_ca_file_is_an_addition_to_the_other_authorities() {
    let files = [("ca.pem", &*format!("\u{feff}Subject: ours\r\n{ONE}\nkey\n{OTHER}")), ("system", ONE)];
    let machine = Machine::new(&files, &[]);
    let authorities = machine.network(TLS, "ca_file = \"ca.pem\"").unwrap().authorities;
    assert_eq!((authorities.system.is_none(), pem(authorities.own).unwrap()), (true, format!("{ONE}\n{OTHER}")));
    let machine = Machine::new(&files, &[("SSL_CERT_FILE", "system")]);
    let authorities = machine.network(TLS, "ca_file = \"ca.pem\"").unwrap().authorities;
    assert_eq!((pem(authorities.system).as_deref(), authorities.own.is_some()), (Some(ONE), true));
}

#[test]
fn the_variables_of_openssl_replace_the_built_in_authorities() {
    let files = [
        ("system", ONE),
        ("certs/0a1b.0", ONE),
        ("certs/one.crt", ONE),
        ("certs/other.crt", OTHER),
        ("certs/README", "nothing"),
        ("more/one.crt", ONE),
        ("empty/key.pem", "-----BEGIN PRIVATE KEY-----\nMAE=\n-----END PRIVATE KEY-----\n"),
    ];
    for (variables, expected) in [
        (&[][..], None),
        (&[("SSL_CERT_FILE", "system")], Some(ONE.to_owned())),
        (&[("SSL_CERT_DIR", "certs")], Some(format!("{ONE}{OTHER}"))),
        (&[("SSL_CERT_DIR", "more::certs")], Some(format!("{ONE}{OTHER}"))),
        (&[("SSL_CERT_FILE", "system"), ("SSL_CERT_DIR", "empty")], Some(ONE.to_owned())),
    ] {
        let network = Machine::new(&files, variables).network(TLS, "").unwrap();
        assert_eq!((pem(network.authorities.system), network.authorities.own), (expected, None), "{variables:?}");
    }
    for (variables, fault) in [
        (("SSL_CERT_FILE", "/gone.pem"), "`SSL_CERT_FILE` names `/gone.pem`, which cannot be read: no such file"),
        (("SSL_CERT_DIR", "/gone"), "`SSL_CERT_DIR` names `/gone`, which cannot be read: no such folder"),
        (("SSL_CERT_DIR", "empty"), "`SSL_CERT_DIR` names `empty`, which has no file with a certificate"),
        (
            ("SSL_CERT_FILE", "certs/README"),
            "`SSL_CERT_FILE` names `certs/README`, which has no certificate in PEM form",
        ),
    ] {
        let machine = Machine::new(&files, &[variables]);
        let error = machine.network(TLS, "").unwrap_err();
        assert!(error.starts_with(fault), "{error}");
        // Without TLS, the certificates are not needed.
        assert_eq!(machine.network(PLAIN, "").unwrap(), NetworkConfig::default());
    }
}

#[test]
fn an_error_says_what_the_file_holds_instead_of_a_certificate() {
    for (text, fault) in [
        ("", "is empty"),
        ("hello", "has no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)"),
        ("-----BEGIN EC PRIVATE KEY-----\n", "holds a private key; name the file with the authority's certificate"),
        ("-----BEGIN CERTIFICATE REQUEST-----\n", "holds a certificate request; name the file with the authority's"),
        (
            "-----BEGIN TRUSTED CERTIFICATE-----\n",
            "holds a certificate in OpenSSL's own form; convert it with `openssl",
        ),
        ("-----BEGIN CERTIFICATE-----\nMAE=\n", "has a certificate without its end; copy the complete file"),
        ("0\u{82}", "is a binary file; convert it with `openssl x509 -inform der -in FILE -out ca.pem`"),
    ] {
        let error = Machine::new(&[("ca.pem", text)], &[]).network(TLS, "ca_file = \"ca.pem\"").unwrap_err();
        assert!(error.starts_with(&format!("`upstream.ca_file` names `ca.pem`, which {fault}")), "{error}");
    }
    let secret = "ca_file = \"a secret in the wrong place\"";
    let error = Machine::default().network(TLS, secret).unwrap_err();
    assert_eq!(error, "`upstream.ca_file` names a file that cannot be read: no such file");
    let certificates = ONE.repeat((4 << 20) / ONE.len());
    for (text, fits) in [(certificates.clone(), true), (certificates + ONE, false)] {
        let loaded = Machine::new(&[("ca.pem", &text)], &[]).network(TLS, "ca_file = \"ca.pem\"");
        assert_eq!(loaded.is_ok(), fits, "{:?}", loaded.err());
    }
}

#[test]
fn a_ca_file_without_tls_is_an_error() {
    let machine = Machine::new(&[("ca.pem", ONE)], &[("HOLDALL", "https://proxy.test")]);
    let error = machine.network(PLAIN, "ca_file = \"ca.pem\"").unwrap_err();
    assert!(error.starts_with("`upstream.ca_file` has no effect, because no connection uses TLS"), "{error}");
    machine.network(&["http://a.test", "HTTPS://b.test"], "ca_file = \"ca.pem\"").unwrap();
    machine.network(PLAIN, "ca_file = \"ca.pem\"\nproxy_env = \"HOLDALL\"").unwrap();
    let store = |url| machine.check(&format!("{BUILTIN}\n[guard]\n{url}redis_ca_file = \"ca.pem\"\n"));
    let store_of = |url| store(url).map(|config| config.store.unwrap().authorities.own.is_some());
    assert_eq!(store_of("redis_url = \"rediss://store.test\"\n"), Ok(true));
    let error = store_of("redis_url = \"redis://store.test\"\n").unwrap_err();
    assert!(error.starts_with("`guard.redis_ca_file` has no effect"), "{error}");
    let error = store_of("").unwrap_err();
    assert!(error.starts_with("`guard.redis_ca_file` needs a store"), "{error}");
}

#[test]
fn a_proxy_is_a_url_with_an_optional_user() {
    let proxy = |url: &str| Machine::default().network(TLS, &format!("proxy = \"{url}\""));
    for (url, shown) in [
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("http://proxy.test", "http://proxy.test"),
        (" https://proxy.test:3129/\\n", "https://proxy.test:3129"),
        ("http://ada:hunter2%40@proxy.test:3128", "http://proxy.test:3128"),
        ("http://ada:hunt@er2@proxy.test:3128", "http://proxy.test:3128"),
        ("http://ada@[::1]:3128", "http://[::1]:3128"),
    ] {
        let network = proxy(url).unwrap();
        assert_eq!(format!("{:?}", network.proxy), format!("Fixed({shown})"));
    }
}

#[test]
fn a_wrong_proxy_is_refused_with_its_flaw_and_its_place() {
    for (url, flaw) in [
        ("", "it is empty"),
        ("hunter2.test:3128", "it does not start with `http://` or `https://`"),
        ("Environment", "it does not start with `http://` or `https://`"),
        ("socks5://ada:hunter2@proxy.test:1080", "SOCKS proxies are not supported"),
        ("SOCKS5H://ada:hunter2@proxy.test:1080", "SOCKS proxies are not supported"),
        ("hunter2://proxy.test", "its scheme is not `http` or `https`"),
        ("http://ada:hunter2@", "it is not a URL"),
        ("http://hunter2 .test", "it is not a URL"),
        ("http://ada:hunter2@proxy.test:port", "its port is not a number from 0 to 65535"),
        ("http://ada:hunter2@proxy.test:65536", "its port is not a number from 0 to 65535"),
        ("http://ada:hunter2@proxy.test:3128/path", "it has a path or a query after the host"),
        ("http://ada:hunter2@proxy.test:3128?query", "it has a path or a query after the host"),
        ("http://ada:hunter2#@proxy.test:3128", "it has a `#`"),
    ] {
        let rule = "it must be `environment`, `http://host:port` or `https://host:port`, with";
        let error = Machine::default().network(TLS, &format!("proxy = \"{url}\"")).unwrap_err();
        assert!(error.starts_with(&format!("`upstream.proxy` of `u` is not valid: {flaw}; {rule}")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let error = Machine::new(&[], &[("PX", url)]).network(TLS, "proxy_env = \"PX\"").unwrap_err();
        let place = "`upstream.proxy_env` of `u` names the variable `PX`, which is";
        assert!(error.starts_with(&format!("{place} not valid: {flaw}; {rule}")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_proxy_can_be_in_a_variable() {
    let machine = Machine::new(&[], &[("PROXY", "http://ada:hunter2@proxy.test:3128\n")]);
    let config = machine.config(TLS, "proxy_env = \"PROXY\"").unwrap();
    let ProxyConfig::Fixed(url) = &config.upstreams[0].network.proxy else { panic!() };
    assert_eq!(url.as_str(), "http://ada:hunter2@proxy.test:3128");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let error = machine.config(TLS, "proxy_env = \"GONE\"").unwrap_err();
    assert_eq!(error, "`upstream.proxy_env` names the variable `GONE`, which is not set");
    let error = machine.config(TLS, "proxy_env = \"PROXY\"\nproxy = \"environment\"").unwrap_err();
    assert_eq!(error, "`upstream.proxy` and `proxy_env` are both set; set only one of them");
    let error = upstream("builtin", "proxy = \"environment\"", "").unwrap_err().to_string();
    assert_eq!(error, "`upstream.proxy` of `u` is set, but the built-in model has no address; remove it");
}

/// The proxies for `http:` and `https:` URLs, and the hosts without one.
fn of_environment(
    urls: &[&str],
    variables: &[(&'static str, &'static str)],
) -> Result<(String, String, String), String> {
    match Machine::new(&[], variables).network(urls, "proxy = \"environment\"")?.proxy {
        ProxyConfig::Environment { http, https, direct } => {
            let text = |url: Option<ProxyUrl>| url.map(|url| url.as_str().to_owned()).unwrap_or_default();
            Ok((text(http), text(https), direct))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_environment_names_proxies_by_the_usual_variables() {
    let both = &["http://a.test", "https://b.test"];
    let one = "http://one.test:1";
    for (urls, variables, http, https) in [
        (&both[..], &[][..], "", ""),
        (both, &[("HTTPS_PROXY", one)], "", one),
        (both, &[("https_proxy", one), ("http_proxy", "two.test:2")], "http://two.test:2", one),
        (both, &[("ALL_PROXY", one), ("HTTP_PROXY", "http://two.test:2")], "http://two.test:2", one),
        (both, &[("all_proxy", one)], one, one),
        (TLS, &[("ALL_PROXY", one)], "", one),
        // A proxy that no URL needs is not checked.
        (TLS, &[("HTTPS_PROXY", one), ("ALL_PROXY", "socks5://two.test:2")], "", one),
    ] {
        let found = of_environment(urls, variables).unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), (http, https), "{variables:?}");
    }
    let error = of_environment(both, &[("HTTPS_PROXY", one), ("ALL_PROXY", "socks5://two.test:2")]).unwrap_err();
    assert!(
        error.starts_with("`ALL_PROXY` is not valid: SOCKS proxies are not supported; it must be `http://"),
        "{error}"
    );
    for (variable, direct) in [
        (("NO_PROXY", "localhost, .corp.test,10.0.0.0/8"), "localhost,.corp.test,10.0.0.0/8"),
        (("no_proxy", "a.test  *.b.test"), "a.test,.b.test"),
        (("NO_PROXY", "*"), "*"),
    ] {
        assert_eq!(of_environment(TLS, &[variable]).unwrap().2, direct);
    }
    // Variables matter only where a table says so.
    let ignored = Machine::new(&[], &[("HTTPS_PROXY", one), ("ALL_PROXY", one)]).network(TLS, "").unwrap();
    assert_eq!(ignored.proxy, ProxyConfig::None);
}

#[cfg(feature = "jwt")]
#[test]
fn a_key_set_has_its_own_authorities_and_proxy() {
    let machine = Machine::new(&[("ca.pem", ONE), ("set", "{}")], &[]);
    let check = |lines: &str| {
        let jwt = format!("[identity]\nmode = \"jwt\"\n[identity.jwt]\nissuer = \"i\"\naudience = [\"a\"]\n{lines}\n");
        machine.check(&format!("{jwt}{BUILTIN}")).map(|config| config.issuer_network)
    };
    let url = "jwks_url = \"https://issuer.test/keys\"";
    assert_eq!(check(url), Ok(NetworkConfig::default()));
    let network = check(&format!("{url}\nca_file = \"ca.pem\"\nproxy = \"http://ada:hunter2@proxy.test:1\"")).unwrap();
    assert!(network.authorities.own.is_some() && matches!(network.proxy, ProxyConfig::Fixed(_)));
    let error = check(&format!("{url}\nproxy = \"ftp://hunter2\"")).unwrap_err();
    assert!(
        error.starts_with("`identity.jwt.proxy` is not valid: its scheme is ") && !error.contains("hunter2"),
        "{error}"
    );
    let error = machine.check(&format!("identity.jwt.ca_file = \"ca.pem\"\n{BUILTIN}")).unwrap_err();
    assert!(error.starts_with("`identity.jwt` is set, but `identity.mode` is `none`"), "{error}");
}

#[test]
fn a_reload_refuses_another_proxy_and_reports_another_certificate() {
    let snapshot = |lines: &str, ca: &str| {
        let machine = Machine::new(&[("ca.pem", ca)], &[("PROXY", "http://ada:other@proxy.test:1")]);
        machine.config(TLS, lines).unwrap().reload_snapshot()
    };
    let changes = |old: (&str, &str), new: (&str, &str)| {
        let (old, new) = (snapshot(old.0, old.1), snapshot(new.0, new.1));
        (old.refused_changes(&new), old.restart_changes(&new))
    };
    let (ca, proxy) = ("ca_file = \"ca.pem\"", "proxy = \"http://ada:hunter2@proxy.test:1\"");
    assert_eq!(changes((ca, ONE), (ca, ONE)), (vec![], vec![]));
    assert_eq!(changes((ca, ONE), (ca, OTHER)), (vec![], vec!["upstream.ca_file"]));
    assert_eq!(changes(("", ONE), (ca, ONE)), (vec!["upstream"], vec!["upstream.ca_file"]));
    assert_eq!(changes((proxy, ONE), ("proxy_env = \"PROXY\"", ONE)), (vec![], vec!["upstream.proxy"]));
    assert_eq!(changes(("", ONE), (proxy, ONE)).0, ["upstream"]);
    assert_eq!(changes(("", ONE), ("proxy = \"environment\"", ONE)).0, ["upstream"]);
}
