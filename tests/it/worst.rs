//! The tokens that cost a reader the most: decompression bombs, frames with false sizes, and the
//! largest valid tokens.

use holdall::proto::{
    chat::{Item, Part, Role},
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{Claims, Codec, Id, NONCE_BYTES, TokenContext, TokenPolicy, issue},
};

use crate::testkit::Case;

/// The unit of memory in these tests: the limit of a token's text plus the limit of its inflated
/// history. 7 MiB by default.
pub(crate) fn budget_bytes() -> f64 {
    let Limits { token_bytes, history_bytes, .. } = Limits::default();
    f64::from(u32::try_from(token_bytes + history_bytes).unwrap())
}

/// Name, verdict and text of each token. All fit into the default limits.
pub(crate) fn tokens() -> Vec<(String, &'static str, String)> {
    let refused =
        ["bomb-true", "bomb-128-mib", "bomb-false", "bomb-false-within", "bomb-silent", "bomb-promise", "bomb-sum"]
            .into_iter()
            .chain(["bomb-claims", "bomb-claims-false", "size-2-63", "size-max-but-one", "window-largest"])
            .map(|name| format!("frames-{name}"))
            .chain(["items-depth-parts", "items-members-100000"].map(str::to_owned))
            .map(|name| (name.clone(), "token_invalid", Case::named(&name).token));
    let accepted = ["accepted-history-4-mib"].map(|name| (name.to_owned(), "accepted", Case::named(name).token));
    let issued = [false, true].into_iter().flat_map(|seal| {
        [("full", full()), ("many-items", many_items()), ("many-parts", many_parts())]
            .map(|(name, lines)| (format!("issued {name}, sealed {seal}"), "accepted", issued(seal, &lines)))
    });
    let unsigned = "A".repeat(Limits::default().token_bytes - 2);
    let unsigned = format!("{}.{}.", &unsigned[..60], &unsigned[60..]);
    refused.chain(accepted).chain(issued).chain([("unsigned".to_owned(), "token_invalid", unsigned)]).collect()
}

/// A first token of `alice`, signed with key `k1` of the vectors.
pub(crate) fn issued(seal: bool, lines: &str) -> String {
    let case = Case::named("accepted-first-turn-clear");
    let (keys, limits) = (case.keys(), case.limits());
    let policy = TokenPolicy { seal, ..case.policy() };
    let context = TokenContext { keys: &keys, policy: &policy, limits: &limits };
    let now = UnixSeconds(1_795_000_000);
    let ids = [Id::new(now, [1; 16]), Id::new(now, [2; 16])];
    let claims = Claims::first(Principal::new("alice", "none").unwrap(), "m".to_owned(), ids, now, &policy);
    issue(&claims, None, lines, context, &[7; NONCE_BYTES], &mut Codec::new().unwrap()).unwrap().token
}

/// Fills both limits: text that does not compress until the token is almost full, then letters
/// until the history is full.
fn full() -> String {
    let mut lines = String::new();
    Item::text(Role::User, noise(3_000_000)).write_line(&mut lines);
    let rest = Limits::default().history_bytes - lines.len() - Item::text(Role::User, "").line_bytes();
    Item::text(Role::Assistant, "a".repeat(rest - 5)).write_line(&mut lines);
    lines
}

/// The most items that are allowed, each as small as possible.
pub(crate) fn many_items() -> String {
    let mut line = String::new();
    Item::text(Role::User, "").write_line(&mut line);
    line.repeat(Limits::default().history_items)
}

/// One message with the most parts that fit. A part has 12 bytes in the history, and much more in
/// memory.
pub(crate) fn many_parts() -> String {
    let mut lines = String::new();
    let parts = vec![Part::Text(String::new()); Limits::default().history_bytes / 12 - 10];
    Item::Message { role: Role::User, parts, cut: false }.write_line(&mut lines);
    lines
}

/// Letters and digits that do not compress well: SplitMix64 (Steele et al., OOPSLA 2014), six bits
/// for each.
fn noise(bytes: usize) -> String {
    let mut state = 0_u64;
    let letter = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[usize::try_from(mixed >> 58).unwrap()],
        )
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}
