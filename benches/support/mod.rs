//! Shared parts of the benchmarks: real conversations, tokens that are built from them turn by
//! turn, and the floor.

pub(crate) mod corpus;
pub(crate) mod floor;

use holdall::proto::{
    key::{KeyId, KeyRing},
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{
        self, Claims, Codec, Id, Kind, NONCE_BYTES, RawToken, TokenContext, TokenHolder, TokenPolicy, TokenPurpose,
        VerifiedToken,
    },
};

/// A deployment with one user.
pub(crate) struct TestDeployment {
    keys: KeyRing,
    policy: TokenPolicy,
    limits: Limits,
    caller: TokenHolder,
}

impl TestDeployment {
    /// A deployment that issues tokens of this kind.
    pub(crate) fn new(kind: Kind) -> Self {
        let secret = (KeyId::new("k1").unwrap(), SECRET.to_vec().into());
        Self {
            keys: KeyRing::new([secret]).unwrap(),
            policy: TokenPolicy { seal: kind == Kind::Sealed, ..TokenPolicy::default() },
            limits: Limits::default(),
            caller: TokenHolder::Known(alice()),
        }
    }

    /// The measured work: verify a token, append lines to its history, issue the next token.
    pub(crate) fn turn(&self, text: &str, lines: &str, codec: &mut Codec) -> String {
        let token = self.verify(text, codec);
        let claims = token.claims().next("default".to_owned(), Id::new(NOW, [3; 16]), NOW, &self.policy);
        token::issue(&claims, Some(&token), lines, self.token_context(), &NONCE, codec).unwrap().token
    }

    /// The first half of a turn: verify a token.
    pub(crate) fn verify(&self, text: &str, codec: &mut Codec) -> VerifiedToken {
        let token = RawToken::new(text, &self.limits).unwrap().authenticate(self.token_context(), codec).unwrap();
        let token = token.verify(&self.caller, TokenPurpose::Continue, &self.policy, NOW).unwrap();
        token.unpack(&self.limits, codec).unwrap()
    }

    /// All tokens of a conversation, in order. Each element of `turns` has the lines of one turn.
    pub(crate) fn grow<T: AsRef<str>>(&self, turns: &[T], codec: &mut Codec) -> Vec<String> {
        let mut tokens: Vec<String> = Vec::new();
        for lines in turns {
            let next = match tokens.last() {
                Some(token) => self.turn(token, lines.as_ref(), codec),
                None => self.first(lines.as_ref(), codec),
            };
            tokens.push(next);
        }
        tokens
    }

    fn first(&self, lines: &str, codec: &mut Codec) -> String {
        let ids = [Id::new(NOW, [1; 16]), Id::new(NOW, [2; 16])];
        let claims = Claims::first(alice(), "default".to_owned(), ids, NOW, &self.policy);
        token::issue(&claims, None, lines, self.token_context(), &NONCE, codec).unwrap().token
    }

    fn token_context(&self) -> TokenContext<'_> {
        TokenContext { keys: &self.keys, policy: &self.policy, limits: &self.limits }
    }
}

/// The name of a kind in the names of benchmarks.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Clear => "clear",
        Kind::Sealed => "sealed",
    }
}

fn alice() -> Principal {
    Principal::new("alice@example.com", "jwt:https://id.example.com").unwrap()
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Clear, Kind::Sealed];
const NOW: UnixSeconds = UnixSeconds(1_795_000_000);
const SECRET: [u8; 32] = *b"a secret for the benchmarks only";
// A deployment must never repeat a nonce. Here it makes all runs equal.
const NONCE: [u8; NONCE_BYTES] = [6; NONCE_BYTES];
