// What a conversation does with what it is answered: a `fetch` of ours stands for the server, memory for the browser.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import { Conversation, HoldallError, memoryStorage } from "./holdall.mjs";

const HOUR = 3_600_000;

/** The answer of a turn that ends with this token. */
function answer(token, expires = Date.now() + 48 * HOUR) {
  return {
    reply: "Hello there.",
    output: [{ t: "msg", role: "assistant", parts: [{ text: "Hello there." }] }],
    token,
    user_id: "ada",
    conversation: {
      id: "c",
      turn: 1,
      started_at: "2026-11-26T00:00:00Z",
      expires_at: new Date(expires).toISOString(),
      history_bytes: 1,
      token_bytes: token.length,
      trimmed_items: 0,
    },
    usage: { input_tokens: 1, output_tokens: 1, cached_tokens: 0 },
    finish_reason: "stop",
  };
}

const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const delta = event("delta", { text: "Hello" });
const done = (token) => event("done", answer(token));
const problem = (code, retry, more) => ({
  code,
  title: code,
  detail: `detail of ${code}`,
  status: 500,
  retry,
  request_id: "r",
  ...more,
});

function stream(...chunks) {
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream", "x-request-id": "req_1" } });
}

function refusal(status, code, retry, more) {
  return new Response(JSON.stringify(problem(code, retry, { status, ...more })), {
    status,
    headers: { "x-request-id": "req_1" },
  });
}

/** A `fetch` that gives these answers in turn (or what they return, or throw) and keeps what it was asked. */
function server(...answers) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push({ url, ...init, body: JSON.parse(init.body) });
    assert.ok(asked.length <= answers.length, `request ${asked.length} was not expected`);
    const next = answers[asked.length - 1];
    return typeof next === "function" ? next(init) : next;
  };
  return { fetch, asked };
}

function network() {
  throw new TypeError("Failed to fetch");
}

/** A stream that never ends, and breaks off when it is let go of. */
function endless(...chunks) {
  const endless = ({ signal }) => {
    const body = new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
        signal.addEventListener("abort", () => {
          endless.left = true;
          controller.error(new DOMException("left", "AbortError"));
        });
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  return endless;
}

/** A conversation of its own name, ended with the test; `token` is what storage has of it. */
async function open(t, { asked, fetch }, { token, ...options } = {}) {
  const storage = options.storage ?? memoryStorage();
  const key = options.key ?? randomUUID();
  if (token) storage.setItem(key, JSON.stringify({ token, conversation: answer(token).conversation }));
  const chat = await Conversation.open({ url: "http://server/", fetch, storage, key, ...options });
  t.after(() => chat.close());
  /** The token that a reload of the page would find. */
  const kept = async () => JSON.parse((await storage.getItem(key)) ?? "{}").token;
  return { chat, kept, storage, key, asked };
}

/** The events of a turn, and the error that ended it. */
async function events(turn) {
  const found = [];
  try {
    for await (const event of turn) found.push(event);
  } catch (error) {
    assert.ok(error instanceof HoldallError, error);
    return { found, error };
  }
  return { found };
}

const types = ({ found }) => found.map(({ type }) => type);

/** Lets timers run at once, and keeps for how long they were set. */
function instant(t) {
  const waits = [];
  const real = globalThis.setTimeout;
  t.mock.method(globalThis, "setTimeout", (wake, ms) => {
    if (ms < 50_000) waits.push(ms);
    return ms < 50_000 ? real(wake, 0) : undefined;
  });
  return waits;
}

test("the token goes along, and is replaced by the one of `done`", async (t) => {
  const { chat, kept, asked } = await open(t, server(stream(delta, done("one")), stream(done("two"))));
  assert.deepEqual(types(await events(chat.send("first"))), ["delta", "done"]);
  assert.equal(await kept(), "one");
  assert.equal((await chat.send("second").answer).token, "two");
  assert.equal(await kept(), "two");
  assert.deepEqual(
    asked.map(({ body }) => [body.token, body.input, body.stream]),
    [
      [undefined, "first", true],
      ["one", "second", true],
    ],
  );
  assert.equal(asked[0].url, "http://server/v1/turns");
  assert.deepEqual(chat.state.unsent, undefined);
});

test("a turn runs to its end though nobody looks", async (t) => {
  const { chat, kept } = await open(t, server(stream(delta, done("one"))));
  chat.send("first");
  while (chat.state.busy) await new Promise(setImmediate);
  assert.equal(await kept(), "one");
});

test("a stream that ends without `done` is an error, and the old token stays", async (t) => {
  const { chat, kept, asked } = await open(t, server(stream(delta, "event: done\ndata: {}\n")), { token: "old" });
  const turn = await events(chat.send("text"));
  assert.deepEqual([types(turn), turn.error.code, turn.error.retry], [["delta"], "stream_lost", "safe"]);
  assert.equal(turn.error.requestId, "req_1");
  assert.deepEqual(
    [await kept(), chat.state.token, chat.state.unsent, turn.error.input],
    ["old", "old", "text", "text"],
  );
  assert.equal(asked.length, 1, "what was shown is not asked for again");
});

test("before anything was shown a turn is tried again, with the old token", async (t) => {
  instant(t);
  const { chat, kept, asked } = await open(t, server(network, stream(": alive\n\n"), stream(delta, done("new"))), {
    token: "old",
  });
  const turn = await events(chat.send("text"));
  assert.deepEqual(types(turn), ["retry", "retry", "delta", "done"]);
  assert.deepEqual(
    turn.found.slice(0, 2).map(({ error }) => error.code),
    ["network", "stream_lost"],
  );
  assert.deepEqual(
    asked.map(({ body }) => body.token),
    ["old", "old", "old"],
  );
  assert.equal(await kept(), "new");
});

test("a turn is tried three times in all", async (t) => {
  const waits = instant(t);
  const { chat, kept } = await open(t, server(network, network, network), { token: "old" });
  const { error } = await events(chat.send("text"));
  assert.deepEqual([error.code, chat.state.unsent, await kept()], ["network", "text", "old"]);
  assert.equal(waits.length, 2);
  assert.ok(waits[0] >= 500 && waits[0] <= 1_000 && waits[1] >= 1_000 && waits[1] <= 2_000, waits);
});

test("Retry-After is waited for, and not undercut", async (t) => {
  const waits = instant(t);
  const after = refusal(503, "overloaded", "after", { retry_after_seconds: 7 });
  const strange = new Response("<h1>Busy</h1>", { status: 429, headers: { "retry-after": "3" } });
  const { chat } = await open(t, server(after, strange, stream(done("new"))));
  const turn = await events(chat.send("text"));
  assert.deepEqual(types(turn), ["retry", "retry", "done"]);
  assert.deepEqual(
    turn.found.slice(0, 2).map(({ error }) => [error.code, error.status, error.retryAfterMs]),
    [
      ["overloaded", 503, 7_000],
      ["unexpected", 429, 3_000],
    ],
  );
  assert.ok(waits[0] >= 7_000 && waits[0] <= 7_500 && waits[1] >= 3_000 && waits[1] <= 3_500, waits);
});

test("a wait that is too long is an error at once", async (t) => {
  const { chat } = await open(t, server(refusal(429, "quota_exceeded", "after", { retry_after_seconds: 31 })));
  const { found, error } = await events(chat.send("text"));
  assert.deepEqual([found, error.code, error.retry, error.retryAfterMs], [[], "quota_exceeded", "after", 31_000]);
});

test("what waiting does not help is an error at once", async (t) => {
  for (const refused of [
    refusal(400, "request_invalid", "never"),
    new Response("<h1>Log in</h1>", { status: 200 }),
    new Response("", { status: 404 }),
  ]) {
    const { chat } = await open(t, server(refused));
    const { found, error } = await events(chat.send("text"));
    assert.deepEqual([found, error.retry, error.final], [[], "never", false]);
  }
});

test("a refused credential is asked for again, once", async (t) => {
  const refused = () => refusal(401, "unauthenticated", "never");
  const given = [];
  const credential = async (again) => (given.push(again), `key-${given.length}`);
  const { chat, asked } = await open(t, server(refused, stream(done("one")), refused, refused), { credential });
  await chat.send("text").answer;
  assert.deepEqual(given, [false, true]);
  assert.deepEqual(
    asked.map(({ headers }) => headers.authorization),
    ["Bearer key-1", "Bearer key-2"],
  );
  assert.equal((await events(chat.send("text"))).error.code, "unauthenticated");
});

test("a credential that cannot be had ends the turn, and keeps the text", async (t) => {
  let asked = 0;
  const credential = () => Promise.reject(new Error(asked++ ? "asked again" : "signed out"));
  const { chat } = await open(t, server(), { credential });
  const { error } = await events(chat.send("text"));
  assert.deepEqual(
    [error.code, error.message, chat.state.unsent],
    ["unauthenticated", "No credential is available: signed out", "text"],
  );
});

test("a credential that never comes holds up neither a stop nor a reset, and is given up", async (t) => {
  for (const how of ["stop", "reset", "silence"]) {
    const credential = () => new Promise(() => {});
    const { chat } = await open(t, server(), { credential, retries: 0, silenceMs: how === "silence" ? 20 : 60_000 });
    const turn = chat.send("text");
    await new Promise(setImmediate);
    if (how === "stop") turn.stop();
    if (how === "reset") await chat.reset();
    await assert.rejects(turn.answer, { code: how === "silence" ? "unauthenticated" : "stopped" });
    assert.equal(chat.state.busy, false);
  }
});

test("storage that never answers holds up neither a stop nor the next turn", async (t) => {
  const storage = memoryStorage();
  const { chat, kept } = await open(t, server(stream(done("new"))), { storage, silenceMs: 200 });
  const { getItem } = storage;
  storage.getItem = () => new Promise(() => {});
  const stopped = chat.send("first");
  await new Promise(setImmediate);
  stopped.stop();
  await assert.rejects(stopped.answer, { code: "stopped" });
  await assert.rejects(chat.send("second").answer, {
    code: "storage_failed",
    message: "This device's storage failed: It took longer than 0.2 s.",
  });
  storage.getItem = getItem;
  await chat.send("third").answer;
  assert.equal(await kept(), "new");
});

test("a conversation that is too large for a turn goes on without its oldest", async (t) => {
  const refused = refusal(413, "history_too_large", "never");
  const { chat, asked } = await open(t, server(refused, stream(done("new"))), { token: "old" });
  const { error } = await events(chat.send("text"));
  assert.deepEqual([error.code, error.final, chat.state.ended], ["history_too_large", false, undefined]);
  await chat.send("text", { truncation: "oldest" }).answer;
  assert.deepEqual([asked[1].body.truncation, asked[1].body.token], ["oldest", "old"]);
});

test("a token that is at its end is said to be, and the text is kept", async (t) => {
  for (const [status, code] of [
    [410, "token_expired"],
    [410, "token_revoked"],
    [400, "token_invalid"],
    [409, "token_used"],
  ]) {
    const { chat, kept } = await open(t, server(refusal(status, code, "never"), stream(done("new"))), { token: "old" });
    const { error } = await events(chat.send("text"));
    assert.deepEqual([error.code, error.final, chat.state.ended, chat.state.unsent], [code, true, error, "text"]);
    assert.equal(await kept(), "old");
    const again = chat.state.unsent;
    await chat.reset();
    assert.deepEqual([chat.state.token, chat.state.ended, await kept()], [undefined, undefined, undefined]);
    assert.equal((await chat.send(again).answer).token, "new");
  }
});

test("a token whose turn is under way elsewhere is waited for", async (t) => {
  instant(t);
  const used = refusal(409, "token_used", "after", { retry_after_seconds: 1 });
  const { chat } = await open(t, server(used, stream(done("new"))), { token: "old" });
  assert.deepEqual(types(await events(chat.send("text"))), ["retry", "done"]);
});

test("a partial reply is taken if the caller says so, and not before", async (t) => {
  const cut = event(
    "error",
    problem("upstream_cut", "safe", { status: 502, partial: { reply: "Hello", token: "part" } }),
  );
  const history = () => Response.json({ items: [], conversation: answer("part").conversation });
  const { chat, kept, asked } = await open(t, server(stream(delta, cut), history), {
    token: "old",
    turn: { user_id: "ada" },
  });
  const { found, error } = await events(chat.send("text"));
  assert.deepEqual([found.length, error.code, error.partial.reply, await kept()], [1, "upstream_cut", "Hello", "old"]);
  await chat.keep(error.partial);
  assert.deepEqual([await kept(), chat.state.token, chat.state.unsent], ["part", "part", undefined]);
  assert.deepEqual(asked[1].body, { token: "part", user_id: "ada" });
});

test("a partial reply overwrites another tab's turn only if that is asked for twice", async (t) => {
  for (const token of ["old", undefined]) {
    const cut = event("error", problem("upstream_cut", "safe", { partial: { reply: "Hello", token: "part" } }));
    const history = () => Response.json({ items: [], conversation: answer("part").conversation });
    const one = await open(t, server(stream(delta, cut), history, history), { token });
    const { error } = await events(one.chat.send("text"));
    const two = await open(t, server(stream(done("other"))), { storage: one.storage, key: one.key });
    await two.chat.send("another's").answer;
    const conflict = await one.chat.keep(error.partial).catch((error) => error);
    assert.deepEqual([conflict.code, await one.kept(), conflict.input], ["conflict", "other", "text"]);
    await one.chat.keep(conflict.partial);
    assert.equal(await one.kept(), "part");
  }
});

test("a stopped turn lets go of the server, and leaves token and text", async (t) => {
  for (const how of ["stop", "signal", "leave"]) {
    const answering = endless(delta);
    const { chat, kept } = await open(t, server(answering), { token: "old" });
    const controller = new AbortController();
    const turn = chat.send("text", { signal: controller.signal });
    for await (const { type } of turn) {
      assert.equal(type, "delta");
      if (how === "leave") break;
      how === "stop" ? turn.stop() : controller.abort();
      await assert.rejects(turn.answer);
      break;
    }
    await assert.rejects(turn.answer, { code: "stopped", retry: "safe" });
    assert.deepEqual(
      [answering.left, await kept(), chat.state.unsent, chat.state.busy],
      [true, "old", "text", false],
      how,
    );
  }
});

test("a turn that was stopped before it began asks for nothing", async (t) => {
  const { chat } = await open(t, server());
  await assert.rejects(chat.send("text", { signal: AbortSignal.abort() }).answer, { code: "stopped" });
});

test("silence ends a stream, and a sign of life does not", async (t) => {
  const { chat } = await open(t, server(endless(delta)), { silenceMs: 20, token: "old" });
  assert.equal((await events(chat.send("text"))).error.code, "stream_lost");
  const beats = new ReadableStream({
    async start(controller) {
      for (let count = 0; count < 10; count++) {
        controller.enqueue(new TextEncoder().encode(":\n\n"));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      controller.enqueue(new TextEncoder().encode(done("new")));
      controller.close();
    },
  });
  const alive = new Response(beats, { headers: { "content-type": "text/event-stream" } });
  const { chat: other } = await open(t, server(alive), { silenceMs: 150 });
  assert.equal((await other.send("text").answer).token, "new");
});

test("an answer without a body to read in pieces has the same events", async (t) => {
  const text = delta + event("tool_call", { id: "1", name: "f", args: "{}" }) + done("one");
  const whole = ({ signal }) => ({
    status: 200,
    headers: new Headers({ "content-type": "text/event-stream" }),
    text: () =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
        // Longer than the silence that a stream would be allowed.
        setTimeout(() => resolve(text), 60);
      }),
  });
  const { chat, kept } = await open(t, server(whole), { silenceMs: 20 });
  assert.deepEqual(types(await events(chat.send("text"))), ["delta", "tool_call", "done"]);
  assert.equal(await kept(), "one");
});

test("a `fetch` that shows nothing before the end is given as long as it needs, and no longer", async (t) => {
  const text = () => new Promise((resolve) => setTimeout(resolve, 30, delta + done("one")));
  const late = async () => {
    await new Promise((resolve) => setTimeout(resolve, 60));
    return { status: 200, headers: new Headers({ "content-type": "text/event-stream" }), text };
  };
  const until =
    (late) =>
    ({ signal }) =>
      Promise.race([
        late(),
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("left")))),
      ]);
  const { chat, asked } = await open(t, server(until(late)), { silenceMs: 20, wholeMs: 5_000 });
  assert.deepEqual(types(await events(chat.send("text"))), ["delta", "done"]);
  assert.equal(asked.length, 1);
  const { chat: other } = await open(t, server(until(late)), { wholeMs: 30, retries: 0 });
  assert.equal((await events(other.send("text"))).error.code, "network");
});

test("an answer that never ends is given up after what a turn may take", async (t) => {
  const whole = ({ signal }) => ({
    status: 200,
    headers: new Headers({ "content-type": "text/event-stream" }),
    text: () => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("left")))),
  });
  const { chat } = await open(t, server(whole), { retries: 0 });
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (wake, ms) => setTimeout(wake, ms === 660_000 ? 0 : ms));
  assert.equal((await events(chat.send("text"))).error.code, "stream_lost");
});

test("a `done` without a token is not Holdall's, and the old token stays", async (t) => {
  for (const data of [{}, null, { token: 7 }]) {
    const { chat, kept } = await open(t, server(stream(event("done", data))), { token: "old" });
    assert.equal((await events(chat.send("text"))).error.code, "unexpected");
    assert.deepEqual([await kept(), chat.state.token, chat.state.unsent], ["old", "old", "text"]);
  }
});

test("turns follow each other", async (t) => {
  const { chat, asked } = await open(t, server(stream(delta, done("one")), network, stream(done("two"))), {
    retries: 0,
  });
  const turns = ["a", "b", "c"].map((text) => chat.send(text));
  await turns[0].answer;
  await assert.rejects(turns[1].answer, { code: "network" });
  await turns[2].answer;
  assert.deepEqual(
    asked.map(({ body }) => [body.input, body.token]),
    [
      ["a", undefined],
      ["b", "one"],
      ["c", "one"],
    ],
  );
});

test("a result can be sent from within the turn that called", async (t) => {
  const call = event("tool_call", { id: "1", name: "f", args: "{}" });
  const { chat, asked } = await open(t, server(stream(call, done("one")), stream(done("two"))));
  for await (const event of chat.send("text")) {
    if (event.type === "tool_call") await chat.send([{ t: "result", id: event.id, out: "42" }]).answer;
  }
  assert.deepEqual(asked[1].body.input, [{ t: "result", id: "1", out: "42" }]);
  assert.equal(asked[1].body.token, "one");
});

test("where there is no room the reply is there, and the page goes on", async (t) => {
  const storage = memoryStorage();
  const key = randomUUID();
  const answers = [stream(done("new")), stream(delta), stream(done("newer"))];
  const first = await open(t, server(...answers), { token: "old", storage, key });
  const { setItem } = storage;
  storage.setItem = (name, value) => {
    if (name === key) throw new DOMException("no", "QuotaExceededError");
    setItem(name, value);
  };
  await assert.rejects(
    first.chat.send("text").answer,
    (error) => error.code === "storage_full" && error.answer.token === "new",
  );
  assert.deepEqual([await first.kept(), first.chat.state.token], ["old", "new"]);
  await assert.rejects(first.chat.send("more").answer, { code: "stream_lost" });
  assert.equal((await open(t, server(), { storage, key })).chat.state.unsent, "more");
  storage.setItem = setItem;
  await first.chat.send("more").answer;
  assert.deepEqual([first.asked[2].body.token, await first.kept()], ["new", "newer"]);
});

test("storage that does not work is said to, and nothing is sent", async (t) => {
  const storage = memoryStorage();
  const { chat, asked } = await open(t, server(), { storage });
  storage.getItem = () => Promise.reject(new Error("locked"));
  await assert.rejects(chat.send("text").answer, {
    code: "storage_failed",
    message: "This device's storage failed: locked",
  });
  assert.equal(asked.length, 0);
});

test("another's turn is not overwritten, and what lost to it can be kept", async (t) => {
  const storage = memoryStorage();
  const key = randomUUID();
  const other = JSON.stringify({ token: "other", conversation: answer("other").conversation });
  const late = async () => {
    storage.setItem(key, other);
    return stream(delta, done("mine"));
  };
  const history = () => Response.json({ items: [], conversation: answer("mine").conversation });
  const { chat, kept } = await open(t, server(late, history), { token: "old", storage, key });
  const { error } = await events(chat.send("text"));
  assert.deepEqual(
    [error.code, error.answer.token, await kept(), chat.state.token],
    ["conflict", "mine", "other", "other"],
  );
  await chat.keep(error.answer);
  assert.equal(await kept(), "mine");
});

test("a turn goes on from what another tab has stored", async (t) => {
  const { chat, storage, key, asked } = await open(t, server(stream(done("new"))), { token: "old" });
  storage.setItem(key, JSON.stringify({ token: "other" }));
  await chat.send("text").answer;
  assert.equal(asked[0].body.token, "other");
});

test("two of one name tell each other", async (t) => {
  const shared = { storage: memoryStorage(), key: randomUUID() };
  const one = await open(t, server(stream(done("new"))), { ...shared, token: "old" });
  const two = await open(t, server(), shared);
  const told = new Promise((resolve) => two.chat.subscribe(() => two.chat.state.token === "new" && resolve()));
  await one.chat.send("text").answer;
  await told;
});

test("what another tab was saying is not unsent once it is said, and what this one said stays", async (t) => {
  const shared = { storage: memoryStorage(), key: randomUUID() };
  const one = await open(t, server(stream(delta), stream(delta, done("new"))), shared);
  await assert.rejects(one.chat.send("mine").answer, { code: "stream_lost" });
  const two = await open(t, server(stream(done("other"))), shared);
  assert.equal(two.chat.state.unsent, "mine");
  const told = new Promise((resolve) => one.chat.subscribe(() => one.chat.state.token === "other" && resolve()));
  await two.chat.send("another's").answer;
  await told;
  assert.equal(one.chat.state.unsent, "mine");
  const three = await open(t, server(), shared);
  shared.storage.setItem(`${shared.key}.unsent`, JSON.stringify({ input: "under way", from: "other" }));
  const four = await open(t, server(), shared);
  assert.equal(four.chat.state.unsent, "under way");
  const gone = new Promise((resolve) => four.chat.subscribe(() => four.chat.state.token === "new" && resolve()));
  await one.chat.send("mine").answer;
  await gone;
  assert.deepEqual([four.chat.state.unsent, three.chat.state.unsent], [undefined, undefined]);
});

test("the text of a turn that died with its page is there after it", async (t) => {
  const shared = { storage: memoryStorage(), key: randomUUID() };
  const first = await open(t, server(endless(delta)), { ...shared, token: "old" });
  const turn = first.chat.send([{ text: "words" }]);
  for await (const { type } of turn) {
    if (type === "delta") break;
  }
  const second = await open(t, server(stream(done("new"))), shared);
  assert.deepEqual([second.chat.state.unsent, second.chat.state.token], [[{ text: "words" }], "old"]);
  await second.chat.send(second.chat.state.unsent).answer;
  assert.equal((await open(t, server(), shared)).chat.state.unsent, undefined);
});

test("a text is not unsent once its reply is stored, whatever becomes of the page after that", async (t) => {
  const storage = memoryStorage();
  const { removeItem } = storage;
  const { chat, kept, key } = await open(t, server(stream(done("new"))), { storage, token: "old" });
  storage.removeItem = () => Promise.reject(new Error("locked"));
  assert.equal((await chat.send("text").answer).token, "new");
  assert.equal(await kept(), "new");
  storage.removeItem = removeItem;
  assert.equal((await open(t, server(), { storage, key })).chat.state.unsent, undefined);
});

test("a turn that ends after `close` is whole", async (t) => {
  const { chat, kept } = await open(t, server(stream(delta, done("new"))), { token: "old" });
  const turn = chat.send("text");
  chat.close();
  assert.equal((await turn.answer).token, "new");
  assert.deepEqual([await kept(), chat.state.token, chat.state.unsent], ["new", "new", undefined]);
  await chat.reset();
  assert.equal(await kept(), undefined);
});

test("`reset` ends the turns of other tabs, and forgets what they said", async (t) => {
  const shared = { storage: memoryStorage(), key: randomUUID() };
  const answering = endless(delta);
  const one = await open(t, server(answering), shared);
  const two = await open(t, server(), shared);
  const turn = one.chat.send("text");
  for await (const { type } of turn) {
    assert.equal(type, "delta");
    await two.chat.reset();
    await assert.rejects(turn.answer, { code: "stopped" });
    break;
  }
  while (one.chat.state.unsent !== undefined) await new Promise(setImmediate);
  assert.deepEqual([answering.left, await one.kept(), one.chat.state.token], [true, undefined, undefined]);
  assert.equal((await open(t, server(), shared)).chat.state.unsent, undefined);
});

test("`reset` stops the turn under way", async (t) => {
  const { chat, kept } = await open(t, server(endless(delta)), { token: "old" });
  const turn = chat.send("text");
  await chat.reset();
  await assert.rejects(turn.answer, { code: "stopped" });
  assert.deepEqual([await kept(), chat.state.unsent, (await chat.history()).items], [undefined, undefined, []]);
});

test("garbage in storage is no conversation", async (t) => {
  const storage = memoryStorage();
  storage.setItem("k", "{");
  storage.setItem("k.unsent", "nope");
  const { chat } = await open(t, server(), { storage, key: "k" });
  assert.deepEqual([chat.state.token, chat.state.unsent, chat.state.expiry], [undefined, undefined, "none"]);
});

test("the expiry is told a day ahead, and when it comes", async (t) => {
  const now = Date.now();
  t.mock.timers.enable({ apis: ["Date", "setTimeout"], now });
  const storage = memoryStorage();
  const key = randomUUID();
  storage.setItem(key, JSON.stringify({ token: "old", conversation: answer("old", now + 48 * HOUR).conversation }));
  const { chat } = await open(t, server(), { storage, key });
  const seen = [];
  chat.subscribe(() => seen.push(chat.state.expiry));
  assert.equal(chat.state.expiry, "good");
  t.mock.timers.tick(24 * HOUR + 1);
  assert.equal(chat.state.expiry, "soon");
  t.mock.timers.tick(24 * HOUR + 1);
  assert.equal(chat.state.expiry, "past");
  await Promise.resolve();
  assert.deepEqual(seen, ["past", "past"]);
  assert.equal(chat.state.token, "old", "the server decides");
});

test("an expiry beyond what a timer counts does not come at once", async (t) => {
  const now = Date.now();
  t.mock.timers.enable({ apis: ["Date", "setTimeout"], now });
  const storage = memoryStorage();
  storage.setItem(
    "far",
    JSON.stringify({ token: "old", conversation: answer("old", now + 60 * 24 * HOUR).conversation }),
  );
  const { chat } = await open(t, server(), { storage, key: "far" });
  let told = 0;
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (wake, ms) => {
    assert.ok(ms < 2 ** 31, "at once, in a browser");
    return setTimeout(wake, ms);
  });
  chat.subscribe(() => told++);
  t.mock.timers.tick(58 * 24 * HOUR);
  assert.equal(chat.state.expiry, "good");
  t.mock.timers.tick(2 * 24 * HOUR - 1);
  assert.equal(chat.state.expiry, "soon");
  assert.ok(told < 5, told);
});

test("a listener that throws harms nobody but itself", async (t) => {
  // The runner takes an unhandled rejection for its own.
  const runners = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  t.after(() => {
    process.removeAllListeners("unhandledRejection");
    runners.forEach((runner) => process.on("unhandledRejection", runner));
  });
  const thrown = [];
  process.on("unhandledRejection", (error) => thrown.push(error.message));
  const { chat, kept } = await open(t, server(stream(done("one"))));
  chat.subscribe(() => {
    throw new Error("mine");
  });
  await chat.send("text").answer;
  while (chat.state.busy) await new Promise(setImmediate);
  await new Promise(setImmediate);
  assert.equal(await kept(), "one");
  assert.equal(new Set(thrown).size, 1);
});

test("an error shows neither token nor text to who writes it down", async (t) => {
  const cut = event("error", problem("upstream_cut", "never", { partial: { reply: "SECRET", token: "SECRET" } }));
  const { chat } = await open(t, server(stream(delta, cut)), { token: "SECRET" });
  const { error } = await events(chat.send("SECRET"));
  assert.deepEqual([error.input, error.partial.token], ["SECRET", "SECRET"]);
  for (const shown of [inspect(error), JSON.stringify(error), String(error), JSON.stringify({ ...error })]) {
    assert.ok(!shown.includes("SECRET"), shown);
    assert.match(shown, /upstream_cut/);
  }
});

test("a request carries nobody's cookies and is not sent on", async (t) => {
  const { chat, asked } = await open(t, server(stream(done("one"))));
  await chat.send("text").answer;
  const { cache, credentials, redirect, referrerPolicy } = asked[0];
  assert.deepEqual(
    { cache, credentials, redirect, referrerPolicy },
    { cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" },
  );
});

test("IndexedDB is the default, and its absence is said", async () => {
  await assert.rejects(Conversation.open({ url: "http://server" }), /This platform has no IndexedDB. Pass `storage`./);
});
