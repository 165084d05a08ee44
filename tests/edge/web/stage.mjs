// What the tests in Chromium stand on: a server that can be replaced, a front that can fail, and the page at an origin.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { newKeys, start } from "./servers.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** The configuration of a server whose built-in model waits so long between two words. */
export function config(origin, pace = 0, top = "", upstream = 'kind = "builtin"') {
  return `
cors_origins = ["${origin}"]
builtin_pace_ms = ${pace}
${top}
[[upstream]]
name = "upstream"
${upstream}
[[model]]
alias = "default"
model = "builtin"
upstreams = ["upstream"]
`;
}

async function listen(answer) {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

/**
 * Stands between the page and a server, so that the server can be killed and another take its place.
 *
 * `target` is where it forwards to; `failures` are answers, `[status, headers, body]`, that it gives to the next POSTs;
 * `seen` is what passed.
 */
export async function startFront() {
  const front = { target: undefined, failures: [], seen: [] };
  const { url, stop } = await listen((incoming, outgoing) => {
    const { method, headers } = incoming;
    const seen = { method, path: incoming.url, headers, at: performance.now() };
    front.seen.push(seen);
    outgoing.on("close", () => (seen.whole = outgoing.writableFinished));
    const failure = method === "POST" ? front.failures.shift() : undefined;
    if (failure) {
      const [status, more, body] = failure;
      const exposed = { "access-control-allow-origin": headers.origin, "access-control-expose-headers": "retry-after" };
      outgoing.writeHead(status, { ...exposed, ...more }).end(body);
      return;
    }
    const forward = request(new URL(incoming.url, front.target), { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
      answer.on("error", () => outgoing.destroy());
    });
    forward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => forward.destroy());
    incoming.pipe(forward);
  });
  return Object.assign(front, { url, stop });
}

/** Serves examples/web as it is built, with another address of the proxy; and an empty page, and the module alone. */
export async function startSite(proxy) {
  const types = { html: "text/html", css: "text/css", js: "text/javascript", mjs: "text/javascript" };
  return listen((incoming, outgoing) => {
    const path = incoming.url === "/" ? "/index.html" : incoming.url.replace(/\?.*/, "");
    const files = {
      "/index.html": "web/index.html",
      "/page.js": "web/page.js",
      "/page.css": "web/page.css",
      "/holdall.mjs": "holdall.mjs",
    };
    const type = types[path.split(".").pop()];
    const text =
      path === "/empty.html"
        ? "<!doctype html><title>empty</title>"
        : files[path] && readFileSync(join(here, files[path]), "utf8");
    if (!text) return void outgoing.writeHead(404).end();
    outgoing.writeHead(200, { "content-type": type }).end(text.replaceAll("http://127.0.0.1:8787", proxy));
  });
}

/** All of it; `stop` ends it. */
export async function startStage() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    // Chromium's own sandbox does not work as root.
    chromiumSandbox: process.getuid() !== 0,
  });
  const front = await startFront();
  const site = await startSite(front.url);
  const keys = newKeys();
  const servers = new Set();
  /** Starts a server and sends the page there. */
  const serve = (...options) => serveWith(keys, ...options);
  /** The same, with keys that no token of before was signed with. */
  const serveOthers = () => serveWith(newKeys());
  const serveWith = async (keys, ...options) => {
    const server = await start(keys, config(site.url, ...options));
    servers.add(server);
    front.target = server.url;
    /** Kills it. */
    const stop = () => servers.delete(server) && server.stop();
    return { ...server, stop };
  };
  const stop = async () => {
    await browser.close();
    servers.forEach((server) => server.stop());
    front.stop();
    site.stop();
  };
  return { browser, front, site, serve, serveOthers, stop };
}

/** A model server in the Chat Completions format that says a word, and then nothing; `left` resolves when it is left. */
export async function startSilentModel() {
  let leave;
  const left = new Promise((resolve) => (leave = resolve));
  const { url, stop } = await listen((incoming, outgoing) => {
    incoming.resume();
    outgoing.on("close", leave);
    outgoing.writeHead(200, { "content-type": "text/event-stream" });
    const choice = { index: 0, delta: { role: "assistant", content: "Well" }, finish_reason: null };
    const chunk = { id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [choice] };
    outgoing.write(`data: ${JSON.stringify(chunk)}\n\n`);
  });
  return { upstream: `kind = "openai"\nbase_url = "${url}/v1"`, left, stop };
}
