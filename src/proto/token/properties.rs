//! Properties of every token, tested on random tokens.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::ops::Range;

use proptest::{prelude::*, sample::Index};
use zeroize::Zeroizing;

use super::{testing::*, *};
use crate::proto::{
    chat::{Output, Part, Role},
    key::KeyId,
    principal::Principal,
    time::LEEWAY_SECONDS,
};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

/// An item of any kind.
fn item() -> impl Strategy<Value = Item> {
    let text = || {
        prop_oneof![
            any::<String>(),
            "[a-z ]{0,300}",
            (0_usize..400, any::<u16>()).prop_map(|(n, s)| noise(n, s.into()))
        ]
    };
    let part = || prop_oneof![text().prop_map(Part::Text), text().prop_map(Part::Image)];
    let parts = || prop::collection::vec(part(), 1..4);
    prop_oneof![
        parts().prop_map(|parts| Item::Message { role: Role::User, parts, cut: false }),
        (parts(), any::<bool>()).prop_map(|(parts, cut)| Item::Message { role: Role::Assistant, parts, cut }),
        [text(), text(), text()].prop_map(|[id, name, args]| Item::Call { id, name, args }),
        (text(), text(), any::<bool>()).prop_map(|(id, out, error)| Item::Result { id, out: Output::Text(out), error }),
        (text(), parts()).prop_map(|(id, out)| Item::Result { id, out: Output::Parts(out), error: false }),
        (text(), text()).prop_map(|(provider_id, blob)| Item::Think { provider_id, blob }),
    ]
}

fn items(count: Range<usize>) -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(item(), count)
}

fn lines(items: &[Item]) -> String {
    let mut lines = String::new();
    items.iter().for_each(|item| item.write_line(&mut lines));
    lines
}

fn principal() -> impl Strategy<Value = Principal> {
    ("[^\\p{Cc}]{1,60}", "none|header|key|jwt:[a-z:/.]{1,60}").prop_map(|(sub, idp)| Principal::new(sub, idp).unwrap())
}

/// One line of exactly this many bytes that does not compress well. It is at least as long as the
/// line of an empty message.
fn noisy_line(bytes: usize, seed: usize) -> String {
    let empty = Item::text(Role::User, "").line_bytes();
    let line = lines(&[Item::text(Role::User, noise(bytes.saturating_sub(empty), seed))]);
    assert_eq!(line.len(), bytes.max(empty));
    line
}

fn issue_plain(deployment: &TestDeployment, base: Option<&VerifiedToken>, lines: &str) -> Result<Issued, Error> {
    issue(&claims(&deployment.policy), base, lines, deployment.token_context(), &[7; NONCE_BYTES], &mut codec())
}

/// The last token of a conversation with these turns.
fn play(deployment: &TestDeployment, turns: &[Vec<Item>]) -> String {
    turns.iter().fold(String::new(), |token, turn| {
        let base = deployment.verify(&token).ok();
        issue_plain(deployment, base.as_ref(), &lines(turn)).unwrap().token
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_issued_token_is_read_unchanged(
        seal: bool, owner in principal(), nonce: [u8; NONCE_BYTES], turns in prop::collection::vec(items(1..6), 1..6),
    ) {
        let deployment = TestDeployment::new(seal);
        let ids = [Id::new(NOW, [1; 16]), Id::new(NOW, [2; 16])];
        let mut claims = Claims::first(owner.clone(), "m".to_owned(), ids, NOW, &deployment.policy);
        let mut base = None;
        for (at, turn) in turns.iter().enumerate() {
            let text = issue(&claims, base.as_ref(), &lines(turn), deployment.token_context(), &nonce, &mut codec()).unwrap();
            let token = deployment.verify_for(&text.token, owner.clone(), NOW).unwrap();
            let so_far = turns[..=at].concat();
            prop_assert_eq!(token.claims(), &claims);
            prop_assert_eq!(token.history_lines(), lines(&so_far));
            prop_assert_eq!(text.history_bytes, token.history_lines().len());
            prop_assert_eq!(token.items(), so_far.len());
            let history = token.history().unwrap();
            prop_assert_eq!(history.items(), so_far);
            claims = claims.next("m".to_owned(), Id::new(NOW, [3; 16]), NOW, &deployment.policy);
            base = Some(token);
        }
    }

    #[test]
    fn an_edited_text_is_refused(
        seal: bool, turn in items(1..6), at: Index, other: Index, edit in 0..5, byte in prop::sample::select(ALPHABET),
    ) {
        let deployment = TestDeployment::new(seal);
        let token = play(&deployment, &[turn]);
        let mut edited = token.clone().into_bytes();
        let (at, other) = (at.index(token.len()), other.index(token.len()));
        match edit {
            0 => edited[at] = byte,
            1 => edited.insert(at, byte),
            2 => drop(edited.remove(at)),
            3 => edited.swap(at, other),
            _ => edited.truncate(at),
        }
        let edited = String::from_utf8(edited).unwrap();
        prop_assert_eq!(deployment.verify(&edited).is_ok(), edited == token);
    }

    #[test]
    fn a_token_is_the_only_text_for_its_contents(seal: bool, turn in items(1..6), nonce: [u8; NONCE_BYTES]) {
        let deployment = TestDeployment::new(seal);
        let claims = claims(&deployment.policy);
        let token = issue(&claims, None, &lines(&turn), deployment.token_context(), &nonce, &mut codec()).unwrap().token;
        let parts = wire::split(&token).unwrap();
        let (key, kind) = wire::find_key(&deployment.keys, parts.header).unwrap();
        let mut payload = base64url::decode(parts.payload.as_bytes()).unwrap();
        prop_assert_eq!(base64url::encode(&payload), parts.payload);
        prop_assert_eq!(base64url::encode(&base64url::decode(parts.tag.as_bytes()).unwrap()), parts.tag);
        if kind == Kind::Sealed {
            seal::open(key.seal(), parts.header, &mut payload).unwrap();
            seal::seal(key.seal(), &nonce, parts.header, &mut payload);
        }
        prop_assert_eq!(wire::join(key, kind, &payload), token);
    }

    #[test]
    fn users_and_sources_never_cross(seal: bool, owner in principal(), other in principal(), turn in items(1..3)) {
        let deployment = TestDeployment::new(seal);
        let ids = [Id::new(NOW, [1; 16]), Id::new(NOW, [2; 16])];
        let claims = Claims::first(owner.clone(), "m".to_owned(), ids, NOW, &deployment.policy);
        let token = issue(&claims, None, &lines(&turn), deployment.token_context(), &[7; 24], &mut codec()).unwrap().token;
        let mixed = [
            Principal::new(owner.subject(), other.idp()).unwrap(),
            Principal::new(other.subject(), owner.idp()).unwrap(),
        ];
        for caller in mixed.into_iter().chain([owner.clone(), other]) {
            let outcome = deployment.verify_for(&token, caller.clone(), NOW).map(|_| ());
            let expected = if caller == owner { Ok(()) } else { Err(TokenFault::Subject.into()) };
            prop_assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_new_token_begins_with_the_old_history(seal: bool, turns in prop::collection::vec(items(1..4), 1..8), last in items(1..9)) {
        let deployment = TestDeployment::new(seal);
        let base = deployment.verify(&play(&deployment, &turns)).unwrap();
        let next = issue_plain(&deployment, Some(&base), &lines(&last)).unwrap().token;
        let next = deployment.verify(&next).unwrap();
        prop_assert_eq!(next.history_lines().strip_prefix(base.history_lines()), Some(&*lines(&last)));
    }

    #[test]
    fn a_token_is_accepted_until_it_expires(
        seal: bool, born in 1_000..10_000_u64, age in 0..5_000_u64, left in 0..5_000_u64, ttl in 0..6_000_u64,
        max_age in 0..9_000_u64, reading: bool, moments in prop::collection::vec(0..40_000_u64, 40),
    ) {
        let mut deployment = TestDeployment::new(seal);
        deployment.policy.ttl_seconds = ttl;
        deployment.policy.max_age_seconds = max_age;
        let issued = born + age;
        let claims = Claims {
            born_at: UnixSeconds(born),
            issued_at: UnixSeconds(issued),
            expires_at: UnixSeconds(issued + left),
            ..claims(&deployment.policy)
        };
        let text = lines(&[Item::text(Role::User, "hello")]);
        let token = issue(&claims, None, &text, deployment.token_context(), &[7; NONCE_BYTES], &mut codec()).unwrap().token;
        let expires_at = if reading { born + max_age } else { (issued + left).min(issued + ttl).min(born + max_age) };
        let purpose = if reading { TokenPurpose::Read } else { TokenPurpose::Continue };
        let (first, end) = (issued - LEEWAY_SECONDS, expires_at + LEEWAY_SECONDS);
        // All share one set of contexts, so that an effect of earlier calls would show.
        let mut codec = codec();
        for now in moments.into_iter().chain([first - 1, first, end - 1, end]) {
            let outcome = RawToken::new(&token, &deployment.limits).unwrap()
                .authenticate(deployment.token_context(), &mut codec).unwrap()
                .verify(&TokenHolder::Known(alice()), purpose, &deployment.policy, UnixSeconds(now))
                .map(|_| ());
            let expected = if now < first {
                Err(TokenFault::Times.into())
            } else if now < end {
                Ok(())
            } else {
                Err(Error::TokenExpired { expires_at: UnixSeconds(expires_at), now: UnixSeconds(now) })
            };
            prop_assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_token_that_is_not_issued_would_not_verify(
        seal: bool, turns in prop::collection::vec(items(1..5), 2..6), off in -1..=1_isize, which in 0..3,
    ) {
        let generous = TestDeployment::new(seal);
        let (last, before) = turns.split_last().unwrap();
        let base = generous.verify(&play(&generous, before)).unwrap();
        let issued = issue_plain(&generous, Some(&base), &lines(last)).unwrap();
        let mut tight = TestDeployment::new(seal);
        let (limit, size) = match which {
            0 => (&mut tight.limits.token_bytes, issued.token.len()),
            1 => (&mut tight.limits.history_bytes, issued.history_bytes),
            _ => (&mut tight.limits.history_items, turns.concat().len()),
        };
        *limit = size.saturating_add_signed(off);
        let again = issue_plain(&tight, Some(&base), &lines(last));
        // With little room the frames can be arranged differently, so that slightly more fits.
        prop_assert!(again.is_ok() || tight.verify(&issued.token).is_err());
        if off >= 0 {
            prop_assert!(again.is_ok());
        }
        if let Ok(again) = again {
            let read = tight.verify(&again.token).unwrap();
            prop_assert_eq!(read.history_lines(), lines(&turns.concat()));
        }
    }

    #[test]
    fn new_lines_within_the_room_always_fit(
        seal: bool, token_bytes in 5_000..40_000_usize, history_bytes in 1_000..60_000_usize, seed: u8,
        turns in prop::collection::vec(60..9_000_usize, 0..12), share in 0..=4_usize,
    ) {
        let mut deployment = TestDeployment::new(seal);
        deployment.limits.token_bytes = token_bytes;
        deployment.limits.history_bytes = history_bytes;
        let mut base = None;
        for (at, bytes) in turns.into_iter().enumerate() {
            let room = room_bytes(base.as_ref(), deployment.token_context());
            let line = noisy_line(bytes.min(room), at + usize::from(seed));
            if line.len() > room {
                break;
            }
            let token = issue_plain(&deployment, base.as_ref(), &line).unwrap().token;
            base = Some(deployment.verify(&token).unwrap());
        }
        let room = room_bytes(base.as_ref(), deployment.token_context());
        // Up to the whole room, in one line or in two.
        let one = noisy_line(room * share / 4, seed.into());
        let two = noisy_line(room / 3, 1) + &noisy_line(room / 3, 2);
        for new in [one, two].into_iter().filter(|new| new.len() <= room) {
            let token = issue_plain(&deployment, base.as_ref(), &new).unwrap().token;
            prop_assert!(deployment.verify(&token).is_ok());
        }
    }

    #[test]
    fn claims_are_issued_up_to_4_kib(seal: bool, model in prop_oneof!["[a-z]{3700,3900}", "[\"é\\n]{1500,2300}"]) {
        let deployment = TestDeployment::new(seal);
        let claims = Claims { model, ..claims(&deployment.policy) };
        let text = lines(&[Item::text(Role::User, "hello")]);
        let issued = issue(&claims, None, &text, deployment.token_context(), &[7; NONCE_BYTES], &mut codec());
        match (claims.to_line(), issued) {
            (Ok(line), Ok(issued)) => {
                prop_assert!(line.len() <= 4_096);
                prop_assert!(deployment.verify(&issued.token).is_ok());
            }
            (Err(refusal), Err(error)) => prop_assert_eq!(refusal, error),
            (line, _) => prop_assert!(false, "line and token disagree: {:?}", line),
        }
    }
}

#[test]
fn every_one_character_edit_is_refused() {
    for seal in [false, true] {
        let deployment = TestDeployment::new(seal);
        let token = play(&deployment, &[vec![Item::text(Role::User, "hello")]]);
        let refused = |text: Vec<u8>, what: &str, at: usize| {
            let text = String::from_utf8(text).unwrap();
            assert!(text == token || deployment.verify(&text).is_err(), "{what} at {at}");
        };
        for at in 0..token.len() {
            let text = token.as_bytes();
            refused([&text[..at], &text[at + 1..]].concat(), "deleted", at);
            refused(
                [
                    &text[..at],
                    text[at..].get(1..2).unwrap_or_default(),
                    &text[at..=at],
                    text.get(at + 2..).unwrap_or_default(),
                ]
                .concat(),
                "swapped",
                at,
            );
            for byte in ALPHABET {
                refused([&text[..at], &[*byte], &text[at + 1..]].concat(), "edited", at);
                refused([&text[..at], &[*byte], &text[at..]].concat(), "inserted", at);
            }
        }
        for byte in ALPHABET {
            refused([token.as_bytes(), &[*byte]].concat(), "appended", token.len());
        }
    }
}

#[test]
fn keys_and_deployments_never_cross() {
    let secrets = [1, 2].map(|byte| vec![byte; 32]);
    let mut deployments = Vec::new();
    for (kid, secret, issuer, seal) in [0, 1].into_iter().flat_map(|kid| {
        [0, 1].into_iter().flat_map(move |secret| {
            ["a", "b"].into_iter().flat_map(move |issuer| [false, true].map(|seal| (kid, secret, issuer, seal)))
        })
    }) {
        let mut deployment = TestDeployment::new(seal);
        let id = KeyId::new(["k1", "k2"][kid]).unwrap();
        deployment.keys = KeyRing::new([(id, Zeroizing::new(secrets[secret].clone()))]).unwrap();
        issuer.clone_into(&mut deployment.policy.issuer);
        deployments.push(((kid, secret, issuer), deployment));
    }
    let text = lines(&[Item::text(Role::User, "hello")]);
    for (issuing, deployment) in &deployments {
        let token = issue_plain(deployment, None, &text).unwrap().token;
        for (verifying, other) in &deployments {
            assert_eq!(other.verify(&token).is_ok(), issuing == verifying, "{issuing:?} at {verifying:?}");
        }
    }
}

#[test]
fn clear_and_sealed_never_cross() {
    for seal in [false, true] {
        let deployment = TestDeployment::new(seal);
        let token = play(&deployment, &[vec![Item::text(Role::User, "hello")]]);
        let key = deployment.keys.current();
        let other = if seal { Kind::Clear } else { Kind::Sealed };
        let (_, rest) = token.split_once('.').unwrap();
        let swapped = format!("{}.{rest}", wire::header(key.id(), other));
        assert_eq!(deployment.verify(&swapped).unwrap_err(), TokenFault::Tag.into());
        // A payload of one kind is not valid as the other kind, even with a valid tag.
        let payload = base64url::decode(wire::split(&token).unwrap().payload.as_bytes()).unwrap();
        assert!(deployment.verify(&wire::join(key, other, &payload)).is_err());
    }
}

#[test]
fn a_retired_key_still_verifies_and_no_longer_signs() {
    let deployment = TestDeployment::new(true);
    let token = play(&deployment, &[vec![Item::text(Role::User, "hello")]]);
    let mut rotated = TestDeployment::new(true);
    let key = |id: &str, byte| (KeyId::new(id).unwrap(), Zeroizing::new(vec![byte; 32]));
    rotated.keys = KeyRing::new([key("k2", 2), key("k1", 1)]).unwrap();
    let base = rotated.verify(&token).unwrap();
    let next = issue_plain(&rotated, Some(&base), &lines(&[Item::text(Role::User, "again")])).unwrap().token;
    assert!(rotated.verify(&next).is_ok());
    assert_eq!(deployment.verify(&next).unwrap_err(), TokenFault::Header.into());
    let mut removed = TestDeployment::new(true);
    removed.keys = KeyRing::new([key("k2", 2)]).unwrap();
    assert!(removed.verify(&next).is_ok());
    assert_eq!(removed.verify(&token).unwrap_err(), TokenFault::Header.into());
}

#[test]
fn new_lines_within_the_room_fit_after_the_most_and_largest_frames() {
    for seal in [false, true] {
        let mut deployment = TestDeployment::new(seal);
        let base = deployment.verify(&most_frames(&deployment)).unwrap();
        assert_eq!(base.history_frames(), frames::FRAMES_MAX - 1);
        for token_bytes in (20_000..60_000).step_by(250) {
            deployment.limits.token_bytes = token_bytes;
            let room = room_bytes(Some(&base), deployment.token_context());
            let line = noisy_line(room, 1);
            assert!(line.len() > room || issue_plain(&deployment, Some(&base), &line).is_ok(), "{token_bytes}");
        }
    }
}

/// A token of 63 history frames. The oldest frame is four times as long as its text.
fn most_frames(deployment: &TestDeployment) -> String {
    let kind = deployment.policy.kind();
    let claims = claims(&deployment.policy).to_line().unwrap();
    let line = lines(&[Item::text(Role::User, "a".repeat(5_000))]);
    let small = lines(&[Item::text(Role::User, "b")]);
    let mut payload = if kind == Kind::Sealed { vec![0; NONCE_BYTES] } else { Vec::new() };
    payload.extend([wasteful_frame(&claims), wasteful_frame(&line), wasteful_frame(&small).repeat(62)].concat());
    let key = deployment.keys.current();
    if kind == Kind::Sealed {
        seal::seal(key.seal(), &[7; NONCE_BYTES], &wire::header(key.id(), kind), &mut payload);
    }
    wire::join(key, kind, &payload)
}
