// Anthropic's SDK for Node: `conversation_token` in and out, streamed on the message_delta event.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic, { BadRequestError } from "@anthropic-ai/sdk";
import { ADD, converse } from "./conversation.mjs";
import { counting, startTwo } from "./servers.mjs";

const TOOLS = [{ name: ADD.name, description: ADD.description, input_schema: ADD.parameters }];

let two;
let clients;
before(async () => {
  two = await startTwo();
  clients = two.servers.map(({ url }) => new Anthropic({ baseURL: url, apiKey: "none" }));
});
after(() => two.stop());

/** What `messages.*` is asked for a turn: the new message alone. */
function request({ state, text, results }) {
  const content = text ?? results.map(({ id, output }) => ({ type: "tool_result", tool_use_id: id, content: output }));
  return { model: "default", max_tokens: 1024, tools: TOOLS, messages: [{ role: "user", content }], conversation_token: state };
}

function heard(message, state) {
  const calls = message.content.filter((block) => block.type === "tool_use");
  assert.equal(message.stop_reason, calls.length ? "tool_use" : "end_turn");
  if (calls.length) return { calls: calls.map(({ id, name, input }) => ({ id, name, args: input })), state };
  return { text: message.content.map((block) => block.text).join(""), state };
}

test("messages.create holds a conversation over two servers", async () => {
  await converse(async (turn) => {
    const message = await clients[turn.server].messages.create(request(turn));
    return heard(message, message.conversation_token);
  });
});

test("messages.stream holds a conversation over two servers", async () => {
  await converse(async (turn) => {
    const stream = clients[turn.server].messages.stream(request(turn));
    let token;
    let text = "";
    stream.on("streamEvent", (event) => {
      if (event.type === "message_delta") token = event.conversation_token;
    });
    stream.on("text", (delta) => (text += delta));
    const answer = heard(await stream.finalMessage(), token);
    assert.equal(text, answer.text ?? "");
    return answer;
  });
});

test("a raw stream shows the token on message_delta and message_stop", async () => {
  await converse(async (turn) => {
    const tokens = {};
    const message = { content: [] };
    for await (const event of await clients[turn.server].messages.create({ ...request(turn), stream: true })) {
      if (event.conversation_token) tokens[event.type] = event.conversation_token;
      if (event.type === "content_block_start") message.content[event.index] = { ...event.content_block, json: "" };
      if (event.delta?.type === "text_delta") message.content[event.index].text += event.delta.text;
      if (event.delta?.type === "input_json_delta") message.content[event.index].json += event.delta.partial_json;
      if (event.type === "content_block_stop" && message.content[event.index].type === "tool_use") {
        message.content[event.index].input = JSON.parse(message.content[event.index].json);
      }
      if (event.type === "message_delta") message.stop_reason = event.delta.stop_reason;
    }
    assert.deepEqual(Object.keys(tokens), ["message_delta", "message_stop"]);
    assert.equal(tokens.message_delta, tokens.message_stop);
    return heard(message, tokens.message_stop);
  });
});

test("a client that resends the conversation with its token is understood", async () => {
  const messages = [];
  await converse(async (turn) => {
    messages.push(...request(turn).messages);
    const message = await clients[turn.server].messages.create({ ...request(turn), messages });
    messages.push({ role: "assistant", content: message.content });
    return heard(message, message.conversation_token);
  });
});

test("models are listed, and the model tokens of a turn counted", async () => {
  const models = [];
  for await (const { id } of clients[0].models.list()) models.push(id);
  assert.ok(models.includes("default"));
  const { conversation_token } = await clients[0].messages.create(request({ text: "My name is Ada." }));
  const { max_tokens, ...turn } = request({ text: "Hello" });
  const { input_tokens: alone } = await clients[1].messages.countTokens(turn);
  const { input_tokens: both } = await clients[1].messages.countTokens({ ...turn, conversation_token });
  assert.ok(0 < alone && alone < both, `${alone} of ${both}`);
});

test("a token that is none raises BadRequestError, and is not tried again", async () => {
  for (const stream of [false, true]) {
    const counted = counting();
    const once = clients[0].withOptions({ fetch: counted });
    const turn = { ...request({ text: "What is my name?", state: "garbage" }), stream };
    await assert.rejects(once.messages.create(turn), (error) => {
      assert.ok(error instanceof BadRequestError);
      assert.equal(error.error.type, "error");
      assert.equal(error.error.error.type, "invalid_request_error");
      assert.equal(error.error.error.code, "token_invalid");
      assert.ok(error.requestID, "the request's id is there to quote");
      return true;
    });
    assert.equal(counted.calls, 1);
  }
});
