//! Plays a case through a service, as a client of one API.

use serde_json::Value;

use super::{
    client::Memory,
    conditions::diff,
    expect::Expect,
    file::{Case, Exchange, Members, Mode},
    outcome::Outcome,
};
use crate::support::{answer::Answer, drive::drive, fake, hand::Hand, try_config, wire::Wire};

/// Plays all turns. The error has the differences in the first turn that differs.
pub(super) fn play(case: &Case, api: Wire, mode: Mode) -> Result<(), String> {
    let mut hand = instance(case, None)?;
    let (mut memory, mut requests) = (Memory::default(), Vec::new());
    for (number, turn) in (1..).zip(&case.turns) {
        if turn.client.another_instance || turn.client.settings.is_some() {
            hand = instance(case, turn.client.settings.as_ref())?;
        }
        hand.clock.advance_seconds(turn.client.after_seconds);
        let mut taking = TakingTurn { case, turn, api, mode, requests: &mut requests, faults: Vec::new() };
        taking.take(&hand, &mut memory);
        if !taking.faults.is_empty() {
            return Err(format!("turn {number}\n    {}", taking.faults.join("\n    ")));
        }
    }
    Ok(())
}

/// An instance with the settings of the case, or with these.
fn instance(case: &Case, settings: Option<&Members>) -> Result<Hand, String> {
    try_config(&case.toml(settings), &[]).map(Hand::of).map_err(|error| error.to_string())
}

/// One turn that is played.
struct TakingTurn<'a> {
    case: &'a Case,
    turn: &'a Exchange,
    api: Wire,
    mode: Mode,
    /// The bodies of all upstream calls of the conversation.
    requests: &'a mut Vec<String>,
    faults: Vec<String>,
}

impl TakingTurn<'_> {
    fn take(&mut self, hand: &Hand, memory: &mut Memory) {
        let request = self.turn.client.request(self.api, self.mode == Mode::Streamed, memory);
        let mut calls = 0;
        hand.log.take();
        let driven = drive(hand, hand.ask(request), |call| {
            self.answer_call(call, calls);
            calls += 1;
        });
        let listed = self.turn.calls.len();
        if calls < listed {
            self.faults.push(format!("upstream calls:{}", diff(listed, calls)));
        }
        let entry = hand.log.take().pop().map(|entry| serde_json::to_value(entry).unwrap()).unwrap_or_default();
        let expect = Expect::of(&self.turn.expect, self.api).unwrap();
        if self.turn.client.is_turn() {
            self.check_turn(&expect, &driven.answer, &entry, memory);
        } else {
            self.faults.extend(expect.head_faults(&driven.answer));
        }
    }

    fn check_turn(&mut self, expect: &Expect, answer: &Answer, entry: &Value, memory: &mut Memory) {
        match Outcome::read(self.api, answer) {
            Ok(outcome) => {
                self.faults.extend(expect.faults(self.api, self.mode, answer, &outcome, entry));
                memory.tokens.extend(outcome.token);
                memory.calls = outcome.calls;
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Checks the upstream call with this index, and answers it.
    fn answer_call(&mut self, call: &mut fake::Call, index: usize) {
        let body = String::from_utf8(call.request.body().to_vec()).unwrap();
        let what = format!("upstream call {}", self.requests.len() + 1);
        match self.turn.calls.get(index) {
            Some(expected) => {
                let upstream = self.case.upstream_of(expected);
                if call.upstream != upstream {
                    let difference = diff(&upstream, &call.upstream);
                    self.faults.push(format!("{what}: name of the upstream{difference}"));
                }
                self.faults.extend(expected.request.faults(&what, &body, self.requests));
                let kind = self.case.kind_of(&upstream).unwrap();
                expected.answer.serve(kind, self.mode).answer(call);
            }
            None => {
                self.faults.push(format!("{what} is one too many: {body}"));
                call.head(400, &[("content-type", "application/json")]);
                call.end();
            }
        }
        self.requests.push(body);
    }
}
