//! A second reader of tokens, slow and obvious, written only from docs/token.md.
//!
//! It shares no code with the crate. Base64, HMAC, HKDF, padding, frame heads and JSON are written
//! out here. SHA-256, the cipher and zstd are libraries. zstd runs as a stream here, and the crate
//! inflates each frame in one step.

mod bytes;
mod frames;
mod json;

use self::{
    bytes::{open, seal},
    json::Json,
};

pub(crate) use self::bytes::{base64url, from_base64url, hmac, pad};

/// The content of a token that has the right tag and layout. Holder, times and history are not
/// checked.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) claims: Claims,
    /// The frames of the history.
    pub(super) frames: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) idp: String,
    pub(super) cid: String,
    pub(super) jti: String,
    pub(super) par: Option<String>,
    pub(super) model: String,
    /// `born`, `iat`, `exp`, `turn`, and `in`, `out`, `cached`, `ms` of `use`.
    pub(super) numbers: [u64; 8],
    pub(super) asserted: bool,
}

/// The result if alice presents a token at [`NOW`].
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Valid,
    Expired,
    Invalid,
}

/// Reads a token. `None` if it is invalid for every holder at every time.
pub(super) fn read(text: &str) -> Option<Token> {
    if text.len() > TOKEN_BYTES {
        return None;
    }
    let [header, payload, tag] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
    let sealed = if header == encoded_header("holdall1") {
        false
    } else if header == encoded_header("holdall1s") {
        true
    } else {
        return None;
    };
    if from_base64url(tag)? != hmac(&SECRET, format!("{header}.{payload}").as_bytes()) {
        return None;
    }
    let payload = from_base64url(payload)?;
    let payload = if sealed { open(&SECRET, header, &payload)? } else { payload };
    let mut frames = frames::split(&payload, CLAIMS_BYTES, HISTORY_BYTES)?;
    let claims = frames::inflate(&frames.remove(0))?;
    let claims = claims.strip_suffix('\n').filter(|line| !line.is_empty() && !line.contains(['\n', '\r']))?;
    Some(Token { claims: Claims::read(&Json::read(claims)?)?, frames })
}

/// The history of a token. `None` if it is not whole lines, or has too many of them.
pub(super) fn history(token: &Token) -> Option<String> {
    let history = token.frames.iter().map(|frame| frames::inflate(frame)).collect::<Option<String>>()?;
    let lines: Vec<&str> = history.strip_suffix('\n')?.split('\n').collect();
    let empty = lines.iter().any(|line| line.is_empty());
    if empty || history.starts_with('\u{FEFF}') || history.contains('\r') || lines.len() > ITEMS {
        return None;
    }
    Some(history)
}

/// The result for a token that [`read`] accepts.
pub(super) fn verdict(token: &Token, is_reading: bool) -> Verdict {
    let claims = &token.claims;
    let [born, iat, exp, ..] = claims.numbers;
    let is_alice = claims.iss == ISSUER && claims.sub == SUBJECT && claims.idp == IDP;
    if !is_alice || born > iat || iat > exp || iat > NOW + 60 {
        return Verdict::Invalid;
    }
    let until = if is_reading { born + MAX_AGE } else { exp.min(iat + TTL).min(born + MAX_AGE) };
    if NOW < until + 60 { Verdict::Valid } else { Verdict::Expired }
}

/// The items of a history. `None` if a line is not an item.
pub(super) fn items(history: &str) -> Option<Vec<Json>> {
    history.lines().map(item).collect()
}

/// The item of a line, with its members sorted.
pub(super) fn item(line: &str) -> Option<Json> {
    let item = Json::read(line)?;
    let kind = item.member("t")?.text()?;
    let allowed: &[&str] = match kind {
        "msg" => &["t", "role", "parts", "cut"],
        "call" => &["t", "id", "name", "args"],
        "result" => &["t", "id", "out", "error"],
        "think" => &["t", "by", "blob"],
        _ => return None,
    };
    let text = |name: &str| item.member(name).is_some_and(|value| value.text().is_some());
    let flag = |name: &str| matches!(item.member(name), None | Some(Json::Bool(true)));
    let fits = match kind {
        "msg" => {
            let role = item.member("role")?.text()?;
            let cut = item.member("cut").is_some();
            item.member("parts").is_some_and(parts)
                && flag("cut")
                && matches!((role, cut), ("assistant", _) | ("user", false))
        }
        "call" => text("id") && text("name") && text("args"),
        "result" => text("id") && flag("error") && (text("out") || item.member("out").is_some_and(parts)),
        _ => text("by") && text("blob"),
    };
    (fits && item.has_only(allowed)).then_some(item)
}

/// Returns true for a list of at least one text or image.
fn parts(value: &Json) -> bool {
    let part = |part: &Json| {
        let member = part.member("text").or_else(|| part.member("image"));
        member.is_some_and(|value| value.text().is_some()) && (part.has_only(&["text"]) || part.has_only(&["image"]))
    };
    matches!(value, Json::Array(parts) if !parts.is_empty() && parts.iter().all(part))
}

impl Claims {
    fn read(json: &Json) -> Option<Self> {
        let text = |name| json.member(name)?.text().map(str::to_owned);
        let id = |name| text(name).filter(|id| is_uuid_v7(id));
        let par = match json.member("par") {
            None => None,
            Some(_) => Some(id("par")?),
        };
        let known =
            ["iss", "sub", "idp", "cid", "jti", "par", "born", "iat", "exp", "turn", "model", "use", "asserted"];
        let used = json.member("use")?;
        let asserted = json.member("asserted");
        if !matches!(asserted, None | Some(Json::Bool(true)))
            || !json.has_only(&known)
            || !used.has_only(&["in", "out", "cached", "ms"])
        {
            return None;
        }
        let mut numbers = [0; 8];
        for (at, name) in ["born", "iat", "exp", "turn"].into_iter().enumerate() {
            numbers[at] = json.member(name)?.number()?;
        }
        for (at, name) in ["in", "out", "cached", "ms"].into_iter().enumerate() {
            numbers[4 + at] = used.member(name)?.number()?;
        }
        let (sub, idp) = (text("sub")?, text("idp")?);
        let is_name =
            |name: &str, max_bytes: usize| (1..=max_bytes).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name(&sub, 256) || !is_name(&idp, 512) || numbers.iter().any(|number| *number > 253_402_300_799) {
            return None;
        }
        let model = text("model")?;
        if numbers[3] == 0 || model.is_empty() {
            return None;
        }
        Some(Self {
            iss: text("iss")?,
            sub,
            idp,
            cid: id("cid")?,
            jti: id("jti")?,
            par,
            model,
            numbers,
            asserted: asserted.is_some(),
        })
    }
}

fn is_uuid_v7(text: &str) -> bool {
    let pattern = "hhhhhhhh-hhhh-7hhh-vhhh-hhhhhhhhhhhh";
    text.len() == pattern.len()
        && text.chars().zip(pattern.chars()).all(|(found, wanted)| match wanted {
            'h' => matches!(found, '0'..='9' | 'a'..='f'),
            'v' => matches!(found, '8' | '9' | 'a' | 'b'),
            wanted => found == wanted,
        })
}

/// A clear token of this payload.
pub(super) fn issue_clear(payload: &[u8]) -> String {
    sign(&format!("{}.{}", encoded_header("holdall1"), base64url(payload)))
}

/// A sealed token of these padded frames.
pub(super) fn issue_sealed(padded: &[u8]) -> String {
    let header = encoded_header("holdall1s");
    let payload = seal(&SECRET, &header, padded);
    sign(&format!("{header}.{}", base64url(&payload)))
}

/// The text, followed by its tag.
pub(super) fn sign(text: &str) -> String {
    format!("{text}.{}", base64url(&hmac(&SECRET, text.as_bytes())))
}

fn encoded_header(typ: &str) -> String {
    base64url(format!(r#"{{"alg":"HS256","kid":"{KID}","typ":"{typ}"}}"#).as_bytes())
}

pub(super) const SECRET: [u8; 32] = *b"a secret for the fuzz tests only";
pub(super) const KID: &str = "k1";
pub(super) const ISSUER: &str = "holdall";
pub(super) const SUBJECT: &str = "alice";
pub(super) const IDP: &str = "none";
pub(super) const NOW: u64 = 1_795_000_000;
pub(super) const TTL: u64 = 604_800;
pub(super) const MAX_AGE: u64 = 2_592_000;
// Limits that are low enough for a fuzzer to reach.
pub(super) const TOKEN_BYTES: usize = 24 << 10;
pub(super) const HISTORY_BYTES: usize = 16 << 10;
pub(super) const ITEMS: usize = 96;
const CLAIMS_BYTES: usize = 4 << 10;
