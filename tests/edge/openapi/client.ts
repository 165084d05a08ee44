// What a client in TypeScript has of the document: names that can be read, and mistakes that do not compile.
import type { components, operations, paths } from "./holdall.js";

type Schemas = components["schemas"];

const request: Schemas["TurnRequest"] = {
  input: [{ text: "hi" }, { t: "result", id: "c1", out: "3" }],
  token: null,
  tools: [{ name: "add", parameters: { type: "object" } }],
  truncation: "oldest",
};

// @ts-expect-error A turn has an input.
const without: Schemas["TurnRequest"] = { token: null };

// @ts-expect-error There is no such way.
const astray: Schemas["TurnRequest"] = { input: "hi", truncation: "newest" };

function show(event: Schemas["TurnEvent"]): string {
  switch (event.event) {
    case "delta":
      return event.data.text;
    case "tool_call":
      return `${event.data.name}(${event.data.args})`;
    case "done":
      return event.data.token;
    case "error":
      return event.data.partial?.token ?? event.data.code;
  }
}

function said(item: Schemas["Item"]): string[] {
  if (item.t !== "msg") return [];
  return item.parts.flatMap((part) => ("text" in part ? [part.text] : []));
}

type Turn = operations["takeTurn"]["responses"][200]["content"]["application/json"];
type Refused = operations["takeTurn"]["responses"][429]["content"]["application/problem+json"];
type Usage = paths["/v1/usage"]["get"]["responses"][200]["content"]["application/json"];

export function read(turn: Turn, refused: Refused, usage: Usage): unknown[] {
  const wait: number | undefined = refused.retry === "after" ? refused.retry_after_seconds : undefined;
  return [turn.conversation.expires_at, turn.output.map(said), wait, usage.limits[0]?.remaining, refused.code === "user_busy"];
}

export { astray, request, show, without };
