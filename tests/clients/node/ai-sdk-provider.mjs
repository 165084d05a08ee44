// The AI SDK's provider for OpenAI, for the tests of libraries that are built on it.

import { createOpenAI } from "@ai-sdk/openai";
import { alternating } from "./servers.mjs";

/** The provider, each of whose requests goes to the next of the servers, and the `fetch` that sends them. */
export function provider(servers) {
  const fetch = alternating(servers);
  return { openai: createOpenAI({ baseURL: servers[0].api, apiKey: "none", fetch }), fetch };
}

/** The options of a step that continues the response `id`. */
export function continuing(id) {
  return { providerOptions: { openai: { previousResponseId: id } } };
}
