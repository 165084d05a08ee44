// The reading of server-sent events, in pieces of every size.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, HoldallError, readEvents } from "./holdall.mjs";

/** All events of these pieces. */
function parsed(...pieces) {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

/** A response whose body comes in these chunks of bytes. */
function response(...chunks) {
  return {
    status: 200,
    headers: new Headers(),
    body: new Response(
      new ReadableStream({
        start(controller) {
          for (const chunk of chunks) controller.enqueue(chunk);
          controller.close();
        },
      }),
    ).body,
    text: async () => assert.fail("the body is to be read in pieces"),
  };
}

async function all(events) {
  const found = [];
  for await (const event of events) found.push(event);
  return found;
}

const STREAM =
  '\uFEFF: a comment\r\nevent: delta\r\ndata: {"text":"Grüße, 👋"}\r\n\r\nevent:done\ndata:1\ndata: 2\n\n: alive\n\n\rid: 7\rdata\r\r';
const EVENTS = [
  { event: "delta", data: '{"text":"Grüße, 👋"}' },
  { event: "done", data: "1\n2" },
  { event: "message", data: "" },
];

test("a stream cut in two at any character has the same events", () => {
  for (let at = 0; at <= STREAM.length; at++) {
    assert.deepEqual(parsed(STREAM.slice(0, at), STREAM.slice(at)), EVENTS, `at ${at}`);
  }
});

test("a stream in single characters has the same events", () => {
  assert.deepEqual(parsed(...STREAM), EVENTS);
  assert.deepEqual(parsed(...[...STREAM].flatMap((piece) => [piece, ""])), EVENTS);
});

test("a stream cut in two at any byte, halves of characters too, has the same events", async () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let at = 0; at <= bytes.length; at++) {
    const found = await all(readEvents(response(bytes.slice(0, at), bytes.slice(at))));
    assert.deepEqual(found, EVENTS, `at ${at}`);
  }
});

test("an event without its empty line is none", () => {
  assert.deepEqual(parsed("event: done\ndata: {}\n"), []);
  assert.deepEqual(parsed("event: done\n\n"), []);
});

test("one space after the colon is taken away, and no more", () => {
  assert.deepEqual(parsed("data:  a\n\n"), [{ event: "message", data: " a" }]);
});

test("text that is read whole has the same events", async () => {
  const whole = { status: 200, headers: new Headers(), text: async () => STREAM.slice(1) };
  assert.deepEqual(await all(readEvents(whole)), EVENTS);
});

test("a line of 4 MB in small pieces takes no longer than its length", () => {
  const parser = new EventParser();
  const piece = "x".repeat(1024);
  const began = performance.now();
  parser.push("data: ");
  for (let count = 0; count < 4096; count++) parser.push(piece);
  const [event] = parser.push("\n\n");
  assert.equal(event.data.length, 4096 * 1024);
  // Scanned anew with each piece it would be 8 GB.
  assert.ok(performance.now() - began < 2_000);
});

test("an event without end is refused at its limit, in one line and in many", () => {
  const most = 16 * 1024 * 1024;
  for (const piece of ["x".repeat(1 << 20), `data: ${"x".repeat(1 << 20)}\n`]) {
    const parser = new EventParser();
    let length = 0;
    assert.throws(
      () => {
        for (; length < 2 * most; length += piece.length) parser.push(piece);
      },
      (error) => error instanceof HoldallError && error.code === "unexpected",
    );
    assert.ok(length <= most);
  }
});

test("comments without end take no room", () => {
  const parser = new EventParser();
  const comment = `: ${"x".repeat(1 << 20)}\n\n`;
  for (let count = 0; count < 32; count++) assert.deepEqual(parser.push(comment), []);
  for (let count = 0; count < 32; count++) assert.deepEqual(parser.push(comment.slice(0, -1)), []);
});
