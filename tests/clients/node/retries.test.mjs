// What a client tries again by itself: the SDKs go by our `x-should-retry`, the frameworks by the status alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIResponsesModel, run } from "@openai/agents";
import { generateText } from "ai";
import OpenAI from "openai";
import { counting, failing, newKeys, start } from "./servers.mjs";

const model = "default";
const input = "Hello";
const messages = [{ role: "user", content: input }];

/** One turn with each client, set to try again once at most. */
const TURNS = {
  "openai, responses": (api, fetch) => openai(api, fetch).responses.create({ model, input }),
  "openai, chat": (api, fetch) => openai(api, fetch).chat.completions.create({ model, messages }),
  "openai, live": async (api, fetch) => {
    const stream = await openai(api, fetch).responses.create({
      model,
      input,
      stream: true,
      metadata: { holdall_stream: "live" },
    });
    for await (const event of stream) assert.notEqual(event.type, "response.completed");
  },
  anthropic: (api, fetch) =>
    new Anthropic({ baseURL: api.replace(/\/v1$/, ""), apiKey: "none", fetch, maxRetries: 1 }).messages.create({
      model,
      max_tokens: 10,
      messages,
    }),
  agents: (api, fetch) =>
    run(new Agent({ name: "agent", model: new OpenAIResponsesModel(openai(api, fetch), model) }), input),
  "ai sdk": (api, fetch) =>
    generateText({
      model: createOpenAI({ baseURL: api, apiKey: "none", fetch }).responses(model),
      prompt: input,
      maxRetries: 1,
    }),
  langchain: (api, fetch) =>
    new ChatOpenAI({
      model,
      apiKey: "none",
      useResponsesApi: true,
      maxRetries: 1,
      configuration: { baseURL: api, fetch },
    }).invoke(input),
};

function openai(baseURL, fetch) {
  return new OpenAI({ baseURL, apiKey: "none", fetch, maxRetries: 1 });
}

/** How often each client calls, where the model server answers with this status. */
async function calls(status) {
  const upstream = await failing(status);
  const server = await start(newKeys(), upstream.config);
  try {
    const counts = await Promise.all(
      Object.entries(TURNS).map(async ([name, turn]) => {
        const counted = counting();
        await assert.rejects(async () => turn(server.api, counted), name);
        return [name, counted.calls];
      }),
    );
    return Object.fromEntries(counts);
  } finally {
    server.stop();
    upstream.stop();
  }
}

const BY_STATUS = { "ai sdk": 2, langchain: 2 };

test("what the model server refuses is not asked again by the SDKs", async () => {
  const once = Object.fromEntries(Object.keys(TURNS).map((name) => [name, 1]));
  assert.deepEqual(await calls(400), { ...once, ...BY_STATUS });
});

test("what the model server cannot do now is tried again", async () => {
  const twice = Object.fromEntries(Object.keys(TURNS).map((name) => [name, 2]));
  assert.deepEqual(await calls(503), twice);
});
