// docs/mobile.md: its HTTP examples, sent as they stand, are answered as they say, but for what differs from run to run.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { test } from "node:test";
import { cutting, newKeys, start } from "./servers.mjs";

const KEY = "ada-0123456789abcdef";
const IDENTITY = `
[identity]
mode = "api_key"
[identity.api_key]
keys = [{ digest = "${createHash("sha256").update(KEY).digest("hex")}", user = "ada" }]
`;
const model = (lines) => `
[[upstream]]
name = "upstream"
${lines}
[[model]]
alias = "default"
model = "builtin"
upstreams = ["upstream"]
${IDENTITY}`;
const BUILTIN = model('kind = "builtin"');

/** The examples: what stands before each says on which server it is played. */
function examples() {
  const page = readFileSync(process.env.HOLDALL_MOBILE, "utf8");
  const found = [...page.matchAll(/<!-- played: (.*?) -->\n```http\n([^]*?)\n```\n[^`]*?```http\n([^]*?)\n```/g)];
  return found.map(([, server, asked, answered]) => ({ server, asked: message(asked), answered: message(answered) }));
}

function message(text) {
  const [head, ...body] = text.split("\n\n");
  const [first, ...fields] = head.split("\n");
  return { first, fields: fields.map((field) => field.split(": ")), body: body.join("\n\n") };
}

function play({ first, fields, body }, server, token) {
  const [method, path] = first.split(" ");
  const bytes = body.replace("eyJhbGciOi…", token);
  return new Promise((resolve, reject) => {
    const headers = { ...Object.fromEntries(fields), "content-length": Buffer.byteLength(bytes) };
    const asking = request(new URL(path, server.url), { method, headers }, async (response) => {
      let text = "";
      response.setEncoding("utf8");
      for await (const chunk of response) text += chunk;
      const status = `HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage}`;
      resolve({ first: status, fields: Object.entries(response.headers), body: text.trimEnd() });
    });
    asking.on("error", reject);
    asking.end(bytes);
  });
}

const TOKEN = /"token":"(eyJ[^"]*)"/;
const VARYING = [
  [/"token":"eyJ[^"]*"/g, '"token":"*"'],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "*"],
  [/req_[0-9a-f-]{36}/g, "*"],
  [/"id":"[0-9a-f]{8}-[0-9a-f-]{27}"/g, '"id":"*"'],
  [/"(token_bytes|retry_after_seconds)":\d+/g, '"$1":*'],
  [/Retry in [^."]+\./g, "Retry in *."],
];

/** The message without what differs from run to run. */
function lasting({ first, fields, body }) {
  const steady = (text) => VARYING.reduce((text, [found, kept]) => text.replace(found, kept), text);
  const kept = fields.filter(
    ([name]) => !["connection", "content-length", "date", "keep-alive", "transfer-encoding"].includes(name),
  );
  const values = kept.map(([name, value]) => [
    name,
    name === "retry-after" || name.startsWith("ratelimit") ? "*" : steady(value),
  ]);
  return { first, fields: values.sort(), body: steady(body) };
}

test("the examples of docs/mobile.md are answered as they say", async (t) => {
  const keys = newKeys();
  const cut = await cutting();
  t.after(cut.stop);
  const upstream = /^(kind|base_url) = .*$/gm;
  const configs = {
    plain: BUILTIN,
    "one turn in an hour": `${BUILTIN}\n[guard]\nrate = "1/1h"\n`,
    "terms that the chat has outlived": `max_age = "1s"\nttl = "1s"\n${BUILTIN}`,
    "a model that breaks off": model(cut.config.match(upstream).join("\n")),
  };
  const servers = {};
  t.after(() => Object.values(servers).forEach((server) => server.stop()));
  let token;
  const played = examples();
  assert.deepEqual(
    new Set(played.map(({ server }) => server)),
    new Set(Object.keys(configs)),
    "each server has an example",
  );
  for (const { server, asked, answered } of played) {
    servers[server] ??= await start(keys, configs[server]);
    if (server === "one turn in an hour") await play(asked, servers[server], token);
    if (server === "terms that the chat has outlived") await new Promise((resolve) => setTimeout(resolve, 1_100));
    const answer = await play(asked, servers[server], token);
    assert.deepEqual(lasting(answer), lasting(answered), `${server}: ${asked.first}`);
    if (server === "plain") token = TOKEN.exec(answer.body)?.[1] ?? token;
  }
});

test("the Swift example ends lines where the server does, and nowhere else", () => {
  const [, swift] = /```swift\n(struct Turn[^]*?)```/.exec(readFileSync(process.env.HOLDALL_MOBILE, "utf8"));
  assert.match(swift, /guard byte == 0x0A else/);
  assert.doesNotMatch(swift, /\.lines\b/);
});

test("an event is one line with its name and one with its data", async (t) => {
  const server = await start(newKeys(), BUILTIN);
  t.after(server.stop);
  const fields = [
    ["authorization", `Bearer ${KEY}`],
    ["content-type", "application/json"],
  ];
  const words = "one\r\ntwo\n\nthree\rfour\u0085five\u2028six\u2029seven";
  const body = JSON.stringify({ input: `Repeat ${words}`, stream: true });
  const answer = await play({ first: "POST /v1/turns HTTP/1.1", fields, body }, server);
  const lines = answer.body.split("\n").filter((line) => line !== "");
  assert.ok(lines.length > 6);
  assert.ok(/\u0085five\u2028six\u2029seven/.test(lines.at(-1)), "they are sent as they are");
  lines.forEach((line, at) => assert.match(line, at % 2 === 0 ? /^event: [a-z_]+$/ : /^data: \{[^]*\}$/));
});
