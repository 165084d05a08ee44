//! The JSON of a reply. Any form with one plain meaning is accepted.
//!
//! Members whose form differs between services stay raw JSON until the functions here read them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Number, Value, value::RawValue};

use crate::proto::{
    chat::Members,
    error::Error,
    json::List,
    provider::reply_json::{self, MAX_BLOCKS},
    turn::Usage,
};

/// The most choices in a chunk. The request asks for one.
const MAX_CHOICES: usize = 128;

/// A chunk of a stream (with `delta`) or a complete answer (with `message`).
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) choices: Option<List<Choice<'a>, MAX_CHOICES>>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    error: Option<Value>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// The error, next to the choices or inside the choice that is read.
    pub(super) fn error(&self) -> Option<&Value> {
        let choices = self.choices.as_ref().map(|choices| choices.0.as_slice()).unwrap_or_default();
        let mut read = (0..).zip(choices).filter(|(place, choice)| choice.index(*place) == 0);
        self.error.as_ref().or_else(|| read.find_map(|(_, choice)| choice.error.as_ref()))
    }

    /// The counts, wherever the service puts them. Counts of zero say nothing.
    pub(super) fn usage(&self) -> Option<Usage> {
        let groq = self.x_groq.and_then(members).and_then(|groq| counts(groq.find("usage")?));
        let choices = self.choices.as_ref().map(|choices| choices.0.as_slice()).unwrap_or_default();
        let in_choice = || choices.iter().find_map(|choice| counts(choice.usage?));
        self.usage.and_then(counts).or_else(in_choice).or(groq)
    }
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// The text, in the form of the older Completions.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// vLLM's member for the stop sequence.
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    /// SGLang's.
    #[serde(borrow)]
    matched_stop: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "reply_json::error_member")]
    error: Option<Value>,
}

impl<'a> Choice<'a> {
    /// The number of the choice: its place in the list, if it has none.
    pub(super) fn index(&self, place: u64) -> u64 {
        self.index.and_then(number).unwrap_or(place)
    }

    /// The members of `delta`, if it has any.
    pub(super) fn delta(&self) -> Result<Option<Members<&'a RawValue>>, Error> {
        Ok(optional_object(self.delta, "delta")?.filter(|delta| !delta.0.is_empty()))
    }

    /// The members of `message`.
    pub(super) fn message(&self) -> Result<Option<Members<&'a RawValue>>, Error> {
        optional_object(self.message, "message")
    }

    /// The text next to the place of the message.
    pub(super) fn text(&self) -> Option<String> {
        self.text.and_then(text).filter(|text| !text.is_empty())
    }

    /// The word for the end of the reply.
    pub(super) fn finish_reason(&self) -> Option<String> {
        text(self.finish_reason?)
    }

    /// The stop sequence that ended the reply. A number in its place is the id of a model token.
    pub(super) fn stop_sequence(&self) -> Option<String> {
        let members = [self.stop_reason, self.matched_stop];
        members.into_iter().flatten().find_map(text).filter(|text| !text.is_empty())
    }
}

/// The content of a message.
#[derive(Default)]
pub(super) struct Content<'a> {
    pub(super) text: String,
    pub(super) refusal: String,
    /// The pieces that are not text.
    pub(super) others: Vec<&'a RawValue>,
    /// True if the content is a list or one piece.
    pub(super) in_pieces: bool,
}

impl<'a> Content<'a> {
    /// Reads content: text, a list of pieces, or nothing.
    ///
    /// # Errors
    /// [`Error::UpstreamMalformed`] for other content, which would be lost.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Error> {
        let mut content = Self::default();
        match raw.get().as_bytes().first() {
            Some(b'"') => content.text = text(raw).ok_or_else(|| unexpected("content"))?,
            Some(b'n') => {}
            Some(b'{') => {
                content.in_pieces = true;
                content.add(raw)?;
            }
            Some(b'[') => {
                content.in_pieces = true;
                let pieces: List<&RawValue, MAX_BLOCKS> =
                    serde_json::from_str(raw.get()).map_err(|_| unexpected("content"))?;
                pieces.0.into_iter().try_for_each(|piece| content.add(piece))?;
            }
            _ => return Err(unexpected("content")),
        }
        Ok(content)
    }

    fn add(&mut self, piece: &'a RawValue) -> Result<(), Error> {
        if let Some(text) = text(piece) {
            self.text.push_str(&text);
            return Ok(());
        }
        let members = members(piece).ok_or_else(|| unexpected("content"))?;
        let text_of = |name: &str| members.find(name).and_then(|value| text(value));
        match text_of("type").as_deref() {
            Some("text" | "output_text") | None => {
                self.text.push_str(&text_of("text").ok_or_else(|| unexpected("content"))?);
            }
            Some("refusal") => self.refusal.push_str(&text_of("refusal").unwrap_or_default()),
            Some(_) => self.others.push(piece),
        }
        Ok(())
    }
}

/// A call, or a fragment of one.
pub(super) struct Call<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) args: Cow<'a, str>,
    /// True if a member did not have the form of the format.
    pub(super) is_repaired: bool,
    pub(super) members: Members<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// Reads an entry of `tool_calls`.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Error> {
        let members = members(raw).ok_or_else(|| unexpected("tool_calls"))?;
        let function = optional_object(members.find("function").copied(), "function")?;
        let index = members.find("index").and_then(|raw| number(raw));
        let given_id = members.find("id").copied().filter(|raw| raw.get() != "null");
        let id = given_id.and_then(text_or_number).unwrap_or_default();
        let is_flat = function.is_none() && members.find("name").is_some();
        let is_other_id = given_id.is_some_and(|raw| text(raw).is_none());
        let Self { name, args, is_repaired, .. } = Self::of_function(function.as_ref().unwrap_or(&members));
        Ok(Self { index, id, name, args, is_repaired: is_repaired || is_flat || is_other_id, members })
    }

    /// Reads a function: `{"name","arguments"}`. Arguments that are not text are their JSON text.
    pub(super) fn of_function(function: &Members<&'a RawValue>) -> Self {
        let name = function.find("name").and_then(|raw| text(raw)).unwrap_or_default();
        let given = function.find("arguments").copied();
        let (args, is_repaired) = match given.map(|raw| (raw, text(raw))) {
            None => (Cow::Borrowed(""), false),
            Some((raw, None)) if raw.get() == "null" => (Cow::Borrowed(""), true),
            Some((_, Some(text))) => (Cow::Owned(text), false),
            Some((raw, None)) => (Cow::Borrowed(raw.get()), true),
        };
        Self { index: None, id: String::new(), name, args, is_repaired, members: Members::default() }
    }
}

/// The entries of `tool_calls`; none for `null`. The second value is true for one call instead of a
/// list, and for a list with `null`.
pub(super) fn calls(raw: &RawValue) -> Result<(Vec<&RawValue>, bool), Error> {
    if raw.get().starts_with('{') {
        return Ok((vec![raw], true));
    }
    let list: Option<List<&RawValue, MAX_BLOCKS>> =
        serde_json::from_str(raw.get()).map_err(|_| unexpected("tool_calls"))?;
    let mut entries = list.unwrap_or_default().0;
    let count = entries.len();
    entries.retain(|entry| entry.get() != "null");
    let has_null = entries.len() < count;
    Ok((entries, has_null))
}

/// The members of an object, `None` for any other value.
pub(super) fn members(raw: &RawValue) -> Option<Members<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// The members of an object, `None` if it is absent or `null`.
pub(super) fn optional_object<'a>(
    raw: Option<&'a RawValue>,
    name: &'static str,
) -> Result<Option<Members<&'a RawValue>>, Error> {
    match raw.filter(|raw| raw.get() != "null") {
        Some(raw) => members(raw).map(Some).ok_or_else(|| unexpected(name)),
        None => Ok(None),
    }
}

/// The text of a value that is text.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn text_or_number(raw: &RawValue) -> Option<String> {
    text(raw).or_else(|| serde_json::from_str::<Number>(raw.get()).ok().map(|number| number.to_string()))
}

/// A whole number, also as text (`"7"`) or as a fraction (`7.0`).
fn number(raw: &RawValue) -> Option<u64> {
    let json = text(raw);
    let json = json.as_deref().unwrap_or_else(|| raw.get()).trim();
    let whole = json.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|digit| digit == b'0'));
    whole.map_or(json, |(whole, _)| whole).parse().ok()
}

/// The counts in an object of any service's form.
fn counts(raw: &RawValue) -> Option<Usage> {
    let counts = members(raw)?;
    let count_in = |counts: &Members<&RawValue>, names: &[&str]| {
        names.iter().find_map(|name| number(counts.find(name)?)).unwrap_or_default()
    };
    let details = |name: &str| counts.find(name).and_then(|raw| members(raw)).unwrap_or_default();
    let (input, output) = (details("prompt_tokens_details"), details("completion_tokens_details"));
    let or = |count: u64, names: &[&str]| if count > 0 { count } else { count_in(&counts, names) };
    let input_tokens = count_in(&counts, &["prompt_tokens", "input_tokens"]);
    let usage = Usage {
        input_tokens,
        output_tokens: count_in(&counts, &["completion_tokens", "output_tokens"]),
        cached_tokens: or(
            count_in(&input, &["cached_tokens"]),
            &["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"],
        ),
        cache_written_tokens: or(count_in(&input, &["cache_write_tokens"]), &["cache_creation_input_tokens"]),
        reasoning_tokens: or(count_in(&output, &["reasoning_tokens"]), &["reasoning_tokens"]),
        estimated: false,
    };
    let total = count_in(&counts, &["total_tokens"]);
    let output_tokens = if usage.output_tokens > 0 { usage.output_tokens } else { total.saturating_sub(input_tokens) };
    Some(Usage { output_tokens, ..usage }).filter(|usage| *usage != Usage::default())
}

/// The error for a member that cannot be read. It never quotes the reply.
fn unexpected(name: &'static str) -> Error {
    Error::malformed(format!("`{name}` in the reply has an unexpected shape"))
}
