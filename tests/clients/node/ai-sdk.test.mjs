// Vercel's AI SDK with its OpenAI provider, the newest major of both and the one before it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as openaiNewest from "@ai-sdk/openai";
import * as openai3 from "@ai-sdk/openai-3";
import * as aiNewest from "ai";
import * as ai6 from "ai-6";
import { ADD, CALLS, converse } from "./conversation.mjs";
import { counting, startTwo } from "./servers.mjs";

let two;
before(async () => (two = await startTwo()));
after(() => two.stop());

for (const [name, ai, { createOpenAI }] of [["ai 7", aiNewest, openaiNewest], ["ai 6", ai6, openai3]]) {
  const model = (server, fetch) => createOpenAI({ baseURL: two.servers[server].api, apiKey: "none", fetch }).responses("default");
  const add = { description: ADD.description, inputSchema: ai.jsonSchema(ADD.parameters) };
  const after_ = (id, more) => ({ openai: { previousResponseId: id, ...more } });

  /** What a turn asks for: the new message alone, the rest is in the id. */
  const request = ({ server, state, text, results }) => ({
    model: model(server),
    tools: { add },
    // Version 7 has a new name for it.
    [ai === aiNewest ? "instructions" : "system"]: "Be brief.",
    providerOptions: after_(state),
    messages: [
      text === undefined
        ? { role: "tool", content: results.map(toolResult) }
        : { role: "user", content: text },
    ],
  });

  const toolResult = ({ id, output }) => (
    { type: "tool-result", toolCallId: id, toolName: "add", output: { type: "text", value: output } }
  );

  const heard = (text, toolCalls, state) => {
    if (!toolCalls.length) return { text, state };
    return { calls: toolCalls.map(({ toolCallId, toolName, input }) => ({ id: toolCallId, name: toolName, args: input })), state };
  };

  describe(name, () => {
    test("generateText holds a conversation over two servers", async () => {
      await converse(async (turn) => {
        const { text, toolCalls, response, providerMetadata } = await ai.generateText(request(turn));
        assert.equal(response.id, providerMetadata.openai.responseId);
        return heard(text, toolCalls, providerMetadata.openai.responseId);
      });
    });

    test("streamText holds a conversation over two servers", async () => {
      await converse(async (turn) => {
        const stream = ai.streamText(request(turn));
        const deltas = [];
        for await (const delta of stream.textStream) deltas.push(delta);
        assert.equal(deltas.join(""), await stream.text);
        return heard(await stream.text, await stream.toolCalls, (await stream.providerMetadata).openai.responseId);
      });
    });

    test("of a live stream the AI SDK keeps the created event's id, so live is not for it", async () => {
      const stream = ai.streamText({
        model: model(0),
        prompt: "My name is Ada.",
        providerOptions: { openai: { metadata: { holdall_stream: "live" } } },
        includeRawChunks: true,
      });
      let token;
      for await (const part of stream.fullStream) {
        if (part.type === "raw" && part.rawValue.type === "response.completed") token = part.rawValue.response.id;
      }
      assert.notEqual((await stream.providerMetadata).openai.responseId, token);
      const { text } = await ai.generateText({ model: model(1), prompt: "What is my name?", providerOptions: after_(token) });
      assert.equal(text, "Your name is Ada.", "its raw chunks have the token");
    });

    test("a tool loop goes on from step to step", async () => {
      const named = await ai.generateText({ model: model(0), prompt: "My name is Ada." });
      const { text, steps, providerMetadata } = await ai.generateText({
        model: model(1),
        tools: { add: { ...add, execute: ({ a, b }) => String(a + b) } },
        prompt: CALLS,
        providerOptions: after_(named.providerMetadata.openai.responseId),
        stopWhen: ai.stepCountIs(3),
        // Each step continues the one before it, and sends only what is new: the results of the tools.
        prepareStep: ({ steps, messages }) => steps.length > 0 && {
          messages: messages.slice(-1),
          providerOptions: after_(steps.at(-1).providerMetadata.openai.responseId),
        } || undefined,
      });
      assert.equal(text, "add gave: 5\nadd gave: 9");
      assert.equal(steps.length, 2);
      const last = await ai.generateText({
        model: model(0), prompt: "What is my name?", providerOptions: after_(providerMetadata.openai.responseId),
      });
      assert.equal(last.text, "Your name is Ada.");
    });

    test("an id that is no token raises APICallError, and is not tried again", async () => {
      const counted = counting();
      const turn = { model: model(0, counted), prompt: "What is my name?", providerOptions: after_("resp_garbage") };
      await assert.rejects(ai.generateText(turn), (error) => {
        assertNotFound(error);
        return true;
      });
      assert.equal(counted.calls, 1);
      const errors = [];
      const stream = ai.streamText({ ...turn, onError: ({ error }) => errors.push(error) });
      await stream.consumeStream();
      assert.equal(errors.length, 1);
      assertNotFound(errors[0]);
      assert.equal(counted.calls, 2);
    });

    const assertNotFound = (error) => {
      assert.ok(ai.APICallError.isInstance(error));
      assert.equal(error.statusCode, 400);
      assert.equal(error.isRetryable, false);
      assert.equal(error.data.error.code, "previous_response_not_found");
    };
  });
}
