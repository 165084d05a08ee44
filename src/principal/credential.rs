//! The credential of a request: `Authorization: Bearer …` (RFC 6750 §2.1) or `x-api-key: …`, as the
//! OpenAI and Anthropic SDKs send them.
//!
//! A request with two credentials is refused, even if they are equal: the server does not choose
//! between two identities. Query strings and bodies are never searched: servers and proxies log
//! URLs.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::proto::error::Error;

const API_KEY: &str = "x-api-key";

/// The only credential in `headers`: one or more visible ASCII characters, not verified yet.
///
/// # Errors
/// [`Error::RequestInvalid`] for more than one credential. [`Error::Unauthenticated`] for none, or
/// for one of another scheme or form.
pub(super) fn only(headers: &HeaderMap) -> Result<&str, Error> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let mut found = bearers.chain(headers.get_all(API_KEY).iter().map(visible));
    match (found.next(), found.next()) {
        (None, _) => Err(refused("no credential in `authorization` or `x-api-key`")),
        (Some(only), None) => only.map_err(refused),
        (Some(_), Some(_)) => Err(Error::invalid(
            "The request has two credentials. Send one `authorization` header or one `x-api-key` header.",
        )),
    }
}

/// The token of a `Bearer` credential: the scheme in any case, spaces, one token (RFC 9110 §11.4).
fn bearer(value: &HeaderValue) -> Result<&str, &'static str> {
    let text = value.to_str().map_err(|_| "`authorization` is not ASCII")?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => one_word(token.trim_start_matches(' ')),
        _ => Err("`authorization` is not `Bearer` and a token"),
    }
}

fn visible(value: &HeaderValue) -> Result<&str, &'static str> {
    value.to_str().map_err(|_| "`x-api-key` is not ASCII").and_then(one_word)
}

fn one_word(text: &str) -> Result<&str, &'static str> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then_some(text).ok_or("the credential is not one word")
}

fn refused(cause: &str) -> Error {
    Error::Unauthenticated { cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn cause(pairs: &[(&'static str, &'static [u8])]) -> Option<String> {
        let error = only(&headers(pairs)).unwrap_err();
        assert_eq!(error.code(), "unauthenticated");
        error.cause()
    }

    #[test]
    fn either_header_carries_the_credential() {
        for (name, value) in [
            ("authorization", "Bearer abc.def"),
            ("authorization", "bearer abc.def"),
            ("authorization", "BEARER   abc.def"),
            ("x-api-key", "abc.def"),
        ] {
            assert_eq!(only(&headers(&[(name, value.as_bytes())])), Ok("abc.def"), "{name}: {value}");
        }
    }

    #[test]
    fn two_credentials_are_refused_even_if_equal() {
        let (bearer, key) = (("authorization", b"Bearer a".as_slice()), ("x-api-key", b"a".as_slice()));
        let basic = ("authorization", b"Basic a".as_slice());
        for pair in [[bearer, key], [bearer, bearer], [key, key], [basic, key], [bearer, basic]] {
            let error = only(&headers(&pair)).unwrap_err();
            assert_eq!(error.code(), "request_invalid");
            assert!(error.to_string().starts_with("The request has two credentials."));
        }
    }

    #[test]
    fn a_missing_credential_is_reported() {
        assert_eq!(cause(&[("cookie", b"a=b")]).unwrap(), "no credential in `authorization` or `x-api-key`");
    }

    #[test]
    fn other_schemes_and_forms_are_refused() {
        for value in [b"".as_slice(), b"Bearer", b"Basic YTpi", b"abc", b"Bearer\ta", b"Bear er a", b"Bearer=a"] {
            assert_eq!(cause(&[("authorization", value)]).unwrap(), "`authorization` is not `Bearer` and a token");
        }
        for value in [b"Bearer ".as_slice(), b"Bearer a b", b"Bearer a, Bearer b", b"Bearer a ", b"Bearer a\tb"] {
            assert_eq!(cause(&[("authorization", value)]).unwrap(), "the credential is not one word");
        }
        for value in [b"".as_slice(), b" ", b"a b", b"a\tb", b"a, b"] {
            assert_eq!(cause(&[("x-api-key", value)]).unwrap(), "the credential is not one word");
        }
        assert_eq!(cause(&[("x-api-key", b"caf\xc3\xa9")]).unwrap(), "`x-api-key` is not ASCII");
        assert_eq!(cause(&[("authorization", b"Bearer \xff")]).unwrap(), "`authorization` is not ASCII");
    }
}
