//! The token, version 1: [`RawToken`] → [`UnverifiedToken`] → [`VerifiedToken`] → [`issue`].
//!
//! A compact JWS (RFC 7515) whose payload is zstd frames of JSON Lines; docs/token.md is the specification. The tag comes
//! first: no byte of a payload is decrypted, inflated or parsed before it holds, and not even the header is parsed, which
//! must equal one that we would write.
//!
//! ```text
//! text ─ length ─ charset ─ dots ─ header ─ tag ─▶ decode ─ open ─ walk ─ inflate ─ UTF-8 ─ claims ─▶ UnverifiedToken
//!                                                                                                      │
//!                         VerifiedToken ◀─ times ◀─ caller ◀─ issuer ◀────────────────────────────────┘
//! ```
//! Up to and including the caller check every failure but length has one public answer.

mod claims;
mod frames;
mod id;
mod seal;
mod wire;

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))] // where proptest does not run
mod properties;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use self::frames::{FrameRoom, Frames};
pub(super) use super::error::TokenFault;
use super::{
    base64url,
    chat::{History, Item},
    error::{Error, Excess},
    key::{KeyId, KeyRing, SigningKey, TAG_BYTES, keyed_hash},
    limits::Limits,
    time::UnixSeconds,
};

pub use self::{
    claims::{Claims, TokenHolder, TokenPolicy, TokenPurpose},
    frames::Codec,
    id::Id,
    seal::NONCE_BYTES,
};
pub use super::base64url::encode as encode_base64url;

/// The keys, terms and bounds under which tokens are issued and verified.
#[derive(Clone, Copy, Debug)]
pub struct TokenContext<'a> {
    /// The keys.
    pub keys: &'a KeyRing,
    /// What the deployment puts into its tokens.
    pub policy: &'a TokenPolicy,
    /// How large they may be.
    pub limits: &'a Limits,
}

/// Token text as it arrived; nothing is known of it but that it is not too long.
#[derive(Clone, Copy)]
pub struct RawToken<'a>(&'a str);

impl<'a> RawToken<'a> {
    /// Takes text of at most [`Limits::token_bytes`].
    ///
    /// # Errors
    /// [`Error::TokenTooLarge`].
    pub fn new(text: &'a str, limits: &Limits) -> Result<Self, Error> {
        Excess::bytes(text.len(), limits.token_bytes).map_or(Ok(Self(text)), |excess| Err(Error::TokenTooLarge(excess)))
    }

    /// Checks the tag, and only then opens the payload and reads the claims.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`], whatever is wrong.
    pub fn authenticate(self, context: TokenContext<'_>, codec: &mut Codec) -> Result<UnverifiedToken, Error> {
        Ok(self.open(context, codec)?)
    }

    /// The key and the kind that the header names, on its own word alone: for a key holder who looks into why a token does
    /// not verify. Nothing else may come of it.
    #[must_use]
    pub fn named_key(self) -> Option<(KeyId, Kind)> {
        let header = base64url::decode(self.0.split('.').next()?.as_bytes()).ok()?;
        let named = str::from_utf8(&header).ok()?.strip_prefix(r#"{"alg":"HS256","kid":""#)?;
        let (id, typ) = named.strip_suffix(r#""}"#)?.split_once(r#"","typ":""#)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.typ() == typ)?;
        Some((KeyId::new(id).ok()?, kind))
    }

    fn open(self, context: TokenContext<'_>, codec: &mut Codec) -> Result<UnverifiedToken, TokenFault> {
        let parts = wire::split(self.0)?;
        let known = wire::find_key(context.keys, parts.header);
        // An unknown header costs a tag as well, so that time does not tell which key ids there are.
        let key = known.map_or_else(|| context.keys.current(), |(key, _)| key);
        let tag = base64url::decode(parts.tag.as_bytes()).unwrap_or_default();
        let holds = key.verify(parts.signed.as_bytes(), &tag);
        let (key, kind) = known.ok_or(TokenFault::Header)?;
        if !holds {
            return Err(TokenFault::Tag);
        }
        let mut payload = base64url::decode(parts.payload.as_bytes()).map_err(|_| TokenFault::Payload)?;
        let start = match kind {
            Kind::Clear => 0,
            Kind::Sealed => {
                seal::open(key.seal(), parts.header, &mut payload)?;
                NONCE_BYTES
            }
        };
        let frames = Frames::inflate(payload, start, context.limits, codec)?;
        if frames.history_lines() > context.limits.history_items {
            return Err(TokenFault::Lines("more items than the limit"));
        }
        let claims = Claims::from_line(frames.claims())?;
        let tag = tag.try_into().map_err(|_| TokenFault::Tag)?;
        Ok(UnverifiedToken { claims, kind, tag, frames })
    }
}

/// A token of ours whose caller and times are not checked yet.
pub struct UnverifiedToken {
    claims: Claims,
    kind: Kind,
    tag: [u8; TAG_BYTES],
    frames: Frames,
}

impl UnverifiedToken {
    /// Checks deployment, caller and times.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for another deployment's or caller's token, or times that contradict each other;
    /// [`Error::TokenExpired`].
    pub fn verify(
        self,
        holder: &TokenHolder,
        purpose: TokenPurpose,
        policy: &TokenPolicy,
        now: UnixSeconds,
    ) -> Result<VerifiedToken, Error> {
        self.claims.check_holder(holder, policy)?;
        self.claims.check_times(purpose, policy, now)?;
        Ok(VerifiedToken(self))
    }

    /// The claims, for a key holder to look at.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// How the payload was carried.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of frames that hold the history.
    #[must_use]
    pub fn history_frames(&self) -> usize {
        self.frames.history_frames()
    }

    /// The history as it stands in the token: JSON Lines, oldest first.
    #[must_use]
    pub fn history_lines(&self) -> &str {
        self.frames.history()
    }

    /// The number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.frames.history_lines()
    }
}

/// A token that its owner presented in time. The only way for history to enter a request.
pub struct VerifiedToken(UnverifiedToken);

impl VerifiedToken {
    /// The items, read.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] if a line is no item.
    pub fn history(&self) -> Result<History, Error> {
        self.0
            .history_lines()
            .lines()
            .map(Item::from_line)
            .collect::<Result<_, _>>()
            .map_err(|_| TokenFault::Items.into())
    }
}

impl VerifiedToken {
    /// A hash of `text` that only who holds this token can make: its tag is the key, which is equal on all instances, is
    /// the same under every ring that verifies it, and is nowhere but in the token.
    pub(super) fn keyed_hash(&self, text: &str) -> [u8; TAG_BYTES] {
        keyed_hash(&self.0.tag, text.as_bytes())
    }

    /// This token without its oldest `items`; `None` once nothing is left.
    ///
    /// # Errors
    /// [`Error::Internal`] if the compressor fails, which takes an exhausted memory.
    pub fn without_oldest(self, items: usize, limits: &Limits, codec: &mut Codec) -> Result<Option<Self>, Error> {
        if items >= self.0.items() {
            return Ok(None);
        }
        let UnverifiedToken { claims, kind, tag, frames } = self.0;
        Ok(Some(Self(UnverifiedToken { claims, kind, tag, frames: frames.without_oldest(items, limits, codec)? })))
    }
}

impl std::ops::Deref for VerifiedToken {
    type Target = UnverifiedToken;

    fn deref(&self) -> &UnverifiedToken {
        &self.0
    }
}

impl std::fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("kind", &self.kind).field("items", &self.items()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for RawToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawToken({} bytes)", self.0.len())
    }
}

/// Whether a payload can be read without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By anyone.
    Clear,
    /// By key holders alone.
    Sealed,
}

impl Kind {
    /// The header's `typ`.
    #[must_use]
    pub fn typ(self) -> &'static str {
        match self {
            Self::Clear => "holdall1",
            Self::Sealed => "holdall1s",
        }
    }

    pub(super) const ALL: [Self; 2] = [Self::Clear, Self::Sealed];
}

/// A fresh token.
pub struct Issued {
    /// Its text.
    pub token: String,
    /// The inflated bytes of its history.
    pub history_bytes: usize,
}

/// Issues a token that holds the history of `base` followed by `lines`: whole item lines, not empty.
///
/// `nonce` is fresh from the operating system each time; a clear token does not use it.
///
/// # Errors
/// What the token would be refused for: [`Error::HistoryTooLarge`], [`Error::TokenTooLarge`], or
/// [`Error::RequestInvalid`] for claims over 4 KiB.
pub fn issue(
    claims: &Claims,
    base: Option<&VerifiedToken>,
    lines: &str,
    context: TokenContext<'_>,
    nonce: &[u8; NONCE_BYTES],
    codec: &mut Codec,
) -> Result<Issued, Error> {
    let frames = base.map(|base| &base.0.frames);
    let history_bytes = frames.map_or(0, Frames::history_bytes).saturating_add(lines.len());
    let items = base.map_or(0, |base| base.items()).saturating_add(lines.bytes().filter(|byte| *byte == b'\n').count());
    let excess = Excess::bytes(history_bytes, context.limits.history_bytes)
        .or_else(|| Excess::items(items, context.limits.history_items));
    if let Some(excess) = excess {
        return Err(Error::HistoryTooLarge(excess));
    }
    let (key, kind) = (context.keys.current(), context.policy.kind());
    let room = frame_room(key, kind, context.limits);
    let mut payload = frames::append(&claims.to_line()?, frames, lines, room, codec)?;
    if kind == Kind::Sealed {
        seal::seal(key.seal(), nonce, &wire::header(key.id(), kind), &mut payload);
    }
    let token_bytes = wire::token_bytes(key, kind, payload.len());
    match Excess::bytes(token_bytes, context.limits.token_bytes) {
        Some(excess) => Err(Error::TokenTooLarge(excess)),
        None => Ok(Issued { token: wire::join(key, kind, &payload), history_bytes }),
    }
}

/// The most bytes of new lines that surely fit into a token that continues `base`, however badly they compress.
#[must_use]
pub fn room_bytes(base: Option<&VerifiedToken>, context: TokenContext<'_>) -> usize {
    let frames = base.map(|base| &base.0.frames);
    let used = frames.map_or(0, Frames::history_bytes);
    let history = context.limits.history_bytes.saturating_sub(used);
    let carried = frame_room(context.keys.current(), context.policy.kind(), context.limits).frames_bytes;
    let taken = Frames::worst_case_bytes(frames, 0);
    // zstd's bound on n bytes is at most n + n/256 + 64, beyond what it is for none.
    let left = carried.saturating_sub(taken).saturating_sub(64);
    let token = left.saturating_sub(left.div_ceil(256));
    history.min(token)
}

fn frame_room(key: &SigningKey, kind: Kind, limits: &Limits) -> FrameRoom {
    let payload = wire::payload_bytes(key, kind, limits.token_bytes);
    match kind {
        Kind::Clear => FrameRoom { reserved: 0, frames_bytes: payload, trailing: 0 },
        Kind::Sealed => FrameRoom {
            reserved: NONCE_BYTES,
            frames_bytes: seal::frames_bytes(payload),
            // Padding adds up to 12 % at the smallest lengths, and the seal 16 bytes; a short buffer only costs time.
            trailing: 1_024,
        },
    }
}

impl TokenPolicy {
    /// The kind that is issued.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.seal { Kind::Sealed } else { Kind::Clear }
    }
}
