//! The claims of a credential with a valid signature (RFC 7519 §4.1), and their checks.
//!
//! `iss`, `aud`, `sub` and `exp` are required. Times are whole seconds. The issuer's clock may
//! differ by a minute. Other members of the payload are ignored.

use super::{
    fault::JwtFault,
    json::{JsonFault, Members},
};
use crate::proto::time::{LEEWAY_SECONDS, UnixSeconds};

/// The registered claims that are checked.
#[derive(Debug)]
pub(super) struct Claims {
    issuer: String,
    audience: Vec<String>,
    subject: String,
    expires_at: UnixSeconds,
    not_before: Option<UnixSeconds>,
    issued_at: Option<UnixSeconds>,
}

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, JwtFault> {
        Self::read(payload).map_err(JwtFault::Claims)
    }

    fn read(payload: &[u8]) -> Result<Self, JsonFault> {
        let members = Members::parse(payload)?;
        Ok(Self {
            issuer: members.string("iss")?.ok_or(JsonFault::Missing("iss"))?,
            audience: members.one_or_many("aud")?.ok_or(JsonFault::Missing("aud"))?,
            subject: members.string("sub")?.ok_or(JsonFault::Missing("sub"))?,
            expires_at: members.seconds("exp")?.ok_or(JsonFault::Missing("exp"))?,
            not_before: members.seconds("nbf")?,
            issued_at: members.seconds("iat")?,
        })
    }

    /// The subject, if the claims are from `issuer`, for one of `audience`, and valid at `now`.
    pub(super) fn subject(self, issuer: &str, audience: &[String], now: UnixSeconds) -> Result<String, JwtFault> {
        if self.issuer != issuer {
            return Err(JwtFault::Issuer);
        }
        if !self.audience.iter().any(|name| audience.contains(name)) {
            return Err(JwtFault::Audience);
        }
        self.check_times(now)?;
        Ok(self.subject)
    }

    fn check_times(&self, now: UnixSeconds) -> Result<(), JwtFault> {
        if now >= self.expires_at.plus(LEEWAY_SECONDS) {
            return Err(JwtFault::Expired { at: self.expires_at, now });
        }
        for (claim, moment) in [("nbf", self.not_before), ("iat", self.issued_at)] {
            if let Some(at) = moment.filter(|&at| at > now.plus(LEEWAY_SECONDS)) {
                return Err(JwtFault::Early { claim, at, now });
            }
        }
        Ok(())
    }
}
