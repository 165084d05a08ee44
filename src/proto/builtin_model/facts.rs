//! Facts that a user states and asks for: `my secret is 4711`, `what is my secret?`.
//!
//! Each clause of a sentence can state one fact. A question states none. The value of a fact is
//! kept as the user wrote it, without the punctuation and quotes around it.

use std::fmt;

/// The most words in the name of a thing.
const MAX_NOUN_WORDS: usize = 6;

/// A fact that the user stated.
pub(super) struct Fact<'a> {
    /// The thing that the fact is about, in lower case: `secret`. Empty for a plain note.
    pub(super) subject: String,
    /// The value of the fact: `4711`.
    value: &'a str,
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            f.write_str(self.value)
        } else {
            write!(f, "your {} is {}", self.subject, self.value)
        }
    }
}

/// The facts in a message, in order.
pub(super) fn stated_facts(text: &str) -> Vec<Fact<'_>> {
    sentences(text).filter(|sentence| !is_question(sentence)).flat_map(clauses).filter_map(fact).collect()
}

/// The subject that a question asks for. Also true if the question says `my`: `secret` and true for
/// `what is my secret?`.
///
/// `lower` is the question in lower case.
pub(super) fn requested_subject(lower: &str) -> Option<(String, bool)> {
    const LEADS: [&str; 13] = [
        "what is ",
        "what's ",
        "what’s ",
        "whats ",
        "what was ",
        "what are ",
        "what were ",
        "tell me ",
        "do you know ",
        "do you remember ",
        "remind me of ",
        "i told you ",
        "recall ",
    ];
    if lower.contains("who am i") && !lower.contains("who am i talking") {
        return Some(("name".to_owned(), true));
    }
    let starts = LEADS.iter().filter_map(|lead| Some(lower.rfind(lead)?.saturating_add(lead.len())));
    let rest = lower.get(starts.max()?..)?;
    let rest = rest.split(['?', '.', '!', ',', '\n']).next()?.trim();
    let rest = rest.strip_prefix("what ").unwrap_or(rest);
    let rest = [" is", " was", " again", " now", " please"]
        .iter()
        .fold(rest, |rest, tail| rest.strip_suffix(tail).unwrap_or(rest).trim_end());
    Some((noun(rest)?, rest.starts_with("my ")))
}

/// The name of a thing without its article. `None` if it has too many words.
fn noun(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let articles = ["my ", "the ", "that ", "this "];
    let bare = articles.iter().fold(lower.as_str(), |rest, article| rest.strip_prefix(article).unwrap_or(rest));
    let words: Vec<&str> = bare.split_whitespace().collect();
    (1..=MAX_NOUN_WORDS).contains(&words.len()).then(|| words.join(" "))
}

/// The sentences of a text, each with its punctuation mark. A sentence ends with its line, or with
/// a mark before whitespace.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut ends = rest.char_indices().zip(rest.chars().skip(1).map(Some).chain([None]));
        let end = ends.find_map(|((at, c), next)| match c {
            '\n' => Some(at.saturating_add(1)),
            '.' | '!' | '?' | ';' if next.is_none_or(char::is_whitespace) => Some(at.saturating_add(1)),
            _ => None,
        });
        let (sentence, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after;
        (!sentence.is_empty()).then_some(sentence)
    })
}

fn is_question(sentence: &str) -> bool {
    let lower = sentence.trim().to_ascii_lowercase();
    let openings = ["what", "which", "who", "do you", "did i", "list", "tell me what", "repeat"];
    lower.ends_with('?') || openings.iter().any(|opening| lower.starts_with(opening))
}

/// The clauses of a sentence. Each `my` after a comma or an `and` begins a clause.
fn clauses(sentence: &str) -> Vec<&str> {
    let lower = sentence.to_ascii_lowercase();
    let begins = |at: &usize| {
        let before = lower.get(..*at).unwrap_or_default().trim_end();
        before.ends_with(',') || before.ends_with(" and")
    };
    let mut clauses = Vec::new();
    let (mut rest, mut start) = (sentence, 0_usize);
    for at in lower.match_indices("my ").map(|(at, _)| at).filter(begins) {
        let Some((clause, after)) = rest.split_at_checked(at.saturating_sub(start)) else { break };
        clauses.push(clause);
        (rest, start) = (after, at);
    }
    clauses.push(rest);
    clauses
}

/// The fact that a clause states, if any.
fn fact(clause: &str) -> Option<Fact<'_>> {
    let (note, is_note) = after_remember(clause).map_or((clause, false), |note| (note, true));
    let name_leads = ["my name's ", "my name’s ", "i am called ", "i'm called ", "call me "];
    if let Some((subject, value)) = possession(note) {
        return Some(Fact { subject, value });
    }
    if let Some(value) = name_leads.iter().find_map(|lead| after(note, lead)).and_then(value) {
        return Some(Fact { subject: "name".to_owned(), value });
    }
    if !is_note {
        return None;
    }
    let named =
        note.split_once(':').and_then(|(subject, text)| Some(Fact { subject: noun(subject)?, value: value(text)? }));
    named.or_else(|| Some(Fact { subject: String::new(), value: value(note)? }))
}

/// The text after `remember`, `remember that` or `remember this:` at the start of a clause.
fn after_remember(clause: &str) -> Option<&str> {
    let clause = clause.trim_start();
    let clause = strip(clause, "please ").unwrap_or(clause);
    let note = strip(clause, "remember ")?;
    Some(strip(note, "that ").or_else(|| strip(note, "this: ")).unwrap_or(note))
}

/// The noun and the value of `my <noun> is <value>` or `my <noun>: <value>`.
fn possession(clause: &str) -> Option<(String, &str)> {
    let rest = after(clause, "my ")?;
    let at = [" is ", ": "].iter().filter_map(|verb| Some((rest.find(verb)?, verb.len()))).min()?;
    let (subject, text) = rest.split_at_checked(at.0)?;
    Some((noun(subject)?, value(text.get(at.1..)?)?))
}

/// The text without the punctuation and quotes around it. `None` if nothing is left.
fn value(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_suffix(" and").unwrap_or(text);
    let bare = text.trim_end_matches(['.', '!', ',', ';', ' ']).trim_matches(['"', '\'', '`', '“', '”']);
    (!bare.is_empty()).then_some(bare)
}

/// The text after `lead`, which must begin a word. Its case does not matter.
fn after<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    let is_word = |at: usize| !lower.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric());
    let at = lower.match_indices(lead).map(|(at, _)| at).find(|at| is_word(*at))?;
    text.get(at.saturating_add(lead.len())..)
}

/// `text` without `lead` at its start. The case does not matter.
fn strip<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(lead.len())?;
    head.eq_ignore_ascii_case(lead).then_some(rest)
}
