// Two `holdall serve` processes that share nothing but their keys, and a count of what a client sends them.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** One alias, `default`, for the built-in model. */
export const BUILTIN = `
[[upstream]]
name = "upstream"
kind = "builtin"
[[model]]
alias = "default"
model = "builtin"
upstreams = ["upstream"]
`;

/** The same, where clients may send the history. */
export const ACCEPTING = `client_history = "accept"\n${BUILTIN}`;

/** A key ring of one fresh key, as `HOLDALL_KEYS` has it. */
export function newKeys() {
  return `test:${randomBytes(32).toString("base64url")}`;
}

/** One `holdall serve` on a loopback port of the system's choice. */
export async function start(keys, config = BUILTIN) {
  const folder = mkdtempSync(join(tmpdir(), "holdall-"));
  const file = join(folder, "holdall.toml");
  writeFileSync(file, config);
  // Nothing of this shell's settings is to reach the server.
  const process_ = spawn(process.env.HOLDALL_BIN, ["serve", "--config", file, "--listen", "127.0.0.1:0"], {
    // Suites read faster than people do.
    env: { HOLDALL_KEYS: keys, HOLDALL_READ_RATE: "off" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log = [];
  const url = await new Promise((resolve, reject) => {
    // Read to the end: a full pipe would stop the server.
    createInterface({ input: process_.stderr }).on("line", (line) => {
      log.push(line);
      const found = /listens on (http:\/\/\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    process_.on("error", reject);
    process_.on("exit", () => reject(new Error(`holdall did not start: ${log.join("\n")}`)));
  });
  const stop = () => {
    process_.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  };
  return { url, api: `${url}/v1`, log, stop };
}

/** Two servers with the same keys: a conversation goes to one and the other in turn. */
export async function startTwo(config) {
  const keys = newKeys();
  const servers = await Promise.all([start(keys, config), start(keys, config)]);
  return { servers, stop: () => servers.forEach((server) => server.stop()) };
}

/** A `fetch` that counts its calls and keeps the last request's body. */
export function counting() {
  const counted = async (url, options) => {
    counted.calls += 1;
    counted.body = typeof options?.body === "string" ? JSON.parse(options.body) : undefined;
    return fetch(url, options);
  };
  counted.calls = 0;
  return counted;
}

/** A `fetch` that sends each request to the next of the servers, whichever it is for, and keeps the statuses. */
export function alternating(servers) {
  const alternated = async (url, options) => {
    const { pathname } = new URL(url);
    const response = await fetch(servers[alternated.statuses.length % servers.length].url + pathname, options);
    alternated.statuses.push(response.status);
    return response;
  };
  alternated.statuses = [];
  return alternated;
}

/** A model server that answers every request with this status; counts them. */
export function failing(status) {
  return upstream((request, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { message: "no", type: "refused", code: "no" } }));
  });
}

/** A model server that says "Hello there", and is gone in the middle of its reply. */
export function cutting() {
  return upstream((request, response) => {
    const delta = { role: "assistant", content: "Hello there" };
    const chunk = {
      id: "c",
      object: "chat.completion.chunk",
      created: 1,
      model: "m",
      choices: [{ index: 0, delta, finish_reason: null }],
    };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`data: ${JSON.stringify(chunk)}\n\n`, () => response.destroy());
  });
}

async function upstream(answer) {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => answer(request, response));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${server.address().port}/v1`;
  const config = BUILTIN.replace('kind = "builtin"', `kind = "openai"\nbase_url = "${address}"`);
  return { config, stop: () => server.close() };
}
