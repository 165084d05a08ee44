// A TypeScript client with the types of the document. The names are readable, and mistakes do not compile.
import type { components, operations, paths } from "./holdall.js";

type Schemas = components["schemas"];

const request: Schemas["TurnRequest"] = {
  input: [{ text: "hi" }, { t: "result", id: "c1", out: "3" }],
  token: null,
  tools: [{ name: "add", parameters: { type: "object" } }],
  truncation: "oldest",
};

// @ts-expect-error `input` is required.
const withoutInput: Schemas["TurnRequest"] = { token: null };

// @ts-expect-error `newest` is not a value of `truncation`.
const misspelt: Schemas["TurnRequest"] = { input: "hi", truncation: "newest" };

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

function textsOf(item: Schemas["Item"]): string[] {
  if (item.t !== "msg") return [];
  return item.parts.flatMap((part) => ("text" in part ? [part.text] : []));
}

type Turn = operations["takeTurn"]["responses"][200]["content"]["application/json"];
type Limited = operations["takeTurn"]["responses"][429]["content"]["application/problem+json"];
type Usage = paths["/v1/usage"]["get"]["responses"][200]["content"]["application/json"];

export function read(turn: Turn, limited: Limited, usage: Usage): unknown[] {
  const wait: number | undefined = limited.retry === "after" ? limited.retry_after_seconds : undefined;
  return [turn.conversation.expires_at, turn.output.map(textsOf), wait, usage.limits[0]?.remaining, limited.code === "user_busy"];
}

export { misspelt, request, show, withoutInput };
