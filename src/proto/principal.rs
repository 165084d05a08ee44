//! The owner of a token: the user, and the identity provider that authenticated it.
//!
//! History enters a request only if the token's `sub` and `idp` equal the caller's, byte for byte.
//! Nothing here folds case, trims or normalizes, so two spellings are two users. Text that a log
//! line or a header cannot carry unchanged is refused. `crate::principal` makes a principal from a
//! credential.

/// The longest subject. E-mail addresses (254 bytes, RFC 5321 §4.5.3.1.3) and OpenID subjects (255,
/// OpenID Connect Core §2) fit into it, and it fits into a claims frame.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// The longest name of an identity provider. Together with the subject, escaped in JSON, it fits
/// into a claims frame of 4 KiB.
pub const MAX_IDP_BYTES: usize = 512;

/// The identity provider of a user that only the request names, with `identity.mode = "none"`.
pub const IDP_NONE: &str = "none";

/// The start of the name of an identity provider that issues JWTs. The issuer follows.
pub const IDP_JWT_PREFIX: &str = "jwt:";

/// The start of the names of anonymous users.
pub const ANONYMOUS_PREFIX: &str = "anon-";

/// A user. Two users are equal only if both parts are equal: `alice` of one issuer is not `alice`
/// of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    subject: String,
    idp: String,
}

impl Principal {
    /// The user `subject` of the identity provider `idp`.
    ///
    /// # Errors
    /// The broken rule, in words that are safe to show.
    pub fn new(subject: impl Into<String>, idp: impl Into<String>) -> Result<Self, &'static str> {
        let (subject, idp) = (subject.into(), idp.into());
        check_subject(&subject)?;
        check_idp(&idp)?;
        Ok(Self { subject, idp })
    }

    /// An anonymous user with a random name. The token is the only proof of this user.
    #[must_use]
    pub fn anonymous(random: [u8; 16]) -> Self {
        let subject = format!("{ANONYMOUS_PREFIX}{:032x}", u128::from_be_bytes(random));
        Self { subject, idp: IDP_NONE.to_owned() }
    }

    /// The user's name at the identity provider: 1 to [`MAX_SUBJECT_BYTES`] bytes of UTF-8 without
    /// control characters. Claim `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The identity provider, such as [`IDP_NONE`], or `jwt:` followed by the issuer: 1 to
    /// [`MAX_IDP_BYTES`] bytes without control characters. Claim `idp`.
    #[must_use]
    pub fn idp(&self) -> &str {
        &self.idp
    }

    /// True for an anonymous user: any caller with its token is this user.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.idp == IDP_NONE && self.subject.starts_with(ANONYMOUS_PREFIX)
    }
}

fn check_subject(subject: &str) -> Result<(), &'static str> {
    match subject {
        "" => Err("subject is empty"),
        text if text.len() > MAX_SUBJECT_BYTES => Err("subject is over the limit of 256 bytes"),
        text if text.contains(char::is_control) => Err("subject holds a control character"),
        _ => Ok(()),
    }
}

fn check_idp(idp: &str) -> Result<(), &'static str> {
    match idp {
        "" => Err("identity provider is empty"),
        text if text.len() > MAX_IDP_BYTES => Err("identity provider is over the limit of 512 bytes"),
        text if text.contains(char::is_control) => Err("identity provider holds a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_1_to_256_bytes() {
        assert_eq!(Principal::new("", IDP_NONE), Err("subject is empty"));
        assert!(Principal::new("a", IDP_NONE).is_ok());
        assert!(Principal::new("é".repeat(128), IDP_NONE).is_ok());
        assert_eq!(Principal::new("é".repeat(129), IDP_NONE), Err("subject is over the limit of 256 bytes"));
        assert_eq!(Principal::new("a".repeat(257), IDP_NONE), Err("subject is over the limit of 256 bytes"));
    }

    #[test]
    fn control_characters_are_refused_in_names() {
        for subject in ["\0", "al\nice", "alice\r\n", "\u{1b}[2J", "alice\u{7f}", "alice\u{85}"] {
            assert_eq!(Principal::new(subject, IDP_NONE), Err("subject holds a control character"), "{subject:?}");
            assert_eq!(Principal::new("alice", subject), Err("identity provider holds a control character"));
        }
    }

    #[test]
    fn spellings_and_sources_stay_distinct() {
        let alice = Principal::new("alice", "jwt:https://issuer.example").unwrap();
        for (subject, idp) in [
            ("Alice", "jwt:https://issuer.example"),
            ("alice ", "jwt:https://issuer.example"),
            ("alice", "jwt:https://issuer.example/"),
            ("alice", IDP_NONE),
        ] {
            assert_ne!(Principal::new(subject, idp).unwrap(), alice);
        }
    }

    #[test]
    fn an_identity_source_has_1_to_512_bytes() {
        assert_eq!(Principal::new("alice", ""), Err("identity provider is empty"));
        assert!(Principal::new("alice", "i".repeat(512)).is_ok());
        assert_eq!(Principal::new("alice", "i".repeat(513)), Err("identity provider is over the limit of 512 bytes"));
    }
}
