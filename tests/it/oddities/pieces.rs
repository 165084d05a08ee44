//! The answers of a case in the core, taken apart at every byte.
//!
//! - The outcome does not depend on the pieces: one byte at a time, and in two at every byte.
//! - An answer that is cut at any byte never ends as a normal reply, unless it was complete by the
//!   rules of its format. Its text is the beginning of the complete text.

use std::sync::Arc;

use holdall::{
    Deployment, Exchange,
    proto::{
        chat::{Item, Role},
        exchange::{Caller, Entropy, Planned, Ready, ResponseState},
        time::UnixSeconds,
        token::Codec,
        turn::{Delta, TurnRequest},
    },
};
use http::response;
use regex::Regex;
use serde_json::Value;

use super::{
    conditions::diff,
    file::{Case, Mode},
    service::Served,
};
use crate::support::try_config;

/// Takes all answers of a case apart.
pub(super) fn take_apart(case: &Case) -> Result<(), String> {
    for (number, turn) in (1..).zip(&case.turns) {
        for call in turn.calls.iter().filter(|call| !call.answer.is_ordinary()) {
            let upstream = case.upstream_of(call);
            let kind = case.kind_of(&upstream).unwrap();
            for mode in Mode::ALL.into_iter().filter(|mode| call.answer.has(*mode)) {
                let served = call.answer.serve(kind, mode);
                let checked = Bench::new(case, &upstream, kind, &served).and_then(|mut bench| bench.check());
                checked.map_err(|fault| format!("turn {number}, answer of `{upstream}`, {mode:?}: {fault}"))?;
            }
        }
    }
    Ok(())
}

/// An answer, and the turn that it answers again and again.
struct Bench<'a> {
    kind: &'a str,
    head: response::Parts,
    body: &'a [u8],
    /// Taken while an answer is read.
    exchange: Option<Exchange<Ready>>,
}

/// The outcome of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    text: String,
    /// The text before the end was declared.
    shown: usize,
    others: Vec<Delta>,
    error: Option<&'static str>,
}

impl<'a> Bench<'a> {
    fn new(case: &Case, upstream: &str, kind: &'a str, served: &'a Served) -> Result<Self, String> {
        let mut head = response::Response::builder().status(served.status);
        for (name, value) in &served.headers {
            head = head.header(name, value);
        }
        let config = try_config(&alone(case, upstream), &[]).map_err(|error| error.to_string())?;
        let (head, ()) = head.body(()).unwrap().into_parts();
        Ok(Self { kind, head, body: served.body.as_bytes(), exchange: Some(turn(config.deployment)) })
    }

    fn check(&mut self) -> Result<(), String> {
        let whole = self.read([self.body]);
        let by_bytes = self.read(self.body.chunks(1));
        same("one byte at a time", &whole, &by_bytes)?;
        for at in 1..self.body.len() {
            let (start, end) = self.body.split_at(at);
            same(&format!("split at byte {at}"), &whole, &self.read([start, end]))?;
        }
        if !self.head.status.is_success() {
            return Ok(());
        }
        let complete = complete_bytes(self.kind, str::from_utf8(self.body).unwrap(), whole.error.is_none());
        for at in 0..self.body.len() {
            let cut = self.read([&self.body[..at]]);
            self.check_cut(&whole, &cut, at, complete)?;
        }
        Ok(())
    }

    fn check_cut(&self, whole: &Read, cut: &Read, at: usize, complete: Option<usize>) -> Result<(), String> {
        let is_complete = complete.is_some_and(|complete| at >= complete);
        if cut.error.is_none() && !is_complete {
            return Err(format!("cut at byte {at}, the reply ends normally: {cut:?}"));
        }
        if !whole.text.starts_with(&cut.text[..cut.shown]) {
            return Err(format!("cut at byte {at}, the text is not the beginning of the reply: {cut:?}"));
        }
        let calls = |read: &Read| read.others.iter().filter(|delta| matches!(delta, Delta::Call { .. })).count();
        if cut.error.is_none() && whole.error.is_none() && (cut.text != whole.text || calls(cut) != calls(whole)) {
            return Err(format!("cut at byte {at}, the reply is another one: {cut:?} instead of {whole:?}"));
        }
        Ok(())
    }

    /// Reads the answer in these pieces.
    fn read<'b>(&mut self, pieces: impl IntoIterator<Item = &'b [u8]>) -> Read {
        let mut deltas = Vec::new();
        let (error, shown) = match self.exchange.take().unwrap().respond(&self.head) {
            Err(failed) => {
                self.exchange = Some(failed.exchange);
                (Some(failed.error.code()), 0)
            }
            Ok(ResponseState::Refused(mut exchange)) => {
                for piece in pieces {
                    exchange.push(piece);
                }
                let failed = exchange.into_failed_attempt();
                self.exchange = Some(failed.exchange);
                (Some(failed.error.code()), 0)
            }
            Ok(ResponseState::Replying(mut exchange)) => {
                let mut pieces = pieces.into_iter();
                let pushed = pieces.try_for_each(|piece| match exchange.is_complete() {
                    true => Ok(()),
                    false => exchange.push(piece, &mut deltas),
                });
                let shown = text_of(&deltas).len();
                let closed = pushed.and_then(|()| exchange.close(&mut deltas));
                self.exchange = exchange.into_retry();
                (closed.err().map(|error| error.code()), shown)
            }
        };
        let text = text_of(&deltas);
        deltas.retain(|delta| !matches!(delta, Delta::Text(_)));
        Read { text, shown, others: deltas, error }
    }
}

/// The configuration with only this upstream behind the only alias.
fn alone(case: &Case, upstream: &str) -> String {
    let mut case = case.clone();
    case.upstreams.retain(|candidate| candidate["name"] == upstream);
    case.models.clear();
    case.toml(None)
}

/// A turn that is ready for an answer. It is not streamed to a client, so that it can be repeated.
fn turn(deployment: Deployment) -> Exchange<Ready> {
    let request = TurnRequest { input: vec![Item::text(Role::User, "Hi.")], ..TurnRequest::default() };
    let caller = Caller::Unauthenticated { user_id: None };
    let entropy = Entropy { token_id: [1; 16], conversation: [2; 16], user: [3; 16], nonce: [4; 24] };
    let mut codec = Codec::new().unwrap();
    let now = UnixSeconds(1_795_000_000);
    let opened = Exchange::open(Arc::new(deployment), request, &caller, now, &entropy, &mut codec).unwrap();
    match opened.plan(&mut codec).unwrap() {
        Planned::Ready(exchange) => exchange,
        Planned::Summarizing(_) => unreachable!("the conversation is short"),
    }
}

fn text_of(deltas: &[Delta]) -> String {
    let texts = deltas.iter().map(|delta| if let Delta::Text(text) = delta { text } else { "" });
    texts.collect()
}

fn same(how: &str, whole: &Read, read: &Read) -> Result<(), String> {
    let unshown = |read: &Read| Read { shown: 0, ..read.clone() };
    if unshown(whole) == unshown(read) {
        return Ok(());
    }
    Err(format!("{how}:{}", diff(format!("{whole:?}"), format!("{read:?}"))))
}

/// The bytes after which a reply may end normally, by the rules of its format.
///
/// A JSON value is complete with its last bracket. A stream is complete with the event that ends
/// it: in Chat Completions `[DONE]`, or a chunk with a finish reason; in Messages the event with
/// the stop reason. An unknown reason counts if the whole answer is a reply.
fn complete_bytes(kind: &str, body: &str, is_reply: bool) -> Option<usize> {
    if !body.lines().any(|line| line.starts_with("data:")) {
        return Some(body.trim_end().len());
    }
    let (mut data, mut bytes) = (String::new(), 0);
    for line in body.split_inclusive('\n') {
        let text = line.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            if ends_reply(kind, &data, is_reply) {
                // A carriage return already ends the line.
                return Some(bytes + 1);
            }
            data.clear();
        } else if let Some(piece) = text.strip_prefix("data:") {
            data.push_str(piece);
        }
        bytes += line.len();
    }
    None
}

fn ends_reply(kind: &str, data: &str, is_reply: bool) -> bool {
    // `Value` holds no half characters.
    let half = Regex::new(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}").unwrap();
    let event: Value = serde_json::from_str(&half.replace_all(data, "?")).unwrap_or_default();
    match kind {
        "anthropic" => event["type"] == "message_stop" || event["delta"]["stop_reason"].is_string(),
        "openai" => {
            let choices = event["choices"].as_array().into_iter().flatten();
            let mut reasons = choices.filter_map(|choice| choice["finish_reason"].as_str());
            let is_end = |reason: &str| is_reply && !reason.is_empty() || NORMAL_ENDS.contains(&reason);
            data.trim() == "[DONE]" || reasons.any(is_end)
        }
        _ => event["type"] == "response.completed" || event["type"] == "response.incomplete",
    }
}

/// The finish reasons of Chat Completions.
const NORMAL_ENDS: [&str; 5] = ["content_filter", "function_call", "length", "stop", "tool_calls"];
