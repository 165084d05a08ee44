//! The rules that every reply follows, in any format.
//!
//! - Text is passed on immediately.
//! - Tool calls are held until the end, when they are complete.
//! - Reasoning is passed on immediately. Reasoning after a call is held as well, to keep the order.
//! - The opaque members of the message and of the calls, if the service wants them back, come as
//!   reasoning before the calls that they belong to.
//! - The finish reason comes once, after everything else.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::{call::ReplyBounds, end::End, inner_token::without_tokens, profile::Profile, service_state::StateBuilder};
use crate::proto::{
    chat::Owner,
    error::Error,
    turn::{Delta, FinishReason, Repair},
};

/// The most calls in one reply, together with the pieces of reasoning after the first call.
/// Providers allow 128 tools at most.
const MAX_HELD: usize = 128;

/// A reply that is being read.
pub(super) struct ReplyBuilder {
    profile: Profile,
    turn: u64,
    /// The provider, if opaque members are kept.
    keeps_state_as: Option<&'static str>,
    message_state: StateBuilder,
    /// All repairs, and those of them that were not named yet.
    repairs: BTreeSet<Repair>,
    new_repairs: Vec<Repair>,
    /// The calls, and the reasoning after the first of them.
    held: Vec<HeldPiece>,
    /// The bytes of all calls and all reasoning so far.
    piece_bytes: usize,
    max_piece_bytes: usize,
    /// The bytes of calls that came more than once: an id or a name with every piece, or a complete
    /// call after its pieces.
    repeated_bytes: usize,
    /// The bytes of all text so far.
    text_bytes: usize,
    end: Option<End>,
    /// True if the model refused.
    refused: bool,
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

#[derive(Default)]
struct CallPiece {
    id: String,
    name: String,
    args: String,
    /// The end of the arguments, as far as they have arrived.
    end: ArgsEnd,
    state: StateBuilder,
}

impl ReplyBuilder {
    pub(super) fn new(bounds: ReplyBounds, profile: Profile, keeps_state_as: Option<&'static str>) -> Self {
        Self {
            profile,
            turn: bounds.turn,
            keeps_state_as,
            message_state: StateBuilder::default(),
            repairs: BTreeSet::new(),
            new_repairs: Vec::new(),
            held: Vec::new(),
            piece_bytes: 0,
            max_piece_bytes: bounds.reply_bytes.saturating_mul(2),
            repeated_bytes: 0,
            text_bytes: 0,
            end: None,
            refused: false,
            complete: false,
        }
    }

    /// The profile of the service that sends the reply.
    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Names a deviation that was repaired.
    pub(super) fn repair(&mut self, repair: Repair) {
        if self.repairs.insert(repair) {
            self.new_repairs.push(repair);
        }
    }

    /// Hands out the repairs since the last call.
    pub(super) fn take_repairs(&mut self, deltas: &mut Vec<Delta>) {
        deltas.extend(self.new_repairs.drain(..).map(Delta::Repaired));
    }

    /// Adds text, which may be empty.
    pub(super) fn text(&mut self, text: String, deltas: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.text_bytes = self.text_bytes.saturating_add(text.len());
            deltas.push(Delta::Text(text));
        }
    }

    /// Adds text of a refusal, which may be empty. The finish reason of the reply is then
    /// `content_filter`, whatever the service says, unless the reply failed.
    pub(super) fn refusal(&mut self, text: String, deltas: &mut Vec<Delta>) {
        self.refused |= !text.is_empty();
        self.text(text, deltas);
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
        if self.held.is_empty() {
            deltas.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
            return Ok(());
        }
        self.hold(index, Piece::Reasoning { provider_id, blob })
    }

    /// The bytes of calls and reasoning so far. They grow before a delta has them.
    pub(super) fn counted_bytes(&self) -> usize {
        self.piece_bytes
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

    /// Counts bytes that are kept and are no output towards the limit of calls and reasoning.
    pub(super) fn count_kept_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.repeated_bytes = self.repeated_bytes.saturating_add(bytes);
        self.count_bytes(bytes)
    }

    /// Adds an opaque member of the message, or a piece of one.
    pub(super) fn message_member(&mut self, name: &str, piece: &RawValue) -> Result<(), Error> {
        let piece = without_tokens(piece);
        self.count_bytes(piece.get().len())?;
        self.message_state.add(name, &piece)
    }

    /// Adds an opaque member, or a piece of one, to the last call at `index`.
    pub(super) fn call_member(&mut self, index: u64, name: &str, piece: &RawValue) -> Result<(), Error> {
        let piece = without_tokens(piece);
        self.count_bytes(piece.get().len())?;
        match self.last_call(index) {
            Some(call) => call.state.add(name, &piece),
            None => Ok(()),
        }
    }

    /// Adds a fragment to the call at `index`. The first fragment opens the call.
    ///
    /// The id and the name may come once or with every fragment. Another id at the same index opens
    /// another call, because some providers give all calls the index 0. So does a name after
    /// complete arguments.
    pub(super) fn call_fragment(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        self.count_bytes(id.len().saturating_add(name.len()).saturating_add(args.len()))?;
        match self.open_call(index, id, name, args) {
            Some(call) => {
                let mut repeated_bytes = 0_usize;
                if call.id.is_empty() {
                    id.clone_into(&mut call.id);
                } else {
                    repeated_bytes = id.len();
                }
                if call.name == name {
                    repeated_bytes = repeated_bytes.saturating_add(name.len());
                } else {
                    call.name.push_str(name);
                }
                call.push_args(args);
                self.repeated_bytes = self.repeated_bytes.saturating_add(repeated_bytes);
                Ok(())
            }
            None => self.hold_call(index, id, name, args),
        }
    }

    /// Opens another call, even if there is one at `index`.
    pub(super) fn another_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        self.count_bytes(id.len().saturating_add(name.len()).saturating_add(args.len()))?;
        self.hold_call(index, id, name, args)
    }

    fn hold_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        let mut call = CallPiece { id: id.to_owned(), name: name.to_owned(), ..CallPiece::default() };
        call.push_args(args);
        self.hold(index, Piece::Call(call))
    }

    /// Adds a complete call. It replaces the fragments of the same call.
    pub(super) fn complete_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Result<(), Error> {
        let is_same = |call: &&mut CallPiece| id.is_empty() || call.id.is_empty() || call.id == id;
        if let Some(call) = self.last_call(index).filter(is_same) {
            let repeated_bytes = call.name.len().saturating_add(call.args.len());
            call.name.clear();
            call.args.clear();
            call.end = ArgsEnd::default();
            self.repeated_bytes = self.repeated_bytes.saturating_add(repeated_bytes);
        }
        self.call_fragment(index, id, name, args)
    }

    /// The call at `index` that this fragment continues.
    fn open_call(&mut self, index: u64, id: &str, name: &str, args: &str) -> Option<&mut CallPiece> {
        self.last_call(index).filter(|call| {
            let may_be_same = id.is_empty() || call.id.is_empty() || call.id == id;
            let repeats =
                (!id.is_empty() && call.id == id) || name.is_empty() || (name == call.name && args.is_empty());
            may_be_same && (repeats || !call.end.is_complete())
        })
    }

    fn last_call(&mut self, index: u64) -> Option<&mut CallPiece> {
        self.held.iter_mut().rev().find_map(|held| match &mut held.piece {
            Piece::Call(call) if held.index == index => Some(call),
            _ => None,
        })
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

    /// Sets the end. A later one replaces an earlier one, except a failure or a cut, which stays.
    /// `None` changes nothing.
    pub(super) fn set_end(&mut self, end: Option<End>) {
        if !matches!(self.end, Some(End::Cut | End::Failed(_) | End::Unusable(_))) {
            self.end = end.or_else(|| self.end.take());
        }
    }

    /// Returns true once the service has given a known reason for the end.
    pub(super) fn has_known_end(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !matches!(end, End::Unknown(_)))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Ends the reply: appends the held pieces in their order, then the finish reason.
    ///
    /// If a limit or a filter ended the reply, its calls are left out: they will not be answered,
    /// and the conversation would wait for their results.
    ///
    /// # Errors
    /// Those of [`End::resolve`] for a reply that failed or is empty, and
    /// [`Error::UpstreamMalformed`] for a call that cannot be read.
    pub(super) fn complete(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let (reason, repair) = End::resolve(self.end.as_ref(), self.has_said())?;
        let reason = if self.refused { FinishReason::ContentFilter } else { reason };
        let is_cut = matches!(reason, FinishReason::ContentFilter | FinishReason::Length);
        let pieces = self.take_pieces(!is_cut)?;
        let has_calls = pieces.iter().any(|piece| matches!(piece, Delta::Call { .. }));
        deltas.extend(self.take_message_state(has_calls));
        deltas.extend(pieces);
        repair.into_iter().for_each(|repair| self.repair(repair));
        self.take_repairs(deltas);
        deltas.push(Delta::Finish(match reason {
            FinishReason::Stop if has_calls => FinishReason::ToolCalls,
            FinishReason::ToolCalls if !has_calls => FinishReason::Stop,
            reason => reason,
        }));
        self.complete = true;
        Ok(())
    }

    /// The bytes of text, calls and reasoning so far.
    pub(super) fn output_bytes(&self) -> usize {
        self.text_bytes.saturating_add(self.piece_bytes).saturating_sub(self.repeated_bytes)
    }

    /// Returns true if the reply has text or calls.
    pub(super) fn has_said(&self) -> bool {
        self.text_bytes > 0 || self.held.iter().any(|held| matches!(held.piece, Piece::Call(_)))
    }

    /// The opaque members of the message that the service wants back.
    fn take_message_state(&mut self, has_calls: bool) -> Option<Delta> {
        let mut state = std::mem::take(&mut self.message_state);
        state.retain(|name| self.profile.keeps_message_member(name, has_calls));
        let provider_id = self.keeps_state_as.filter(|_| !state.is_empty())?.to_owned();
        Some(Delta::Think { provider_id, blob: state.into_blob(Owner::Message) })
    }

    /// The held pieces in their order, with or without calls.
    fn take_pieces(&mut self, with_calls: bool) -> Result<Vec<Delta>, Error> {
        self.held.sort_by_key(|held| held.index);
        let mut pieces = Vec::with_capacity(self.held.len());
        let mut ids = BTreeSet::new();
        for held in std::mem::take(&mut self.held) {
            match held.piece {
                Piece::Call(call) if with_calls => self.push_call(call, &mut ids, &mut pieces)?,
                Piece::Call(_) => {}
                Piece::Reasoning { provider_id, blob } => {
                    pieces.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
                }
            }
        }
        Ok(pieces)
    }

    /// Appends a call, with its opaque members before it.
    fn push_call(&mut self, call: CallPiece, ids: &mut BTreeSet<String>, pieces: &mut Vec<Delta>) -> Result<(), Error> {
        let CallPiece { mut id, name, args, state, .. } = call;
        if name.is_empty() && id.is_empty() && args.is_empty() {
            self.repair(Repair::CallShape);
            return Ok(());
        }
        if name.is_empty() {
            return Err(Error::malformed("a tool call has no name"));
        }
        let is_given = !id.is_empty() && !ids.contains(&id);
        if !is_given {
            self.repair(Repair::CallId);
            id = self.unused_id(ids);
        }
        ids.insert(id.clone());
        // Without its state, an id of another form would not go back unchanged.
        let is_foreign = is_given && !self.profile.call_ids.accepts(&id);
        if let Some(provider_id) = self.keeps_state_as.filter(|_| is_foreign || !state.is_empty()) {
            let blob = state.into_blob(Owner::Call(id.clone()));
            pieces.push(Delta::Think { provider_id: provider_id.to_owned(), blob });
        }
        let args = if args.is_empty() { "{}".to_owned() } else { args };
        pieces.push(Delta::Call { id, name, args });
        Ok(())
    }

    /// An id for the next call: the number of the turn, and a number in the reply.
    fn unused_id(&self, ids: &BTreeSet<String>) -> String {
        let first = ids.len().saturating_add(1);
        let mut made = (first..).map(|number| format!("call_{}_{number}", self.turn));
        made.find(|id| !ids.contains(id)).unwrap_or_default()
    }
}

impl CallPiece {
    fn push_args(&mut self, args: &str) {
        self.end.read(args);
        self.args.push_str(args);
    }
}

/// Where the JSON object of a call's arguments ends, found while its pieces arrive.
#[derive(Default)]
struct ArgsEnd {
    depth: usize,
    in_string: bool,
    after_escape: bool,
    complete: bool,
}

impl ArgsEnd {
    fn read(&mut self, args: &str) {
        for byte in args.bytes() {
            match byte {
                _ if self.after_escape => self.after_escape = false,
                b'\\' => self.after_escape = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.complete = self.depth == 0;
                }
                _ => {}
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests;
