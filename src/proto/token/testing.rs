//! Helpers for the unit tests of several files: a key ring, a policy, claims, and a reader of
//! Wycheproof files.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use serde_json::Value;
use zeroize::Zeroizing;

use super::{Claims, Codec, Id, RawToken, TokenContext, TokenHolder, TokenPolicy, TokenPurpose, VerifiedToken};
use crate::proto::{
    error::Error,
    key::{KeyId, KeyRing},
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

/// Keys, policy and limits: the settings that all instances share.
pub(crate) struct TestDeployment {
    pub(crate) keys: KeyRing,
    pub(crate) policy: TokenPolicy,
    pub(crate) limits: Limits,
}

impl TestDeployment {
    pub(crate) fn new(seal: bool) -> Self {
        let policy = TokenPolicy { seal, ..TokenPolicy::default() };
        Self { keys: ring(), policy, limits: Limits::default() }
    }

    pub(crate) fn token_context(&self) -> TokenContext<'_> {
        TokenContext { keys: &self.keys, policy: &self.policy, limits: &self.limits }
    }

    /// Verifies a token of alice now.
    pub(crate) fn verify(&self, text: &str) -> Result<VerifiedToken, Error> {
        self.verify_for(text, alice(), NOW)
    }

    /// Verifies a token of a caller at some time.
    pub(crate) fn verify_for(&self, text: &str, caller: Principal, now: UnixSeconds) -> Result<VerifiedToken, Error> {
        let codec = &mut codec();
        let token = RawToken::new(text, &self.limits)?.authenticate(self.token_context(), codec)?;
        token
            .verify(&TokenHolder::Known(caller), TokenPurpose::Continue, &self.policy, now)?
            .unpack(&self.limits, codec)
    }
}

pub(crate) fn ring() -> KeyRing {
    KeyRing::new([(KeyId::new("k1").unwrap(), Zeroizing::new(vec![1; 32]))]).unwrap()
}

pub(crate) fn codec() -> Codec {
    Codec::new().unwrap()
}

pub(crate) fn alice() -> Principal {
    Principal::new("alice", "none").unwrap()
}

pub(crate) fn claims(policy: &TokenPolicy) -> Claims {
    let ids = [Id::new(NOW, [1; 16]), Id::new(NOW, [2; 16])];
    Claims::first(alice(), "default".to_owned(), ids, NOW, policy)
}

/// One test of a Wycheproof file.
pub(crate) struct WycheproofTest(Value);

impl WycheproofTest {
    pub(crate) fn name(&self) -> String {
        format!("tcId {}: {}", self.0["tcId"], self.0["comment"])
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.0["result"] == "valid"
    }

    pub(crate) fn number(&self, member: &str) -> usize {
        self.0[member].as_u64().unwrap().try_into().unwrap()
    }

    /// The bytes of a hexadecimal member.
    pub(crate) fn bytes(&self, member: &str) -> Vec<u8> {
        let digits: Vec<u32> =
            self.0[member].as_str().unwrap().chars().map(|digit| digit.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }
}

/// The tests of all groups of a file.
pub(crate) fn wycheproof(text: &str) -> Vec<WycheproofTest> {
    let mut file: Value = serde_json::from_str(text).unwrap();
    let groups = file["testGroups"].as_array_mut().unwrap();
    groups
        .iter_mut()
        .flat_map(|group| group["tests"].as_array_mut().unwrap())
        .map(|test| WycheproofTest(test.take()))
        .collect()
}

/// This many letters and digits, derived from `seed`, that do not compress well.
pub(crate) fn noise(bytes: usize, seed: usize) -> String {
    // SplitMix64 (Steele et al., OOPSLA 2014). The text only has to be without repetitions.
    let mut state = u64::try_from(seed).unwrap();
    let letter = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(mixed >> 58) as usize])
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}

/// A zstd frame of stored blocks of one byte each: four bytes for each byte of its text.
pub(crate) fn wasteful_frame(text: &str) -> Vec<u8> {
    let head = [&[0x28, 0xB5, 0x2F, 0xFD, 0xA0][..], &u32::try_from(text.len()).unwrap().to_le_bytes()].concat();
    let block = |(at, byte)| [8 | u8::from(at + 1 == text.len()), 0, 0, byte];
    head.into_iter().chain(text.bytes().enumerate().flat_map(block)).collect()
}
