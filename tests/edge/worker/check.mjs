// What is a Worker's alone: clients that leave, calls by `fetch`, an issuer's keys without a task beside the requests,
// a configuration that is refused. Each test has a Worker of its own, in workerd, behind `tests/edge/worker/holdall`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

const LAUNCHER = new URL("holdall", import.meta.url).pathname;

/** A Worker with this configuration, ended with the test. */
async function start(t, config, variables = {}) {
  const folder = mkdtempSync(join(tmpdir(), "holdall-"));
  const file = join(folder, "holdall.toml");
  writeFileSync(file, config);
  const worker = spawn(LAUNCHER, ["serve", "--config", file, "--listen", "127.0.0.1:0"], {
    env: { PATH: process.env.PATH, HOLDALL_KEYS: `test:${randomBytes(32).toString("base64url")}`, ...variables },
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.after(() => {
    worker.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  });
  const log = [];
  const url = await new Promise((resolve) => {
    createInterface({ input: worker.stderr }).on("line", (line) => {
      log.push(line);
      const found = /listens on (http:\/\/\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    worker.on("exit", () => resolve(undefined));
  });
  return { url, log };
}

/** A server on the loopback, ended with the test. */
async function serve(t, answer) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

function upstream(...urls) {
  return `
[[upstream]]
name = "upstream"
kind = "openai"
api_key_env = "HOLDALL_UPSTREAM_KEY"
base_urls = ${JSON.stringify(urls)}
[[model]]
alias = "default"
model = "m"
upstreams = ["upstream"]
`;
}

const BUILTIN = `
[[upstream]]
name = "upstream"
kind = "builtin"
[[model]]
alias = "default"
model = "builtin"
upstreams = ["upstream"]
`;

const KEY = { HOLDALL_UPSTREAM_KEY: "sk-operators" };

/** Bindings that are no texts. */
function json(bindings) {
  return { JSON_BINDINGS: JSON.stringify(bindings) };
}

function turn(url, body, options = {}) {
  const { headers, ...rest } = options;
  return fetch(`${url}/v1/turns`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
    ...rest,
  });
}

function delta(text) {
  const choices = [{ index: 0, delta: { role: "assistant", content: text }, finish_reason: null }];
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices })}\n\n`;
}

const END = `data: ${JSON.stringify({
  id: "c",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta: {}, finish_reason: "stop" }],
})}\n\ndata: [DONE]\n\n`;

/** Asks again and again, for ten seconds at most, until `is_so`. */
async function until(what, isSo) {
  for (const end = Date.now() + 10_000; Date.now() < end; ) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`not within ten seconds: ${what}`);
}

test("a client that leaves ends its call and gives its place back", async (t) => {
  let [called, closed] = [0, 0];
  const model = await serve(t, (request, response) => {
    called += 1;
    request.resume();
    response.on("close", () => (closed += 1));
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(delta("and so on"));
  });
  const { url, log } = await start(t, `${upstream(`${model}/v1`)}\n[limits]\nturns_per_user = 1\n`, KEY);
  const left = () => log.filter((line) => line.includes('"status":499')).length;
  for (const [turns, stream] of [true, false].entries()) {
    const body = { input: "Hello", user_id: "ada", stream };
    const leaving = request(`${url}/v1/turns`, { method: "POST", headers: { "content-type": "application/json" } });
    leaving.on("error", () => undefined);
    leaving.end(JSON.stringify(body));
    if (stream) {
      const [answer] = await once(leaving, "response");
      answer.on("error", () => undefined);
      assert.match(String((await once(answer, "data"))[0]), /and so on/);
    } else {
      await until("the model is called", () => called === turns + 1);
    }
    const busy = await turn(url, body);
    assert.equal((await busy.json()).code, "user_busy");
    // workerd looks for a connection's end as it writes, and hears of a reset at once; the platform's own front tells it.
    leaving.socket.resetAndDestroy();
    await until("the call is aborted", () => closed === turns + 1);
    await until("the log has it", () => left() === turns + 1);
  }
});

test("who takes nothing of an answer keeps no place for it", async (t) => {
  const model = await serve(t, (request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    const more = () => {
      while (!response.destroyed && response.write(delta("and so on ".repeat(5_000))));
      response.once("drain", more);
    };
    more();
  });
  const limits = "[limits]\nconcurrent_requests = 1\nreply_bytes = 1000000000\nhistory_bytes = 1000000000\nmessage_bytes = 1000000000\n[timeouts]\ntotal = \"2s\"\nwrite = \"1s\"\n";
  const { url } = await start(t, `${upstream(`${model}/v1`)}\n${limits}`, KEY);
  const idle = request(`${url}/v1/turns`, { method: "POST", headers: { "content-type": "application/json" } });
  t.after(() => idle.destroy());
  idle.on("error", () => undefined);
  idle.end(JSON.stringify({ input: "Hello", stream: true }));
  await once(idle, "response");
  // What is no turn takes a place as well.
  const isFull = async () => (await turn(url, {})).status === 503;
  assert.ok(await isFull());
  await until("there is a place", async () => !(await isFull()));
});

test("what a model says is shown as it comes", async (t) => {
  let goOn;
  const seen = new Promise((resolve) => (goOn = resolve));
  const model = await serve(t, async (request, response) => {
    assert.equal(request.headers.authorization, "Bearer sk-operators");
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(delta("first"));
    await seen;
    response.end(delta(" last") + END);
  });
  const { url } = await start(t, upstream(`${model}/v1`), KEY);
  const answer = await turn(url, { input: "Hello", stream: true });
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of answer.body) {
    text += decoder.decode(piece);
    if (text.includes("first")) goOn();
  }
  assert.match(text, /"reply":"first last"/);
});

test("a model's redirect is not followed, and carries no key elsewhere", async (t) => {
  let visits = 0;
  const elsewhere = await serve(t, (request, response) => {
    visits += 1;
    response.end("{}");
  });
  const model = await serve(t, (request, response) => {
    request.resume();
    response.writeHead(307, { location: `${elsewhere}/v1/chat/completions` });
    response.end();
  });
  const { url } = await start(t, `retries = 0\n${upstream(`${model}/v1`)}`, KEY);
  const answer = await turn(url, { input: "Hello" });
  assert.equal(answer.status, 502);
  assert.equal(visits, 0);
});

test("a call that failed is made again at another address", async (t) => {
  let failures = 0;
  const failing = await serve(t, (request, response) => {
    failures += 1;
    request.resume();
    response.writeHead(503).end("{}");
  });
  const working = await serve(t, (request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(delta("here") + END);
  });
  const { url } = await start(t, upstream(`${failing}/v1`, `${working}/v1`), KEY);
  // Users begin at either.
  for (let user = 0; user < 16 || failures === 0; user += 1) {
    const answer = await turn(url, { input: "Hello", user_id: `user-${user}`, stream: true });
    assert.match(await answer.text(), /"reply":"here"/);
    assert.ok(user < 64, "nobody begins at the one that fails");
  }
});

test("an issuer's keys are fetched by those who need them, once for all", async (t) => {
  const issuer = { keys: [], fetches: 0, left: 0, hangs: false };
  const jwks = await serve(t, (request, response) => {
    issuer.fetches += 1;
    response.on("close", () => (issuer.left += response.writableEnded ? 0 : 1));
    if (issuer.hangs) return;
    const body = JSON.stringify({ keys: issuer.keys });
    setTimeout(() => response.writeHead(200, { "content-type": "application/json" }).end(body), 100);
  });
  const key = (kid) => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    return { privateKey, kid, jwk: { ...publicKey.export({ format: "jwk" }), kid, alg: "EdDSA", use: "sig" } };
  };
  const token = ({ kid, privateKey }, sub) => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: "https://issuer.example", aud: "chat", sub, iat: now, exp: now + 600 };
    const text = [{ alg: "EdDSA", kid, typ: "JWT" }, claims].map((part) => {
      return Buffer.from(JSON.stringify(part)).toString("base64url");
    });
    return [...text, sign(null, Buffer.from(text.join(".")), privateKey).toString("base64url")].join(".");
  };
  const [old, fresh, stranger] = ["old", "fresh", "stranger"].map(key);
  issuer.keys = [old.jwk];
  const identity = `
[identity]
mode = "jwt"
[identity.jwt]
issuer = "https://issuer.example"
audience = ["chat"]
jwks_url = "${jwks}/jwks"
`;
  const { url, log } = await start(t, BUILTIN + identity);
  const ask = async (signer, number) => {
    const headers = { authorization: `Bearer ${token(signer, `user-${number}`)}` };
    const answer = await turn(url, { input: "My name is Ada." }, { headers });
    return { status: answer.status, body: await answer.json() };
  };
  const all = (signer) => Promise.all(Array.from({ length: 30 }, (_, number) => ask(signer, number)));
  const statuses = (answers) => [...new Set(answers.map(({ status }) => status))];
  assert.deepEqual(statuses(await all(old)), [200]);
  assert.equal(issuer.fetches, 1);
  assert.equal((await fetch(`${url}/ready`)).status, 200);
  // The issuer goes on to another key.
  issuer.keys = [fresh.jwk];
  // Whose request fetches them leaves, and holds up nobody.
  issuer.hangs = true;
  const headers = { "content-type": "application/json", authorization: `Bearer ${token(fresh, "leaver")}` };
  const leaving = request(`${url}/v1/turns`, { method: "POST", headers });
  leaving.on("error", () => undefined);
  leaving.end(JSON.stringify({ input: "Hello" }));
  await until("the leaver asks for keys", () => issuer.fetches === 2);
  issuer.hangs = false;
  leaving.socket.resetAndDestroy();
  await until("the leaver's fetch is aborted", () => issuer.left === 1);
  const since = Date.now();
  const first = await all(fresh);
  assert.deepEqual(statuses(first), [200]);
  assert.equal(first[3].body.user_id, "user-3");
  assert.equal(issuer.fetches, 3);
  assert.ok(Date.now() - since < 4_000, `held up for ${Date.now() - since} ms`);
  assert.deepEqual(statuses(await all(old)), [401]);
  assert.deepEqual(statuses(await all(stranger)), [401]);
  assert.equal(issuer.fetches, 3, "strangers cause no fetch within a minute of another");
  assert.ok(!log.join("\n").includes("on behalf of a different request"), log.join("\n"));
});

test("a configuration that is refused serves nobody, and only the log says why", async (t) => {
  for (const [config, variables, why] of [
    [BUILTIN, { HOLDALL_DANGEROUS_OPEN: "false" }, "`identity.mode` is `none`"],
    [BUILTIN, { HOLDALL_REDIS_URL: "redis://127.0.0.1" }, "`guard.redis_url` is not supported in an isolate"],
    [BUILTIN.replace("[[model]]", "max_concurrency = 3\n[[model]]"), {}, "`upstream.max_concurrency` is not supported in an isolate"],
    ["nonsense = 1", {}, "unknown key `nonsense` in HOLDALL_CONFIG_TEXT, line 1"],
    [upstream("http://127.0.0.1:1/v1"), { HOLDALL_UPSTREAM_KEY: "sk-é" }, "of `upstream` names a key with characters that are not printable"],
    [BUILTIN, { HOLDALL_KEYS: "", HOLDALL_KEYS_FILE: "k1:c2VjcmV0" }, "`keys_file` names a file that cannot be read: No binding has this name"],
    [BUILTIN, json({ HOLDALL_SINGLE_USE: true }), "guard.single_use"],
    [BUILTIN, json({ HOLDALL_RETRIES: 11 }), "`retries` is 11; it must be from 0 to 10"],
    [BUILTIN, json({ HOLDALL_SINGLE_USE: ["yes"] }), "HOLDALL_SINGLE_USE: The binding is not a text"],
    [BUILTIN, json({ HOLDALL_SEAL: {} }), "HOLDALL_SEAL: The binding is not a text"],
    [BUILTIN, { HOLDALL_KEYS: "" }, "no token keys are configured"],
  ]) {
    const { url, log } = await start(t, config, { KEEP_REFUSED: "1", ...variables });
    const answer = await turn(url, { input: "Hello" });
    const { code, detail } = await answer.json();
    assert.deepEqual([answer.status, code], [500, "internal"]);
    assert.ok(!log.join("\n").includes("c2VjcmV0"));
    assert.ok(!detail.includes(why) && log.join("\n").includes(why), `${detail}\n${log.join("\n")}`);
    assert.equal((await fetch(`${url}/ready`)).status, 503);
  }
});
