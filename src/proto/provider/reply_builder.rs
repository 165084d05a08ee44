//! The rules that every reply follows, in any format.
//!
//! - Text is passed on immediately.
//! - Tool calls are held until the end, when they are complete.
//! - Reasoning is passed on immediately. Reasoning after a call is held as well, to keep the order.
//! - The finish reason comes once, after everything else.

use super::{call::ReplyBounds, profile::Profile};
use crate::proto::{
    error::Error,
    turn::{Delta, FinishReason},
};

/// The most calls in one reply, together with the pieces of reasoning after the first call.
/// Providers allow 128 tools at most.
const MAX_HELD: usize = 128;

/// A reply that is being read.
pub(super) struct ReplyBuilder {
    profile: Profile,
    /// The calls, and the reasoning after the first of them.
    held: Vec<HeldPiece>,
    /// The bytes of all calls and all reasoning so far.
    piece_bytes: usize,
    max_piece_bytes: usize,
    finish_reason: Option<FinishReason>,
    has_output: bool,
    complete: bool,
}

/// A piece of the reply that is held until the end.
struct HeldPiece {
    /// The provider's own number for the piece.
    index: u64,
    piece: Piece,
}

enum Piece {
    Call(CallPiece),
    Reasoning { provider_id: &'static str, blob: String },
}

struct CallPiece {
    id: String,
    name: String,
    args: String,
}

impl ReplyBuilder {
    pub(super) fn new(bounds: ReplyBounds, profile: Profile) -> Self {
        Self {
            profile,
            held: Vec::new(),
            piece_bytes: 0,
            max_piece_bytes: bounds.reply_bytes.saturating_mul(2),
            finish_reason: None,
            has_output: false,
            complete: false,
        }
    }

    /// The profile of the service that sends the reply.
    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Adds text, which may be empty.
    pub(super) fn text(&mut self, text: String, deltas: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.has_output = true;
            deltas.push(Delta::Text(text));
        }
    }

    /// Adds a complete piece of reasoning. Its bytes must have been counted by
    /// [`Self::count_bytes`].
    pub(super) fn reasoning(
        &mut self,
        index: u64,
        provider_id: &'static str,
        blob: String,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        self.has_output = true;
        if self.held.is_empty() {
            deltas.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
            return Ok(());
        }
        self.hold(index, Piece::Reasoning { provider_id, blob })
    }

    /// Counts bytes of calls or reasoning towards their limit.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.piece_bytes = self.piece_bytes.saturating_add(bytes);
        if self.piece_bytes > self.max_piece_bytes {
            let limit = self.max_piece_bytes;
            return Err(Error::malformed(format!("tool calls and reasoning exceed the limit of {limit} bytes")));
        }
        Ok(())
    }

    /// Adds a fragment to the call at `index`. The first fragment opens the call.
    ///
    /// The id and the name may come once or with every fragment. Another id at the same index opens
    /// another call, because some providers give all calls the index 0.
    pub(super) fn call_fragment(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        self.count_bytes(id.len().saturating_add(name.len()).saturating_add(args.len()))?;
        match self.open_call(index, id) {
            Some(call) => {
                if call.id.is_empty() {
                    id.clone_into(&mut call.id);
                }
                if call.name != name {
                    call.name.push_str(name);
                }
                call.args.push_str(args);
                Ok(())
            }
            None => {
                let call = CallPiece { id: id.to_owned(), name: name.to_owned(), args: args.to_owned() };
                self.hold(index, Piece::Call(call))
            }
        }
    }

    /// Adds a complete call. It replaces the fragments of the same call.
    pub(super) fn complete_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        if let Some(call) = self.open_call(index, id) {
            call.name.clear();
            call.args.clear();
        }
        self.call_fragment(index, id, name, args)
    }

    fn open_call(&mut self, index: u64, id: &str) -> Option<&mut CallPiece> {
        let call = self.held.iter_mut().rev().find_map(|held| match &mut held.piece {
            Piece::Call(call) if held.index == index => Some(call),
            _ => None,
        });
        call.filter(|call| id.is_empty() || call.id.is_empty() || call.id == id)
    }

    fn hold(&mut self, index: u64, piece: Piece) -> Result<(), Error> {
        if self.held.len() >= MAX_HELD {
            return Err(Error::malformed(format!("the reply has more than {MAX_HELD} tool calls")));
        }
        self.held.push(HeldPiece { index, piece });
        Ok(())
    }

    /// Returns true if a call with this index was opened.
    pub(super) fn has_call(&self, index: u64) -> bool {
        self.held.iter().any(|held| held.index == index && matches!(held.piece, Piece::Call(_)))
    }

    /// Sets the finish reason. A later one replaces an earlier one.
    pub(super) fn set_finish_reason(&mut self, reason: FinishReason) {
        self.finish_reason = Some(reason);
    }

    pub(super) fn has_finish_reason(&self) -> bool {
        self.finish_reason.is_some()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Ends the reply: appends the held pieces in their order, then the finish reason.
    ///
    /// A reply without a finish reason ended normally, unless it is empty. If a limit or a filter
    /// ended the reply, its calls are left out: they will not be answered, and the conversation
    /// would wait for their results.
    pub(super) fn complete(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let reason = match self.finish_reason {
            Some(reason) => reason,
            None if self.has_output || !self.held.is_empty() => FinishReason::Stop,
            None => return Err(Error::malformed("the reply is empty")),
        };
        let is_cut = matches!(reason, FinishReason::ContentFilter | FinishReason::Length);
        let pieces = self.take_pieces(!is_cut)?;
        let has_calls = pieces.iter().any(|piece| matches!(piece, Delta::Call { .. }));
        deltas.extend(pieces);
        deltas.push(Delta::Finish(match reason {
            FinishReason::Stop if has_calls => FinishReason::ToolCalls,
            FinishReason::ToolCalls if !has_calls => FinishReason::Stop,
            reason => reason,
        }));
        self.complete = true;
        Ok(())
    }

    /// The held pieces in their order, with or without calls.
    fn take_pieces(&mut self, with_calls: bool) -> Result<Vec<Delta>, Error> {
        self.held.sort_by_key(|held| held.index);
        let mut pieces = Vec::with_capacity(self.held.len());
        for held in self.held.drain(..) {
            match held.piece {
                Piece::Call(call) if with_calls => pieces.push(call.into_delta()?),
                Piece::Call(_) => {}
                Piece::Reasoning { provider_id, blob } => {
                    pieces.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
                }
            }
        }
        Ok(pieces)
    }
}

impl CallPiece {
    fn into_delta(self) -> Result<Delta, Error> {
        let Self { id, name, args } = self;
        if id.is_empty() || name.is_empty() {
            return Err(Error::malformed("a tool call has no id or no name"));
        }
        let args = if args.is_empty() { "{}".to_owned() } else { args };
        Ok(Delta::Call { id, name, args })
    }
}

#[cfg(test)]
mod tests;
