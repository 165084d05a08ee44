//! Who sent a request that came through proxies: the right-most address of `X-Forwarded-For` that is not a proxy's own.
//!
//! ```text
//! X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2        from the peer 10.0.0.1
//!                  made up  the sender   ◀─ a proxy's  ◀─ a proxy's
//! ```
//! Each proxy adds at the right whom it was called by, and so what stands left of the first stranger is that stranger's
//! word. The address serves for counting callers without a name, and for nothing that lets anyone in.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most entries that are looked at: more proxies than that do not stand in a row.
const ENTRIES_MAX: usize = 32;

/// The address that sent a request, as far as `proxies` can be asked: `peer` itself if it is none of them.
///
/// Where an entry is no address, or only proxies are left, the last address that was read counts.
#[must_use]
pub fn sender(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).take(ENTRIES_MAX);
    let mut sender = peer;
    while proxies.contains(sender) {
        match entries.next().and_then(address) {
            Some(address) => sender = address,
            None => break,
        }
    }
    sender
}

/// An address, as proxies write it: alone, in brackets, with a port.
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

    /// The sender of a request with these header lines that came from `peer`, where 10.0.0.0/8 and fd00::/8 are proxies.
    fn of(peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let proxies = Networks::new(["10.0.0.0/8", "fd00::/8"]).unwrap();
        sender(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_a_listed_proxy_is_believed() {
        assert_eq!(of("192.0.2.1", &[b"203.0.113.9"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("::ffff:10.0.0.1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("fd00::1", &[b"203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_the_sender_made_up_does_not_count() {
        assert_eq!(of("10.0.0.1", &[b"6.6.6.6, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &[b"6.6.6.6", b"7.7.7.7, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &[b"6.6.6.6, 203.0.113.9", b"10.0.0.3 ,10.0.0.2"]), "203.0.113.9");
        // Not even a proxy's address.
        assert_eq!(of("10.0.0.1", &[b"10.0.0.9, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["6.6.6.6, ".repeat(1_000).as_bytes(), b"203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        for broken in ["", "unknown", "_hidden", "203.0.113", "1.2.3.4.5", "203.0.113.9:", "[::1", "fe80::1%eth0", "é"]
        {
            let line = format!("6.6.6.6, {broken}, 10.0.0.2");
            assert_eq!(of("10.0.0.1", &[line.as_bytes()]), "10.0.0.2", "{broken}");
            assert_eq!(of("10.0.0.1", &[broken.as_bytes()]), "10.0.0.1", "{broken}");
        }
        assert_eq!(of("10.0.0.1", &[b"6.6.6.6", b"\xff"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[b"10.0.0.4, 10.0.0.3"]), "10.0.0.4");
    }

    #[test]
    fn proxies_write_addresses_in_several_ways() {
        for (entry, sender) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
            ("\t203.0.113.9 ", "203.0.113.9"),
        ] {
            assert_eq!(of("10.0.0.1", &[format!("6.6.6.6,{entry}").as_bytes()]), sender, "{entry}");
        }
    }

    #[test]
    fn a_long_row_of_proxies_is_not_walked_to_its_end() {
        let row = |proxies: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(proxies));
        assert_eq!(of("10.0.0.1", &[row(ENTRIES_MAX - 1).as_bytes()]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &[row(ENTRIES_MAX).as_bytes()]), "10.0.0.2");
        assert_eq!(of("10.0.0.1", &[row(1_000).as_bytes()]), "10.0.0.2");
    }
}
