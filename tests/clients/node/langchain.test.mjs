// LangChain.js: ChatOpenAI over the Responses API; the id of an answer is the next call's `previous_response_id`.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { BadRequestError } from "openai";
import { ADD, converse } from "./conversation.mjs";
import { counting, startTwo } from "./servers.mjs";

const add = tool(({ a, b }) => String(a + b), { name: ADD.name, description: ADD.description, schema: ADD.parameters });

let two;
before(async () => (two = await startTwo()));
after(() => two.stop());

function chat(server, { fetch, ...more } = {}) {
  const configuration = { baseURL: two.servers[server].api, fetch };
  return new ChatOpenAI({ model: "default", apiKey: "none", useResponsesApi: true, configuration, ...more });
}

function messages({ text, results }) {
  // LangChain's habit: the system message in front, each time.
  if (text !== undefined) return [new SystemMessage("Be brief."), new HumanMessage(text)];
  return results.map(({ id, output }) => new ToolMessage({ tool_call_id: id, name: ADD.name, content: output }));
}

function heard(message, state) {
  if (!message.tool_calls.length) return { text: message.text, state };
  return { calls: message.tool_calls.map(({ id, name, args }) => ({ id, name, args })), state };
}

test("invoke holds a conversation over two servers", async () => {
  await converse(async (turn) => {
    const message = await chat(turn.server).bindTools([add]).invoke(messages(turn), { previous_response_id: turn.state });
    assert.equal(message.id, message.response_metadata.id);
    return heard(message, message.response_metadata.id);
  });
});

/** One streamed turn: the pieces, and all of them together. */
async function streamed(turn, more) {
  const options = { previous_response_id: turn.state };
  const pieces = [];
  for await (const piece of await chat(turn.server, more).bindTools([add]).stream(messages(turn), options)) pieces.push(piece);
  return { pieces, whole: pieces.reduce((before, piece) => before.concat(piece)) };
}

test("stream holds a conversation over two servers", async () => {
  await converse(async (turn) => {
    const { whole } = await streamed(turn);
    return heard(whole, whole.response_metadata.id);
  });
});

test("of a live stream LangChain keeps the created event's id; its last piece has the token", async () => {
  const live = { modelKwargs: { metadata: { holdall_stream: "live" } } };
  await converse(async (turn) => {
    const { pieces, whole } = await streamed(turn, live);
    if (!whole.tool_calls.length) assert.ok(pieces.filter((piece) => piece.text).length > 1, "the answer comes in pieces");
    const token = pieces.findLast((piece) => piece.id?.startsWith("resp_")).id;
    assert.notEqual(whole.response_metadata.id, token);
    return heard(whole, token);
  });
});

test("an id that is no token raises BadRequestError, and is not tried again", async () => {
  const options = { previous_response_id: "resp_garbage" };
  const expected = (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.equal(error.code, "previous_response_not_found");
    return true;
  };
  const whole = counting();
  await assert.rejects(chat(0, { fetch: whole }).invoke("What is my name?", options), expected);
  assert.equal(whole.calls, 1);
  const piecewise = counting();
  await assert.rejects(chat(0, { fetch: piecewise }).stream("What is my name?", options), expected);
  assert.equal(piecewise.calls, 1);
});
