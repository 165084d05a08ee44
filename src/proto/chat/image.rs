//! The addresses of images in new input.
//!
//! The model service fetches them, so an address could make it reach what only it can reach. The
//! programs that fetch read URLs differently (WHATWG URL, RFC 3986, `inet_aton`), so only URLs that
//! all of them read in the same way are accepted. Names are not resolved: the server fetches
//! nothing itself, and the name can have another address a moment later.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    item::{Item, Output, Part},
    note::DATA_SCHEME,
};

/// The image addresses that new input may have. Inline images (`data:` URLs) are always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageRules {
    /// Only inline images.
    Inline,
    /// `https:` URLs of these hosts only.
    Listed(Vec<ImageHost>),
    /// `https:` URLs of all public hosts.
    #[default]
    Public,
}

impl ImageRules {
    /// Checks the images of an item. The error continues a sentence that starts with "an image".
    ///
    /// # Errors
    /// The fault of the first address that is not allowed.
    pub fn check_item(&self, item: &Item) -> Result<(), &'static str> {
        images(item).try_for_each(|url| self.check(url))
    }

    /// Checks one address.
    fn check(&self, url: &str) -> Result<(), &'static str> {
        if inline_data(url).is_some() {
            return Ok(());
        }
        let (is_secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            _ if *self == Self::Inline => return Err(NOT_INLINE),
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) if matches!(self, Self::Listed(_)) => (false, rest),
            _ => return Err(OTHER_SCHEME),
        };
        let host = UrlHost::of(rest)?;
        match self {
            Self::Listed(hosts) if hosts.iter().any(|listed| listed.allows(&host, is_secure)) => Ok(()),
            Self::Listed(_) => Err(NOT_LISTED),
            Self::Inline | Self::Public if host.is_public() => Ok(()),
            Self::Inline | Self::Public => Err(NOT_PUBLIC),
        }
    }
}

/// The addresses of the images in an item.
pub(super) fn images(item: &Item) -> impl Iterator<Item = &str> {
    let parts = match item {
        Item::Message { parts, .. } | Item::Result { out: Output::Parts(parts), .. } => parts.as_slice(),
        _ => &[],
    };
    parts.iter().filter_map(|part| match part {
        Part::Image(url) => Some(url.as_str()),
        Part::Text(_) => None,
    })
}

/// The data of an inline image, encoded.
pub(super) fn inline_data(url: &str) -> Option<&str> {
    url.strip_prefix(DATA_SCHEME)?.split_once(',').map(|(_, data)| data)
}

/// A host whose images are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHost {
    host: UrlHost,
    /// True for all names below the host, instead of the host itself.
    is_wildcard: bool,
    /// True if `https:` is required.
    is_secure: bool,
}

impl ImageHost {
    /// Reads an entry: `cdn.example`, `*.cdn.example`, or `http://images.internal` for a host that
    /// is also allowed without TLS. The host need not be public.
    #[must_use]
    pub fn parse(entry: &str) -> Option<Self> {
        let (is_secure, rest) = entry.strip_prefix("http://").map_or((true, entry), |rest| (false, rest));
        let (is_wildcard, name) = rest.strip_prefix("*.").map_or((false, rest), |name| (true, name));
        let has_port = matches!(name.rsplit_once(':'), Some((_, port)) if !port.ends_with(']'));
        let host = UrlHost::of(name).ok().filter(|_| !has_port && !name.contains(AUTHORITY_ENDS))?;
        let is_possible = !is_wildcard || matches!(host, UrlHost::Name(_));
        is_possible.then_some(Self { host, is_wildcard, is_secure })
    }

    fn allows(&self, host: &UrlHost, is_secure: bool) -> bool {
        let is_host = match (&self.host, host) {
            (UrlHost::Name(own), UrlHost::Name(name)) if self.is_wildcard => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (own, host) => own == host,
        };
        is_host && (is_secure || !self.is_secure)
    }
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UrlHost {
    Address(IpAddr),
    /// A name in lower case, without a dot at its end.
    Name(String),
}

impl UrlHost {
    /// The host in the text after `https://`.
    fn of(rest: &str) -> Result<Self, &'static str> {
        let (authority, _) = rest.split_at(rest.find(AUTHORITY_ENDS).unwrap_or(rest.len()));
        // Some programs end the host at other characters than others, and go on to an `@`.
        if rest.split('/').next().is_some_and(|before_path| before_path.contains('@')) {
            return Err(CREDENTIALS);
        }
        let host = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((address, port))) if is_port(port) => {
                address.parse().ok().map(|v6| Self::Address(IpAddr::V6(v6)))
            }
            Some(_) => None,
            None => {
                let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                Some(name).filter(|_| is_port(port)).and_then(Self::of_name)
            }
        };
        host.ok_or(NOT_PLAIN)
    }

    /// A name, or an IPv4 address in its usual form. Other forms of numbers are addresses to some
    /// programs and names to others.
    fn of_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_label = |label: &str| {
            let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            is_plain && (1..=63).contains(&label.len())
        };
        if name.len() > NAME_MAX_BYTES || !name.split('.').all(is_label) {
            return None;
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_number {
            return name.parse().ok().map(|address| Self::Address(IpAddr::V4(address)));
        }
        Some(Self::Name(name.to_ascii_lowercase()))
    }

    fn is_public(&self) -> bool {
        match self {
            Self::Address(IpAddr::V4(address)) => is_public_v4(*address),
            Self::Address(IpAddr::V6(address)) => is_public_v6(*address),
            Self::Name(name) => {
                let is_below = |zone: &&str| name.strip_suffix(*zone).is_some_and(|rest| rest.ends_with('.'));
                name.contains('.') && !LOCAL_ZONES.iter().any(is_below)
            }
        }
    }
}

/// Returns true for the rest of an authority after its host: nothing, or a colon and a port.
fn is_port(rest: &str) -> bool {
    let port = rest.strip_prefix(':').unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(':')) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns false for addresses of the IANA special-purpose registry that are not reached across the
/// internet. The ranges for documentation belong to nobody, so they do not matter.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        // This network, shared addresses of carriers, protocol assignments, benchmarks, reserved.
        || matches!(
            address.octets(),
            [0 | 240.., ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..]
        );
    !is_special
}

/// The same for IPv6. An address that contains one of IPv4 is as public as that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let v4_of = |[high, low]: [u16; 2]| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // Compatible (RFC 4291), mapped, and translated addresses (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => is_public_v4(v4_of([high, low])),
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4_of([high, low])),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => is_public_v4(v4_of([high, low])),
        // Local NAT64 (RFC 8215), Teredo and other assignments, unicast that is not routed.
        [0x64, 0xff9b, ..] | [0x2001, 0..=0x1ff, ..] => false,
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if !is_public_v4(v4_of([high, low])) => false,
        // Global unicast.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// The characters that end the authority of a URL. A backslash does only for some programs, so no
/// host may be followed by one.
const AUTHORITY_ENDS: [char; 3] = ['/', '?', '#'];
/// The longest name of a host.
const NAME_MAX_BYTES: usize = 253;
/// The zones of local names (RFC 6761, RFC 6762, RFC 8375, and `internal` of ICANN).
const LOCAL_ZONES: [&str; 5] = ["home.arpa", "internal", "local", "localdomain", "localhost"];

const CREDENTIALS: &str = "must have a URL without a user name and password";
const NOT_INLINE: &str = "must be a `data:` URL";
const NOT_LISTED: &str = "must have a URL with a host that the operator allows";
const NOT_PLAIN: &str = "must have a URL whose host is a plain name, or an IP address in its usual form";
const NOT_PUBLIC: &str = "must have a URL with a public host";
const OTHER_SCHEME: &str = "must be an `https:` or `data:` URL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_hosts_are_allowed() {
        for url in [
            "https://e.test/a.png",
            "https://E.test:8443/a%20b.png?x=user@e.test#é",
            "https://e.test./@home",
            "https://e.test?a=b",
            "https://xn--bcher-kva.example/ä.png",
            "https://a_b.cdn-1.example:/",
            "https://127.0.0.1.example/",
            "https://8.8.8.8/",
            "https://[2606:4700::1]:443/",
            "https://[::ffff:8.8.8.8]/",
            "https://[64:ff9b::8.8.8.8]/",
            "data:image/png;base64,AA==",
            "data:,",
        ] {
            assert_eq!(ImageRules::Public.check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for url in [
            "",
            "http://e.test/a.png",
            "HTTPS://e.test/",
            "https:/e.test/",
            "https:e.test",
            "//e.test/",
            " https://e.test/",
            "ftp://e.test/",
            "file:///etc/passwd",
            "gopher://e.test/",
            "javascript:1",
            "blob:https://e.test/1",
            "DATA:image/png;base64,AA==",
            "data:image/png",
        ] {
            assert_eq!(ImageRules::Public.check(url), Err(OTHER_SCHEME), "{url}");
        }
    }

    #[test]
    fn credentials_are_refused() {
        for url in [
            "https://ada:hunter2@e.test/",
            "https://@e.test/",
            "https://e.test@127.0.0.1/",
            "https://e.test#@127.0.0.1/",
            "https://e.test?@127.0.0.1/",
            r"https://e.test\@127.0.0.1/",
        ] {
            assert_eq!(ImageRules::Public.check(url), Err(CREDENTIALS), "{url}");
        }
    }

    #[test]
    fn hosts_in_unusual_forms_are_refused() {
        for host in [
            "",
            "/e.test",
            ".",
            "..",
            ".e.test",
            "e..test",
            "e.test..",
            "e test",
            "e.test\t",
            "1\n27.0.0.1",
            "e%2etest",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "ⓛocalhost.example",
            "e.test:80:80",
            "e.test:x",
            r"e.test\a",
            r"127.0.0.1\",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "::1",
            "[v1.a]",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7F.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "0x7f.0.0.0x1",
            "1.2.3.4.5",
            "1.2.3.256",
            "e.test.0x",
            "e.test.1",
            "8.8.2056",
            "0",
        ] {
            assert_eq!(ImageRules::Public.check(&format!("https://{host}/a.png")), Err(NOT_PLAIN), "{host}");
        }
        let long = format!("{}.test", "a.".repeat(125));
        assert_eq!(ImageRules::Public.check(&format!("https://{long}/")), Err(NOT_PLAIN));
        assert_eq!(ImageRules::Public.check(&format!("https://{}.test/", "a".repeat(64))), Err(NOT_PLAIN));
    }

    #[test]
    fn hosts_that_are_not_public_are_refused() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "intranet",
            "printer.local",
            "metadata.google.internal",
            "localhost.localdomain",
            "nas.home.arpa",
            "127.0.0.1",
            "127.255.255.254",
            "127.0.0.1.",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[fe80::1]",
            "[fec0::1]",
            "[fd00::1]",
            "[fc00::1]",
            "[ff02::1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:0:10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[2001::1]",
            "[2001:db9::5efe:192.168.0.1]",
            "[100::1]",
            "[5f00::1]",
        ] {
            for port in ["", ":80"] {
                let url = format!("https://{host}{port}/a.png");
                assert_eq!(ImageRules::Public.check(&url), Err(NOT_PUBLIC), "{url}");
            }
        }
    }

    #[test]
    fn a_list_allows_its_hosts_alone() {
        let entries = ["cdn.example", "*.Img.example", "http://pics.internal", "10.0.0.5", "http://[::1]"];
        let listed = ImageRules::Listed(entries.iter().map(|entry| ImageHost::parse(entry).unwrap()).collect());
        for (url, expected) in [
            ("https://cdn.example/a", Ok(())),
            ("https://CDN.example.:8443/a", Ok(())),
            ("http://cdn.example/a", Err(NOT_LISTED)),
            ("https://a.cdn.example/a", Err(NOT_LISTED)),
            ("https://a.b.img.example/a", Ok(())),
            ("https://img.example/a", Err(NOT_LISTED)),
            ("https://aimg.example/a", Err(NOT_LISTED)),
            ("https://cdn.example.evil.test/a", Err(NOT_LISTED)),
            ("http://pics.internal:8000/a", Ok(())),
            ("https://pics.internal/a", Ok(())),
            ("https://10.0.0.5/a", Ok(())),
            ("https://10.0.0.6/a", Err(NOT_LISTED)),
            ("http://[0::1]/a", Ok(())),
            ("https://ada@cdn.example/a", Err(CREDENTIALS)),
            (r"https://cdn.example\.evil.test/a", Err(NOT_PLAIN)),
            ("ftp://cdn.example/a", Err(OTHER_SCHEME)),
            ("data:image/png;base64,AA==", Ok(())),
        ] {
            assert_eq!(listed.check(url), expected, "{url}");
        }
    }

    #[test]
    fn an_entry_of_the_list_is_a_host_alone() {
        for entry in [
            "",
            "*",
            "*.",
            "*.10.0.0.1",
            "a*.example",
            "https://cdn.example",
            "cdn.example/x",
            "cdn.example:80",
            "a b",
            "http://",
            "http://a@b",
            "[::1]:80",
            "cdn.example?",
            "*.*.example",
        ] {
            assert_eq!(ImageHost::parse(entry), None, "{entry}");
        }
    }

    #[test]
    fn inline_images_can_be_the_only_ones() {
        assert_eq!(ImageRules::Inline.check("data:image/png;base64,AA=="), Ok(()));
        for url in ["https://e.test/a.png", "http://e.test/a.png", "data:image/png"] {
            assert_eq!(ImageRules::Inline.check(url), Err(NOT_INLINE));
        }
    }
}
