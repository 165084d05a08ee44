//! What the built-in model answers: a pure function of the items.
//!
//! It knows a handful of English phrases, looks for each in turn ([`View::answer`]), and says that it is the built-in
//! model for all else. It never pretends to understand, and it never says what this conversation does not hold.

use std::{borrow::Cow, collections::HashMap};

use crate::proto::chat::{Item, Output, Part, Role};

mod calls;
mod facts;

use facts::Fact;

/// The most that `count to` counts.
const MAX_COUNT: usize = 1_000;

/// The most words that `write … words` writes.
const MAX_WORDS: usize = 100_000;

/// The most characters that are quoted back; of the text at hand less, for it was just written.
const QUOTE_CHARS: usize = 500;
const PIECE_CHARS: usize = 60;

/// What begins a summary, and the most lines of one.
const SUMMARY_TITLE: &str = "The user said:";
const SUMMARY_LINES: usize = 30;

const HELP: &str = "I am the built-in model. I answer from this conversation alone. Try:\n\
    - My name is Ada. / What is my name?\n\
    - My secret is 4711. / Remember the api code: 4711. / What is my secret?\n\
    - What did I say first? / What did I say last? / List what I told you.\n\
    - How many turns do you see?\n\
    - Repeat <text>. / Count to 20. / Write 200 words.\n\
    - Call <tool> with {\"some\": \"json\"}.";

/// What the model does.
pub(super) enum Answer<'a> {
    Calls(Vec<Call<'a>>),
    Text(String),
}

/// A call to make; `args` is a JSON object.
pub(super) struct Call<'a> {
    pub(super) tool: &'a str,
    pub(super) args: &'a str,
}

/// Whether tools may be called.
#[derive(Clone, Copy)]
pub(super) enum ToolUse<'a> {
    Forbidden,
    Allowed,
    /// One must be, this one if there is nothing better.
    Required(Option<&'a str>),
}

/// Answers the last item: a result by saying it, a message by a call or by text.
pub(super) fn answer<'a>(items: &'a [Item], tools: &[&'a str], choice: ToolUse<'a>) -> Answer<'a> {
    let view = View::new(items);
    match items.last() {
        Some(Item::Message { role: Role::User, .. }) => {}
        Some(Item::Result { .. }) => return Answer::Text(report(items)),
        _ => return Answer::Text("I see nothing to answer.".to_owned()),
    }
    let calls = match choice {
        ToolUse::Forbidden => Vec::new(),
        ToolUse::Allowed => calls::asked_for(items, tools),
        ToolUse::Required(fallback) => {
            let asked = calls::asked_for(items, tools);
            let fallback = fallback.map(|tool| Call { tool, args: "{}" });
            if asked.is_empty() { fallback.into_iter().collect() } else { asked }
        }
    };
    if calls.is_empty() { Answer::Text(view.answer()) } else { Answer::Calls(calls) }
}

/// The conversation as it is looked at.
struct View<'a> {
    /// What the user said, message by message; the last is to be answered.
    said: Vec<Cow<'a, str>>,
    /// What was answered.
    replied: Vec<Cow<'a, str>>,
    /// The message at hand.
    asked: String,
    /// The same in lower case (ASCII letters only, so that places in it are places in `asked`).
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
        let said = of(Role::User);
        let asked = said.last().map(|text| text.trim().to_owned()).unwrap_or_default();
        let lower = asked.to_ascii_lowercase();
        Self { said, replied: of(Role::Assistant), asked, lower }
    }

    /// Tries the phrases that are understood, in turn; the first that fits answers.
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
        let said = rules.iter().find_map(|rule| rule(self));
        said.unwrap_or_else(|| if self.is_greeting() { greeting() } else { self.anything_else() })
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    fn is_question(&self) -> bool {
        let openings = ["what", "which", "how", "who", "do ", "did ", "list", "tell me", "show", "quote"];
        self.lower.ends_with('?') || openings.iter().any(|opening| self.lower.starts_with(opening))
    }

    /// `summarize the following transcript …`: what the user said in it, a line each; what was a summary before stays.
    fn summarize(&self) -> Option<String> {
        self.lower.starts_with("summarize the following transcript").then_some(())?;
        let mut lines = Vec::new();
        for item in self.asked.lines().filter_map(|line| Item::from_line(line).ok()) {
            let Item::Message { role: Role::User, parts, .. } = item else { continue };
            let said = text_of(&parts);
            match said.split_once(SUMMARY_TITLE) {
                Some((_, before)) => {
                    lines.extend(before.trim().lines().map(|line| quote(line, QUOTE_CHARS).into_owned()))
                }
                None => lines.push(quote(&said.replace('\n', " "), QUOTE_CHARS).into_owned()),
            }
        }
        // What was told last is worth most.
        let surplus = lines.len().saturating_sub(SUMMARY_LINES);
        let kept = lines.get(surplus..).unwrap_or_default().join("\n");
        Some(format!("{SUMMARY_TITLE}\n{kept}"))
    }

    /// `repeat <text>`: the text, whitespace and all.
    fn repeat(&self) -> Option<String> {
        let after = |word: &str| self.lower.strip_prefix("please ").unwrap_or(&self.lower).strip_prefix(word);
        let rest = ["repeat after me", "repeat", "echo"].into_iter().find_map(after)?;
        let start = self.asked.len().checked_sub(rest.len())?;
        let text = self.asked.get(start..)?.strip_prefix([':', ' ', '\n'])?.trim_start();
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

    fn help(&self) -> Option<String> {
        let asked =
            matches!(self.lower.trim_matches(['/', '!', '?', '.', ' ']), "help" | "help me" | "what can you do");
        asked.then(|| HELP.to_owned())
    }

    /// `how many turns …`: what there is in the history.
    fn how_many(&self) -> Option<String> {
        let asked = self.has(&["how many"]) && self.has(&["turn", "message", "time", "exchange"]);
        asked.then(|| {
            let (yours, mine) = (self.said.len(), self.replied.len());
            let (messages, replies) = (plural(yours, "message", "messages"), plural(mine, "reply", "replies"));
            format!("I see {messages} of yours and {replies} of mine: this is turn {yours}.")
        })
    }

    /// `what did I say first?`, `what was your last reply?` and the like.
    fn which_message(&self) -> Option<String> {
        let first = self.has(&["first", "at the beginning", "at the start"]);
        let last = self.has(&["last", "previous", "just ", "before"]);
        let saying = ["say", "said", "tell", "told", "ask", "write", "wrote", "message", "question", "reply", "answer"];
        if !self.is_question() || !(first || last) || !self.has(&saying) || !self.facts().is_empty() {
            return None;
        }
        let of_mine = self.has(&["you say", "you said", "you tell", "you answer", "you reply", "your"]);
        let (whose, messages) = if of_mine {
            ("My", self.replied.as_slice())
        } else {
            // The one that asks is not meant.
            ("Your", self.said.split_last().map_or(&[][..], |(_, before)| before))
        };
        let which = if first { messages.first() } else { messages.last() };
        let order = if first { "first" } else { "last" };
        Some(match which {
            Some(message) => format!("{whose} {order} message was: \"{}\"", quote(message, QUOTE_CHARS)),
            None => "This is the first message of this conversation.".to_owned(),
        })
    }

    /// `list what I told you`.
    fn list(&self) -> Option<String> {
        let told = ["i told you", "i tell you", "you know about me", "you remember", "you been told"];
        let asks_for_one = self.has(&["remember my ", "told you my "]);
        if !self.is_question() || !self.has(&told) || asks_for_one {
            return None;
        }
        // Of what was told twice the last counts; a plain note is about nothing else.
        let all: Vec<Fact<'_>> = self.all_facts().collect();
        let last: HashMap<&str, usize> =
            all.iter().enumerate().map(|(place, fact)| (fact.of.as_str(), place)).collect();
        let is_last = |place, fact: &Fact<'_>| fact.of.is_empty() || last.get(fact.of.as_str()) == Some(&place);
        let facts = all.iter().enumerate().filter(|(place, fact)| is_last(*place, fact));
        let lines: Vec<String> = facts.map(|(_, fact)| format!("\n- {fact}")).collect();
        Some(if lines.is_empty() { nothing_told("anything") } else { format!("You told me:{}", lines.concat()) })
    }

    /// `what is my <noun>?`: what was told about it last.
    fn recall(&self) -> Option<String> {
        let (of, is_mine) = facts::asked_for(&self.lower)?;
        match self.all_facts().filter(|fact| fact.of == of).last() {
            Some(fact) => Some(format!("{}.", capitalized(&fact.to_string()))),
            None if is_mine => Some(nothing_told(&format!("your {of}"))),
            None => None,
        }
    }

    fn who(&self) -> Option<String> {
        let asked = ["who are you", "what are you", "which model", "what model", "your name", "who am i talking to"];
        (self.has(&asked) || self.lower.starts_with("are you ")).then(|| {
            "I am the built-in model: a small program that answers from this conversation alone, and no language model."
                .to_owned()
        })
    }

    /// A statement to be remembered; the conversation itself is the memory.
    fn note(&self) -> Option<String> {
        let facts: Vec<String> = self.facts().iter().map(Fact::to_string).collect();
        (!facts.is_empty()).then(|| format!("Noted: {}.", facts.join("; ")))
    }

    fn is_greeting(&self) -> bool {
        let mut words = self.lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        matches!(words.next(), Some("hello" | "hi" | "hey" | "greetings" | "good")) && words.count() <= 2
    }

    fn anything_else(&self) -> String {
        let piece = quote(&self.asked, PIECE_CHARS);
        let turn = self.said.len();
        format!(
            "I am the built-in model and know only a few phrases (say \"help\"). At turn {turn} you wrote: \"{piece}\""
        )
    }

    fn facts(&self) -> Vec<Fact<'_>> {
        facts::told(&self.asked)
    }

    fn all_facts(&self) -> impl Iterator<Item = Fact<'_>> {
        self.said.iter().flat_map(|text| facts::told(text))
    }
}

fn greeting() -> String {
    "Hello! I am the built-in model; say \"help\" for what I can do.".to_owned()
}

fn nothing_told(what: &str) -> String {
    format!("You have not told me {what} in this conversation.")
}

/// Says what the tools gave, for the results at the end of the items.
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

/// The tool that the last call with this id was for.
fn tool_called<'a>(items: &'a [Item], wanted: &str) -> &'a str {
    let name = |item: &'a Item| match item {
        Item::Call { id, name, .. } if id == wanted => Some(name.as_str()),
        _ => None,
    };
    items.iter().rev().find_map(name).unwrap_or("a tool that I did not call")
}

/// The number right after the first `lead`, and what follows it; one with too many digits is merely huge.
fn number_after<'a>(text: &'a str, lead: &str) -> Option<(usize, &'a str)> {
    let (_, rest) = text.split_once(lead)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().filter(|digits| !digits.is_empty())?;
    Some((digits.parse().unwrap_or(usize::MAX), rest.strip_prefix(digits)?))
}

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

fn quote(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
