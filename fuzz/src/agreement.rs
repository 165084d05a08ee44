//! The crate and the reference reader must agree on every token: taken or refused, claims, history, times, items.

use std::sync::LazyLock;

use holdall::proto::{
    error::Error,
    key::{KeyId, KeyRing},
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{
        self, Claims, Codec, Id, RawToken, TokenContext, TokenHolder, TokenPolicy, TokenPurpose, UnverifiedToken,
        VerifiedToken,
    },
};

use super::reference::{self, HISTORY_BYTES, ITEMS, KID, MAX_AGE, NOW, SECRET, TOKEN_BYTES, TTL, Verdict};

/// Panics where the two disagree, or where a token that was taken cannot be continued as it should.
pub(super) fn check(text: &str) {
    // Fresh for each input, so that a finding depends on that alone.
    let codec = &mut Codec::new().expect("there is memory");
    match (reference::read(text), authenticate(text, codec)) {
        (None, Err(Error::TokenInvalid { .. } | Error::TokenTooLarge(_))) => {}
        (Some(expected), Ok(found)) => {
            compare(&expected, &found);
            continue_it(&expected, text, codec);
        }
        (expected, found) => panic!("the reference says {expected:?}, the crate {found:?}"),
    }
}

fn compare(expected: &reference::Token, found: &UnverifiedToken) {
    assert_eq!(expected.history, found.history_lines());
    assert_eq!(expected.history.lines().count(), found.items());
    assert_eq!(expected.frames, found.history_frames() + 1);
    let (is, claims) = (&expected.claims, found.claims());
    assert_eq!(
        (&is.iss, is.sub.as_str(), is.idp.as_str()),
        (&claims.issuer, claims.principal.subject(), claims.principal.idp())
    );
    let ids = [Some(claims.conversation), Some(claims.token_id), claims.parent];
    assert_eq!(
        [Some(&is.cid), Some(&is.jti), is.par.as_ref()],
        ids.map(|id| id.map(|id| id.to_string())).each_ref().map(Option::as_ref)
    );
    let Claims { born_at, issued_at, expires_at, turn, usage, upstream_millis, .. } = claims;
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
    assert_eq!((is.numbers, &is.model), (numbers, &claims.model));
}

/// A token that its caller may use holds the items that the reference sees, and the next one keeps them.
fn continue_it(expected: &reference::Token, text: &str, codec: &mut Codec) {
    for (purpose, reading) in [(TokenPurpose::Continue, false), (TokenPurpose::Read, true)] {
        let found = authenticate(text, codec).and_then(|token| {
            token.verify(&TokenHolder::Known(alice()), purpose, &WORLD.policy(false), UnixSeconds(NOW))
        });
        match (reference::verdict(expected, reading), found) {
            (Verdict::Good, Ok(token)) => {
                compare_items(expected, &token);
                if !reading {
                    append(expected, &token, codec);
                }
            }
            (Verdict::Expired, Err(Error::TokenExpired { .. }))
            | (Verdict::Invalid, Err(Error::TokenInvalid { .. })) => {}
            (expected, found) => panic!("the reference says {expected:?}, the crate {found:?}"),
        }
    }
}

fn compare_items(expected: &reference::Token, token: &VerifiedToken) {
    match (reference::items(expected), token.history()) {
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

/// Appends a line, in both kinds, and looks at the outcome with both readers.
fn append(expected: &reference::Token, token: &VerifiedToken, codec: &mut Codec) {
    const LINE: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"more\"}]}\n";
    for seal in [false, true] {
        let policy = WORLD.policy(seal);
        let claims =
            token.claims().next("default".to_owned(), Id::new(UnixSeconds(NOW), [3; 16]), UnixSeconds(NOW), &policy);
        let issued = token::issue(&claims, Some(token), LINE, WORLD.token_context(&policy), &[7; 24], codec);
        let issued = match issued {
            Ok(issued) => issued,
            // The claims may grow over their bound by the new alias, and history and token over theirs by the line.
            Err(Error::HistoryTooLarge(_) | Error::RequestInvalid { .. } | Error::TokenTooLarge(_)) => continue,
            Err(error) => panic!("{error:?}"),
        };
        let next = reference::read(&issued.token).expect("the reference reads what was issued");
        assert_eq!(next.history, expected.history.clone() + LINE);
        assert_eq!(issued.history_bytes, next.history.len());
        compare(&next, &authenticate(&issued.token, codec).expect("what was issued is taken"));
    }
}

fn authenticate(text: &str, codec: &mut Codec) -> Result<UnverifiedToken, Error> {
    let policy = WORLD.policy(false);
    RawToken::new(text, &WORLD.limits)?.authenticate(WORLD.token_context(&policy), codec)
}

fn alice() -> Principal {
    Principal::new(reference::SUBJECT, reference::IDP).expect("a fixed name")
}

struct World {
    keys: KeyRing,
    limits: Limits,
}

impl World {
    fn token_context<'a>(&'a self, policy: &'a TokenPolicy) -> TokenContext<'a> {
        TokenContext { keys: &self.keys, policy, limits: &self.limits }
    }

    fn policy(&self, seal: bool) -> TokenPolicy {
        let issuer = reference::ISSUER.to_owned();
        TokenPolicy { issuer, ttl_seconds: TTL, max_age_seconds: MAX_AGE, seal }
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut limits = Limits::default();
    (limits.token_bytes, limits.history_bytes, limits.history_items) = (TOKEN_BYTES, HISTORY_BYTES, ITEMS);
    let key = (KeyId::new(KID).expect("a fixed id"), SECRET.to_vec().into());
    World { keys: KeyRing::new([key]).expect("a fixed key"), limits }
});
