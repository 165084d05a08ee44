/**
 * Holdall for browsers and React Native: a conversation whose whole state is one token, kept on this side.
 *
 * ```ts
 * const chat = await Conversation.open({ url: "https://chat.example" });
 * for await (const event of chat.send("My name is Ada.")) {
 *   if (event.type === "delta") show(event.text);
 * }
 * ```
 *
 * What holds, whatever happens:
 * - The stored token is replaced once a reply is whole, and at no other time. A turn that fails, is stopped, or dies with
 *   the page leaves the old one, which is as good as before; what the turn said waits in `state.unsent`.
 * - A turn is tried again with that same token, and only while nothing of its reply was shown.
 * - A stream that ends without `done` is an error, never an end.
 * - Turns of one conversation follow each other, over all tabs; none overwrites what another tab has stored.
 *
 * No dependencies, ES2020. It needs `fetch`, and nothing else of a browser: locks between tabs, news from them and
 * IndexedDB are used where they are.
 */

import { asError, HoldallError, type Secrets } from "./error";
import { Link, type Emit, type LinkOptions } from "./link";
import { indexedDbStorage, type TokenStorage } from "./storage";
import { Turn } from "./turn";
import {
  parse,
  type Answer,
  type History,
  type Input,
  type PartialReply,
  type Standing,
  type TurnOptions,
} from "./types";
import { SILENCE_MS, within } from "./wait";

export { HoldallError } from "./error";
export { EventParser, readEvents, type ServerEvent } from "./events";
export type { Fetch, HttpResponse } from "./http";
export { indexedDbStorage, memoryStorage, type TokenStorage } from "./storage";
export { Turn, type TurnEvent } from "./turn";
export type { Answer, History, Input, Item, PartialReply, Standing, TurnOptions } from "./types";
export { xhrFetch } from "./xhr";

export interface Options extends LinkOptions {
  /** Names the conversation in storage, and its lock; where people sign in, make the user's id part of it. */
  key?: string;
  /** Where the token is kept: IndexedDB, unless something else is given. React Native has none: give AsyncStorage. */
  storage?: TokenStorage;
  /** What each turn asks for, unless it asks for something else. */
  turn?: TurnOptions;
  /** How long before the expiry `state.expiry` becomes `soon`; a day. */
  noticeMs?: number;
}

/** What is known of a conversation; a new object after each change, so that it can be compared. */
export interface State {
  /** Opaque, up to 3 MiB. With the user's credential it is the conversation: keep it out of logs and URLs. */
  readonly token?: string;
  readonly conversation?: Standing;
  /** By this device's clock, so a notice and not a verdict: the server decides. */
  readonly expiry: "good" | "none" | "past" | "soon";
  /** What the last turn said, while it is under way here, and after, unless it came to its end: send it again if it
   * matters. */
  readonly unsent?: Input;
  /** Why no turn can follow, once the server has said so; `reset()` begins another conversation. */
  readonly ended?: HoldallError;
  /** Whether a turn is under way here; or in another tab, if it was when the conversation was opened. */
  readonly busy: boolean;
}

/** A conversation, its token, and the turns that continue it. */
export class Conversation {
  private current: State = { expiry: "none", busy: false };
  /** What storage held when it was last looked at, to tell whether another tab has gone on. */
  private seen: string | null = null;
  /** Whether `unsent` was found in storage, and not said here. */
  private recalled = false;
  /** Whether a turn is waited for that another tab had under way when this one opened. */
  private elsewhere = false;
  /** What storage held when the turns were sent that broke off, by what came of them. */
  private readonly origins = new WeakMap<object, string | null>();
  private readonly key: string;
  private readonly storage: TokenStorage;
  private readonly link: Link;
  private readonly running = new Set<Turn>();
  private readonly listeners = new Set<() => void>();
  private channel?: BroadcastChannel;
  private locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
  private timer?: ReturnType<typeof setTimeout>;

  private constructor(private readonly options: Options) {
    this.key = options.key ?? "holdall";
    this.storage = options.storage ?? indexedDbStorage();
    this.link = new Link(options);
    if (typeof BroadcastChannel !== "undefined") {
      this.channel = new BroadcastChannel(this.name);
      this.channel.onmessage = ({ data }) => void (data === "reset" ? this.halt() : this.load()).catch(() => {});
    }
  }

  /** Opens the conversation that `key` names in storage; where there is none, the first turn begins it. */
  static async open(options: Options): Promise<Conversation> {
    const conversation = new Conversation(options);
    await conversation.recall();
    return conversation;
  }

  get state(): State {
    return this.current;
  }

  /** Calls `listener` after each change of `state`: by this side, by another tab, by time. Returns what ends that. */
  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.watchExpiry();
    return () => void this.listeners.delete(listener);
  };

  /** Sends one turn. It begins at once, or when those before it have ended, in this tab or another. */
  send(input: Input, { signal, ...options }: TurnOptions & { signal?: AbortSignal } = {}): Turn {
    const turn: Turn = new Turn(async (emit, stopped) => {
      try {
        const answer = await this.inOrder(stopped, () => this.take(input, options, emit, stopped));
        emit({ type: "done", answer });
        return answer;
      } catch (thrown) {
        const error = asError(thrown, stopped).attach({ input });
        if (error.final) this.change({ ended: error });
        throw error;
      } finally {
        this.running.delete(turn);
        this.change({});
      }
    }, signal);
    this.running.add(turn);
    this.change({});
    return turn;
  }

  /** What was said so far, as the server reads it from the token; also from an expired one. */
  async history(signal?: AbortSignal): Promise<History> {
    await this.load();
    const { token } = this.current;
    return token === undefined ? { items: [] } : this.read(token, signal);
  }

  /** Goes on from a reply that broke off (`error.partial`), or from one that another tab was ahead of (`error.answer`). Where
   * another tab has gone on since the turn was sent, that is a `conflict`, and kept if it is asked for again. */
  async keep(successor: Answer | PartialReply): Promise<void> {
    const { token } = successor;
    const { conversation } = await this.read(token);
    await this.inOrder(undefined, async () => {
      await this.load();
      const { seen } = this;
      const known = this.origins.has(successor) ? (this.origins.get(successor) ?? null) : seen;
      this.origins.set(successor, seen);
      await this.store({ token, conversation }, known, { partial: successor, input: this.current.unsent });
    });
  }

  /** Forgets the conversation, here and in storage; the next turn begins another. Copies of the token stay good. */
  async reset(): Promise<void> {
    // Other tabs stop as well: what they store is not to come after this.
    this.channel?.postMessage("reset");
    await this.halt();
    await this.inOrder(undefined, async () => {
      await this.stored(() => this.storage.removeItem(this.key));
      await this.stored(() => this.storage.removeItem(this.unsentKey));
      this.seen = null;
    });
    this.change({ token: undefined, conversation: undefined, ended: undefined });
    this.channel?.postMessage("changed");
  }

  /** Stops listening, to other tabs and to time. Turns under way go on. */
  close(): void {
    this.channel?.close();
    this.channel = undefined;
    this.listeners.clear();
    clearTimeout(this.timer);
  }

  private get name(): string {
    return `holdall:${this.key}`;
  }

  private get unsentKey(): string {
    return `${this.key}.unsent`;
  }

  /** One turn, from the token that storage has now to the one that it has then. */
  private async take(input: Input, options: TurnOptions, emit: Emit, signal: AbortSignal): Promise<Answer> {
    await this.load(signal);
    const known = this.seen;
    const { token } = this.current;
    this.recalled = false;
    this.change({ unsent: input });
    const record: Unsent = { input, from: mark(known) };
    // A turn does not fail because its text could not be kept as well.
    await this.stored(() => this.storage.setItem(this.unsentKey, JSON.stringify(record)), signal).catch(() => {});
    try {
      const answer = await this.link.turn({ ...this.options.turn, ...options, token, input }, emit, signal);
      await this.store({ token: answer.token, conversation: answer.conversation }, known, { answer });
      return answer;
    } catch (thrown) {
      const { partial } = thrown as HoldallError;
      if (partial) this.origins.set(partial, known);
      throw thrown;
    }
  }

  /** Stops what is under way here, and forgets what was said. */
  private async halt(): Promise<void> {
    const turns = [...this.running];
    for (const turn of turns) turn.stop();
    await Promise.all(turns.map((turn) => turn.answer.catch(() => {})));
    this.change({ unsent: undefined });
  }

  /** Looks for what is stored and was not answered; if another tab has a turn under way, once that has come to its end. */
  private async recall(): Promise<void> {
    const look = async () => {
      await this.load();
      const kept = parse<Unsent>(await this.stored(() => this.storage.getItem(this.unsentKey)));
      // Where the token is another, the page ended between the two writes: it was answered.
      if (!kept || kept.from !== mark(this.seen)) return;
      this.recalled = true;
      this.change({ unsent: kept.input });
    };
    if (!this.locks) return look();
    try {
      await this.locks.request(this.name, { ifAvailable: true }, (free) => (free ? look() : this.wait(look)));
    } catch (thrown) {
      // Where a browser refuses storage to a page, it refuses locks as well.
      if ((thrown as Error).name !== "SecurityError") throw thrown;
      this.locks = undefined;
      await look();
    }
  }

  /** Is busy with another tab's turn until that has ended, and then looks what became of it. */
  private async wait(look: () => Promise<void>): Promise<void> {
    const waits = (elsewhere: boolean) => {
      this.elsewhere = elsewhere;
      this.change({});
    };
    waits(true);
    const over = () => waits(false);
    void this.inOrder(undefined, look).then(over, over);
    await this.load();
  }

  private read(token: string, signal?: AbortSignal): Promise<Required<History>> {
    return this.link.history({ token, user_id: this.options.turn?.user_id }, signal);
  }

  /** Takes over what storage has, if that is not what this side saw or left there. */
  private async load(signal?: AbortSignal): Promise<void> {
    const found = await this.stored(() => this.storage.getItem(this.key), signal);
    if (found === this.seen) return;
    this.seen = found;
    const unsent = this.recalled ? undefined : this.current.unsent;
    this.change({ token: undefined, conversation: undefined, ended: undefined, ...parse<Saved>(found), unsent });
  }

  /** Replaces the token, unless another tab has done so since this side knew what was there; then, or where there is no room,
   * the error has what is lost. */
  private async store(saved: Saved, known: string | null, lost: Secrets): Promise<void> {
    await this.load();
    if (this.seen !== known) {
      const message = "another tab has gone on with this conversation; its turn stands, this one is not stored";
      throw new HoldallError("conflict", message).attach(lost);
    }
    // From here on this side goes on from the new token, whether there is room to store it or not.
    this.change({ ...saved, ended: undefined, unsent: undefined });
    const record = JSON.stringify(saved);
    try {
      await this.stored(() => this.storage.setItem(this.key, record));
    } catch (thrown) {
      throw asError(thrown).attach(lost);
    }
    this.seen = record;
    // It is of another token now, and left out of account if it stays.
    await this.stored(() => this.storage.removeItem(this.unsentKey)).catch(() => {});
    this.channel?.postMessage("changed");
  }

  /** Access to storage, whose errors are told apart by their names: each storage has its own. */
  private async stored<T>(access: () => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await within(this.options.silenceMs ?? SILENCE_MS, signal, access);
    } catch (thrown) {
      if (signal?.aborted) throw asError(thrown, signal);
      const { name, message } = (thrown ?? {}) as Partial<Error>;
      const full = /quota|full/i.test(`${name} ${message}`);
      const trouble = full ? "there is no room in this device's storage" : "this device's storage does not work";
      throw new HoldallError(full ? "storage_full" : "storage_failed", `${trouble}: ${message}`);
    }
  }

  /** One turn at a time: over all tabs where there are Web Locks, else within this program. */
  private async inOrder<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.locks) return await this.locks.request(this.name, { signal }, work);
    const before = queues.get(this.name);
    const mine = (async () => {
      await before;
      if (signal?.aborted) throw asError(undefined, signal);
      return work();
    })();
    queues.set(
      this.name,
      mine.catch(() => {}),
    );
    return mine;
  }

  private change(more: Partial<State>): void {
    const next = { ...this.current, ...more, busy: this.elsewhere || this.running.size > 0 };
    this.current = { ...next, expiry: this.expiryOf(next.conversation) };
    // Later, and apart: what a listener throws is not to end up in a turn.
    for (const listener of this.listeners) void Promise.resolve().then(listener);
    this.watchExpiry();
  }

  private expiryOf(conversation?: Standing): State["expiry"] {
    if (!conversation) return "none";
    const left = leftMs(conversation);
    return left <= 0 ? "past" : left <= this.noticeMs ? "soon" : "good";
  }

  /** Comes back when `expiry` changes next; only if somebody listens. */
  private watchExpiry(): void {
    clearTimeout(this.timer);
    const { conversation, expiry } = this.current;
    if (!conversation || expiry === "past" || this.listeners.size === 0) return;
    const left = leftMs(conversation) - (expiry === "good" ? this.noticeMs : 0);
    this.timer = setTimeout(() => this.change({}), Math.min(Math.max(left, 0) + 1, LONGEST_TIMER_MS));
  }

  private get noticeMs(): number {
    return this.options.noticeMs ?? 24 * 60 * 60 * 1_000;
  }
}

type Saved = { token: string; conversation?: Standing };

/** What a turn says, and the mark of the token that was stored when it was sent. */
type Unsent = { input: Input; from?: string };

/** Tells stored tokens apart without room for two of them: no two end alike. */
function mark(saved: string | null): string | undefined {
  return parse<Saved>(saved)?.token.slice(-32);
}

/** The ends of the lines of turns, where there are no Web Locks. */
const queues = new Map<string, Promise<unknown>>();

/** `setTimeout` counts in 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

function leftMs({ expires_at }: Standing): number {
  return Date.parse(expires_at) - Date.now();
}
