//! Owner marks: which service made the reasoning that a client brings back.
//!
//! An API shows reasoning in its own format, which does not name the service. A client that may
//! bring history of its own is shown a mark as well: a
//! hash of the provider id. Reasoning goes back only to the service with its mark. The mark is
//! not a proof, because such a client can write both sides anyway.

use super::item::is_of_provider;
use crate::proto::fnv::fnv1a;

/// The mark of the service with this provider id: 16 hexadecimal digits.
pub(in crate::proto) fn owner_mark(provider_id: &str) -> String {
    format!("{:016x}", fnv1a(provider_id.as_bytes()))
}

/// Returns true if `text` has the form of a mark.
fn is_owner_mark(text: &str) -> bool {
    text.len() == MARK_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The provider id of reasoning that a client brings in a wire format, with the mark that the
/// client was shown. It is never kept: [`Claim::of`] reads it, and the id of a service replaces it.
pub(in crate::proto) fn claimed_provider(format: &str, mark: Option<&str>) -> String {
    match mark.filter(|mark| is_owner_mark(mark)) {
        Some(mark) => format!("{format}{SEPARATOR}{mark}"),
        None => format.to_owned(),
    }
}

/// The service that a client names for reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Claim<'a> {
    format: &'a str,
    mark: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// The claim in a provider id.
    pub(in crate::proto) fn of(provider_id: &'a str) -> Self {
        match provider_id.split_once(SEPARATOR) {
            Some((format, mark)) => Self { format, mark: Some(mark) },
            None => Self { format: provider_id, mark: None },
        }
    }

    /// True if the client was shown who made the reasoning.
    pub(in crate::proto) fn is_marked(self) -> bool {
        self.mark.is_some()
    }

    /// Returns true if the service with this provider id can have made the reasoning.
    pub(in crate::proto) fn fits(self, provider_id: &str) -> bool {
        is_of_provider(provider_id, self.format) && self.mark.is_none_or(|mark| owner_mark(provider_id) == mark)
    }
}

/// Between the format and the mark. No host begins with the second character.
const SEPARATOR: &str = "@?";

/// The length of a mark.
const MARK_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_fits_the_service_with_its_mark() {
        let mark = owner_mark("openai@a.test");
        assert!(is_owner_mark(&mark) && !is_owner_mark(&mark.to_uppercase()) && !is_owner_mark(&mark[1..]));
        let marked = claimed_provider("openai", Some(&mark));
        assert!(is_of_provider(&marked, "openai"));
        for (provider_id, fits) in
            [("openai@a.test", true), ("openai@b.test", false), ("openai", false), ("anthropic@a.test", false)]
        {
            assert_eq!(Claim::of(&marked).fits(provider_id), fits, "{provider_id}");
        }
        let unmarked = claimed_provider("openai", Some("not a mark"));
        assert_eq!((unmarked.as_str(), Claim::of(&unmarked).is_marked()), ("openai", false));
        assert!(Claim::of(&unmarked).fits("openai@b.test") && !Claim::of(&unmarked).fits("anthropic"));
        // A client cannot name a host.
        assert!(!Claim::of("openai@a.test").fits("openai@a.test"));
    }
}
