// A `useChat` route of the AI SDK, as its guide has it: `convertToModelMessages`, `streamText`,
// `toUIMessageStreamResponse`. The client is the class that `useChat` is made of, without React.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  AbstractChat,
  convertToModelMessages,
  DefaultChatTransport,
  jsonSchema,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { continuing, provider } from "./ai-sdk-provider.mjs";
import { ADD, converse } from "./conversation.mjs";
import { ACCEPTING, startTwo } from "./servers.mjs";

let two, accepting;
before(async () => {
  two = await startTwo();
  accepting = await startTwo(ACCEPTING);
});
after(() => {
  two.stop();
  accepting.stop();
});

const add = tool({
  description: ADD.description,
  inputSchema: jsonSchema(ADD.parameters),
  execute: ({ a, b }) => String(a + b),
});

/** What `useChat` keeps in React's state, kept in a variable. */
class Chat extends AbstractChat {
  constructor(route) {
    let messages = [];
    super({
      transport: new DefaultChatTransport({ fetch: (url, { body }) => route(JSON.parse(body)) }),
      state: {
        status: "ready",
        error: undefined,
        get messages() {
          return messages;
        },
        set messages(all) {
          messages = all;
        },
        pushMessage: (message) => (messages = [...messages, message]),
        popMessage: () => (messages = messages.slice(0, -1)),
        replaceMessage: (at, message) => (messages = messages.with(at, message)),
        snapshot: structuredClone,
      },
    });
  }
}

/** Holds the conversation with a route; each request that it makes goes to the other of the servers. */
async function chatWith(route, wanted) {
  const chat = new Chat(route);
  let turn = 0;
  await converse(async ({ text }) => {
    await chat.sendMessage({ text });
    assert.equal(chat.error, undefined);
    const parts = chat.messages.at(-1).parts.filter((part) => part.type === "text");
    turn += 1;
    return { text: parts.map((part) => part.text).join(""), state: turn };
  });
  // Six turns, one of which has a tool called.
  assert.deepEqual(wanted.statuses, Array(7).fill(200));
}

/** The route of the guide, with what else is given to `streamText`. */
function route(model, more = {}) {
  return async ({ messages }) => {
    const result = streamText({
      model,
      instructions: "Be brief.",
      messages: await convertToModelMessages(messages),
      tools: { add },
      stopWhen: stepCountIs(5),
      ...more,
    });
    return result.toUIMessageStreamResponse();
  };
}

test("where client history is accepted, the route works with Chat Completions", async () => {
  const { openai, fetch } = provider(accepting.servers);
  await chatWith(route(openai.chat("default")), fetch);
});

test("where client history is accepted, the route works with Responses and store: false", async () => {
  const { openai, fetch } = provider(accepting.servers);
  await chatWith(route(openai("default"), { providerOptions: { openai: { store: false } } }), fetch);
});

test("a route that continues the last response works on any server", async () => {
  const { openai, fetch } = provider(two.servers);
  await chatWith(async ({ messages }) => {
    const id = messages.findLast((message) => message.metadata)?.metadata.responseId;
    const result = streamText({
      model: openai("default"),
      instructions: "Be brief.",
      messages: await convertToModelMessages(messages),
      tools: { add },
      stopWhen: stepCountIs(5),
      prepareStep: ({ steps }) => continuing(steps.at(-1)?.response.id ?? id),
    });
    return result.toUIMessageStreamResponse({
      messageMetadata: ({ part }) => (part.type === "finish-step" ? { responseId: part.response.id } : undefined),
    });
  }, fetch);
});

test("without store: false, the second turn is refused by name", async () => {
  const { openai } = provider(accepting.servers);
  const chat = new Chat(route(openai("default"), { onError: () => {} }));
  await chat.sendMessage({ text: "My name is Ada." });
  assert.equal(chat.error, undefined);
  let refusal;
  const told = route(openai("default"), { onError: ({ error }) => (refusal = error) });
  await (await told({ messages: [...chat.messages, { role: "user", parts: [{ type: "text", text: "?" }] }] })).text();
  assert.equal(refusal.statusCode, 400);
  assert.match(refusal.message, /item_reference/);
  assert.match(refusal.message, /`?store`?: false/);
});
