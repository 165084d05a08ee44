//! Users that a proxy names in a header (`identity.mode = "header"`).
//!
//! ```text
//! peer is listed ─▶ secret matches ─▶ one header in one spelling ─▶ valid subject
//! ```
//! Any client can send a header, so the name is accepted only after three checks:
//!
//! - The other end of the connection is a listed proxy. Headers do not count for this.
//! - The proxy sends the secret.
//! - The header occurs once.
//!
//! Some servers treat `_` and `-` in names as equal (CGI, RFC 3875 §4.1.18). A client could use the
//! other spelling to pass a name through the proxy. So a header in another spelling is refused. A
//! peer that is not listed gets the same answer for every request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{digest::KeyDigest, network::Networks};
use crate::proto::{error::Error, principal::Principal};

/// The shortest secret, in bytes.
pub const HEADER_SECRET_MIN_BYTES: usize = 32;

/// The identity provider of users that a proxy names.
pub const IDP_HEADER: &str = "header";

/// The proxies that may name users, and the headers that they use.
#[derive(Debug)]
pub struct HeaderRule {
    name: HeaderName,
    secret_name: HeaderName,
    peers: Networks,
    secret: KeyDigest,
}

impl HeaderRule {
    /// A rule: the proxies `peers` name the user in the header `name`, and send the key with the
    /// digest `secret` in the header `secret_name`.
    ///
    /// # Errors
    /// The reason why these values do not make a rule.
    pub fn new(
        name: HeaderName,
        secret_name: HeaderName,
        peers: Networks,
        secret: KeyDigest,
    ) -> Result<Self, &'static str> {
        if normalized(&name) == normalized(&secret_name) {
            return Err("the user and the secret must be in different headers");
        }
        if [&name, &secret_name].into_iter().any(|name| RESERVED.contains(name)) {
            return Err("a standard header cannot carry the user or the secret");
        }
        if peers.is_empty() {
            return Err("no peer is listed, so every request would be refused");
        }
        Ok(Self { name, secret_name, peers, secret })
    }

    /// Returns true if `peer` is a listed proxy.
    pub(super) fn is_listed(&self, peer: IpAddr) -> bool {
        self.peers.contains(peer)
    }

    /// The user of a request from `peer` with these headers.
    ///
    /// # Errors
    /// [`Error::UntrustedProxy`]; the cause names the failed check. [`Error::RequestInvalid`] for
    /// two users in one request, if the proxy has sent the secret.
    pub(super) fn verify(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Principal, Error> {
        let peer = peer.ok_or_else(|| refused("the address of the peer is unknown"))?;
        if !self.is_listed(peer) {
            return Err(refused(&format!("the peer {} is not listed", peer.to_canonical())));
        }
        let secret = match Occurrence::find(headers, &self.secret_name) {
            Occurrence::Once(secret) => secret,
            Occurrence::Missing => return Err(refused("the secret is missing")),
            Occurrence::Repeated => {
                return Err(refused("the secret occurs twice, or in another spelling of its header"));
            }
        };
        if !bool::from(KeyDigest::of_bytes(secret.as_bytes()).ct_eq(&self.secret)) {
            return Err(refused("the secret is wrong"));
        }
        match Occurrence::find(headers, &self.name) {
            Occurrence::Once(user) => principal(user),
            Occurrence::Missing => Err(refused("the user is missing")),
            Occurrence::Repeated => Err(Error::invalid(
                "The request has two users. The header with the user must occur once, in one spelling.",
            )),
        }
    }
}

/// How often a header occurs, in all spellings together.
enum Occurrence<'a> {
    Missing,
    /// Once, in the configured spelling.
    Once(&'a HeaderValue),
    /// Several times, or in another spelling.
    Repeated,
}

impl<'a> Occurrence<'a> {
    fn find(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let wanted = normalized(name);
        let mut found = headers.iter().filter(|(other, _)| normalized(other) == wanted);
        match (found.next(), found.next()) {
            (None, _) => Self::Missing,
            (Some((spelling, value)), None) if spelling == name => Self::Once(value),
            _ => Self::Repeated,
        }
    }
}

/// Headers that proxies and clients use for other purposes.
const RESERVED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("x-forwarded-for"),
];

/// One spelling for all names that a server might treat as equal. Names are lower-case already.
fn normalized(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

fn principal(value: &HeaderValue) -> Result<Principal, Error> {
    let user = std::str::from_utf8(value.as_bytes()).map_err(|_| refused("the user is not UTF-8"))?;
    // White space around a value is not part of it (RFC 9110 §5.5). The server does not guess which
    // user the proxy means.
    if user.trim() != user {
        return Err(refused("white space before or after the user"));
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

    /// The cause for which a request with the secret and these headers is refused.
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
    fn a_peer_that_is_not_listed_always_gets_the_same_answer() {
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
        assert_eq!(unknown.cause().unwrap(), "identity header: the address of the peer is unknown");
    }

    #[test]
    fn the_secret_must_occur_once_and_match() {
        let refused = |pairs: &[(&'static str, &[u8])]| {
            let error = verify("10.1.2.3", &[&[("x-holdall-user", b"ada".as_slice())], pairs].concat()).unwrap_err();
            assert_eq!(error.code(), "unauthenticated");
            error.cause().unwrap().strip_prefix("identity header: ").unwrap().to_owned()
        };
        let right = ("x-holdall-secret", SECRET.as_bytes());
        assert_eq!(refused(&[]), "the secret is missing");
        for wrong in [b"".as_slice(), b"x", &SECRET.as_bytes()[1..], b"\xff", SECRET.to_uppercase().as_bytes()] {
            assert_eq!(refused(&[("x-holdall-secret", wrong)]), "the secret is wrong");
        }
        let twice = "the secret occurs twice, or in another spelling of its header";
        for second in [right, ("x-holdall-secret", b"x".as_slice()), ("x_holdall_secret", SECRET.as_bytes())] {
            assert_eq!(refused(&[right, second]), twice);
            assert_eq!(refused(&[second, right]), twice);
        }
        assert_eq!(refused(&[("x_holdall_secret", SECRET.as_bytes())]), twice);
        assert_eq!(refused(&[("x-holdall_secret", SECRET.as_bytes())]), twice);
    }

    #[test]
    fn two_users_are_refused() {
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
        assert_eq!(error.code(), "request_invalid", "another spelling alone is refused as well");
    }

    #[test]
    fn an_invalid_user_is_refused() {
        let user = |value: &[u8]| cause(&[("x-holdall-user", value)]);
        assert_eq!(cause(&[]), "the user is missing");
        assert_eq!(user(b""), "user: subject is empty");
        assert_eq!(user(&[b'a'; 257]), "user: subject is over the limit of 256 bytes");
        assert_eq!(user(&[b'a'; 12_000]), "user: subject is over the limit of 256 bytes");
        for value in ["a\tb", "a\u{85}b", "a\u{9b}2Jb"] {
            assert_eq!(user(value.as_bytes()), "user: subject holds a control character", "{value:?}");
        }
        for value in [" ", "\t", " ada", "ada ", "ada\t", "\u{a0}ada", "ada\u{3000}"] {
            assert_eq!(user(value.as_bytes()), "white space before or after the user", "{value:?}");
        }
        for value in [b"\xff".as_slice(), b"ad\xc3", b"\xed\xa0\x80"] {
            assert_eq!(user(value), "the user is not UTF-8");
        }
        // Other characters that end a line are not valid in a header value.
        for value in [b"ada\r\nx: y".as_slice(), b"ada\n", b"ada\0", b"ada\x7f", b"\x1b[2J"] {
            assert!(HeaderValue::from_bytes(value).is_err());
        }
    }

    #[test]
    fn an_unusable_rule_is_refused() {
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
