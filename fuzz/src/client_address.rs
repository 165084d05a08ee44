//! Addresses in `X-Forwarded-For`, and lists of networks: the client is the one that a second
//! reader finds.
//!
//! The first line of an input is the peer, the second a list of networks with commas between them.
//! Each further line is one `X-Forwarded-For`.

use std::net::IpAddr;

use holdall::principal::{Networks, client_address};
use http::{HeaderMap, HeaderValue};

/// Takes any text. Other bytes are only possible in the header.
pub fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next()?).ok();
    let (Some(peer), Some(networks)) = (text(), text()) else { return };
    let expected: Option<Vec<Network>> = networks.split(',').map(|network| Network::read(network.trim())).collect();
    let proxies = Networks::new(networks.split(','));
    assert_eq!(proxies.is_ok(), expected.is_some(), "{networks:?}");
    let (Ok(peer), Ok(proxies), Some(expected)) = (peer.parse::<IpAddr>(), proxies, expected) else { return };

    let (mut headers, mut entries) = (HeaderMap::new(), Vec::new());
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
            entries.extend(line.split(|byte| *byte == b','));
        }
    }
    let found = client_address(peer, &headers, &proxies);
    assert_eq!(bits(found), bits(client(peer, &entries, &expected)));
}

/// The first address from the right that is not a proxy, or the last one that could be read. At
/// most 32 entries count.
fn client(peer: IpAddr, entries: &[&[u8]], proxies: &[Network]) -> IpAddr {
    let mut client = peer;
    for entry in entries.iter().rev().take(32) {
        if !proxies.iter().any(|network| network.contains(client)) {
            return client;
        }
        match std::str::from_utf8(entry).ok().and_then(|entry| address(entry.trim_matches([' ', '\t']))) {
            Some(address) => client = address,
            None => return client,
        }
    }
    client
}

/// An address: alone, in brackets, or before a port. In brackets and before a port, it may have the
/// number of a zone.
fn address(text: &str) -> Option<IpAddr> {
    let is_port = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u16>().is_ok();
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let host = match rest.strip_prefix(':') {
            Some(port) if is_port(port) => match host.split_once('%') {
                Some((host, zone)) if is_zone(zone) => host,
                _ => host,
            },
            Some(_) => return None,
            None if rest.is_empty() => host,
            None => return None,
        };
        return host.parse().ok().map(IpAddr::V6);
    }
    match text.split_once(':') {
        Some((host, port)) if is_port(port) && host.contains('.') => host.parse().ok().map(IpAddr::V4),
        _ => text.parse().ok(),
    }
}

fn is_zone(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// A network, as the start of an address in IPv6.
struct Network {
    address: u128,
    prefix_bits: u32,
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, Some(prefix)),
            None => (text.parse().ok()?, None),
        };
        let width: u32 = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => width,
        };
        let rest = width.checked_sub(prefix)?;
        let network = Self { address: bits(address), prefix_bits: 128 - rest };
        // No bits may be set after the prefix.
        (rest == 0 || network.address.trailing_zeros() >= rest).then_some(network)
    }

    fn contains(&self, address: IpAddr) -> bool {
        let different = bits(address) ^ self.address;
        different.leading_zeros() >= self.prefix_bits
    }
}

/// The address in IPv6.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) | 0xffff_0000_0000,
        IpAddr::V6(address) => u128::from(address),
    }
}
