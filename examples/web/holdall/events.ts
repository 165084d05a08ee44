/** Reads server-sent events as they arrive. The size of an event is limited, and a chunk may end
 * anywhere. */

import { HoldallError } from "./error";
import type { HttpResponse } from "./http";

/** A server-sent event: its name, and its data lines joined. */
export type ServerEvent = { event: string; data: string };

/** The events of a response as they arrive. Without a `body` to read in chunks, all come at the
 * end. */
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

/** The text of a response, in chunks as they arrive. */
async function* pieces(response: HttpResponse, alive: (ms?: number) => void): AsyncGenerator<string, void> {
  const { body } = response;
  if (!body) {
    // Nothing arrives before the end.
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

/** Parses server-sent events (the HTML standard, "Event stream interpretation") from chunks of
 * text. */
export class EventParser {
  /** The unfinished line, as a list of chunks, so that a long line is not copied with each
   * chunk. */
  private line: string[] = [];
  private event = "";
  private data: string[] = [];
  /** The number of characters held of the current event. */
  private length = 0;
  private begun = false;
  private afterReturn = false;

  /** Adds the next chunk of the stream. Returns the events that end in it. */
  push(text: string): ServerEvent[] {
    if (text === "") return [];
    // Drops a byte order mark at the start, and the second half of a line end that was split.
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
      throw new HoldallError("unexpected", `An event of the response exceeds ${MOST_EVENT_CHARS} characters.`);
    this.line.push(piece);
  }

  private endLine(found: ServerEvent[]): void {
    const line = this.line.join("");
    this.line = [];
    if (line === "") {
      // An event without data is ignored.
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

/** The server ends a turn after 10 minutes (`timeouts.total`). One minute is added for the
 * network. */
const LONGEST_TURN_MS = 11 * 60 * 1_000;

/** Fits the largest event, `done`: a token, and the reply twice with all its escapes. */
const MOST_EVENT_CHARS = 16 * 1024 * 1024;
