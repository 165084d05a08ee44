//! Who a caller is, once vouched for: the subject and the source that named it.

use std::fmt;

/// An authenticated caller. Two are one only if both fields are equal, byte for byte: alice of one identity source is
/// not alice of another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    subject: String,
    idp: String,
}

impl Principal {
    /// Checks and takes a subject (1–256 bytes, no control characters) and its identity source (1–512 bytes, likewise).
    ///
    /// # Errors
    /// What is wrong with it, in words that fit behind "user id".
    pub fn new(subject: impl Into<String>, idp: impl Into<String>) -> Result<Self, &'static str> {
        let (subject, idp) = (subject.into(), idp.into());
        if subject.is_empty() || idp.is_empty() {
            return Err("is empty");
        }
        if subject.len() > 256 || idp.len() > 512 {
            return Err("is longer than 256 bytes");
        }
        if subject.chars().chain(idp.chars()).any(char::is_control) {
            return Err("holds a control character");
        }
        Ok(Self { subject, idp })
    }

    /// A user that nobody vouches for, named by chance; its token alone speaks for it.
    #[must_use]
    pub fn anonymous(random: [u8; 16]) -> Self {
        let subject = format!("{ANONYMOUS_PREFIX}{:032x}", u128::from_be_bytes(random));
        Self { subject, idp: IDP_NONE.to_owned() }
    }

    /// The user id (`sub`).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who vouched for it (`idp`): `none`, `header`, `key`, or `jwt:` and that token's issuer.
    #[must_use]
    pub fn idp(&self) -> &str {
        &self.idp
    }

    /// Whether the bearer of this user's token is this user.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.idp == IDP_NONE && self.subject.starts_with(ANONYMOUS_PREFIX)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.subject, self.idp)
    }
}

/// The identity source of users that nobody vouches for.
pub const IDP_NONE: &str = "none";

/// What the names of anonymous users begin with.
pub const ANONYMOUS_PREFIX: &str = "anon-";
