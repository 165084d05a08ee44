/** The wire's types, as the OpenAPI document has them, under the names that are used here. */

import type { components } from "./api";

type Schemas = components["schemas"];

/** What a turn can say: text, or parts (text, images) and results of tools. */
export type Input = Schemas["TurnRequest"]["input"];

/** What can be asked of a turn beside its input: `model`, `tools`, `truncation`, `user_id` and so on. */
export type TurnOptions = Omit<Schemas["TurnRequest"], "input" | "stream" | "token">;

/** A whole reply, with the token that goes on from it. */
export type Answer = Schemas["TurnAnswer"];

/** Where a conversation stands: turn, sizes, expiry. */
export type Standing = Schemas["Conversation"];

/** One entry of a history. */
export type Item = Schemas["Item"];

/** What was said so far; a conversation that has not begun has no standing. */
export type History = { items: Item[]; conversation?: Standing };

/** A reply that broke off, with a token that goes on from there. */
export type PartialReply = Schemas["PartialReply"];

/** An error as the server tells it; streamed, with what was shown of the reply. */
export type Problem = Schemas["TurnError"];

/** Reads JSON; what is none is as good as nothing. */
export function parse<T>(text: string | null): T | undefined {
  try {
    return text === null ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}
