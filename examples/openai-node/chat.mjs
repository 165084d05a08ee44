// A chat with the stock OpenAI SDK. The server keeps nothing: the id of its last answer is the whole conversation, and
// this file keeps that. Type a line, get an answer; stop, start again (at any instance), and go on where you were.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import OpenAI from "openai";

const FILE = "conversation.txt";
const url = process.env.HOLDALL_URL ?? "http://127.0.0.1:8787";
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.HOLDALL_API_KEY ?? "none" });

let previous = existsSync(FILE) ? readFileSync(FILE, "utf8") : undefined;

async function say(input) {
  const stream = await client.responses.create({
    model: "default",
    input,
    previous_response_id: previous,
    stream: true,
    // Words as they come. The id is then in the last event; without this line it is in all of them, and the words
    // come when the answer is whole, as `client.responses.stream` wants it.
    metadata: { holdall_stream: "live" },
  });
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
    if (event.type === "response.failed") throw new Error(event.response.error.message);
    if (event.type === "response.completed" || event.type === "response.incomplete") previous = event.response.id;
  }
  process.stdout.write("\n");
  writeFileSync(FILE, previous);
}

try {
  for await (const line of createInterface({ input: process.stdin })) await say(line);
} catch (error) {
  console.error(error.code ?? "error", error.message);
  process.exitCode = 1;
}
