// A reply that is cut in the middle: no framework takes it for a whole one. (The SDK itself: openai.test.mjs.)

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAI as createOpenAI3 } from "@ai-sdk/openai-3";
import { ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIResponsesModel, run } from "@openai/agents";
import * as aiNewest from "ai";
import * as ai6 from "ai-6";
import OpenAI, { APIError } from "openai";
import { cutting, newKeys, start } from "./servers.mjs";

const apiKey = "none";
const model = "default";

let upstream;
let server;
before(async () => {
  upstream = await cutting();
  server = await start(newKeys(), upstream.config);
});
after(() => {
  server.stop();
  upstream.stop();
});

function isCut(error) {
  assert.ok(error instanceof APIError);
  assert.equal(error.code, "upstream_cut");
  return true;
}

for (const [mode, metadata] of [["held", {}], ["live", { holdall_stream: "live" }]]) {
  test(`LangChain raises APIError, ${mode}`, async () => {
    const configuration = { baseURL: server.api };
    const chat = new ChatOpenAI({ apiKey, model, useResponsesApi: true, maxRetries: 0, modelKwargs: { metadata }, configuration });
    await assert.rejects(async () => {
      for await (const piece of await chat.stream("Hello")) assert.ok(piece);
    }, isCut);
  });

  test(`the Agents SDK raises APIError, ${mode}`, async () => {
    const client = new OpenAI({ apiKey, baseURL: server.api, maxRetries: 0 });
    const modelSettings = { providerData: { metadata } };
    const agent = new Agent({ name: "agent", model: new OpenAIResponsesModel(client, model), modelSettings });
    const result = await run(agent, "Hello", { stream: true });
    await assert.rejects(async () => {
      for await (const event of result) assert.ok(event);
      await result.completed;
    }, isCut);
  });

  for (const [name, ai, create] of [["ai 7", aiNewest, createOpenAI], ["ai 6", ai6, createOpenAI3]]) {
    test(`${name} reports an error and no finish, ${mode}`, async () => {
      const errors = [];
      const stream = ai.streamText({
        model: create({ apiKey, baseURL: server.api }).responses(model),
        prompt: "Hello",
        maxRetries: 0,
        providerOptions: { openai: { metadata } },
        onError: ({ error }) => errors.push(error),
      });
      const reasons = [];
      for await (const part of stream.fullStream) if (part.type === "finish-step") reasons.push(part.finishReason);
      assert.equal(errors.length, 1);
      assert.match(JSON.stringify(errors[0]), /upstream_cut/);
      // Where text had come, there is a step, and it ended badly.
      assert.deepEqual(reasons, mode === "live" ? ["error"] : []);
    });
  }
}
