//! The token, version 1: [`RawToken`] → [`UnverifiedToken`] → [`VerifiedToken`] → [`issue`].
//!
//! A token is a compact JWS (RFC 7515). Its payload is zstd frames of JSON Lines. docs/token.md is
//! the specification.
//!
//! The tag is checked first. Before that, no byte of the payload is decrypted, inflated or parsed.
//! The header is never parsed: it must equal a header that this deployment would write.
//!
//! ```text
//! text ─ length ─ charset ─ dots ─ header ─ tag ─▶ decode ─ open ─ walk ─ claims frame ─ claims
//!                                                                                         │
//! PackedToken ◀─ times ◀─ caller ◀─ issuer ◀─ UnverifiedToken ◀───────────────────────────┘
//!      │ the guard admits or refuses the request
//!      └─▶ inflate the history ─ UTF-8 ─ lines ─▶ VerifiedToken ─▶ items
//! ```
//! The history can be thousands of times as long as its token. So it is inflated last, for requests
//! that nothing else refuses.
//!
//! Up to and including the caller check, every failure has the same public answer. The only
//! exception is the length.

mod claims;
mod frames;
mod id;
mod seal;
mod wire;

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))] // proptest does not run there
mod properties;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use self::frames::{FrameRoom, Frames, PackedFrames};
pub(super) use super::error::TokenFault;
use super::{
    base64url,
    chat::{History, Item},
    error::{Error, Excess},
    key::{KeyId, KeyRing, KeyedHasher, SigningKey, TAG_BYTES},
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

/// The keys, policy and limits with which tokens are issued and verified.
#[derive(Clone, Copy, Debug)]
pub struct TokenContext<'a> {
    /// The keys.
    pub keys: &'a KeyRing,
    /// The deployment's name, lifetimes and sealing.
    pub policy: &'a TokenPolicy,
    /// The sizes of tokens and histories.
    pub limits: &'a Limits,
}

/// The text of a token as it arrived. Only its length has been checked.
#[derive(Clone, Copy)]
pub struct RawToken<'a>(&'a str);

impl<'a> RawToken<'a> {
    /// Accepts text of at most [`Limits::token_bytes`].
    ///
    /// # Errors
    /// [`Error::TokenTooLarge`] for longer text.
    pub fn new(text: &'a str, limits: &Limits) -> Result<Self, Error> {
        Excess::bytes(text.len(), limits.token_bytes).map_or(Ok(Self(text)), |excess| Err(Error::TokenTooLarge(excess)))
    }

    /// Checks the tag. Only then opens the payload and reads the claims. Does not inflate the
    /// history.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for every fault.
    pub fn authenticate(self, context: TokenContext<'_>, codec: &mut Codec) -> Result<UnverifiedToken, Error> {
        Ok(self.open(context, codec)?)
    }

    /// The key id and the kind in the header, unverified. Use them only to explain to a key holder
    /// why a token does not verify.
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
        // An unknown header also costs a tag, so that the time does not reveal the key ids.
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
        let (frames, claims) = PackedFrames::read(payload, start, context.limits, codec)?;
        let claims = Claims::from_line(&claims)?;
        let tag = tag.try_into().map_err(|_| TokenFault::Tag)?;
        Ok(UnverifiedToken { claims, kind, tag, frames })
    }
}

/// A token with a valid tag. Its caller and its times have not been checked, and its history is
/// still compressed.
pub struct UnverifiedToken {
    claims: Claims,
    kind: Kind,
    tag: [u8; TAG_BYTES],
    frames: PackedFrames,
}

impl UnverifiedToken {
    /// Checks deployment, caller and times, in this order.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for a token of another deployment or caller, and for times that
    /// contradict each other. [`Error::TokenExpired`].
    pub fn verify(
        self,
        holder: &TokenHolder,
        purpose: TokenPurpose,
        policy: &TokenPolicy,
        now: UnixSeconds,
    ) -> Result<PackedToken, Error> {
        self.claims.check_holder(holder, policy)?;
        self.claims.check_times(purpose, policy, now)?;
        Ok(PackedToken(self))
    }

    /// Inflates the history of a token whose caller is not checked. Only key holders may read it.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for a history that is not complete lines.
    pub fn unpack(self, limits: &Limits, codec: &mut Codec) -> Result<UnpackedToken, Error> {
        let Self { claims, kind, tag, frames } = self;
        Ok(UnpackedToken { claims, kind, tag, frames: frames.inflate(limits, codec)? })
    }

    /// The claims. Only key holders may read them before [`Self::verify`].
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// A valid token that its owner presented. Its history is still compressed.
pub struct PackedToken(UnverifiedToken);

impl PackedToken {
    /// Inflates the history. This can take thousands of times as long as all checks before it.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] for a history that is not complete lines.
    pub fn unpack(self, limits: &Limits, codec: &mut Codec) -> Result<VerifiedToken, Error> {
        self.0.unpack(limits, codec).map(VerifiedToken)
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        self.0.claims()
    }

    /// The inflated size of the history.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.0.frames.history_bytes()
    }

    /// A hash that only holders of this token can compute. Its key is the token's tag, which is in
    /// the token only, and is the same on all instances and under every key ring that verifies the
    /// token.
    pub(in crate::proto) fn keyed_hash(&self) -> KeyedHasher {
        KeyedHasher::new(&self.0.tag)
    }
}

/// A token with its history.
pub struct UnpackedToken {
    claims: Claims,
    kind: Kind,
    tag: [u8; TAG_BYTES],
    frames: Frames,
}

impl UnpackedToken {
    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The kind of the payload: clear or sealed.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of frames that hold the history.
    #[must_use]
    pub fn history_frames(&self) -> usize {
        self.frames.history_frames()
    }

    /// The history in the token: JSON Lines, oldest first.
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

/// A valid token that its owner presented, with its history. Only such a token brings history into
/// a request.
pub struct VerifiedToken(UnpackedToken);

impl VerifiedToken {
    /// Parses the items.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] if a line is not an item.
    pub fn history(&self) -> Result<History, Error> {
        self.0
            .history_lines()
            .lines()
            .map(Item::from_line)
            .collect::<Result<_, _>>()
            .map_err(|_| TokenFault::Items.into())
    }

    /// This token without its oldest `items`; `None` if no item remains.
    ///
    /// # Errors
    /// [`Error::Internal`] if the compressor fails. It fails only without memory.
    pub fn without_oldest(self, items: usize, codec: &mut Codec) -> Result<Option<Self>, Error> {
        if items >= self.0.items() {
            return Ok(None);
        }
        let UnpackedToken { claims, kind, tag, frames } = self.0;
        Ok(Some(Self(UnpackedToken { claims, kind, tag, frames: frames.without_oldest(items, codec)? })))
    }
}

impl std::ops::Deref for VerifiedToken {
    type Target = UnpackedToken;

    fn deref(&self) -> &UnpackedToken {
        &self.0
    }
}

impl std::fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PackedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for UnpackedToken {
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

/// The two kinds of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anyone can read it.
    Clear,
    /// Only key holders can read it.
    Sealed,
}

impl Kind {
    /// The value of `typ` in the header.
    #[must_use]
    pub fn typ(self) -> &'static str {
        match self {
            Self::Clear => "holdall1",
            Self::Sealed => "holdall1s",
        }
    }

    pub(super) const ALL: [Self; 2] = [Self::Clear, Self::Sealed];
}

/// A new token.
pub struct Issued {
    /// The text of the token.
    pub token: String,
    /// The inflated size of its history.
    pub history_bytes: usize,
}

/// Issues a token that holds the history of `base` followed by `lines`.
///
/// `lines` are complete item lines, at least one. `nonce` is random and new for each token. A clear
/// token does not use it.
///
/// # Errors
/// [`Error::HistoryTooLarge`] and [`Error::TokenTooLarge`] if the token would be refused for that,
/// and [`Error::RequestInvalid`] for claims over 4 KiB.
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

/// The number of bytes of new lines that fit into a token that continues `base`, even if they do
/// not compress at all.
#[must_use]
pub fn room_bytes(base: Option<&VerifiedToken>, context: TokenContext<'_>) -> usize {
    let frames = base.map(|base| &base.0.frames);
    let used = frames.map_or(0, Frames::history_bytes);
    let history = context.limits.history_bytes.saturating_sub(used);
    let carried = frame_room(context.keys.current(), context.policy.kind(), context.limits).frames_bytes;
    let taken = Frames::worst_case_bytes(frames, 0);
    // zstd's bound for n bytes exceeds its bound for 0 bytes by at most n + n/256 + 64.
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
            // Padding adds up to 12 % at the smallest lengths, and the seal 16 bytes. A short
            // buffer only costs time.
            trailing: 1_024,
        },
    }
}

impl TokenPolicy {
    /// The kind of new tokens.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.seal { Kind::Sealed } else { Kind::Clear }
    }
}
