//! The answers of the built-in model. They depend only on the items.
//!
//! The model knows a few English phrases, and tries them one after the other ([`View::answer`]).
//! Any other message gets the answer that this is the built-in model. The model never pretends to
//! understand, and it knows only this conversation.

use std::{borrow::Cow, collections::HashMap};

use crate::proto::chat::{Item, Output, Part, Role};

mod calls;
mod facts;

use facts::Fact;

/// The highest number for `count to`.
const MAX_COUNT: usize = 1_000;

/// The most words for `write … words`.
const MAX_WORDS: usize = 100_000;

/// The most characters of an earlier message that are quoted.
const MAX_QUOTE_CHARS: usize = 500;

/// The most characters of the last message that are quoted.
const MAX_LAST_QUOTE_CHARS: usize = 60;

/// The first line of a summary.
const SUMMARY_TITLE: &str = "The user said:";

/// The most lines of a summary after the first.
const MAX_SUMMARY_LINES: usize = 30;

const HELP: &str = "I am the built-in model. I answer only from this conversation. Try:\n\
    - My name is Ada. / What is my name?\n\
    - My secret is 4711. / Remember the api code: 4711. / What is my secret?\n\
    - What did I say first? / What did I say last? / List what I told you.\n\
    - How many turns do you see?\n\
    - Repeat <text>. / Count to 20. / Write 200 words.\n\
    - Call <tool> with {\"some\": \"json\"}.";

/// The answer of the model.
pub(super) enum Answer<'a> {
    /// At least one call.
    Calls(Vec<Call<'a>>),
    Text(String),
}

/// A tool call. `args` is a JSON object.
pub(super) struct Call<'a> {
    pub(super) tool: &'a str,
    pub(super) args: &'a str,
}

/// The rule for tool calls.
#[derive(Clone, Copy)]
pub(super) enum ToolUse<'a> {
    Forbidden,
    Allowed,
    /// A tool must be called. If the message requests none, this one is called.
    Required(Option<&'a str>),
}

/// Answers the last item. A result is reported, and a message gets calls or text.
pub(super) fn answer<'a>(items: &'a [Item], tools: &[&'a str], choice: ToolUse<'a>) -> Answer<'a> {
    let view = View::new(items);
    match items.last() {
        Some(Item::Message { role: Role::User, .. }) => {}
        Some(Item::Result { .. }) => return Answer::Text(report(items)),
        _ => return Answer::Text("I see nothing to answer.".to_owned()),
    }
    let calls = match choice {
        ToolUse::Forbidden => Vec::new(),
        ToolUse::Allowed => calls::requested_calls(items, tools),
        ToolUse::Required(fallback) => {
            let requested = calls::requested_calls(items, tools);
            let fallback = fallback.map(|tool| Call { tool, args: "{}" });
            if requested.is_empty() { fallback.into_iter().collect() } else { requested }
        }
    };
    if calls.is_empty() { Answer::Text(view.answer()) } else { Answer::Calls(calls) }
}

/// The conversation as text.
struct View<'a> {
    /// The messages of the user. The last one is to be answered.
    messages: Vec<Cow<'a, str>>,
    /// The messages of the model.
    replies: Vec<Cow<'a, str>>,
    /// The message to answer.
    question: String,
    /// The same in lower case. Only ASCII letters change, so byte positions are the same in both.
    lower: String,
}

impl<'a> View<'a> {
    fn new(items: &'a [Item]) -> Self {
        let of = |wanted: Role| {
            let text = move |item: &'a Item| match item {
                Item::Message { role, parts, .. } if *role == wanted => Some(text_of(parts)),
                _ => None,
            };
            items.iter().filter_map(text).collect::<Vec<_>>()
        };
        let messages = of(Role::User);
        let question = messages.last().map(|text| text.trim().to_owned()).unwrap_or_default();
        let lower = question.to_ascii_lowercase();
        Self { messages, replies: of(Role::Assistant), question, lower }
    }

    /// Tries the known phrases in order. The first one that matches gives the answer.
    fn answer(&self) -> String {
        let rules: [fn(&Self) -> Option<String>; 11] = [
            Self::summarize,
            Self::repeat,
            Self::count,
            Self::write,
            Self::help,
            Self::how_many,
            Self::which_message,
            Self::list,
            Self::recall,
            Self::who,
            Self::note,
        ];
        let answer = rules.iter().find_map(|rule| rule(self));
        answer.unwrap_or_else(|| if self.is_greeting() { greeting() } else { self.unknown() })
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    fn is_question(&self) -> bool {
        let openings = ["what", "which", "how", "who", "do ", "did ", "list", "tell me", "show", "quote"];
        self.lower.ends_with('?') || openings.iter().any(|opening| self.lower.starts_with(opening))
    }

    /// `summarize the following transcript …`: one line for each message of the user. The lines of
    /// an earlier summary are kept.
    fn summarize(&self) -> Option<String> {
        self.lower.starts_with("summarize the following transcript").then_some(())?;
        let mut lines = Vec::new();
        for item in self.question.lines().filter_map(|line| Item::from_line(line).ok()) {
            let Item::Message { role: Role::User, parts, .. } = item else { continue };
            let message = text_of(&parts);
            match message.split_once(SUMMARY_TITLE) {
                Some((_, earlier)) => {
                    lines.extend(earlier.trim().lines().map(|line| quote(line, MAX_QUOTE_CHARS).into_owned()))
                }
                None => lines.push(quote(&message.replace('\n', " "), MAX_QUOTE_CHARS).into_owned()),
            }
        }
        // The last lines are worth most.
        let surplus = lines.len().saturating_sub(MAX_SUMMARY_LINES);
        let kept = lines.get(surplus..).unwrap_or_default().join("\n");
        Some(format!("{SUMMARY_TITLE}\n{kept}"))
    }

    /// `repeat <text>`: the text, with its whitespace.
    fn repeat(&self) -> Option<String> {
        let after = |word: &str| self.lower.strip_prefix("please ").unwrap_or(&self.lower).strip_prefix(word);
        let rest = ["repeat after me", "repeat", "echo"].into_iter().find_map(after)?;
        let start = self.question.len().checked_sub(rest.len())?;
        let text = self.question.get(start..)?.strip_prefix([':', ' ', '\n'])?.trim_start();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// `count to <number>`.
    fn count(&self) -> Option<String> {
        let (number, _) = number_after(&self.lower, "count to ")?;
        if number > MAX_COUNT {
            return Some(format!("I count to {MAX_COUNT} at most."));
        }
        Some((1..=number).map(|number| number.to_string()).collect::<Vec<_>>().join(" "))
    }

    /// `write <number> words`.
    fn write(&self) -> Option<String> {
        const FILLER: [&str; 8] = ["plain", "words", "follow", "one", "another", "without", "much", "meaning"];
        let (number, rest) = number_after(&self.lower, "write ")?;
        if !rest.trim_start().starts_with("word") {
            return None;
        }
        if number > MAX_WORDS {
            return Some(format!("I write {MAX_WORDS} words at most."));
        }
        Some(FILLER.into_iter().cycle().take(number).collect::<Vec<_>>().join(" "))
    }

    /// `help`, `what can you do?`.
    fn help(&self) -> Option<String> {
        let matches =
            matches!(self.lower.trim_matches(['/', '!', '?', '.', ' ']), "help" | "help me" | "what can you do");
        matches.then(|| HELP.to_owned())
    }

    /// `how many turns …`: the number of messages and replies.
    fn how_many(&self) -> Option<String> {
        let matches = self.has(&["how many"]) && self.has(&["turn", "message", "time", "exchange"]);
        matches.then(|| {
            let (yours, mine) = (self.messages.len(), self.replies.len());
            let (messages, replies) = (plural(yours, "message", "messages"), plural(mine, "reply", "replies"));
            format!("I see {messages} of yours and {replies} of mine: this is turn {yours}.")
        })
    }

    /// Questions for the first or last message, such as `what did I say first?`.
    fn which_message(&self) -> Option<String> {
        let first = self.has(&["first", "at the beginning", "at the start"]);
        let last = self.has(&["last", "previous", "just ", "before"]);
        let verbs = ["say", "said", "tell", "told", "ask", "write", "wrote", "message", "question", "reply", "answer"];
        if !self.is_question() || !(first || last) || !self.has(&verbs) || !self.facts().is_empty() {
            return None;
        }
        let of_mine = self.has(&["you say", "you said", "you tell", "you answer", "you reply", "your"]);
        let (whose, messages) = if of_mine {
            ("My", self.replies.as_slice())
        } else {
            // The question itself does not count.
            ("Your", self.messages.split_last().map_or(&[][..], |(_, before)| before))
        };
        let which = if first { messages.first() } else { messages.last() };
        let order = if first { "first" } else { "last" };
        Some(match which {
            Some(message) => format!("{whose} {order} message was: \"{}\"", quote(message, MAX_QUOTE_CHARS)),
            None => "This is the first message of this conversation.".to_owned(),
        })
    }

    /// `list what I told you`.
    fn list(&self) -> Option<String> {
        let leads = ["i told you", "i tell you", "you know about me", "you remember", "you been told"];
        let asks_for_one_fact = self.has(&["remember my ", "told you my "]);
        if !self.is_question() || !self.has(&leads) || asks_for_one_fact {
            return None;
        }
        // The last fact about a subject counts. Plain notes have no subject and are all listed.
        let all: Vec<Fact<'_>> = self.all_facts().collect();
        let last: HashMap<&str, usize> =
            all.iter().enumerate().map(|(index, fact)| (fact.subject.as_str(), index)).collect();
        let is_last =
            |index, fact: &Fact<'_>| fact.subject.is_empty() || last.get(fact.subject.as_str()) == Some(&index);
        let facts = all.iter().enumerate().filter(|(index, fact)| is_last(*index, fact));
        let lines: Vec<String> = facts.map(|(_, fact)| format!("\n- {fact}")).collect();
        Some(if lines.is_empty() { nothing_told("anything") } else { format!("You told me:{}", lines.concat()) })
    }

    /// `what is my <noun>?`: the last fact about it.
    fn recall(&self) -> Option<String> {
        let (subject, is_mine) = facts::requested_subject(&self.lower)?;
        match self.all_facts().filter(|fact| fact.subject == subject).last() {
            Some(fact) => Some(format!("{}.", capitalized(&fact.to_string()))),
            None if is_mine => Some(nothing_told(&format!("your {subject}"))),
            None => None,
        }
    }

    /// `who are you?`.
    fn who(&self) -> Option<String> {
        let phrases = ["who are you", "what are you", "which model", "what model", "your name", "who am i talking to"];
        (self.has(&phrases) || self.lower.starts_with("are you ")).then(|| {
            "I am the built-in model: a small program that answers only from this conversation. \
             I am not a language model."
                .to_owned()
        })
    }

    /// A statement to remember. Nothing is stored: the conversation is the memory.
    fn note(&self) -> Option<String> {
        let facts: Vec<String> = self.facts().iter().map(Fact::to_string).collect();
        (!facts.is_empty()).then(|| format!("Noted: {}.", facts.join("; ")))
    }

    fn is_greeting(&self) -> bool {
        let mut words = self.lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        matches!(words.next(), Some("hello" | "hi" | "hey" | "greetings" | "good")) && words.count() <= 2
    }

    /// The answer to any other message.
    fn unknown(&self) -> String {
        let piece = quote(&self.question, MAX_LAST_QUOTE_CHARS);
        let turn = self.messages.len();
        format!(
            "I am the built-in model and know only a few phrases (say \"help\"). At turn {turn} you wrote: \"{piece}\""
        )
    }

    fn facts(&self) -> Vec<Fact<'_>> {
        facts::stated_facts(&self.question)
    }

    fn all_facts(&self) -> impl Iterator<Item = Fact<'_>> {
        self.messages.iter().flat_map(|text| facts::stated_facts(text))
    }
}

fn greeting() -> String {
    "Hello! I am the built-in model; say \"help\" for what I can do.".to_owned()
}

fn nothing_told(what: &str) -> String {
    format!("You have not told me {what} in this conversation.")
}

/// Reports the tool results at the end of the items.
fn report(items: &[Item]) -> String {
    let line = |item: &Item| match item {
        Item::Result { id, out, error } => {
            let verb = if *error { "failed" } else { "gave" };
            Some(format!("{} {verb}: {}", tool_called(items, id), out.to_text()))
        }
        _ => None,
    };
    let mut lines: Vec<String> = items.iter().rev().map_while(line).collect();
    lines.reverse();
    lines.join("\n")
}

/// The name of the tool in the last call with this id.
fn tool_called<'a>(items: &'a [Item], wanted: &str) -> &'a str {
    let name = |item: &'a Item| match item {
        Item::Call { id, name, .. } if id == wanted => Some(name.as_str()),
        _ => None,
    };
    items.iter().rev().find_map(name).unwrap_or("a tool that I did not call")
}

/// The number directly after the first `lead`, and the text after it. A number with too many digits
/// becomes the highest number.
fn number_after<'a>(text: &'a str, lead: &str) -> Option<(usize, &'a str)> {
    let (_, rest) = text.split_once(lead)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().filter(|digits| !digits.is_empty())?;
    Some((digits.parse().unwrap_or(usize::MAX), rest.strip_prefix(digits)?))
}

/// The text of a message. An image becomes `[image]`.
fn text_of(parts: &[Part]) -> Cow<'_, str> {
    match parts {
        [Part::Text(text)] => Cow::Borrowed(text),
        parts => Cow::Owned(Output::Parts(parts.to_vec()).to_text().into_owned()),
    }
}

fn plural(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// The first `max_chars` characters of a text.
fn quote(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
