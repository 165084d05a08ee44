//! Reads the files of `tests/vectors/token/`. Its README.md describes their format.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use holdall::proto::{
    error::Error,
    key::KeyRing,
    limits::Limits,
    principal::Principal,
    time::UnixSeconds,
    token::{Codec, RawToken, TokenContext, TokenHolder, TokenPolicy, TokenPurpose, VerifiedToken},
};
use serde_json::Value;

/// One file: `key: value` lines, an empty line, the token, a line end.
pub(crate) struct Case {
    pub(crate) name: String,
    fields: HashMap<String, String>,
    pub(crate) token: String,
}

impl Case {
    pub(crate) fn open(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (head, token) = text.split_once("\n\n").unwrap();
        let field = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            fields: head.lines().map(|line| field(line).unwrap()).collect(),
            token: token.strip_suffix('\n').unwrap().to_owned(),
        }
    }

    /// The vector with this name.
    pub(crate) fn named(name: &str) -> Self {
        Self::open(&folder().join(format!("{name}.txt")))
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.fields.get(key).unwrap_or_else(|| panic!("{} lacks `{key}`", self.name))
    }

    fn json(&self, key: &str) -> Value {
        serde_json::from_str(self.text(key)).unwrap()
    }

    fn string(&self, key: &str) -> String {
        self.json(key).as_str().unwrap().to_owned()
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap()
    }

    pub(crate) fn keys(&self) -> KeyRing {
        KeyRing::parse(self.text("keys")).unwrap()
    }

    pub(crate) fn policy(&self) -> TokenPolicy {
        TokenPolicy {
            issuer: self.string("issuer"),
            ttl_seconds: self.number("ttl"),
            max_age_seconds: self.number("max_age"),
            seal: true,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let set = |limit: &mut usize, key: &str| {
            if self.fields.contains_key(key) {
                *limit = self.number(key).try_into().unwrap();
            }
        };
        set(&mut limits.token_bytes, "token_bytes");
        set(&mut limits.history_bytes, "history_bytes");
        set(&mut limits.history_items, "history_items");
        limits
    }

    fn caller(&self) -> TokenHolder {
        if self.fields.contains_key("caller") {
            return TokenHolder::Bearer;
        }
        TokenHolder::Known(Principal::new(self.string("sub"), self.string("idp")).unwrap())
    }

    fn purpose(&self) -> TokenPurpose {
        match self.text("purpose") {
            "continue" => TokenPurpose::Continue,
            "read" => TokenPurpose::Read,
            other => panic!("{}: {other}", self.name),
        }
    }

    /// Verifies the token. Does not parse its items.
    pub(crate) fn verify(&self, context: TokenContext<'_>, codec: &mut Codec) -> Result<VerifiedToken, Error> {
        let token = RawToken::new(&self.token, context.limits)?.authenticate(context, codec)?;
        let now = UnixSeconds(self.number("now"));
        token.verify(&self.caller(), self.purpose(), context.policy, now)?.unpack(context.limits, codec)
    }
}

/// The folder of the vectors.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/token")
}
