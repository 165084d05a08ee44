// The conversation that every client holds, and what it must be told: exact, for the built-in model is a function of
// the history alone.

import assert from "node:assert/strict";

/** A tool as JSON Schema has it. */
export const ADD = {
  name: "add",
  description: "Adds two numbers",
  parameters: {
    type: "object",
    properties: { a: { type: "number" }, b: { type: "number" } },
    required: ["a", "b"],
    additionalProperties: false,
  },
};

/** Asks for two calls at once. */
export const CALLS = 'Call add with {"a":2,"b":3}, and call add with {"a":4,"b":5}.';

/**
 * Holds the conversation, each turn at the other of two servers, and checks every answer.
 *
 * `say({ server, state, text } or { server, state, results: [{ id, output }] })` is one turn with a client: `server` is 0
 * or 1, `state` what the turn before gave (undefined at first). It gives `{ text, state }`, or `{ calls: [{ id, name, args }],
 * state }`. A client that runs tools by itself gives the text that follows. Gives the last state.
 */
export async function converse(say) {
  let turn = 0;
  let state;
  const next = async (input) => {
    const answer = await say({ server: turn % 2, state, ...input });
    turn += 1;
    assert.ok(answer.state, "a turn gives what the next one continues");
    assert.notEqual(answer.state, state, "each turn gives a new one");
    state = answer.state;
    return answer;
  };

  let answer = await next({ text: "My name is Ada." });
  assert.equal(answer.text, "Noted: your name is Ada.");

  answer = await next({ text: CALLS });
  if (answer.calls) {
    assert.deepEqual(answer.calls.map(({ name, args }) => [name, args]), [["add", { a: 2, b: 3 }], ["add", { a: 4, b: 5 }]]);
    answer = await next({ results: answer.calls.map(({ id, args }) => ({ id, output: String(args.a + args.b) })) });
  }
  assert.equal(answer.text, "add gave: 5\nadd gave: 9");

  answer = await next({ text: "Remember the door code: 4711." });
  assert.equal(answer.text, "Noted: your door code is 4711.");

  answer = await next({ text: "What is my name?" });
  assert.equal(answer.text, "Your name is Ada.");

  answer = await next({ text: "How many turns do you see?" });
  assert.match(answer.text, /^I see 5 messages of yours and \d replies of mine: this is turn 5\.$/);

  answer = await next({ text: "What did I say first?" });
  assert.equal(answer.text, 'Your first message was: "My name is Ada."');
  return state;
}
