/**
 * A Holdall client for browsers and React Native. The whole state of a conversation is one token,
 * which the client stores.
 *
 * ```ts
 * const chat = await Conversation.open({ url: "https://chat.example" });
 * for await (const event of chat.send("My name is Ada.")) {
 *   if (event.type === "delta") show(event.text);
 * }
 * ```
 *
 * Guarantees:
 * - Only a complete reply replaces the stored token. If a turn fails, is stopped, or ends with the
 *   page, the old token stays and is still valid. The input of that turn is in `state.unsent`.
 * - A retry uses the same token, and happens only while nothing of the reply was shown.
 * - A stream that ends without `done` is an error.
 * - Turns of one conversation run one after the other, over all tabs. None overwrites what another
 *   tab stored.
 *
 * The client is ES2020 and has no dependencies. It needs only `fetch`. Where the platform has them,
 * it uses locks and messages between tabs, and IndexedDB.
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
  /** The name of the conversation in storage, and of its lock. Where users sign in, include the
   * user's id. */
  key?: string;
  /** The storage of the token. Default IndexedDB. React Native has none: pass AsyncStorage, for
   * example. */
  storage?: TokenStorage;
  /** The default options of each turn. */
  turn?: TurnOptions;
  /** How long before the expiry `state.expiry` becomes `soon`. Default one day. */
  noticeMs?: number;
}

/** The state of a conversation. Each change creates a new object, so that states can be
 * compared. */
export interface State {
  /** Opaque, up to 3 MiB. Together with the user's credential it opens the conversation: keep it
   * out of logs and URLs. */
  readonly token?: string;
  readonly conversation?: Standing;
  /** Computed from this device's clock. It is only a notice: the server decides. */
  readonly expiry: "good" | "none" | "past" | "soon";
  /** The input of the last turn, while it is in progress here, and afterwards if it was not
   * completed. Send it again if it matters. */
  readonly unsent?: Input;
  /** The server's reason why no further turn can follow. Call `reset()` to start a new
   * conversation. */
  readonly ended?: HoldallError;
  /** True while a turn is in progress here, or in another tab if it was when the conversation was
   * opened. */
  readonly busy: boolean;
}

/** A conversation, its token, and the turns that continue it. */
export class Conversation {
  private current: State = { expiry: "none", busy: false };
  /** The content of storage at the last look, to notice turns of other tabs. */
  private seen: string | null = null;
  /** True if `unsent` was found in storage and was not sent here. */
  private recalled = false;
  /** True while this tab waits for a turn that another tab had in progress when this tab opened. */
  private elsewhere = false;
  /** For each reply that `keep` may store: the content of storage when its turn was sent. */
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

  /** Opens the conversation stored under `key`. If there is none, the first turn creates it. */
  static async open(options: Options): Promise<Conversation> {
    const conversation = new Conversation(options);
    await conversation.recall();
    return conversation;
  }

  get state(): State {
    return this.current;
  }

  /** Calls `listener` after each change of `state` by this tab, another tab or time. Returns a
   * function that ends the subscription. */
  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.watchExpiry();
    return () => void this.listeners.delete(listener);
  };

  /** Sends one turn. It starts immediately, or when the turns before it have ended, in this tab or
   * another. */
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

  /** The messages so far, as the server reads them from the token; also from an expired token. */
  async history(signal?: AbortSignal): Promise<History> {
    await this.load();
    const { token } = this.current;
    return token === undefined ? { items: [] } : this.read(token, signal);
  }

  /** Continues from an interrupted reply (`error.partial`), or from a complete one that was not
   * stored (`error.answer`). Fails with `conflict` if another tab has stored a turn since this one
   * was sent. A second call overwrites the other tab's turn. */
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

  /** Forgets the conversation, here and in storage. The next turn starts a new one. Copies of the
   * token stay valid. */
  async reset(): Promise<void> {
    // Other tabs stop too, so that they store nothing after this.
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

  /** Stops listening to other tabs and to time. Turns in progress continue. */
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

  /** Runs one turn: reads the token from storage, sends the turn, and stores the new token. */
  private async take(input: Input, options: TurnOptions, emit: Emit, signal: AbortSignal): Promise<Answer> {
    await this.load(signal);
    const known = this.seen;
    const { token } = this.current;
    this.recalled = false;
    this.change({ unsent: input });
    const record: Unsent = { input, from: mark(known) };
    // If the text cannot be stored, the turn does not fail.
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

  /** Stops the turns in progress here, and forgets their input. */
  private async halt(): Promise<void> {
    const turns = [...this.running];
    for (const turn of turns) turn.stop();
    await Promise.all(turns.map((turn) => turn.answer.catch(() => {})));
    this.change({ unsent: undefined });
  }

  /** Looks for stored input that was not answered. If another tab has a turn in progress, waits for
   * its end first. */
  private async recall(): Promise<void> {
    const look = async () => {
      await this.load();
      const kept = parse<Unsent>(await this.stored(() => this.storage.getItem(this.unsentKey)));
      // If the token has changed, the page ended between the two writes: the input was answered.
      if (!kept || kept.from !== mark(this.seen)) return;
      this.recalled = true;
      this.change({ unsent: kept.input });
    };
    if (!this.locks) return look();
    try {
      await this.locks.request(this.name, { ifAvailable: true }, (free) => (free ? look() : this.wait(look)));
    } catch (thrown) {
      // A browser that denies a page its storage also denies it locks.
      if ((thrown as Error).name !== "SecurityError") throw thrown;
      this.locks = undefined;
      await look();
    }
  }

  /** Waits, as `busy`, until another tab's turn has ended, and then looks at its result. */
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

  /** Loads the conversation from storage, if it is not what this tab last saw or stored there. */
  private async load(signal?: AbortSignal): Promise<void> {
    const found = await this.stored(() => this.storage.getItem(this.key), signal);
    if (found === this.seen) return;
    this.seen = found;
    const unsent = this.recalled ? undefined : this.current.unsent;
    this.change({ token: undefined, conversation: undefined, ended: undefined, ...parse<Saved>(found), unsent });
  }

  /** Replaces the token, unless another tab has replaced it since `known` was read. In that case,
   * or if there is no room, it throws an error with `lost` attached. */
  private async store(saved: Saved, known: string | null, lost: Secrets): Promise<void> {
    await this.load();
    if (this.seen !== known) {
      const message = "Another tab has stored a turn of this conversation. This turn was not stored.";
      throw new HoldallError("conflict", message).attach(lost);
    }
    // From here on this tab continues from the new token, even if storage is full.
    this.change({ ...saved, ended: undefined, unsent: undefined });
    const record = JSON.stringify(saved);
    try {
      await this.stored(() => this.storage.setItem(this.key, record));
    } catch (thrown) {
      throw asError(thrown).attach(lost);
    }
    this.seen = record;
    // It belongs to an older token now. If it cannot be removed, it is ignored.
    await this.stored(() => this.storage.removeItem(this.unsentKey)).catch(() => {});
    this.channel?.postMessage("changed");
  }

  /** Accesses storage. Each storage has its own errors, so a full one is recognized by name or
   * message. */
  private async stored<T>(access: () => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await within(this.options.silenceMs ?? SILENCE_MS, signal, access);
    } catch (thrown) {
      if (signal?.aborted) throw asError(thrown, signal);
      const { name, message } = (thrown ?? {}) as Partial<Error>;
      const full = /quota|full/i.test(`${name} ${message}`);
      const trouble = full ? "This device's storage is full" : "This device's storage failed";
      throw new HoldallError(full ? "storage_full" : "storage_failed", `${trouble}: ${message}`);
    }
  }

  /** Runs one piece of work at a time: over all tabs with Web Locks, otherwise within this
   * program. */
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
    // Later, and each by itself, so that an error of a listener does not reach a turn.
    for (const listener of this.listeners) void Promise.resolve().then(listener);
    this.watchExpiry();
  }

  private expiryOf(conversation?: Standing): State["expiry"] {
    if (!conversation) return "none";
    const left = leftMs(conversation);
    return left <= 0 ? "past" : left <= this.noticeMs ? "soon" : "good";
  }

  /** Sets a timer for the next change of `expiry`, if there are listeners. */
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

/** The input of a turn, and the mark of the token that was stored when it was sent. */
type Unsent = { input: Input; from?: string };

/** Identifies a stored token by its last 32 characters, which differ between tokens. This saves
 * storing it twice. */
function mark(saved: string | null): string | undefined {
  return parse<Saved>(saved)?.token.slice(-32);
}

/** The last piece of queued work by conversation, where there are no Web Locks. */
const queues = new Map<string, Promise<unknown>>();

/** `setTimeout` counts in 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

function leftMs({ expires_at }: Standing): number {
  return Date.parse(expires_at) - Date.now();
}
