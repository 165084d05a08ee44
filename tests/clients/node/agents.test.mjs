// OpenAI's Agents SDK for JavaScript: `previousResponseId` in, `lastResponseId` out; it runs the tools by itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent, OpenAIResponsesModel, run, tool } from "@openai/agents";
import OpenAI, { BadRequestError } from "openai";
import { ADD, CALLS, converse } from "./conversation.mjs";
import { ACCEPTING, counting, startTwo } from "./servers.mjs";

let two;
before(async () => (two = await startTwo()));
after(() => two.stop());

function agent(server, settings) {
  return agentAt(two.servers[server].api, settings);
}

function agentAt(baseURL, { fetch, ...modelSettings } = {}) {
  const client = new OpenAI({ baseURL, apiKey: "none", fetch });
  const add = tool({ ...ADD, strict: true, execute: ({ a, b }) => String(a + b) });
  return new Agent({
    name: "adder",
    instructions: "Be brief.",
    model: new OpenAIResponsesModel(client, "default"),
    tools: [add],
    modelSettings,
  });
}

test("run holds a conversation over two servers, tool and all", async () => {
  await converse(async ({ server, state, text }) => {
    const result = await run(agent(server), text, { previousResponseId: state });
    return { text: result.finalOutput, state: result.lastResponseId };
  });
});

for (const [mode, settings] of [
  ["held", {}],
  ["live", { providerData: { metadata: { holdall_stream: "live" } } }],
]) {
  test(`run streamed holds a conversation over two servers, ${mode}`, async () => {
    await converse(async ({ server, state, text }) => {
      const result = await run(agent(server, settings), text, { previousResponseId: state, stream: true });
      let said = "";
      for await (const piece of result.toTextStream()) said += piece;
      await result.completed;
      assert.equal(said, result.finalOutput);
      return { text: result.finalOutput, state: result.lastResponseId };
    });
  });
}

test("an id that is no token raises BadRequestError, and is not tried again", async () => {
  const fetch = counting();
  await assert.rejects(
    run(agent(0, { fetch }), "What is my name?", { previousResponseId: "resp_garbage" }),
    (error) => {
      assert.ok(error instanceof BadRequestError);
      assert.equal(error.code, "previous_response_not_found");
      return true;
    },
  );
  assert.equal(fetch.calls, 1);
});

test("a first run that calls a tool is refused, for its second request brings its own history", async () => {
  await assert.rejects(run(agent(0), CALLS), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.equal(error.code, "role_forbidden");
    return true;
  });
});

test("where client history is accepted, a first run may call a tool", async () => {
  const accepting = await startTwo(ACCEPTING);
  try {
    const [one, other] = accepting.servers.map((server) => agentAt(server.api));
    const first = await run(one, CALLS);
    assert.equal(first.finalOutput, "add gave: 5\nadd gave: 9");
    const second = await run(other, "What did I say first?", { previousResponseId: first.lastResponseId });
    assert.equal(second.finalOutput, `Your first message was: "${CALLS}"`);
  } finally {
    accepting.stop();
  }
});
