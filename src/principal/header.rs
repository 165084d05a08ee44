//! The user as a proxy names it in a header (`identity.mode = "header"`).
//!
//! ```text
//! peer listed? ─▶ secret right? ─▶ one header, of one spelling ─▶ a name fit to be a subject
//! ```
//! Anyone can write a header, so three things vouch for it: the other end of the connection is a listed proxy, whatever
//! the request says of where it came from; the proxy shows a secret; and the header stands once. Servers between here and
//! there may fold `_` and `-` into one (CGI, RFC 3875 §4.1.18), so a spelling beside the configured one is taken for an
//! attempt to slip a name past the proxy, and refused. A peer that is not listed learns nothing but that.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{KeyDigest, Networks};
use crate::proto::{error::Error, principal::Principal};

/// The shortest secret, in bytes.
pub const HEADER_SECRET_MIN_BYTES: usize = 32;

/// The identity source of users whom a proxy names.
pub const IDP_HEADER: &str = "header";

/// Which proxies are believed, and how they say who calls.
#[derive(Debug)]
pub struct HeaderRule {
    name: HeaderName,
    secret_name: HeaderName,
    peers: Networks,
    secret: KeyDigest,
}

impl HeaderRule {
    /// The user stands in the header `name`; `secret` is what `secret_name` must hold; `peers` are the proxies.
    ///
    /// # Errors
    /// The rule that these break together.
    pub fn new(
        name: HeaderName,
        secret_name: HeaderName,
        peers: Networks,
        secret: KeyDigest,
    ) -> Result<Self, &'static str> {
        if folded(&name) == folded(&secret_name) {
            return Err("the user and the secret stand in one header");
        }
        if [&name, &secret_name].into_iter().any(|name| TAKEN.contains(name)) {
            return Err("a header with a meaning of its own names no user and holds no secret");
        }
        if peers.is_empty() {
            return Err("no peer is listed, so nobody could call");
        }
        Ok(Self { name, secret_name, peers, secret })
    }

    /// Whom a request from `peer` with these headers speaks for.
    ///
    /// # Errors
    /// [`Error::UntrustedProxy`], with the failed check as its cause; [`Error::RequestInvalid`] for two names in one
    /// request, to a proxy that shows the secret.
    pub(super) fn verify(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Principal, Error> {
        let peer = peer.ok_or_else(|| refused("the peer's address is not known"))?;
        if !self.peers.contains(peer) {
            return Err(refused(&format!("the peer {} is not listed", peer.to_canonical())));
        }
        let secret = match self.only(headers, &self.secret_name) {
            Found::One(secret) => secret,
            Found::None => return Err(refused("no secret")),
            Found::Several => return Err(refused("the secret stands twice, or in two spellings of its header")),
        };
        if !bool::from(KeyDigest::of_bytes(secret.as_bytes()).ct_eq(&self.secret)) {
            return Err(refused("the secret is wrong"));
        }
        match self.only(headers, &self.name) {
            Found::One(user) => user_of(user),
            Found::None => Err(refused("no user")),
            Found::Several => Err(Error::invalid(
                "The request has two user names: the header that names the user is repeated, or in two spellings.",
            )),
        }
    }

    /// The value of the header `name`, if it and its like stand once.
    fn only<'a>(&self, headers: &'a HeaderMap, name: &HeaderName) -> Found<'a> {
        let wanted = folded(name);
        let mut alike = headers.iter().filter(|(other, _)| folded(other) == wanted);
        match (alike.next(), alike.next()) {
            (None, _) => Found::None,
            (Some((found, value)), None) if found == name => Found::One(value),
            _ => Found::Several,
        }
    }
}

/// How often a header stands.
enum Found<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}

/// Headers that proxies and clients fill for other ends.
const TAKEN: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("x-forwarded-for"),
];

/// One spelling for all that a server might take for one name; names are lower-case already.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

fn user_of(value: &HeaderValue) -> Result<Principal, Error> {
    let user = std::str::from_utf8(value.as_bytes()).map_err(|_| refused("the user is not UTF-8"))?;
    // White space around a value is none of it (RFC 9110 §5.5), and who is asked for it is not to be guessed.
    if user.trim() != user {
        return Err(refused("white space before or behind the user"));
    }
    Principal::new(user, IDP_HEADER).map_err(|rule| refused(&format!("user: {rule}")))
}

fn refused(cause: &str) -> Error {
    Error::UntrustedProxy { cause: format!("identity header: {cause}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn rule() -> HeaderRule {
        let (name, secret_name) =
            (HeaderName::from_static("x-holdall-user"), HeaderName::from_static("x-holdall-secret"));
        let peers = Networks::new(["10.0.0.0/8", "2001:db8::7"]).unwrap();
        HeaderRule::new(name, secret_name, peers, KeyDigest::of(SECRET)).unwrap()
    }

    fn verify(peer: &str, pairs: &[(&'static str, &[u8])]) -> Result<Principal, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        rule().verify(&headers, peer.parse().ok())
    }

    /// Why a request with the secret and these headers is refused.
    fn cause(pairs: &[(&'static str, &[u8])]) -> String {
        let pairs = [&[("x-holdall-secret", SECRET.as_bytes())], pairs].concat();
        let error = verify("10.1.2.3", &pairs).unwrap_err();
        assert_eq!(error.code(), "unauthenticated", "{error}");
        error.cause().unwrap().strip_prefix("identity header: ").unwrap().to_owned()
    }

    #[test]
    fn a_listed_proxy_with_the_secret_names_the_user() {
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"] {
            for user in ["ada", "Ada", "ada@example.org", "ada lovelace", "é", &"a".repeat(256), "none", "anon-1"] {
                let headers = [("x-holdall-user", user.as_bytes()), ("x-holdall-secret", SECRET.as_bytes())];
                let principal = verify(peer, &headers).unwrap();
                assert_eq!((principal.subject(), principal.idp(), principal.is_anonymous()), (user, "header", false));
            }
        }
    }

    #[test]
    fn a_peer_that_is_not_listed_learns_nothing() {
        let right = [("x-holdall-user", b"ada".as_slice()), ("x-holdall-secret", SECRET.as_bytes())];
        let user = [("x-holdall-user", b"ada".as_slice())];
        let twice = [right[0], right[0], right[1], ("x-forwarded-for", b"10.0.0.1")];
        for peer in ["11.0.0.1", "127.0.0.1", "2001:db8::8", "::10.0.0.1", "::1"] {
            let refusals = [&right[..], &user, &twice, &[]].map(|pairs| verify(peer, pairs).unwrap_err());
            assert_eq!(
                refusals[0].cause().unwrap(),
                format!("identity header: the peer {peer} is not listed").replace("::10.0.0.1", "::a00:1")
            );
            assert!(refusals.iter().all(|refusal| refusal == &refusals[0] && refusal.code() == "unauthenticated"));
        }
        let unknown = verify("nowhere", &right).unwrap_err();
        assert_eq!(unknown.cause().unwrap(), "identity header: the peer's address is not known");
    }

    #[test]
    fn the_secret_stands_once_and_is_right() {
        let refused = |pairs: &[(&'static str, &[u8])]| {
            let error = verify("10.1.2.3", &[&[("x-holdall-user", b"ada".as_slice())], pairs].concat()).unwrap_err();
            assert_eq!(error.code(), "unauthenticated");
            error.cause().unwrap().strip_prefix("identity header: ").unwrap().to_owned()
        };
        let right = ("x-holdall-secret", SECRET.as_bytes());
        assert_eq!(refused(&[]), "no secret");
        for wrong in [b"".as_slice(), b"x", &SECRET.as_bytes()[1..], b"\xff", SECRET.to_uppercase().as_bytes()] {
            assert_eq!(refused(&[("x-holdall-secret", wrong)]), "the secret is wrong");
        }
        let twice = "the secret stands twice, or in two spellings of its header";
        for second in [right, ("x-holdall-secret", b"x".as_slice()), ("x_holdall_secret", SECRET.as_bytes())] {
            assert_eq!(refused(&[right, second]), twice);
            assert_eq!(refused(&[second, right]), twice);
        }
        assert_eq!(refused(&[("x_holdall_secret", SECRET.as_bytes())]), twice);
        assert_eq!(refused(&[("x-holdall_secret", SECRET.as_bytes())]), twice);
    }

    #[test]
    fn two_names_are_one_too_many() {
        let (secret, user) = (("x-holdall-secret", SECRET.as_bytes()), ("x-holdall-user", b"ada".as_slice()));
        for other in ["x-holdall-user", "x_holdall_user", "x_holdall-user", "X-HOLDALL_USER"] {
            for value in [b"ada".as_slice(), b"eve", b""] {
                for pairs in [[secret, user, (other, value)], [(other, value), secret, user]] {
                    let mut headers = HeaderMap::new();
                    for (name, value) in pairs {
                        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
                    }
                    let error = rule().verify(&headers, "10.1.2.3".parse().ok()).unwrap_err();
                    assert_eq!(error.code(), "request_invalid", "{other}");
                }
            }
        }
        let error = verify("10.1.2.3", &[secret, ("x_holdall_user", b"ada")]).unwrap_err();
        assert_eq!(error.code(), "request_invalid", "the twin alone is no name either");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let user = |value: &[u8]| cause(&[("x-holdall-user", value)]);
        assert_eq!(cause(&[]), "no user");
        assert_eq!(user(b""), "user: subject is empty");
        assert_eq!(user(&[b'a'; 257]), "user: subject is over the limit of 256 bytes");
        assert_eq!(user(&[b'a'; 12_000]), "user: subject is over the limit of 256 bytes");
        for value in ["a\tb", "a\u{85}b", "a\u{9b}2Jb"] {
            assert_eq!(user(value.as_bytes()), "user: subject holds a control character", "{value:?}");
        }
        for value in [" ", "\t", " ada", "ada ", "ada\t", "\u{a0}ada", "ada\u{3000}"] {
            assert_eq!(user(value.as_bytes()), "white space before or behind the user", "{value:?}");
        }
        for value in [b"\xff".as_slice(), b"ad\xc3", b"\xed\xa0\x80"] {
            assert_eq!(user(value), "the user is not UTF-8");
        }
        // What else would break a line is no header value in the first place.
        for value in [b"ada\r\nx: y".as_slice(), b"ada\n", b"ada\0", b"ada\x7f", b"\x1b[2J"] {
            assert!(HeaderValue::from_bytes(value).is_err());
        }
    }

    #[test]
    fn a_rule_without_sense_is_none() {
        let new = |name: &'static str, secret: &'static str, peers: &[&str]| {
            let peers = Networks::new(peers.iter().copied()).unwrap();
            let (name, secret) = (HeaderName::from_static(name), HeaderName::from_static(secret));
            HeaderRule::new(name, secret, peers, KeyDigest::of(SECRET)).map(drop)
        };
        assert!(new("x_user", "x-secret", &["::1"]).is_ok());
        for (name, secret, peers) in [
            ("x-user", "x-user", &["::1"][..]),
            ("x-user", "x_user", &["::1"]),
            ("x-user", "x-secret", &[]),
            ("host", "x-secret", &["::1"]),
            ("x-user", "authorization", &["::1"]),
        ] {
            assert!(new(name, secret, peers).is_err(), "{name} {secret}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", rule());
        assert!(!shown.contains(&SECRET[..8]) && shown.contains("x-holdall-user"), "{shown}");
    }
}
