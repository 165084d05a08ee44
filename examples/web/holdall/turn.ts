/** One turn as the caller sees it. */

import type { HoldallError } from "./error";
import type { Answer } from "./types";

/** What happens in a turn, in this order; `done` is the last. */
export type TurnEvent =
  | { type: "retry"; error: HoldallError; waitMs: number }
  | { type: "delta"; text: string }
  | { type: "tool_call"; id: string; name: string; args: string }
  | { type: "done"; answer: Answer };

/** One turn, under way from the moment it was sent; what came so far is kept, so it can be read late, or twice. */
export class Turn implements AsyncIterable<TurnEvent> {
  /** The whole reply, once the new token is stored; rejects with a `HoldallError`. */
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
    // Whoever reads the events alone is told there.
    this.answer.catch(() => {});
  }

  /** Ends the turn: the server lets go of the model, the token stays what it was, and the text is in `state.unsent`. */
  stop(): void {
    this.cancel.abort();
  }

  /** The events; leaving the loop before `done` stops the turn. */
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
