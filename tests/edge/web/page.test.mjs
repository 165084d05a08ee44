// The page, in Chromium, against `holdall serve` processes that come and go.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, beforeEach, test } from "node:test";
import { startSilentModel, startStage } from "./stage.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let stage;
before(async () => (stage = await startStage()));
beforeEach(() => {
  stage.front.seen.length = 0;
  stage.front.failures.length = 0;
});
after(() => stage.stop());

/** A page of a browser of its own; whatever goes wrong in it fails the test. */
async function open(t, { prepare, ...options } = {}) {
  const context = await stage.browser.newContext(options);
  if (prepare) await context.addInitScript(prepare);
  const chat = await tab(t, context);
  return { ...chat, context };
}

async function tab(t, context) {
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  t.after(async () => {
    await page.close();
    assert.deepEqual(errors, []);
  });
  // Before that the page does not listen yet.
  const ready = () => page.locator("#send:enabled").waitFor();
  const reload = async () => {
    await page.reload();
    await ready();
  };
  await page.goto(stage.site.url);
  await ready();
  const button = (name) => page.getByRole("button", { name, exact: true });
  const text = page.getByLabel("Message");
  const log = page.getByRole("log");
  const standing = page.locator("#standing");
  const notice = page.getByRole("alert");
  const said = () => log.locator("li p").allTextContents();
  /** Sends by the keyboard. */
  const begin = async (words) => {
    await text.fill(words);
    await text.press("Enter");
  };
  const end = async () => {
    await button("Send").waitFor();
    return (await said()).pop();
  };
  const say = async (words) => {
    await begin(words);
    return end();
  };
  const turns = (count) => standing.filter({ hasText: new RegExp(`^${count} turns? ·`) }).waitFor();
  const stored = () =>
    page.evaluate(
      () =>
        new Promise((resolve) => {
          indexedDB.open("holdall").onsuccess = ({ target: { result: database } }) => {
            database.transaction("tokens").objectStore("tokens").get("holdall").onsuccess = ({
              target: { result },
            }) => {
              database.close();
              resolve(result && JSON.parse(result).token);
            };
          };
        }),
    );
  return { page, reload, button, text, log, standing, notice, said, begin, end, say, turns, stored };
}

test("a reply is shown while it comes, and a conversation remembers", async (t) => {
  await stage.serve(40);
  const { say, begin, end, log, button, turns, page } = await open(t);
  assert.equal(await say("My name is Ada."), "Noted: your name is Ada.");
  await begin("Count to 30");
  await log.getByText(/^1 2 3/).waitFor();
  assert.ok(await button("Stop").isVisible());
  assert.equal(await log.locator(".assistant").getByText("30").count(), 0);
  assert.equal(await log.getAttribute("aria-busy"), "true");
  assert.match(await end(), /^1 2 .* 30$/);
  assert.equal(await log.getAttribute("aria-busy"), null);
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(3);
  assert.ok(await page.evaluate(() => document.activeElement.id === "text"));
});

test("a reload goes on in mid-conversation", async (t) => {
  await stage.serve();
  const { say, said, page, turns, reload } = await open(t);
  await say("My name is Ada.");
  const before = await said();
  await reload();
  await turns(1);
  await page.getByText("Noted: your name is Ada.").waitFor();
  assert.deepEqual(await said(), before);
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(2);
});

test("a reload without a server says so, and shows the chat once there is one", async (t) => {
  const first = await stage.serve();
  const { say, said, notice, button, turns, reload, log } = await open(t);
  await say("My name is Ada.");
  const before = await said();
  first.stop();
  await reload();
  await notice.getByText("The server cannot be reached.", { exact: true }).waitFor();
  await turns(1);
  await stage.serve();
  await button("Try again").click();
  await log.getByText("Noted: your name is Ada.").waitFor();
  assert.deepEqual(await said(), before);
  assert.ok(await notice.isHidden());
});

test("a reload in the middle of a reply keeps what was said, and sends it again", async (t) => {
  await stage.serve(40);
  const { say, begin, log, notice, button, end, turns, reload } = await open(t);
  await say("My name is Ada.");
  await begin("Count to 20");
  await log.getByText(/^1 2/).waitFor();
  await reload();
  await notice.getByText("This was not answered").waitFor();
  await turns(1);
  await button("Send again").click();
  await log.locator(".assistant").getByText(/ 20$/).waitFor();
  assert.match(await end(), /20$/);
  await turns(2);
});

test("the server is killed between two turns, and another goes on", async (t) => {
  const first = await stage.serve();
  const { say, turns } = await open(t);
  await say("My name is Ada.");
  first.stop();
  await stage.serve();
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(2);
});

test("the server is killed in the middle of a reply: nothing is lost", async (t) => {
  const first = await stage.serve(40);
  const { say, begin, log, notice, button, stored, end, turns } = await open(t);
  await say("My name is Ada.");
  const token = await stored();
  await begin("Count to 20");
  await log.getByText(/^1 2/).waitFor();
  first.stop();
  await notice.getByText("The connection was lost in the middle of the reply.").waitFor();
  assert.equal(await stored(), token);
  assert.equal(await log.locator("li.unsent p").textContent(), "Count to 20");
  await stage.serve();
  await button("Send again").click();
  await log.locator(".assistant").getByText(/ 20$/).waitFor();
  await end();
  assert.equal(await log.locator("li.unsent").count(), 0);
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(3);
});

test("refusals that pass are waited for, as long as they say", async (t) => {
  await stage.serve();
  const { say, begin, end, notice, said } = await open(t);
  await say("My name is Ada.");
  stage.front.seen.length = 0;
  stage.front.failures.push([503, { "retry-after": "1" }, "<h1>busy</h1>"], [429, { "retry-after": "1" }, ""]);
  await begin("What is my name?");
  await notice
    .getByText(/Trying again in \d s/)
    .first()
    .waitFor();
  await end();
  assert.equal((await said()).pop(), "Your name is Ada.");
  assert.ok(await notice.isHidden());
  const posts = stage.front.seen.filter(({ method }) => method === "POST");
  assert.equal(posts.length, 3);
  for (const at of [1, 2]) assert.ok(posts[at].at - posts[at - 1].at >= 1_000, "asked too early");
});

test("an expired chat says so, and what was written begins another", async (t) => {
  const first = await stage.serve();
  const { say, begin, notice, button, stored, end, turns, said } = await open(t);
  await say("My name is Ada.");
  const token = await stored();
  first.stop();
  // The same conversation, under terms that it has outlived.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const strict = await stage.serve(0, 'max_age = "1s"\nttl = "1s"');
  await begin("What is my name?");
  await notice.getByText("This chat has expired.").waitFor();
  assert.equal(await stored(), token);
  assert.ok(await button("Send again").isHidden());
  strict.stop();
  await stage.serve();
  await button("Start a new chat").click();
  // The expired chat also has one turn, and the page may still show it.
  for (let tries = 0; tries < 100 && (await said())[0] !== "What is my name?"; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await turns(1);
  await end();
  assert.equal((await said())[0], "What is my name?");
  assert.notEqual((await said())[1], "Your name is Ada.");
});

test("a server with other keys does not accept the chat, and another begins", async (t) => {
  await stage.serve();
  const { say, notice, button, turns, end, said, reload } = await open(t);
  await say("My name is Ada.");
  await stage.serveOthers();
  await reload();
  await notice
    .getByText("The server does not accept this chat: its keys or its users have changed. Start a new one.")
    .waitFor();
  await say("What is my name?");
  await notice.getByText("Start a new one to send your text.").waitFor();
  await button("Start a new chat").click();
  await turns(1);
  await end();
  assert.equal((await said())[0], "What is my name?");
});

test("the expiry is noticed a day ahead, and when it comes", async (t) => {
  await stage.serve();
  const { say, page, standing, reload } = await open(t);
  await page.clock.install();
  await reload();
  await say("My name is Ada.");
  assert.equal(await standing.getAttribute("data-expiry"), "good");
  await page.clock.fastForward(145 * 3_600_000);
  assert.equal(await standing.getAttribute("data-expiry"), "soon");
  await page.clock.fastForward(24 * 3_600_000);
  assert.match(await standing.textContent(), /expired/);
});

test("two tabs go on with one conversation, and neither turn is lost", async (t) => {
  await stage.serve(20);
  const { context, ...one } = await open(t);
  await one.say("My name is Ada.");
  const two = await tab(t, context);
  await two.turns(1);
  assert.equal(await two.say("What is my name?"), "Your name is Ada.");
  await one.turns(2);
  await one.log.getByText("Your name is Ada.", { exact: true }).waitFor();
  // Both at once: they follow each other.
  await Promise.all([one.begin("Count to 12"), two.begin("Count to 13")]);
  await Promise.all([one.turns(4), two.turns(4)]);
  await one.log.locator(".assistant").getByText(/ 13$/).waitFor();
  await two.log.locator(".assistant").getByText(/ 12$/).waitFor();
  assert.equal(await one.stored(), await two.stored());
});

test("a tab that opens during another's reply waits for it, and offers nothing to send again", async (t) => {
  await stage.serve(40);
  const { context, ...one } = await open(t);
  await one.begin("Count to 100");
  await one.log.getByText(/^1 2/).waitFor();
  const two = await tab(t, context);
  await two.notice.getByText("A reply is in progress in another tab.").waitFor();
  assert.ok(await two.button("Send again").isHidden());
  await two.log.locator(".assistant").getByText(/ 100$/).waitFor();
  await two.turns(1);
  await two.notice.waitFor({ state: "hidden" });
});

test("a text that was not answered goes back into the box when another is sent", async (t) => {
  const first = await stage.serve();
  const { begin, say, notice, text } = await open(t);
  first.stop();
  await begin("What is my name?");
  await notice.getByText("Your text is kept.").waitFor({ timeout: 20_000 });
  await stage.serve();
  assert.equal(await say("My name is Ada."), "Noted: your name is Ada.");
  assert.equal(await text.inputValue(), "What is my name?");
  await text.press("Enter");
  await text.page().getByText("Your name is Ada.", { exact: true }).waitFor();
  assert.equal(await text.inputValue(), "");
});

test("a chat that has grown too long goes on without its oldest turns", async (t) => {
  await stage.serve();
  const { say, begin, page, notice, button, log, turns } = await open(t);
  await say("My name is Ada.");
  const refusal = {
    code: "history_too_large",
    detail: "it is too large",
    status: 413,
    retry: "never",
    request_id: "r",
  };
  stage.front.failures.push([413, {}, JSON.stringify(refusal)]);
  await begin("What is my name?");
  await notice.getByText("This chat is too long for your text.").waitFor();
  assert.ok((await button("Start a new chat").isVisible()) && (await button("Send again").isHidden()));
  const sent = page.waitForRequest((request) => request.method() === "POST");
  await button("Send without the oldest turns").click();
  assert.equal((await sent).postDataJSON().truncation, "oldest");
  await log.getByText("Your name is Ada.", { exact: true }).waitFor();
  await turns(2);
});

test("where nothing can be stored the page says so, and works", async (t) => {
  await stage.serve();
  const refuse = () => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("not here", "SecurityError");
    };
    LockManager.prototype.request = async () => IDBFactory.prototype.open();
  };
  const { say, notice, turns, page } = await open(t, { prepare: refuse });
  await notice.getByText("This browser stores nothing for this page").waitFor();
  await say("My name is Ada.");
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(2);
  await page.getByText("This page keeps the chat until you close it").waitFor();
});

test("a button that hides itself leaves the focus in the box", async (t) => {
  await stage.serve(40);
  const { text, button, log, notice, page } = await open(t);
  const focused = () => page.evaluate(() => document.activeElement.id);
  await text.fill("Count to 100");
  for (const name of ["Send", "Stop", "Send again", "Stop"]) {
    await button(name).focus();
    await page.keyboard.press("Enter");
    if (name === "Stop") await notice.getByText("Stopped.").waitFor();
    else await log.getByText(/^1 2/).waitFor();
    assert.equal(await focused(), "text", name);
  }
});

test("a page that is offline says so, and goes on when it is back", async (t) => {
  await stage.serve();
  const { context, ...chat } = await open(t);
  await chat.say("My name is Ada.");
  await context.setOffline(true);
  await chat.begin("What is my name?");
  await chat.notice.getByText("You are offline. Your text is kept.").waitFor();
  await context.setOffline(false);
  await chat.button("Send again").click();
  await chat.log.getByText("Your name is Ada.", { exact: true }).waitFor();
  await chat.turns(2);
});

test("text is text, whoever said it", async (t) => {
  await stage.serve();
  const { say, said, page, log, reload } = await open(t);
  const text = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>&amp;';
  assert.equal(await say(`Repeat ${text}`), text);
  await reload();
  await log.getByText(text).first().waitFor();
  assert.deepEqual(await said(), [`Repeat ${text}`, text]);
  assert.equal(await log.locator("img, script").count(), 0);
  assert.equal(await page.evaluate(() => window.hit), undefined);
});

test("a stopped turn leaves the old token, and the model is let go of", async (t) => {
  await stage.serve();
  const { say, begin, log, button, notice, stored, turns } = await open(t);
  await say("My name is Ada.");
  const token = await stored();
  const model = await startSilentModel();
  t.after(model.stop);
  await stage.serve(0, "", model.upstream);
  await begin("Tell me more.");
  await log.getByText("Well").waitFor();
  await button("Stop").click();
  await notice.getByText("Stopped. The chat is unchanged.").waitFor();
  await model.left;
  assert.equal(await stored(), token);
  await stage.serve();
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await turns(2);
  assert.ok(await notice.isHidden());
});

test("a reply that is cut can be kept, and the chat goes on from it", async (t) => {
  await stage.serve();
  const { say, begin, log, button, notice, turns, reload } = await open(t);
  await say("My name is Ada.");
  const model = await startSilentModel();
  await stage.serve(0, "", model.upstream);
  await begin("Tell me more.");
  await log.getByText("Well").waitFor();
  model.stop();
  await notice.getByText("The model service stopped before the end of its reply. Retry the request.").waitFor();
  await button("Keep this reply").click();
  await log.getByText("Well …").waitFor();
  await turns(2);
  await stage.serve();
  assert.equal(await say("What is my name?"), "Your name is Ada.");
  await reload();
  await turns(3);
  await log.getByText("Well …").waitFor();
});

test("a new chat knows nothing of the old one, after a reload too", async (t) => {
  await stage.serve();
  const { say, button, standing, stored, log, reload, page } = await open(t);
  await say("My name is Ada.");
  const token = await stored();
  // Asked whether it is meant, first no, then yes.
  page.once("dialog", (dialog) => dialog.dismiss());
  await button("New chat").click();
  assert.equal(await stored(), token);
  page.once("dialog", (dialog) => dialog.accept());
  await button("New chat").click();
  await standing.getByText("A new chat").waitFor();
  assert.equal(await stored(), undefined);
  await reload();
  await standing.getByText("A new chat").waitFor();
  assert.equal(await log.locator("li").count(), 0);
  assert.notEqual(await say("What is my name?"), "Your name is Ada.");
});

test("the page asks nobody but its own server and the proxy", async (t) => {
  await stage.serve();
  const { say, page, reload } = await open(t);
  const hosts = new Set();
  page.on("request", (request) => hosts.add(new URL(request.url()).origin));
  await reload();
  await say("Hello");
  hosts.delete("null");
  assert.deepEqual([...hosts].sort(), [stage.front.url, stage.site.url].sort());
  const posts = stage.front.seen.filter(({ method }) => method === "POST");
  for (const { headers } of posts) assert.deepEqual([headers.cookie, headers.referer], [undefined, undefined]);
});

for (const colorScheme of ["light", "dark"]) {
  test(`the page is accessible by axe-core's rules, ${colorScheme}`, async (t) => {
    await stage.serve(30);
    const viewport = colorScheme === "light" ? { width: 390, height: 700 } : { width: 1280, height: 800 };
    const { say, begin, log, button, page, notice } = await open(t, { colorScheme, viewport, bypassCSP: true });
    await say("My name is Ada.");
    await begin("Count to 100");
    await log.getByText(/^1 2/).waitFor();
    await button("Stop").click();
    await notice.waitFor();
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(
      violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
      [],
    );
    const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(width, 0, "the page is wider than the screen");
  });
}
