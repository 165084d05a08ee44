//! What a user tells about things, and asks for: `my secret is 4711`, `what is my secret?`.
//!
//! A statement is looked for sentence by sentence and clause by clause; a question states nothing. What was told is
//! kept as it was written, less the punctuation and quotes around it.

use std::fmt;

/// Longer names of things are no names.
const MAX_NOUN_WORDS: usize = 6;

/// Something that was told.
pub(super) struct Fact<'a> {
    /// What it is about: `secret`, lower case; empty for a plain note.
    pub(super) of: String,
    /// What was told.
    value: &'a str,
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of.is_empty() { f.write_str(self.value) } else { write!(f, "your {} is {}", self.of, self.value) }
    }
}

/// All that a message tells, in order.
pub(super) fn told(text: &str) -> Vec<Fact<'_>> {
    sentences(text).filter(|sentence| !is_question(sentence)).flat_map(clauses).filter_map(fact).collect()
}

/// What a question asks for, and whether it is said to be the asker's: `secret` and true for `what is my secret?`.
///
/// `lower` is the question in lower case.
pub(super) fn asked_for(lower: &str) -> Option<(String, bool)> {
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

/// The name of a thing without its article; `None` for what is too long to be one.
fn noun(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let articles = ["my ", "the ", "that ", "this "];
    let bare = articles.iter().fold(lower.as_str(), |rest, article| rest.strip_prefix(article).unwrap_or(rest));
    let words: Vec<&str> = bare.split_whitespace().collect();
    (1..=MAX_NOUN_WORDS).contains(&words.len()).then(|| words.join(" "))
}

/// The text in sentences, each with its mark: they end with a line, or with a mark before whitespace.
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

/// A sentence in clauses: each `my` after a comma or an `and` begins one.
fn clauses(sentence: &str) -> Vec<&str> {
    let lower = sentence.to_ascii_lowercase();
    let begins = |at: &usize| {
        let before = lower.get(..*at).unwrap_or_default().trim_end();
        before.ends_with(',') || before.ends_with(" and")
    };
    let mut clauses = Vec::new();
    let (mut rest, mut taken) = (sentence, 0_usize);
    for at in lower.match_indices("my ").map(|(at, _)| at).filter(begins) {
        let Some((clause, after)) = rest.split_at_checked(at.saturating_sub(taken)) else { break };
        clauses.push(clause);
        (rest, taken) = (after, at);
    }
    clauses.push(rest);
    clauses
}

fn fact(clause: &str) -> Option<Fact<'_>> {
    let (note, is_note) = after_remember(clause).map_or((clause, false), |note| (note, true));
    let named = ["my name's ", "my name’s ", "i am called ", "i'm called ", "call me "];
    if let Some((of, value)) = about_mine(note) {
        return Some(Fact { of, value });
    }
    if let Some(value) = named.iter().find_map(|lead| after(note, lead)).and_then(value) {
        return Some(Fact { of: "name".to_owned(), value });
    }
    if !is_note {
        return None;
    }
    let about = note.split_once(':').and_then(|(of, told)| Some(Fact { of: noun(of)?, value: value(told)? }));
    about.or_else(|| Some(Fact { of: String::new(), value: value(note)? }))
}

/// What follows `remember`, `remember that` and the like, where a clause begins with it.
fn after_remember(clause: &str) -> Option<&str> {
    let clause = clause.trim_start();
    let clause = strip(clause, "please ").unwrap_or(clause);
    let note = strip(clause, "remember ")?;
    Some(strip(note, "that ").or_else(|| strip(note, "this: ")).unwrap_or(note))
}

/// `my <noun> is <value>`.
fn about_mine(clause: &str) -> Option<(String, &str)> {
    let rest = after(clause, "my ")?;
    let at = [" is ", ": "].iter().filter_map(|verb| Some((rest.find(verb)?, verb.len()))).min()?;
    let (of, told) = rest.split_at_checked(at.0)?;
    Some((noun(of)?, value(told.get(at.1..)?)?))
}

/// What was told, without the marks and quotes around it.
fn value(told: &str) -> Option<&str> {
    let told = told.trim();
    let told = told.strip_suffix(" and").unwrap_or(told);
    let bare = told.trim_end_matches(['.', '!', ',', ';', ' ']).trim_matches(['"', '\'', '`', '“', '”']);
    (!bare.is_empty()).then_some(bare)
}

/// What follows `lead`, in any case and at the begin of a word.
fn after<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    let is_word = |at: usize| !lower.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric());
    let at = lower.match_indices(lead).map(|(at, _)| at).find(|at| is_word(*at))?;
    text.get(at.saturating_add(lead.len())..)
}

/// `text` without `lead` at its begin, in any case.
fn strip<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(lead.len())?;
    head.eq_ignore_ascii_case(lead).then_some(rest)
}
