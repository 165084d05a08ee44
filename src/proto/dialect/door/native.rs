//! The native door, `POST /v1/turns`: one token and one input in, a reply and a fresh token out (design §5).
//!
//! Members that we do not define are refused by name; of roles a client has one, its own. Streamed, a reply is
//! `event: delta` and `event: tool_call`, then `event: done` with the whole answer or `event: error` with the problem.

mod revocation;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Answer, Asked, Conversation, Door, Partial, Refusal, ReplyWriter, Told, TurnRequest, Ways,
    body::{self, List},
};
use crate::proto::{
    chat::{Item, Object, Output, Part, Role, Usage, present},
    dialect::{Delta, ModelOptions, Tool, ToolChoice},
    error::Error,
    sse,
    time::UnixSeconds,
    token::Claims,
};

pub use self::revocation::{RevocationRequest, RevocationScope, revocation_answer, revocation_request};

/// The native format.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Door for Native {
    fn path(&self) -> &'static str {
        "/v1/turns"
    }

    fn request(&self, body: &str, _: &Ways) -> Result<Asked, Error> {
        let raw: RawTurn<'_> = body::read(body)?;
        let input = match raw.input {
            RawInput::Text(text) => vec![Item::text(Role::User, text)],
            RawInput::Elements(elements) => input_items(elements)?,
        };
        let tools = tools(raw.tools.0)?;
        let tool_choice = raw.tool_choice.map(tool_choice).transpose()?;
        let turn = TurnRequest {
            token: raw.token,
            input,
            user_id: raw.user_id,
            model: raw.model,
            stream: raw.stream,
            truncation: body::truncation(raw.truncation.as_deref())?,
            options: ModelOptions {
                max_output_tokens: body::at_least_one("max_output_tokens", raw.max_output_tokens)?,
                temperature: body::number_to(2, "temperature", raw.temperature)?,
                tool_choice: tool_choice.map(|choice| body::tool_choice(choice, &tools)).transpose()?,
                tools,
                ..ModelOptions::default()
            },
            ..TurnRequest::default()
        };
        Ok(Asked { turn, writer: Box::new(NativeWriter) })
    }

    fn refusal(&self, _: &Told<'_>) -> Option<Refusal> {
        None
    }
}

/// Reads the body of `POST /v1/history`: the token, and the user where the request has to name it.
///
/// # Errors
/// [`Error::RequestInvalid`].
pub fn history_request(body: &str) -> Result<(String, Option<String>), Error> {
    let raw: RawHistoryRequest = body::read(body)?;
    Ok((raw.token, raw.user_id))
}

/// Writes the answer of `POST /v1/history`.
#[must_use]
pub fn history_answer(items: &[Item], conversation: &Conversation) -> Vec<u8> {
    to_json(&HistoryBody { items, conversation: conversation.into() })
}

struct NativeWriter;

impl ReplyWriter for NativeWriter {
    fn answer(&mut self, answer: &Answer) -> Vec<u8> {
        to_json(&AnswerBody::from(answer))
    }

    fn begin(&mut self, _: &Claims, _: &mut Vec<u8>) {}

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        for delta in deltas {
            match delta {
                Delta::Text(text) => event("delta", &TextBody { text }, out),
                Delta::Call { id, name, args } => event("tool_call", &CallBody { id, name, args }, out),
                Delta::Finish(_) | Delta::Think { .. } | Delta::Usage(_) => {}
            }
        }
    }

    fn done(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        event("done", &AnswerBody::from(answer), out);
    }

    fn error(&mut self, told: &Told<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let partial = partial.map(|Partial { reply, token }| PartialBody { reply, token });
        // The problem is an object of ours; the partial reply becomes one more member of it.
        let members = told.problem.trim_end().strip_suffix('}').unwrap_or("{");
        let tail = partial.map_or_else(String::new, |partial| {
            format!(",\"partial\":{}", serde_json::to_string(&partial).unwrap_or_default())
        });
        sse::write_event(out, Some("error"), &format!("{members}{tail}}}"));
    }
}

/// The body of a turn, as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurn<'a> {
    #[serde(default)]
    token: Option<String>,
    #[serde(borrow)]
    input: RawInput<'a>,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    model: Option<String>,
    #[serde(default)]
    stream: bool,
    #[serde(default, deserialize_with = "present")]
    max_output_tokens: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    temperature: Option<serde_json::Number>,
    #[serde(default)]
    tools: List<Object<RawTool>, { body::TOOLS }>,
    #[serde(default, borrow, deserialize_with = "present")]
    tool_choice: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    truncation: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistoryRequest {
    token: String,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<String>,
}

enum RawInput<'a> {
    Elements(Vec<Object<RawElement<'a>>>),
    Text(String),
}

impl<'de: 'a, 'a> Deserialize<'de> for RawInput<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = RawInput<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a list of parts and results, as `input`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawInput::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(RawInput::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                body::at_most(ELEMENTS, seq).map(RawInput::Elements)
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

/// A part or a result; `role` stands here only to be refused by its own name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawElement<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    t: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    image: Option<String>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    out: Option<Output>,
    #[serde(default, deserialize_with = "present")]
    error: Option<bool>,
    #[serde(default, borrow, deserialize_with = "present")]
    role: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    parts: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    name: String,
    #[serde(default, deserialize_with = "present")]
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    parameters: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToolName {
    name: String,
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    reply: &'a str,
    output: &'a [Item],
    token: &'a str,
    user_id: &'a str,
    conversation: ConversationBody,
    usage: UsageBody,
    finish_reason: &'static str,
}

impl<'a> From<&'a Answer> for AnswerBody<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            reply: &answer.reply,
            output: &answer.output,
            token: &answer.token,
            user_id: answer.conversation.claims.principal.subject(),
            conversation: (&answer.conversation).into(),
            usage: answer.usage.into(),
            finish_reason: answer.finish.as_str(),
        }
    }
}

/// What every door tells of a conversation.
#[derive(Serialize)]
pub(super) struct ConversationBody {
    id: String,
    turn: u64,
    started_at: String,
    expires_at: String,
    history_bytes: usize,
    token_bytes: usize,
    trimmed_items: usize,
    #[serde(skip_serializing_if = "is_zero")]
    summarized_items: usize,
    #[serde(skip_serializing_if = "is_zero")]
    elided_images: usize,
}

impl From<&Conversation> for ConversationBody {
    fn from(conversation: &Conversation) -> Self {
        let Conversation { claims, history_bytes, token_bytes, trimmed_items, summarized_items, elided_images } =
            conversation;
        let moment = |seconds: UnixSeconds| seconds.to_string();
        Self {
            id: claims.conversation.to_string(),
            turn: claims.turn,
            started_at: moment(claims.born_at),
            expires_at: moment(claims.expires_at),
            history_bytes: *history_bytes,
            token_bytes: *token_bytes,
            trimmed_items: *trimmed_items,
            summarized_items: *summarized_items,
            elided_images: *elided_images,
        }
    }
}

#[derive(Serialize)]
struct UsageBody {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(Usage { input_tokens, output_tokens, cached_tokens, .. }: Usage) -> Self {
        Self { input_tokens, output_tokens, cached_tokens }
    }
}

#[derive(Serialize)]
struct HistoryBody<'a> {
    items: &'a [Item],
    conversation: ConversationBody,
}

#[derive(Serialize)]
struct TextBody<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct CallBody<'a> {
    id: &'a str,
    name: &'a str,
    args: &'a str,
}

#[derive(Serialize)]
struct PartialBody<'a> {
    reply: &'a str,
    token: &'a str,
}

fn input_items(elements: Vec<Object<RawElement<'_>>>) -> Result<Vec<Item>, Error> {
    let mut items: Vec<Item> = Vec::new();
    for (at, Object(element)) in elements.into_iter().enumerate() {
        if let Some(role) = element.role.as_ref().filter(|role| *role != "user") {
            return Err(Error::RoleForbidden { role: role.chars().take(32).collect() });
        }
        let RawElement { t, text, image, id, out, error, role, parts, content } = element;
        let part = match (t.as_deref(), text, image, id, out, error) {
            _ if role.is_some() || parts.is_some() || content.is_some() => None,
            (Some("result"), None, None, Some(id), Some(out), error) => {
                items.push(Item::Result { id, out, error: error.unwrap_or_default() });
                continue;
            }
            (None, Some(text), None, None, None, None) => Some(Part::Text(text)),
            (None, None, Some(url), None, None, None) => Some(Part::Image(url)),
            _ => None,
        };
        let part = part.ok_or_else(|| {
            Error::invalid(format!(
                "`input[{at}]` is neither a part, {{\"text\"}} or {{\"image\"}}, nor a result, \
                 {{\"t\":\"result\",\"id\",\"out\"}}"
            ))
        })?;
        // Parts that follow each other are one message.
        match items.last_mut() {
            Some(Item::Message { parts, .. }) => parts.push(part),
            _ => items.push(Item::Message { role: Role::User, parts: vec![part], cut: false }),
        }
    }
    Ok(items)
}

fn tools(raw: Vec<Object<RawTool>>) -> Result<Vec<Tool>, Error> {
    let tool = |Object(RawTool { name, description, parameters })| body::tool(name, description, parameters, None);
    raw.into_iter().map(tool).collect()
}

fn tool_choice(raw: &RawValue) -> Result<ToolChoice, Error> {
    if let Ok(Object(RawToolName { name })) = serde_json::from_str(raw.get()) {
        return Ok(ToolChoice::Tool(name));
    }
    match raw.get() {
        r#""auto""# => Ok(ToolChoice::Auto),
        r#""none""# => Ok(ToolChoice::None),
        r#""required""# => Ok(ToolChoice::Required),
        _ => Err(Error::invalid("`tool_choice` is \"auto\", \"none\", \"required\" or {\"name\"}")),
    }
}

fn event(name: &'static str, body: &impl Serialize, out: &mut Vec<u8>) {
    sse::write_event(out, Some(name), &serde_json::to_string(body).unwrap_or_default());
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    // Our own structs of strings and numbers always serialize.
    serde_json::to_vec(body).unwrap_or_default()
}

/// The most parts and results in one input; a message of the size that is allowed seldom has ten.
const ELEMENTS: usize = 1_024;

#[cfg(test)]
mod tests;
