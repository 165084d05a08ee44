//! The classes of refusals: whose fault it is that a model service refused a request.
//!
//! | class | the caller sees | next call |
//! |---|---|---|
//! | [`Overflow`](Class::Overflow) | a prompt that is too long, with the service's words | none |
//! | [`Request`](Class::Request) | the service's words | none |
//! | [`Account`](Class::Account) | that the service is not available | the next target |
//! | [`Rate`](Class::Rate) | the status and the wait | as for [`Load`](Class::Load) |
//! | [`Load`](Class::Load) | that the service is not available; the wait | retry, then the next |
//! | [`Unknown`](Class::Unknown) | the status | the next target |
//!
//! `refusal/table.rs` has the names and phrases of each class, and a profile has those of its
//! service. They come before the status of an error, because services disagree about statuses.
//! Names are compared as letters and digits in lower case, phrases in lower case. Both are found
//! anywhere in the text. Exception: digits are a code, and must be a whole name.
//!
//! A service may quote the request, so that its phrases may be the caller's. At a status that
//! blames the request (400, 413, 422):
//!
//! - Phrases about load and rates do not count.
//! - Phrases about the account count only if the request does not have them.
//! - Phrases about the length count, unless they are in quotes and the request has the quoted text.
//!   Every conversation may have the words "context length".
//!
//! No phrase makes an error [`Load`], which counts against the address for all callers.
//!
//! [`Load`]: Class::Load

mod table;

use self::table::{
    ACCOUNT, CONTENT, LOAD, LONG_QUOTAS, MODEL, MONEY, OVERFLOW, RATE, REQUEST, Row, THROTTLED, TOO_LARGE,
};
use super::{error_body::ErrorBody, profile::Profile};
use crate::proto::escapes::decoded;

/// The fault behind a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The operator's account, key, permission or model at the service.
    Account,
    /// The service is overloaded or failed. A later call can succeed.
    Load,
    /// The prompt is too long for the model.
    Overflow,
    /// Too many requests in a time.
    Rate,
    /// The request.
    Request,
    /// Nothing says whose fault it is.
    Unknown,
}

/// The class of an error. `status` is the status of the answer, or `None` for an error inside a
/// reply that says none. `request` is the body of the request.
pub(super) fn class(status: Option<u16>, error: &ErrorBody, profile: &Profile, request: &[u8]) -> Class {
    let blames_request = matches!(status, Some(400 | 413 | 422));
    let words = Words::new(error, if blames_request { request } else { b"" });
    let overflows = overflows(&words, profile);
    let account = is_account(&words, error, profile);
    let is_busy = [RATE.phrases, LOAD.phrases, profile.load_phrases].iter().any(|row| words.have_phrase(row));
    match status {
        _ if words.say(&TOO_LARGE) => Class::Overflow,
        Some(403) if overflows && !account => Class::Overflow,
        Some(403) if words.say(&CONTENT) => Class::Request,
        Some(403) if words.say(&RATE) && !account => Class::Rate,
        Some(401..=403 | 407) => Class::Account,
        Some(429) if account => Class::Account,
        Some(429) => Class::Rate,
        _ if overflows => Class::Overflow,
        _ if account => Class::Account,
        Some(404) if words.say(&MODEL) => Class::Account,
        _ if words.have_name_of(RATE.names) => Class::Rate,
        _ if words.have_name_of(LOAD.names) || words.have_name_of(profile.load_phrases) => Class::Load,
        Some(408 | 409 | 423..=425) => Class::Load,
        Some(500..) if words.have_phrase(RATE.phrases) => Class::Rate,
        Some(500..) => Class::Load,
        Some(400 | 413 | 422) => Class::Request,
        None if words.say(&CONTENT) || words.say(&REQUEST) => Class::Request,
        None if [RATE.phrases, profile.load_phrases].iter().any(|row| words.have_phrase(row)) => Class::Rate,
        // A reply that fails without a reason is the service's fault.
        None => Class::Load,
        Some(_) if is_busy => Class::Rate,
        Some(_) => Class::Unknown,
    }
}

/// Returns true if the prompt is too long.
fn overflows(words: &Words<'_>, profile: &Profile) -> bool {
    let is_throttled = words.have_name_of(RATE.names) || words.have_phrase(THROTTLED);
    let own = |phrases: &[&str]| phrases.iter().any(|phrase| words.say_outside_quotes(phrase));
    !is_throttled && (words.have_name_of(OVERFLOW.names) || own(OVERFLOW.phrases) || own(profile.overflow_phrases))
}

/// Returns true if the operator's account is at fault.
fn is_account(words: &Words<'_>, error: &ErrorBody, profile: &Profile) -> bool {
    let say = |row: &Row| words.have_name_of(row.names) || row.phrases.iter().any(|phrase| words.say_alone(phrase));
    // Gemini and Qwen use the words of a used-up account for a rate that resets in seconds.
    let has_wait = error.retry_after.is_some() || error.resets_at.is_some() || words.have_name_of(RATE.names);
    let is_known_rate = words.have_phrase(profile.load_phrases);
    profile.account_phrases.iter().any(|phrase| words.say_alone(phrase))
        || !is_known_rate && (say(&MONEY) || say(&ACCOUNT) && !has_wait)
}

/// Returns true if a quota of hours or longer is used up. The wait for it is long, even if the body
/// of the error names a shorter one.
pub(super) fn is_long_quota(error: &ErrorBody) -> bool {
    let words = format!("{} {}", error.message, error.quotas).to_lowercase();
    LONG_QUOTAS.iter().any(|phrase| words.contains(phrase))
}

/// The phrase that makes an error a fault of the operator's account, for the log; the longest one
/// of its list. The words of the error itself may quote the prompt.
pub(super) fn account_reason(error: &ErrorBody) -> Option<&'static str> {
    let text = comparable(&error.message);
    let found =
        |row: &Row| row.phrases.iter().copied().filter(|phrase| text.contains(phrase)).max_by_key(|it| it.len());
    [&MONEY, &ACCOUNT, &MODEL].into_iter().find_map(found)
}

/// The words of an error, as they are compared.
struct Words<'a> {
    names: &'a [String],
    /// The message in lower case.
    text: String,
    /// The request in lower case. Empty if the error does not quote it.
    request: String,
}

impl<'a> Words<'a> {
    fn new(error: &'a ErrorBody, request: &[u8]) -> Self {
        let request = comparable(&decoded(&String::from_utf8_lossy(request)));
        Self { names: &error.names, text: comparable(&error.message), request }
    }

    fn say(&self, row: &Row) -> bool {
        self.have_name_of(row.names) || self.have_phrase(row.phrases)
    }

    fn have_name_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.have_name(name))
    }

    fn have_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| if is_code(name) { own == name } else { own.contains(name) })
    }

    /// The phrases of profiles may be codes, so the names are searched as well.
    fn have_phrase(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.have_name(phrase) || !is_code(phrase) && self.text.contains(phrase))
    }

    /// Returns true for a phrase that the request does not have.
    fn say_alone(&self, phrase: &str) -> bool {
        self.have_phrase(&[phrase]) && (self.have_name(phrase) || !self.request.contains(phrase))
    }

    /// Returns true for a phrase that is not in quoted text of the request.
    fn say_outside_quotes(&self, phrase: &str) -> bool {
        self.have_name(phrase)
            || !is_code(phrase) && self.text.match_indices(phrase).any(|(at, _)| !self.is_quoted(at, phrase.len()))
    }

    /// Returns true if a part of the text is in quotes, and the request has the quoted text.
    fn is_quoted(&self, at: usize, bytes: usize) -> bool {
        let (before, rest) = self.text.split_at_checked(at).unwrap_or_default();
        let (phrase, after) = rest.split_at_checked(bytes).unwrap_or_default();
        let quoted = before.rsplit_once(QUOTES).zip(after.split_once(QUOTES));
        let quoted = quoted.map(|((_, start), (end, _))| format!("{start}{phrase}{end}"));
        quoted.is_some_and(|text| self.request.contains(text.trim_matches(['\\', ' '])))
    }
}

/// Characters around quoted text.
const QUOTES: [char; 5] = ['"', '\'', '`', '\u{201c}', '\u{201d}'];

/// Returns true for a name that is a number.
fn is_code(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text as phrases are compared: in lower case, with plain apostrophes.
fn comparable(text: &str) -> String {
    text.to_lowercase().replace('\u{2019}', "'")
}

#[cfg(test)]
mod tests;
