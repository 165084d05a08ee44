//! The crate and the reference reader must agree on every token: if it is valid, and on its claims,
//! history, times and items.

use std::sync::LazyLock;

use holdall::proto::{
    error::Error,
    key::{KeyId, KeyRing},
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{
        self, Claims, Codec, Id, RawToken, TokenContext, TokenHolder, TokenPolicy, TokenPurpose, UnpackedToken,
        UnverifiedToken, VerifiedToken,
    },
};

use super::reference::{self, HISTORY_BYTES, ITEMS, KID, MAX_AGE, NOW, SECRET, TOKEN_BYTES, TTL, Verdict};

/// Panics if the two readers disagree, or if a valid token cannot be continued.
pub(super) fn check(text: &str) {
    // Fresh for each input, so that a finding depends only on the input.
    let codec = &mut Codec::new().expect("memory for the compressor");
    match (reference::read(text), authenticate(text, codec)) {
        (None, Err(Error::TokenInvalid { .. } | Error::TokenTooLarge(_))) => {}
        (Some(expected), Ok(found)) => {
            compare_claims(&expected, found.claims());
            match (reference::history(&expected), found.unpack(&DEPLOYMENT.limits, codec)) {
                (None, Err(Error::TokenInvalid { .. })) => {}
                (Some(history), Ok(found)) => compare_history(&expected, &history, &found),
                (history, found) => panic!("the reference says {history:?}, the crate {found:?}"),
            }
            check_next(&expected, text, codec);
        }
        (expected, found) => panic!("the reference says {expected:?}, the crate {found:?}"),
    }
}

fn compare_history(expected: &reference::Token, history: &str, found: &UnpackedToken) {
    assert_eq!(history, found.history_lines());
    assert_eq!(history.lines().count(), found.items());
    assert_eq!(expected.frames.len(), found.history_frames());
}

fn compare_claims(expected: &reference::Token, claims: &Claims) {
    let known = &expected.claims;
    assert_eq!(
        (&known.iss, known.sub.as_str(), known.idp.as_str()),
        (&claims.issuer, claims.principal.subject(), claims.principal.idp())
    );
    let ids = [Some(claims.conversation), Some(claims.token_id), claims.parent];
    assert_eq!(
        [Some(&known.cid), Some(&known.jti), known.par.as_ref()],
        ids.map(|id| id.map(|id| id.to_string())).each_ref().map(Option::as_ref)
    );
    let Claims { born_at, issued_at, expires_at, turn, usage, upstream_millis, asserted, .. } = claims;
    let numbers = [
        born_at.0,
        issued_at.0,
        expires_at.0,
        *turn,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        *upstream_millis,
    ];
    assert_eq!((known.numbers, &known.model, known.asserted), (numbers, &claims.model, *asserted));
}

/// A token that its holder may use has the items of the reference, and the next token keeps them.
fn check_next(expected: &reference::Token, text: &str, codec: &mut Codec) {
    for (purpose, is_reading) in [(TokenPurpose::Continue, false), (TokenPurpose::Read, true)] {
        let found = authenticate(text, codec).and_then(|token| {
            token.verify(&TokenHolder::Known(alice()), purpose, &DEPLOYMENT.policy(false), UnixSeconds(NOW))
        });
        match (reference::verdict(expected, is_reading), found) {
            (Verdict::Valid, Ok(token)) => {
                // An unreadable history was compared by `check`.
                let Some(history) = reference::history(expected) else { continue };
                let token = token.unpack(&DEPLOYMENT.limits, codec).expect("a history that both readers accept");
                compare_items(&history, &token);
                if !is_reading {
                    append(&history, &token, codec);
                }
            }
            (Verdict::Expired, Err(Error::TokenExpired { .. }))
            | (Verdict::Invalid, Err(Error::TokenInvalid { .. })) => {}
            (expected, found) => panic!("the reference says {expected:?}, the crate {found:?}"),
        }
    }
}

fn compare_items(history: &str, token: &VerifiedToken) {
    match (reference::items(history), token.history()) {
        (None, Err(Error::TokenInvalid { .. })) => {}
        (Some(expected), Ok(found)) => {
            let mut lines = String::new();
            found.items().iter().for_each(|item| item.write_line(&mut lines));
            let found: Option<Vec<_>> = lines.lines().map(reference::item).collect();
            assert_eq!(Some(expected), found);
        }
        (expected, found) => panic!("the reference says {expected:?}, the crate {found:?}"),
    }
}

/// Appends a line, in a clear and a sealed token, and compares the next token in both readers.
fn append(history: &str, token: &VerifiedToken, codec: &mut Codec) {
    const LINE: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"more\"}]}\n";
    for seal in [false, true] {
        let policy = DEPLOYMENT.policy(seal);
        let claims =
            token.claims().next("default".to_owned(), Id::new(UnixSeconds(NOW), [3; 16]), UnixSeconds(NOW), &policy);
        let issued = token::issue(&claims, Some(token), LINE, DEPLOYMENT.token_context(&policy), &[7; 24], codec);
        let issued = match issued {
            Ok(issued) => issued,
            // The new alias may make the claims too long, and the line may make history or token
            // too long.
            Err(Error::HistoryTooLarge(_) | Error::RequestInvalid { .. } | Error::TokenTooLarge(_)) => continue,
            Err(error) => panic!("{error:?}"),
        };
        let next = reference::read(&issued.token).expect("the reference reads an issued token");
        let next_history = reference::history(&next).expect("the reference reads an issued history");
        assert_eq!(next_history, history.to_owned() + LINE);
        assert_eq!(issued.history_bytes, next_history.len());
        let found = authenticate(&issued.token, codec).expect("an issued token is valid");
        compare_claims(&next, found.claims());
        let found = found.unpack(&DEPLOYMENT.limits, codec).expect("an issued history is valid");
        compare_history(&next, &next_history, &found);
    }
}

fn authenticate(text: &str, codec: &mut Codec) -> Result<UnverifiedToken, Error> {
    let policy = DEPLOYMENT.policy(false);
    RawToken::new(text, &DEPLOYMENT.limits)?.authenticate(DEPLOYMENT.token_context(&policy), codec)
}

fn alice() -> Principal {
    Principal::new(reference::SUBJECT, reference::IDP).expect("a fixed name")
}

struct TestDeployment {
    keys: KeyRing,
    limits: Limits,
}

impl TestDeployment {
    fn token_context<'a>(&'a self, policy: &'a TokenPolicy) -> TokenContext<'a> {
        TokenContext { keys: &self.keys, policy, limits: &self.limits }
    }

    fn policy(&self, seal: bool) -> TokenPolicy {
        let issuer = reference::ISSUER.to_owned();
        TokenPolicy { issuer, ttl_seconds: TTL, max_age_seconds: MAX_AGE, seal }
    }
}

static DEPLOYMENT: LazyLock<TestDeployment> = LazyLock::new(|| {
    let mut limits = Limits::default();
    (limits.token_bytes, limits.history_bytes, limits.history_items) = (TOKEN_BYTES, HISTORY_BYTES, ITEMS);
    let key = (KeyId::new(KID).expect("a fixed id"), SECRET.to_vec().into());
    TestDeployment { keys: KeyRing::new([key]).expect("a fixed key"), limits }
});
