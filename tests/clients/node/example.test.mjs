// examples/openai-node, as a user runs it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { newKeys, start, startTwo } from "./servers.mjs";

const example = join(dirname(fileURLToPath(import.meta.url)), "example.mjs");

let two;
let folder;
before(async () => {
  two = await startTwo();
  folder = mkdtempSync(join(tmpdir(), "holdall-"));
});
after(() => {
  two.stop();
  rmSync(folder, { recursive: true });
});

/** Runs the example in the folder, with these lines typed in. */
async function chat(url, lines) {
  const child = spawn(process.execPath, [example], {
    cwd: folder,
    env: { HOLDALL_URL: url },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => (err += data));
  child.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, out, err };
}

test("the example goes on in another process, at another server", async () => {
  const first = await chat(two.servers[0].url, ["My name is Ada.", "Remember the door code: 4711."]);
  assert.deepEqual(first, { code: 0, out: "Noted: your name is Ada.\nNoted: your door code is 4711.\n", err: "" });
  assert.ok(existsSync(join(folder, "conversation.txt")));
  const second = await chat(two.servers[1].url, ["What is my name?", "What did I say first?"]);
  assert.deepEqual(second, { code: 0, out: 'Your name is Ada.\nYour first message was: "My name is Ada."\n', err: "" });
});

test("the example says why a conversation cannot go on", async () => {
  const other = await start(newKeys());
  try {
    const { code, out, err } = await chat(other.url, ["What is my name?"]);
    assert.equal(code, 1);
    assert.equal(out, "");
    assert.match(err, /previous_response_not_found/);
  } finally {
    other.stop();
  }
});
