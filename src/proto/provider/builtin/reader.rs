//! Replies of the built-in model.

use super::wire::{Answer, CALL_EVENT, Call, Counts, END_EVENT, EndEvent, Reason, TEXT_EVENT, TextEvent};
use crate::proto::{
    error::Error,
    provider::{end::End, reply::ReplyParser, reply_builder::ReplyBuilder, reply_json},
    sse,
    turn::{Delta, FinishReason, Usage},
};

/// Parses a reply.
#[derive(Default)]
pub(super) struct Parser;

impl ReplyParser for Parser {
    fn event(&mut self, event: &sse::Event, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        match event.name.as_str() {
            CALL_EVENT => add_call(&reply_json::parse(&event.data)?, reply),
            END_EVENT => {
                let EndEvent { finish_reason, usage } = reply_json::parse(&event.data)?;
                end(finish_reason, usage, reply, deltas);
                reply.complete(deltas)
            }
            TEXT_EVENT => {
                reply.text(reply_json::parse::<TextEvent<'_>>(&event.data)?.text.into_owned(), deltas);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn body(&mut self, body: &str, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let Answer { text, calls, finish_reason, usage } = reply_json::parse(body)?;
        reply.text(text, deltas);
        for call in &calls {
            add_call(call, reply)?;
        }
        end(finish_reason, usage, reply, deltas);
        Ok(())
    }
}

/// Adds a call. Calls have no index, but each has an id of its own.
fn add_call(call: &Call, reply: &mut ReplyBuilder) -> Result<(), Error> {
    reply.call_fragment(0, &call.id, &call.name, &call.args)
}

fn end(reason: Reason, counts: Counts, reply: &mut ReplyBuilder, deltas: &mut Vec<Delta>) {
    reply.set_end(Some(End::Finished(match reason {
        Reason::Length => FinishReason::Length,
        Reason::Stop => FinishReason::Stop,
        Reason::ToolCalls => FinishReason::ToolCalls,
    })));
    let Counts { input_tokens, output_tokens } = counts;
    deltas.push(Delta::Usage(Usage { input_tokens, output_tokens, ..Usage::default() }));
}
