/** One turn, as the caller sees it. */

import type { HoldallError } from "./error";
import type { Answer } from "./types";

/** The events of a turn, in this order. `done` is the last. */
export type TurnEvent =
  | { type: "retry"; error: HoldallError; waitMs: number }
  | { type: "delta"; text: string }
  | { type: "tool_call"; id: string; name: string; args: string }
  | { type: "done"; answer: Answer };

/** One turn, in progress from the moment it is sent. Its events are kept, so they can be read later
 * or twice. */
export class Turn implements AsyncIterable<TurnEvent> {
  /** The complete response, once its token is stored. Rejects with a `HoldallError`. */
  readonly answer: Promise<Answer>;
  private readonly events: TurnEvent[] = [];
  private readonly cancel = new AbortController();
  private settled = false;
  private news!: Promise<void>;
  private tell: () => void = () => {};

  /** @internal */
  constructor(run: (emit: (event: TurnEvent) => void, signal: AbortSignal) => Promise<Answer>, signal?: AbortSignal) {
    const stop = () => this.stop();
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    this.notify();
    this.answer = run((event) => this.push(event), this.cancel.signal).finally(() => {
      signal?.removeEventListener("abort", stop);
      this.settled = true;
      this.notify();
    });
    // A caller that only reads the events gets the error there.
    this.answer.catch(() => {});
  }

  /** Ends the turn: the server stops the model, the token stays, and the text is in
   * `state.unsent`. */
  stop(): void {
    this.cancel.abort();
  }

  /** The events. Leaving the loop before `done` stops the turn. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TurnEvent, void> {
    try {
      for (let at = 0; ;) {
        while (at < this.events.length) yield this.events[at++]!;
        if (this.settled) break;
        await this.news;
      }
      await this.answer;
    } finally {
      if (!this.settled) this.stop();
    }
  }

  private push(event: TurnEvent): void {
    this.events.push(event);
    this.notify();
  }

  private notify(): void {
    this.tell();
    this.news = new Promise((tell) => (this.tell = tell));
  }
}
