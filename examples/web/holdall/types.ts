/** The types of the OpenAPI document, under the names that this client uses. */

import type { components } from "./api";

type Schemas = components["schemas"];

/** The input of a turn: text, or parts (text, images) and tool results. */
export type Input = Schemas["TurnRequest"]["input"];

/** The options of a turn: `model`, `tools`, `truncation`, `user_id` and so on. */
export type TurnOptions = Omit<Schemas["TurnRequest"], "input" | "stream" | "token">;

/** A complete response, with the token that continues from it. */
export type Answer = Schemas["TurnAnswer"];

/** The state of a conversation: turn, sizes, expiry. */
export type Standing = Schemas["Conversation"];

/** One item of a history. */
export type Item = Schemas["Item"];

/** The messages so far. `conversation` is absent before the first turn. */
export type History = { items: Item[]; conversation?: Standing };

/** An interrupted reply, with a token that continues from there. */
export type PartialReply = Schemas["PartialReply"];

/** An error as the server sends it. On a stream it includes the shown part of the reply. */
export type Problem = Schemas["TurnError"];

/** Reads JSON. Returns `undefined` for anything else. */
export function parse<T>(text: string | null): T | undefined {
  try {
    return text === null ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}
