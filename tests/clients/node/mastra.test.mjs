// Mastra's agents, with a model of the AI SDK's OpenAI provider: they run the tools by themselves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "@mastra/core/agent";
import { createTool } from "@mastra/core/tools";
import { z } from "zod";
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

const add = createTool({
  id: ADD.name,
  description: ADD.description,
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(a + b),
});

function agent(model) {
  return new Agent({ id: "adder", name: "adder", instructions: "Be brief.", model, tools: { add } });
}

/** Both ways to have a reply: its text, its messages, and the id of the last response. */
const WAYS = {
  generate: async (agent, said, options) => {
    const { text, response } = await agent.generate(said, options);
    return { text, response };
  },
  stream: async (agent, said, options) => {
    const stream = await agent.stream(said, options);
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    return { text, response: await stream.response };
  },
};

for (const [way, ask] of Object.entries(WAYS)) {
  test(`${way} continues the last response on any server`, async () => {
    const adder = agent(provider(two.servers).openai("default"));
    await converse(async ({ state, text }) => {
      const answer = await ask(adder, text, {
        // Each step continues the one before it.
        prepareStep: ({ steps }) => continuing(steps.at(-1)?.response?.id ?? state),
      });
      return { text: answer.text, state: answer.response.id };
    });
  });

  test(`${way} may send all messages where client history is accepted`, async () => {
    const adder = agent(provider(accepting.servers).openai.chat("default"));
    await converse(async ({ state = [], text }) => {
      const said = [...state, { role: "user", content: text }];
      const answer = await ask(adder, said);
      return { text: answer.text, state: [...said, ...answer.response.messages] };
    });
  });
}
