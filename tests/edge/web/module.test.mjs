// The module in Chromium, without the page: storage, tabs, transports, and what a browser lets another origin read.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startSite, startStage } from "./stage.mjs";

let stage;
before(async () => (stage = await startStage()));
beforeEach(() => {
  stage.front.seen.length = 0;
  stage.front.failures.length = 0;
});
after(() => stage.stop());

/** An empty page; `run` runs a function in it, with the module and the server's address. */
async function open(t, site = stage.site, context = undefined) {
  context ??= await stage.browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  t.after(() => page.close());
  await page.goto(`${site.url}/empty.html`);
  await page.evaluate(async (url) => {
    window.url = url;
    window.holdall = await import("/holdall.mjs");
    /** A thing that can be told to the test. */
    window.told = (error) => ({
      code: error.code,
      status: error.status,
      requestId: error.requestId,
      retryAfterMs: error.retryAfterMs,
    });
  }, stage.front.url);
  return { page, context, run: (work, argument) => page.evaluate(work, argument) };
}

test("a token of half a megabyte is kept, and survives a reload", async (t) => {
  await stage.serve();
  const { page, run } = await open(t);
  const [size, turns] = await run(async () => {
    const chat = await holdall.Conversation.open({ url });
    // Text that does not compress.
    const noise = () =>
      Array.from(crypto.getRandomValues(new Uint8Array(60_000)), (byte) => byte.toString(36)).join("");
    await chat.send("My name is Ada.").answer;
    for (let turn = 0; turn < 5; turn++) await chat.send(`Note: ${noise()} ${noise()}`).answer;
    return [chat.state.token.length, chat.state.conversation.turn];
  });
  assert.ok(size > 500_000, `only ${size}`);
  assert.equal(turns, 6);
  await page.reload();
  const reply = await run(async (url) => {
    const { Conversation } = await import("/holdall.mjs");
    const chat = await Conversation.open({ url });
    return (await chat.send("What is my name?").answer).reply;
  }, stage.front.url);
  assert.equal(reply, "Your name is Ada.");
});

test("localStorage that is full: the reply is there, the page goes on, a reload has the old token", async (t) => {
  await stage.serve();
  const { run } = await open(t);
  const found = await run(async () => {
    const options = { url, storage: localStorage, key: "chat" };
    const chat = await holdall.Conversation.open(options);
    await chat.send("My name is Ada.").answer;
    const old = chat.state.token;
    const fill = (size) => {
      for (let at = 0; ; at++) {
        try {
          localStorage.setItem(`fill-${size}-${at}`, "x".repeat(size));
        } catch {
          return;
        }
      }
    };
    [1_000_000, 100_000, 10_000, 1_000, 100, 10].forEach(fill);
    let error;
    const deltas = [];
    try {
      const noise = Array.from({ length: 50 }, () => crypto.randomUUID()).join(" ");
      for await (const event of chat.send(`Note: ${noise}`)) {
        if (event.type === "delta") deltas.push(event.text);
      }
    } catch (thrown) {
      error = thrown;
    }
    const next = (await chat.send("What is my name?").answer.catch((error) => error.answer)).reply;
    const reloaded = await holdall.Conversation.open(options);
    return { code: error.code, whole: error.answer.reply === deltas.join(""), next, old: reloaded.state.token === old };
  });
  assert.deepEqual(found, { code: "storage_full", whole: true, next: "Your name is Ada.", old: true });
});

test("XMLHttpRequest streams, with the same events, and is the default where answers have no `body`", async (t) => {
  await stage.serve(30);
  const { run } = await open(t);
  const { took, reply, said } = await run(async () => {
    delete Response.prototype.body;
    const { memoryStorage, Conversation } = holdall;
    const chat = await Conversation.open({ url, storage: memoryStorage() });
    let text = "";
    let first;
    const turn = chat.send("Count to 30");
    for await (const event of turn) {
      if (event.type !== "delta") continue;
      first ??= performance.now();
      text += event.text;
    }
    return { took: performance.now() - first, said: text, reply: (await turn.answer).reply };
  });
  // Thirty words with 30 ms between them.
  assert.ok(took > 400, `nothing was shown before the end: all came within ${took} ms`);
  assert.match(reply, / 30$/);
  assert.equal(said, reply);
});

test("XMLHttpRequest: refusals, stops and a server that is gone are told apart", async (t) => {
  const server = await stage.serve(30);
  const { run } = await open(t);
  const [refused, stopped] = await run(async () => {
    const { memoryStorage, xhrFetch, Conversation } = holdall;
    const chat = await Conversation.open({ url, storage: memoryStorage(), fetch: xhrFetch, retries: 0 });
    const refused = await chat.send("x", { model: "none" }).answer.catch(told);
    const turn = chat.send("Count to 100");
    for await (const event of turn) if (event.type === "delta") break;
    return [refused, await turn.answer.catch(told)];
  });
  assert.deepEqual([refused.code, refused.status, stopped.code], ["model_unknown", 400, "stopped"]);
  assert.match(refused.requestId, /^req_/);
  const cut = run(async () => {
    const { memoryStorage, xhrFetch, Conversation } = holdall;
    const chat = await Conversation.open({ url, storage: memoryStorage(), fetch: xhrFetch, retries: 0 });
    window.shown = false;
    try {
      for await (const event of chat.send("Count to 100")) window.shown ||= event.type === "delta";
    } catch (error) {
      return told(error);
    }
  });
  await run(async () => {
    while (!window.shown) await new Promise((resolve) => setTimeout(resolve, 10));
  });
  server.stop();
  assert.equal((await cut).code, "stream_lost");
  const gone = await run(async () => {
    const { memoryStorage, xhrFetch, Conversation } = holdall;
    const chat = await Conversation.open({ url, storage: memoryStorage(), fetch: xhrFetch, retries: 0 });
    return chat.send("Hello").answer.catch(told);
  });
  assert.equal(gone.code, "network");
});

test("XMLHttpRequest: an answer of another address is none", async (t) => {
  await stage.serve();
  const { run } = await open(t);
  const headers = { location: `${stage.front.url}/v1/turns?elsewhere`, "access-control-allow-origin": stage.site.url };
  for (const redirected of [false, true]) {
    if (redirected) stage.front.failures.push([307, headers, ""]);
    const found = await run(async () => {
      const { memoryStorage, xhrFetch, Conversation } = holdall;
      const chat = await Conversation.open({ url, storage: memoryStorage(), fetch: xhrFetch, retries: 0 });
      return chat.send("Hello").answer.then(() => "whole", told);
    });
    assert.equal(found.code ?? found, redirected ? "network" : "whole");
  }
  assert.ok(stage.front.seen.some(({ path }) => path.endsWith("?elsewhere")));
});

test("a turn that another tab has under way is not unsent, until that tab is gone", async (t) => {
  await stage.serve(40);
  const one = await open(t);
  const begin = () =>
    one.run(async () => {
      const chat = await holdall.Conversation.open({ url });
      const reading = chat.send("Count to 100")[Symbol.asyncIterator]();
      while ((await reading.next()).value.type !== "delta");
    });
  const look = (page) =>
    page.run(async () => {
      const chat = await holdall.Conversation.open({ url });
      const { busy, unsent } = chat.state;
      window.opened = true;
      while (chat.state.busy) await new Promise((resolve) => setTimeout(resolve, 10));
      return [busy, unsent, chat.state.unsent, chat.state.conversation?.turn];
    });
  await begin();
  assert.deepEqual(await look(await open(t, stage.site, one.context)), [true, undefined, undefined, 1]);
  await begin();
  const last = await open(t, stage.site, one.context);
  const looking = look(last);
  await last.page.waitForFunction(() => window.opened);
  await one.page.close();
  assert.deepEqual(await looking, [true, undefined, "Count to 100", 1]);
});

test("a `fetch` without streams, as React Native's is, has the same events at the end", async (t) => {
  await stage.serve();
  const { run } = await open(t);
  const types = await run(async () => {
    const whole = async (...request) => {
      const response = await fetch(...request);
      return { status: response.status, headers: response.headers, text: () => response.text() };
    };
    const chat = await holdall.Conversation.open({ url, storage: holdall.memoryStorage(), fetch: whole });
    const types = [];
    for await (const event of chat.send("Hello")) types.push(event.type);
    await chat.send("Hello").answer;
    return types;
  });
  assert.equal(types[0], "delta");
  assert.equal(types.pop(), "done");
});

test("without Web Locks no tab overwrites what another has stored", async (t) => {
  await stage.serve(20);
  const { run } = await open(t);
  const found = await run(async () => {
    Object.defineProperty(navigator, "locks", { value: undefined });
    const { Conversation, indexedDbStorage } = holdall;
    const storage = indexedDbStorage();
    const chat = await Conversation.open({ url, storage, key: "chat" });
    await chat.send("My name is Ada.").answer;
    const other = JSON.stringify({ token: chat.state.token, by: "another tab" });
    let written;
    const turn = chat.send("Count to 20");
    try {
      for await (const event of turn) if (event.type === "delta") await (written ??= storage.setItem("chat", other));
    } catch (error) {
      return { ...told(error), reply: error.answer.reply.slice(-2), stands: (await storage.getItem("chat")) === other };
    }
  });
  assert.deepEqual([found.code, found.reply, found.stands], ["conflict", "20", true]);
});

test("an origin that is not listed is refused by the browser, and one that is listed reads all it needs", async (t) => {
  await stage.serve();
  const { run } = await open(t);
  const refused = await run(async () => {
    const options = {
      url,
      storage: holdall.memoryStorage(),
      retries: 0,
      credential: () => "a-key",
      headers: { "x-client-request-id": "1" },
    };
    const chat = await holdall.Conversation.open(options);
    await chat.send("Hello").answer;
    return chat.send("Hello", { model: "none" }).answer.catch(told);
  });
  assert.match(refused.requestId, /^req_/);
  const preflight = stage.front.seen.find(({ method }) => method === "OPTIONS");
  assert.equal(preflight.headers["access-control-request-headers"], "authorization,content-type,x-client-request-id");
  const stranger = await startSite(stage.front.url);
  t.after(stranger.stop);
  stage.front.seen.length = 0;
  const { run: runThere } = await open(t, stranger);
  const foreign = await runThere(async () => {
    const chat = await holdall.Conversation.open({ url, storage: holdall.memoryStorage(), retries: 0 });
    return chat.send("Hello").answer.catch(told);
  });
  assert.equal(foreign.code, "network");
  assert.deepEqual(
    stage.front.seen.map(({ method }) => method),
    ["OPTIONS"],
  );
});

test("a limit on a user is told with its wait, and waited for if it is short", async (t) => {
  await stage.serve(0, '[guard]\nrate = "1/2s"');
  const { run } = await open(t);
  const found = await run(async () => {
    const options = { url, storage: holdall.memoryStorage(), turn: { user_id: "ada" } };
    const chat = await holdall.Conversation.open(options);
    await chat.send("My name is Ada.").answer;
    const types = [];
    for await (const event of chat.send("What is my name?"))
      types.push(event.type === "retry" ? event.error.code : event.type);
    const hasty = await holdall.Conversation.open({ ...options, patienceMs: 0 });
    return { types, error: await hasty.send("Hello").answer.catch(told), reply: (await chat.history()).items.length };
  });
  assert.deepEqual([found.types[0], found.types.at(-1)], ["rate_limited", "done"]);
  assert.deepEqual([found.error.code, found.error.status, found.reply], ["rate_limited", 429, 4]);
  assert.ok(found.error.retryAfterMs >= 1_000);
});
