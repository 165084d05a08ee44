// A chat with the unmodified OpenAI SDK. The server stores nothing. The id of the last response
// contains the whole conversation, and this program stores it in a file. Type a line to get a
// reply. Stop the program and start it again, with any instance: it continues the conversation.

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
    // Streams text as the model writes it, with the id in the last event. Without this line all
    // events have the id, and they arrive when the reply is complete. `client.responses.stream`
    // needs that.
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
