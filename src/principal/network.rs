//! IP networks as operators list them: `10.0.0.0/8`, `2001:db8::/32`, or one address.
//!
//! An IPv4 address is equal to the same address mapped into IPv6 (RFC 4291 §2.5.5.2): a socket
//! reports either of them, depending on how it listens.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Reads addresses, each with or without a prefix length (RFC 4632 §3.1, RFC 4291 §2.3).
    ///
    /// # Errors
    /// [`NetworkError`] with the first text that is not a network, or that has bits set after its
    /// prefix.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworkError> {
        let read = |text: &str| Network::parse(text.trim()).ok_or_else(|| NetworkError(text.to_owned()));
        texts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if one of the networks contains `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns true if the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if one of the networks contains every IPv4 address or every IPv6 address.
    #[must_use]
    pub fn has_all_addresses(&self) -> bool {
        self.0.iter().any(|network| network.prefix_bits == 0 || *network == Network::ALL_IPV4)
    }
}

/// One network. An IPv4 network is stored as mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u128,
    prefix_bits: u32,
}

impl Network {
    const ALL_IPV4: Self = Self { address: 0xffff_0000_0000, prefix_bits: MAPPED_BITS };

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let width: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        let prefix_bits = Some(prefix).filter(|bits| *bits <= width)?.saturating_add(128 - width);
        let network = Self { address: bits(address), prefix_bits };
        (network.address & network.mask() == network.address).then_some(network)
    }

    fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask() == self.address
    }

    fn mask(&self) -> u128 {
        !u128::MAX.checked_shr(self.prefix_bits).unwrap_or(0)
    }
}

/// The bits before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u32 = 96;

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Returns true if the authority of a URI or a `Host` header names this machine, with or without a
/// port (RFC 3986 §3.2). Anything else in it, such as user information or a zone id, makes it
/// false.
pub(crate) fn is_loopback_authority(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let host_bytes = match authority.strip_prefix('[').map(|rest| rest.find(']')) {
        Some(Some(end)) => end.saturating_add(2),
        Some(None) => return false,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_bytes);
    is_loopback_host(host) && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// Returns true if the host of a URI is `localhost`, a name below it (RFC 6761 §6.3), or a loopback
/// address. IPv6 addresses are in brackets; IPv4 addresses may be mapped into IPv6.
fn is_loopback_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let mut labels = host.rsplit('.');
    labels.next().is_some_and(|last| last.eq_ignore_ascii_case("localhost")) && labels.all(is_label)
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// A text that is not a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl std::error::Error for NetworkError {}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an address or network, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Networks::new([network]).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, within, without) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.0"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::1", "2001:db8::1"]),
            ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "2001:db7:ffff::"]),
            ("::1", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0", "::10.1.2.3"]),
        ] {
            assert!(within.iter().all(|address| contains(network, address)), "{network}");
            assert!(!without.iter().any(|address| contains(network, address)), "{network}");
        }
        assert!(contains("::/0", "192.0.2.7") && contains("::/0", "2001:db8::1"));
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()) && Networks::default().is_empty());
    }

    #[test]
    fn invalid_networks_are_refused() {
        for text in [
            "",
            "/",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.1/8",
            "::1/129",
            "2001:db8::1/32",
            "[::1]",
            "fe80::1%1",
            "10.0.0.1:80",
            "*",
            "::/8a",
        ] {
            assert_eq!(Networks::new([text]), Err(NetworkError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn an_authority_names_this_machine_completely_or_not_at_all() {
        for authority in [
            "localhost",
            "LocalHost:8787",
            "a.localhost",
            "a-b.c_d.localhost:1",
            "127.0.0.1",
            "127.255.0.9:65535",
            "[::1]",
            "[::1]:80",
            "[0:0:0:0:0:0:0:1]:00080",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback_authority(authority.as_bytes()), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "[::1].evil.com",
            "[::1]evil.com:80",
            "[::1]:80.evil.com",
            "[::1]:80:80",
            "[::1]]",
            "[[::1]]",
            "[::1",
            "::1",
            "::1]",
            "[::1%25lo]",
            "[::1%lo]:80",
            "[127.0.0.1]",
            "[localhost]",
            "user@localhost",
            "localhost@evil.com",
            "evil.com:80@localhost",
            "user:pass@[::1]",
            "localhost:",
            "localhost:+80",
            "localhost:-1",
            "localhost:65536",
            "localhost:000080",
            "localhost:80a",
            "localhost:80 ",
            " localhost",
            "localhost ",
            "localhost\t",
            "localhost.",
            "localhost..",
            ".localhost",
            "..localhost",
            "evil.com/.localhost",
            "evil.com?.localhost",
            "evil.com#.localhost",
            "evil.com\\.localhost",
            "evil.com%2f.localhost",
            "localhost,evil.com",
            "localhost;evil.com",
            "localhost\0",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "127.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "127.0.0.1/",
            "128.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[::ffff:128.0.0.1]",
            "\u{ff4c}ocalhost",
        ] {
            assert!(!is_loopback_authority(authority.as_bytes()), "{authority}");
        }
        assert!(!is_loopback_authority(b"localhost\xff") && !is_loopback_authority(b"\xffa.localhost"));
    }

    #[test]
    fn a_network_of_all_addresses_is_recognized() {
        for (text, all) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("::ffff:0.0.0.0/96", true),
            ("0.0.0.0/1", false),
            ("10.0.0.0/8", false),
        ] {
            assert_eq!(Networks::new([text]).unwrap().has_all_addresses(), all, "{text}");
        }
    }
}
