//! The client address of a request that came through proxies: the right-most address in
//! `X-Forwarded-For` that is not a trusted proxy.
//!
//! ```text
//! X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2        from the peer 10.0.0.1
//!                  forged   the client   ◀─ a proxy    ◀─ a proxy
//! ```
//! Each proxy appends the address that called it. So the client can forge everything to the left of
//! its own address. The address decides only how anonymous callers are counted. It never grants
//! access.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::network::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most entries that are read. No real chain of proxies is longer.
const ENTRIES_MAX: usize = 32;

/// The client address of a request from `peer`. If `peer` is not one of `proxies`, it is the
/// client.
///
/// If an entry is not an address, or all entries are proxies, the last address that was read
/// counts.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).take(ENTRIES_MAX);
    let mut client = peer;
    while proxies.contains(client) {
        match entries.next().and_then(address) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// Reads an address as proxies write it: plain, in brackets, or with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = entry.parse::<IpAddr>().ok().or_else(bracketed);
    address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The client of a request with these header lines from `peer`, with 10.0.0.0/8 and fd00::/8 as
    /// proxies.
    fn client(peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let proxies = Networks::new(["10.0.0.0/8", "fd00::/8"]).unwrap();
        client_address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_a_listed_proxy_is_trusted() {
        assert_eq!(client("192.0.2.1", &[b"203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.0.0.1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("fd00::1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn forged_entries_do_not_count() {
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6", b"7.7.7.7, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6, 203.0.113.9", b"10.0.0.3 ,10.0.0.2"]), "203.0.113.9");
        // A forged address of a proxy does not count either.
        assert_eq!(client("10.0.0.1", &[b"10.0.0.9, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, ".repeat(1_000).as_bytes(), b"203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn reading_stops_at_an_invalid_entry() {
        for broken in ["", "unknown", "_hidden", "203.0.113", "1.2.3.4.5", "203.0.113.9:", "[::1", "fe80::1%eth0", "é"]
        {
            let line = format!("6.6.6.6, {broken}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[line.as_bytes()]), "10.0.0.2", "{broken}");
            assert_eq!(client("10.0.0.1", &[broken.as_bytes()]), "10.0.0.1", "{broken}");
        }
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6", b"\xff"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[b"10.0.0.4, 10.0.0.3"]), "10.0.0.4");
    }

    #[test]
    fn addresses_are_read_in_each_form() {
        for (entry, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
            ("\t203.0.113.9 ", "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", &[format!("6.6.6.6,{entry}").as_bytes()]), expected, "{entry}");
        }
    }

    #[test]
    fn a_long_chain_of_proxies_is_not_read_to_its_end() {
        let chain = |proxies: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(proxies));
        assert_eq!(client("10.0.0.1", &[chain(ENTRIES_MAX - 1).as_bytes()]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[chain(ENTRIES_MAX).as_bytes()]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[chain(1_000).as_bytes()]), "10.0.0.2");
    }
}
