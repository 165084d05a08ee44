/** Server-sent events, read as they come; what is read is bounded, and a piece may end anywhere. */

import { HoldallError } from "./error";
import type { HttpResponse } from "./http";

/** A server-sent event: its name, and its lines of data joined. */
export type ServerEvent = { event: string; data: string };

/** The events of an answer, as they come; from one without a body that can be read in pieces, all at its end. */
export async function* readEvents(
  response: HttpResponse,
  alive: (ms?: number) => void = () => {},
): AsyncGenerator<ServerEvent, void> {
  const parser = new EventParser();
  for await (const text of pieces(response, alive)) {
    alive();
    yield* parser.push(text);
  }
}

/** The text of an answer, in the pieces in which it comes. */
async function* pieces(response: HttpResponse, alive: (ms?: number) => void): AsyncGenerator<string, void> {
  const { body } = response;
  if (!body) {
    // Nothing is seen of it until its end.
    alive(LONGEST_TURN_MS);
    yield await response.text();
  } else if ("getReader" in body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    for (let next; !(next = await reader.read()).done;) yield decoder.decode(next.value, { stream: true });
  } else {
    yield* body;
  }
}

/** Reads server-sent events (the HTML standard, "Event stream interpretation") from text cut anywhere. */
export class EventParser {
  /** The line that has not ended yet, in the pieces that came, so that long ones are not copied over and over. */
  private line: string[] = [];
  private event = "";
  private data: string[] = [];
  /** What is held of the event under way. */
  private length = 0;
  private begun = false;
  private afterReturn = false;

  /** Takes the next piece of the stream, and gives the events that end in it. */
  push(text: string): ServerEvent[] {
    if (text === "") return [];
    // A byte order mark at the very start; the second half of a line end that was cut in two.
    if (!this.begun) text = text.replace(/^\uFEFF/, "");
    else if (this.afterReturn) text = text.replace(/^\n/, "");
    this.begun = true;
    this.afterReturn = text.endsWith("\r") || (text === "" && this.afterReturn);
    const found: ServerEvent[] = [];
    const pieces = text.split(/\r\n|\r|\n/);
    pieces.forEach((piece, at) => {
      this.hold(piece);
      if (at < pieces.length - 1) this.endLine(found);
    });
    return found;
  }

  private hold(piece: string): void {
    this.length += piece.length;
    if (this.length > MOST_EVENT_CHARS)
      throw new HoldallError("unexpected", `an event is over ${MOST_EVENT_CHARS} characters`);
    this.line.push(piece);
  }

  private endLine(found: ServerEvent[]): void {
    const line = this.line.join("");
    this.line = [];
    if (line === "") {
      // An event without data is none.
      if (this.data.length > 0) found.push({ event: this.event || "message", data: this.data.join("\n") });
      this.event = "";
      this.data = [];
      this.length = 0;
      return;
    }
    const [, field, value] = /^([^:]*):? ?([^]*)$/.exec(line)!;
    if (field === "event") this.event = value!;
    else if (field === "data") this.data.push(value!);
    else this.length -= line.length;
  }
}

/** The server ends a turn after 10 minutes (`timeouts.total`); and some for the way. */
const LONGEST_TURN_MS = 11 * 60 * 1_000;

/** The whole answer is the largest event: a token, and a reply twice with all its escapes. */
const MOST_EVENT_CHARS = 16 * 1024 * 1024;
