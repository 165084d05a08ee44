//! A reply of the Responses API: one object, or the events that build it.
//!
//! ```text
//! created ─▶ each item: output_item.added ─▶ parts and deltas ─▶ output_item.done
//!         ─▶ completed or incomplete ─▶ [DONE]
//!
//! at any time: error ─▶ failed ─▶ [DONE]
//! ```
//! There is no `response.in_progress`. It would repeat the id, which is the token. A held and a
//! live stream have the same events. They differ in time, in the first id, and in how the text is
//! split.

use serde::Deserialize;

use super::{
    events::EventWriter,
    resource::{ErrorBody, ID_PREFIX, IncompleteBody, OutputItem, PartBody, RepeatedMembers, ResponseBody, Status},
};
use crate::proto::{
    api::{
        carried_state::CarriedState,
        conversation::ConversationBody,
        format::{PublicError, ReplyWriter},
        openai_error::{OpenAiError, TokenMember},
        tools::{CallInput, ClientCall, ToolNames},
    },
    chat::{Item, Part, owner_mark},
    json::object_from_str,
    token::Claims,
    turn::{Answer, Delta, FinishReason, Partial, is_of_provider},
};

/// Writes one reply.
pub(super) struct ResponsesWriter {
    repeated: RepeatedMembers,
    /// The names of the request's tools.
    names: ToolNames,
    /// True if a stream follows the reply; false if it starts when the reply is complete.
    live: bool,
    /// True if reasoning items have the part that only their provider can read.
    encrypted_reasoning: bool,
    /// True if the ids of reasoning items have the mark of their service, and if there are items
    /// for the opaque members of services with other formats.
    shows_state: bool,
    events: EventWriter,
    /// The members that all response objects of a stream share. Set when the stream starts.
    head: Option<Head>,
    /// The complete items of a live stream.
    items: Vec<OutputItem>,
    /// The text so far of the open message of a live stream.
    open_text: Option<String>,
}

impl ResponsesWriter {
    /// A writer for the reply to a request that has the members `repeated`, and tools of these
    /// `names`.
    pub(super) fn new(repeated: RepeatedMembers, names: ToolNames, live: bool, encrypted_reasoning: bool) -> Self {
        let (events, items) = (EventWriter::default(), Vec::new());
        let (shows_state, head, open_text) = (false, None, None);
        Self { repeated, names, live, encrypted_reasoning, shows_state, events, head, items, open_text }
    }
}

impl ReplyWriter for ResponsesWriter {
    fn show_service_state(&mut self) {
        self.shows_state = true;
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let head = Head::new(&answer.conversation.claims);
        let (id, items) = (self.id(&head, answer), self.items(&head, answer));
        // Structs of strings and numbers always serialize.
        serde_json::to_vec(&complete_response(&self.repeated, &head, &id, &items, answer)).unwrap_or_default()
    }

    fn start(&mut self, claims: &Claims, out: &mut Vec<u8>) {
        let head = Head::new(claims);
        if self.live {
            self.write_created(&head, &head.plain_id(), out);
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
                Delta::Text(text) => self.write_text(&head, text, out),
                Delta::Call { id, name, args } => {
                    self.close_message(&head, Status::Completed, out);
                    let call = call(&head, self.items.len(), id, self.names.client_call(name, args));
                    self.write_item(call, out);
                }
                Delta::Think { provider_id, blob } => {
                    self.close_message(&head, Status::Completed, out);
                    if let Some(item) = self.reasoning(&head, self.items.len(), provider_id, blob) {
                        self.write_item(item, out);
                    }
                }
                Delta::Finish(_) | Delta::Repaired(_) | Delta::StopSequence(_) | Delta::Usage(_) => {}
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
            self.write_created(&head, &id, out);
        }
        let Ending { status, event, .. } = Ending::of(answer.finish);
        // The open message is the last item.
        self.close_message(&head, status, out);
        for (at, item) in items.iter().enumerate().skip(self.items.len()) {
            self.events.write_item(at, item, out);
        }
        let response = complete_response(&self.repeated, &head, &id, &items, answer);
        self.events.write_response(event, &response, out);
        self.events.write_end(out);
    }

    fn fail(&mut self, error: &PublicError<'_>, partial: Option<&Partial>, out: &mut Vec<u8>) {
        let Some(head) = self.head.take() else { return };
        let id = head.plain_id();
        if !self.live {
            self.write_created(&head, &id, out);
        }
        let partial = partial.filter(|_| self.repeated.store);
        let error = OpenAiError::new(error, TokenMember::PreviousResponseId, partial);
        self.events.write_error(&error, out);
        let mut items = std::mem::take(&mut self.items);
        if let Some(text) = self.open_text.take() {
            items.push(OutputItem::message(head.item_id("msg", items.len()), Status::Incomplete, &text));
        }
        let response = ResponseBody {
            error: Some(ErrorBody { code: error.code, message: &error.message }),
            ..response(&self.repeated, &head, &id, Status::Failed, &items)
        };
        self.events.write_response("response.failed", &response, out);
        self.events.write_end(out);
    }
}

impl ResponsesWriter {
    /// The id of the complete response: it has the token, unless the request has `store: false`.
    fn id(&self, head: &Head, answer: &Answer) -> String {
        if self.repeated.store { format!("{ID_PREFIX}{}", answer.token) } else { head.plain_id() }
    }

    fn write_created(&mut self, head: &Head, id: &str, out: &mut Vec<u8>) {
        let response = response(&self.repeated, head, id, Status::InProgress, &[]);
        self.events.write_response("response.created", &response, out);
    }

    /// Writes a piece of text. Starts a message if none is open.
    fn write_text(&mut self, head: &Head, text: &str, out: &mut Vec<u8>) {
        let (at, id) = (self.items.len(), head.item_id("msg", self.items.len()));
        if self.open_text.is_none() {
            let item = OutputItem::message(id.clone(), Status::InProgress, "");
            self.events.start_message(at, &item, out);
        }
        self.open_text.get_or_insert_default().push_str(text);
        self.events.write_text(at, &id, text, out);
    }

    /// Ends the open message, if there is one.
    fn close_message(&mut self, head: &Head, status: Status, out: &mut Vec<u8>) {
        if let Some(text) = self.open_text.take() {
            let at = self.items.len();
            let item = OutputItem::message(head.item_id("msg", at), status, &text);
            self.events.end_message(at, &item, out);
            self.items.push(item);
        }
    }

    fn write_item(&mut self, item: OutputItem, out: &mut Vec<u8>) {
        self.events.write_item(self.items.len(), &item, out);
        self.items.push(item);
    }

    /// The items of a complete reply, without reasoning in another provider's format.
    fn items(&self, head: &Head, answer: &Answer) -> Vec<OutputItem> {
        let mut items = Vec::new();
        let ending = Ending::of(answer.finish);
        let mut output = answer.output.iter().peekable();
        while let Some(item) = output.next() {
            let at = items.len();
            match item {
                Item::Call { id, name, args } => items.push(call(head, at, id, self.names.client_call(name, args))),
                Item::Message { parts, .. } => {
                    // Only the last item can be incomplete.
                    let status = if output.peek().is_none() { ending.status } else { Status::Completed };
                    items.push(OutputItem::message(head.item_id("msg", at), status, &text_of(parts)));
                }
                Item::Think { provider_id, blob } => items.extend(self.reasoning(head, at, provider_id, blob)),
                Item::Result { .. } => {}
            }
        }
        items
    }

    /// The id of a reasoning item, with the mark of its service if marks are shown.
    fn reasoning_id(&self, head: &Head, at: usize, provider_id: &str) -> String {
        let id = head.item_id("rs", at);
        if self.shows_state { format!("{id}_{}", owner_mark(provider_id)) } else { id }
    }

    /// The item for reasoning. `None` if it is not shown: reasoning in another provider's format is
    /// opaque to clients, and they need it only if they bring it back.
    fn reasoning(&self, head: &Head, at: usize, provider_id: &str, blob: &str) -> Option<OutputItem> {
        if let Some(state) = CarriedState::of_item(provider_id, blob) {
            return (self.shows_state && self.encrypted_reasoning).then(|| OutputItem::Reasoning {
                id: head.item_id("rs", at),
                summary: Vec::new(),
                content: Vec::new(),
                encrypted_content: Some(state.text()),
            });
        }
        let is_in_format = is_of_provider(provider_id, "openai-responses");
        let raw: RawReasoning = is_in_format.then(|| object_from_str(blob).ok())??;
        (raw.r#type == "reasoning").then(|| OutputItem::Reasoning {
            id: self.reasoning_id(head, at, provider_id),
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

/// The members of a response that come from the claims of its token.
struct Head {
    /// The id of the token (`jti`), as 32 hexadecimal digits.
    token_id: String,
    created_at: u64,
    model: String,
}

impl Head {
    fn new(claims: &Claims) -> Self {
        let token_id = claims.token_id.to_string().replace('-', "");
        Self { token_id, created_at: claims.issued_at.0, model: claims.model.clone() }
    }

    /// A response id without a token.
    fn plain_id(&self) -> String {
        format!("{ID_PREFIX}{}", self.token_id)
    }

    /// The id of the item at this position of the output. OpenAI accepts at most 64 characters.
    fn item_id(&self, kind: &str, at: usize) -> String {
        format!("{kind}_{}_{at}", self.token_id)
    }
}

/// A response before its end.
fn response<'a>(
    repeated: &'a RepeatedMembers,
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

/// A complete response.
fn complete_response<'a>(
    repeated: &'a RepeatedMembers,
    head: &'a Head,
    id: &'a str,
    output: &'a [OutputItem],
    answer: &Answer,
) -> ResponseBody<'a> {
    let Ending { status, reason, .. } = Ending::of(answer.finish);
    let completed_at = head.created_at.saturating_add(answer.elapsed.as_secs());
    ResponseBody {
        completed_at: (status == Status::Completed).then_some(completed_at),
        incomplete_details: reason.map(|reason| IncompleteBody { reason }),
        usage: Some(answer.usage.into()),
        holdall: Some(ConversationBody::with_usage(answer)),
        ..response(repeated, head, id, status, output)
    }
}

/// The end of a response.
struct Ending {
    status: Status,
    /// The reason if the response is incomplete.
    reason: Option<&'static str>,
    /// The name of the last event.
    event: &'static str,
}

impl Ending {
    fn of(finish: FinishReason) -> Self {
        let reason = match finish {
            FinishReason::ContentFilter => "content_filter",
            FinishReason::Length => "max_output_tokens",
            FinishReason::Stop | FinishReason::ToolCalls => {
                return Self { status: Status::Completed, reason: None, event: "response.completed" };
            }
        };
        Self { status: Status::Incomplete, reason: Some(reason), event: "response.incomplete" }
    }
}

fn call(head: &Head, at: usize, id: &str, ClientCall { namespace, name, input }: ClientCall<'_>) -> OutputItem {
    let (call_id, name, namespace) = (id.to_owned(), name.to_owned(), namespace.map(str::to_owned));
    let status = Status::Completed;
    match input {
        CallInput::Arguments(arguments) => {
            let (id, arguments) = (head.item_id("fc", at), arguments.to_owned());
            OutputItem::Call { id, call_id, name, namespace, arguments, status }
        }
        CallInput::Text(input) => {
            let (id, input) = (head.item_id("ctc", at), input.into_owned());
            OutputItem::CustomCall { id, call_id, name, namespace, input, status }
        }
    }
}

fn text_of(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Image(_) => String::new(),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(text).collect()
}

/// A reasoning item, as the provider sent it.
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
