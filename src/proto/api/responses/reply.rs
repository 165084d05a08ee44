//! A reply of the Responses API: one object, or the events that build it up.
//!
//! ```text
//! created ─▶ for each item: output_item.added ─▶ its parts and deltas ─▶ output_item.done ─▶ completed, incomplete ─▶ [DONE]
//!    └──────────────────────────────────┴──▶ error ─▶ failed ─▶ [DONE]
//! ```
//! There is no `response.in_progress`: it would tell the id once more, and the id is the conversation. Held or live, the
//! events are the same but for their time, for the first id, and for how the text is cut.

use serde::Deserialize;

use super::{
    events::Events,
    resource::{ErrorBody, ID_PREFIX, IncompleteBody, OutputItem, PartBody, Repeated, ResponseBody, Status},
};
use crate::proto::{
    api::{
        format::{PublicError, ReplyWriter},
        openai_error::{OpenAiError, TokenMember},
    },
    chat::{Item, Part},
    json::object_from_str,
    token::Claims,
    turn::{Answer, Delta, FinishReason, Partial, is_of_provider},
};

/// Writes one reply.
pub(super) struct ResponsesWriter {
    repeated: Repeated,
    live: bool,
    encrypted_reasoning: bool,
    events: Events,
    /// What the objects of a stream begin with, once it has begun.
    head: Option<Head>,
    /// The items of a live stream that were written whole.
    written: Vec<OutputItem>,
    /// The text so far of the message that is under way.
    open: Option<String>,
}

impl ResponsesWriter {
    /// A writer for the answer to a request. A stream shows what comes as it comes if it is `live`; reasoning is shown
    /// with what only its provider can read if that is `encrypted_reasoning`.
    pub(super) fn new(repeated: Repeated, live: bool, encrypted_reasoning: bool) -> Self {
        let (events, written) = (Events::default(), Vec::new());
        Self { repeated, live, encrypted_reasoning, events, head: None, written, open: None }
    }
}

impl ReplyWriter for ResponsesWriter {
    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let head = Head::new(&answer.conversation.claims);
        let (id, items) = (self.id(&head, answer), self.items(&head, answer));
        // Our own structs of strings and numbers always serialize.
        serde_json::to_vec(&ended(&self.repeated, &head, &id, &items, answer)).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        let head = Head::new(claims);
        if self.live {
            self.created(&head, &head.plain_id(), out);
        }
        self.head = Some(head);
    }

    fn deltas(&mut self, deltas: &[Delta], out: &mut Vec<u8>) {
        if !self.live {
            return;
        }
        let Some(head) = self.head.take() else { return };
        for delta in deltas {
            match delta {
                Delta::Text(text) => self.text(&head, text, out),
                Delta::Call { id, name, args } => {
                    self.close(&head, Status::Completed, out);
                    self.item(call(&head, self.written.len(), id, name, args), out);
                }
                Delta::Think { provider_id, blob } => {
                    self.close(&head, Status::Completed, out);
                    if let Some(item) = self.reasoning(&head, self.written.len(), provider_id, blob) {
                        self.item(item, out);
                    }
                }
                Delta::Finish(_) | Delta::Usage(_) => {}
            }
        }
        self.head = Some(head);
    }

    fn buffers_deltas(&self) -> bool {
        !self.live
    }

    fn finish(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let head = self.head.take().unwrap_or_else(|| Head::new(&answer.conversation.claims));
        let (id, items) = (self.id(&head, answer), self.items(&head, answer));
        if !self.live {
            self.created(&head, &id, out);
        }
        let (status, _, event) = ending(answer.finish);
        // What is still open is the last that the model said.
        self.close(&head, status, out);
        for (at, item) in items.iter().enumerate().skip(self.written.len()) {
            self.events.item(at, item, out);
        }
        self.events.response(event, &ended(&self.repeated, &head, &id, &items, answer), out);
        self.events.end(out);
    }

    fn fail(&mut self, told: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let Some(head) = self.head.take() else { return };
        let id = head.plain_id();
        if !self.live {
            self.created(&head, &id, out);
        }
        let partial = partial.filter(|_| self.repeated.store);
        let error = OpenAiError::new(told, TokenMember::PreviousResponseId, partial);
        self.events.error(&error, out);
        let mut items = std::mem::take(&mut self.written);
        if let Some(text) = self.open.take() {
            items.push(OutputItem::message(head.item_id("msg", items.len()), Status::Incomplete, &text));
        }
        let response = ResponseBody {
            error: Some(ErrorBody { code: error.code, message: &error.message }),
            ..response(&self.repeated, &head, &id, Status::Failed, &items)
        };
        self.events.response("response.failed", &response, out);
        self.events.end(out);
    }
}

impl ResponsesWriter {
    /// The id of a whole response: the token, unless none is to be kept.
    fn id(&self, head: &Head, answer: &Answer) -> String {
        if self.repeated.store { format!("{ID_PREFIX}{}", answer.token) } else { head.plain_id() }
    }

    fn created(&mut self, head: &Head, id: &str, out: &mut Vec<u8>) {
        let response = response(&self.repeated, head, id, Status::InProgress, &[]);
        self.events.response("response.created", &response, out);
    }

    /// Goes on with the message that is under way, or begins one.
    fn text(&mut self, head: &Head, text: &str, out: &mut Vec<u8>) {
        let (at, id) = (self.written.len(), head.item_id("msg", self.written.len()));
        if self.open.is_none() {
            let item = OutputItem::message(id.clone(), Status::InProgress, "");
            self.events.begin_message(at, &item, out);
        }
        self.open.get_or_insert_default().push_str(text);
        self.events.text(at, &id, text, out);
    }

    /// Ends the message that is under way, if one is.
    fn close(&mut self, head: &Head, status: Status, out: &mut Vec<u8>) {
        if let Some(text) = self.open.take() {
            let at = self.written.len();
            let item = OutputItem::message(head.item_id("msg", at), status, &text);
            self.events.end_message(at, &item, out);
            self.written.push(item);
        }
    }

    fn item(&mut self, item: OutputItem, out: &mut Vec<u8>) {
        self.events.item(self.written.len(), &item, out);
        self.written.push(item);
    }

    /// The items of a whole reply, less the reasoning that is in others' words.
    fn items(&self, head: &Head, answer: &Answer) -> Vec<OutputItem> {
        let mut items = Vec::new();
        let (ended, _, _) = ending(answer.finish);
        let mut output = answer.output.iter().peekable();
        while let Some(item) = output.next() {
            let at = items.len();
            match item {
                Item::Call { id, name, args } => items.push(call(head, at, id, name, args)),
                Item::Message { parts, .. } => {
                    // An end that comes too early cuts off what is said last.
                    let status = if output.peek().is_none() { ended } else { Status::Completed };
                    items.push(OutputItem::message(head.item_id("msg", at), status, &text_of(parts)));
                }
                Item::Think { provider_id, blob } => items.extend(self.reasoning(head, at, provider_id, blob)),
                Item::Result { .. } => {}
            }
        }
        items
    }

    /// Reasoning as this API has it, if it comes from there.
    fn reasoning(&self, head: &Head, at: usize, provider_id: &str, blob: &str) -> Option<OutputItem> {
        let ours = is_of_provider(provider_id, "openai-responses");
        let raw: RawReasoning = ours.then(|| object_from_str(blob).ok())??;
        (raw.r#type == "reasoning").then(|| OutputItem::Reasoning {
            id: head.item_id("rs", at),
            summary: raw
                .summary
                .unwrap_or_default()
                .into_iter()
                .map(|RawText { text }| PartBody::Summary { text })
                .collect(),
            content: raw.content.unwrap_or_default().into_iter().map(RawText::into_part).collect(),
            encrypted_content: raw.encrypted_content.filter(|_| self.encrypted_reasoning),
        })
    }
}

/// What the claims give to a response.
struct Head {
    /// The token's own id, 32 hexadecimal digits.
    token_id: String,
    created_at: u64,
    model: String,
}

impl Head {
    fn new(claims: &Claims) -> Self {
        let token_id = claims.token_id.to_string().replace('-', "");
        Self { token_id, created_at: claims.issued_at.0, model: claims.model.clone() }
    }

    /// An id that is no token.
    fn plain_id(&self) -> String {
        format!("{ID_PREFIX}{}", self.token_id)
    }

    /// The id of the item at this place of the output; OpenAI takes 64 characters back.
    fn item_id(&self, kind: &str, at: usize) -> String {
        format!("{kind}_{}_{at}", self.token_id)
    }
}

/// A response as it stands before it has an end.
fn response<'a>(
    repeated: &'a Repeated,
    head: &'a Head,
    id: &'a str,
    status: Status,
    output: &'a [OutputItem],
) -> ResponseBody<'a> {
    ResponseBody {
        id,
        object: "response",
        created_at: head.created_at,
        completed_at: None,
        status,
        background: false,
        error: None,
        incomplete_details: None,
        model: &head.model,
        output,
        previous_response_id: (),
        repeated,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        top_logprobs: 0,
        service_tier: "default",
        usage: None,
        holdall: None,
    }
}

/// A whole response.
fn ended<'a>(
    repeated: &'a Repeated,
    head: &'a Head,
    id: &'a str,
    output: &'a [OutputItem],
    answer: &Answer,
) -> ResponseBody<'a> {
    let (status, reason, _) = ending(answer.finish);
    let completed_at = head.created_at.saturating_add(answer.elapsed.as_secs());
    ResponseBody {
        completed_at: (status == Status::Completed).then_some(completed_at),
        incomplete_details: reason.map(|reason| IncompleteBody { reason }),
        usage: Some(answer.usage.into()),
        holdall: Some((&answer.conversation).into()),
        ..response(repeated, head, id, status, output)
    }
}

/// How a response ends: its status, what cut it short, and the event that says so.
fn ending(finish: FinishReason) -> (Status, Option<&'static str>, &'static str) {
    let reason = match finish {
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Length => "max_output_tokens",
        FinishReason::Stop | FinishReason::ToolCalls => return (Status::Completed, None, "response.completed"),
    };
    (Status::Incomplete, Some(reason), "response.incomplete")
}

fn call(head: &Head, at: usize, id: &str, name: &str, args: &str) -> OutputItem {
    OutputItem::Call {
        id: head.item_id("fc", at),
        call_id: id.to_owned(),
        name: name.to_owned(),
        arguments: args.to_owned(),
        status: Status::Completed,
    }
}

fn text_of(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Image(_) => String::new(),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(text).collect()
}

/// A reasoning item of the API's own.
#[derive(Deserialize)]
struct RawReasoning {
    r#type: String,
    summary: Option<Vec<RawText>>,
    content: Option<Vec<RawText>>,
    encrypted_content: Option<String>,
}

#[derive(Deserialize)]
struct RawText {
    text: String,
}

impl RawText {
    fn into_part(self) -> PartBody {
        PartBody::Reasoning { text: self.text }
    }
}
