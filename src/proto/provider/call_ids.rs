//! The ids of tool calls, in the form that the service accepts.
//!
//! The same conversation always gets the same ids, and an id never depends on a later item.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{call_id::plain_id, profile::CallIds};
use crate::proto::fnv::fnv1a;

/// The ids of one request.
pub(super) struct CallIdWriter<'a> {
    form: CallIds,
    /// The latest written id for each id. A result belongs to the latest call with its id.
    written: BTreeMap<&'a str, Cow<'a, str>>,
    /// All written ids, if they must be unique in the conversation.
    used: BTreeSet<Cow<'a, str>>,
}

impl<'a> CallIdWriter<'a> {
    pub(super) fn new(form: CallIds) -> Self {
        Self { form, written: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// The id for a call. `is_own` is true if the service itself gave this id.
    pub(super) fn call(&mut self, id: &'a str, is_own: bool) -> Cow<'a, str> {
        let written = match self.form {
            _ if is_own => Cow::Borrowed(id),
            CallIds::AsGiven => Cow::Borrowed(id),
            CallIds::NineLetters => self.unused_id(id),
            CallIds::Plain(max_bytes) => plain_id(id, max_bytes),
        };
        if self.form == CallIds::NineLetters {
            self.used.insert(written.clone());
        }
        self.written.insert(id, written.clone());
        written
    }

    /// The id for a result.
    pub(super) fn result(&mut self, id: &'a str) -> Cow<'a, str> {
        match self.written.get(id) {
            Some(written) => written.clone(),
            // The call was trimmed.
            None => self.call(id, false),
        }
    }

    /// The first id that no call before has: the id itself if it has the form, then hashes of it.
    fn unused_id(&self, id: &'a str) -> Cow<'a, str> {
        let own = CallIds::NineLetters.accepts(id).then_some(Cow::Borrowed(id));
        let derived = (0_u32..).map(|attempt| Cow::Owned(nine_letters(id, attempt)));
        own.into_iter().chain(derived).find(|candidate| !self.used.contains(candidate)).unwrap_or_default()
    }
}

/// Nine letters and digits: a hash of the id and the number of the attempt.
fn nine_letters(id: &str, attempt: u32) -> String {
    let mut hash = fnv1a(format!("{attempt}:{id}").as_bytes());
    let mut letters = String::with_capacity(LETTERS);
    for _ in 0..LETTERS {
        // The remainder is below 36.
        let digit = u32::try_from(hash % 36).unwrap_or_default();
        letters.push(char::from_digit(digit, 36).unwrap_or('0'));
        hash /= 36;
    }
    letters
}

/// The length of an id at Mistral.
const LETTERS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_nine_letters_are_unique_and_stable() {
        let mut ids = CallIdWriter::new(CallIds::NineLetters);
        let first = ids.call("call_abc", false);
        assert_eq!((ids.result("call_abc"), CallIds::NineLetters.accepts(&first)), (first.clone(), true));
        let own = ids.call("D681PevKs", true);
        assert_eq!(own, "D681PevKs");
        let again = ids.call("call_abc", false);
        assert!(CallIds::NineLetters.accepts(&again) && again != first);
        assert_eq!(ids.result("call_abc"), again);
        assert_ne!(ids.call("D681PevKs", false), own, "the id is used");

        let mut later = CallIdWriter::new(CallIds::NineLetters);
        assert_eq!(later.call("call_abc", false), first, "an id does not depend on later calls");
    }

    #[test]
    fn other_forms_keep_what_they_accept() {
        let mut given = CallIdWriter::new(CallIds::AsGiven);
        assert_eq!(given.call("functions.look:0", false), "functions.look:0");
        let mut plain = CallIdWriter::new(CallIds::Plain(40));
        assert_eq!(plain.call("functions.look:0", true), "functions.look:0");
        assert_eq!(plain.result("functions.look:0"), "functions.look:0");
        assert_eq!(plain.call("functions.look:0", false), plain_id("functions.look:0", 40));
        assert_eq!(plain.result("trimmed:1"), plain_id("trimmed:1", 40));
    }
}
