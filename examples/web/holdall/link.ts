/** Requests to the server: how one is made, and when it is made again. */

import { asError, HoldallError, refusal, unexpected } from "./error";
import { readEvents } from "./events";
import type { Fetch, HttpResponse } from "./http";
import type { TurnEvent } from "./turn";
import type { Answer, History } from "./types";
import { SILENCE_MS, sleep, within } from "./wait";
import { xhrFetch } from "./xhr";

export interface LinkOptions {
  /** The proxy, without `/v1`. */
  url: string;
  /** A bearer credential, asked for before each request; `refused` if the server has just refused the last one. */
  credential?: (refused: boolean) => string | Promise<string>;
  /** Other headers of each request. */
  headers?: Record<string, string>;
  /** Another `fetch`, such as that of `expo/fetch`; `xhrFetch` is the default where answers have no `body` to stream. */
  fetch?: Fetch;
  /** How often a request is made again; 2. */
  retries?: number;
  /** The longest wait after which it is made again; 30 s. What takes longer is an error with `retryAfterMs`. */
  patienceMs?: number;
  /** The silence after which a connection, `credential` or storage is given up; 60 s. The server sends a sign of life
   * every 15 s. */
  silenceMs?: number;
  /** For a `fetch` that shows nothing before the end, not even the status: how long it may take for all, instead of
   * `silenceMs`; 11 minutes are enough, since the server ends a turn after 10. */
  wholeMs?: number;
}

export type Emit = (event: TurnEvent) => void;
/** Says that something came, and for how long there may be silence from here on. */
type Alive = (ms?: number) => void;
type Use<T> = (response: HttpResponse, alive: Alive) => Promise<T>;

export class Link {
  constructor(private readonly options: LinkOptions) {}

  /** A turn, made again only while nothing of its reply was shown. */
  turn(body: object, emit: Emit, signal: AbortSignal): Promise<Answer> {
    let shown = false;
    const show: Emit = (event) => {
      shown = true;
      emit(event);
    };
    const again = (error: HoldallError, waitMs: number) => {
      if (!shown) emit({ type: "retry", error, waitMs });
      return !shown;
    };
    return this.persist(
      "/v1/turns",
      { ...body, stream: true },
      (...answer) => readTurn(...answer, show),
      again,
      signal,
    );
  }

  /** What a token says; also of one that has expired. */
  history(body: { token: string; user_id?: string }, signal?: AbortSignal): Promise<Required<History>> {
    const read: Use<Required<History>> = async (response) => JSON.parse(await response.text());
    return this.persist("/v1/history", body, read, () => true, signal);
  }

  private async persist<T>(
    path: string,
    body: object,
    use: Use<T>,
    again: (error: HoldallError, waitMs: number) => boolean,
    signal?: AbortSignal,
  ): Promise<T> {
    const { credential, patienceMs = 30_000, retries = 2 } = this.options;
    for (let failures = 0, refused = false; ;) {
      try {
        return await this.request(path, body, use, refused, signal);
      } catch (thrown) {
        const error = asError(thrown, signal);
        // The server's word, not that of `credential` itself.
        if (error.code === "unauthenticated" && error.status === 401 && credential && !refused) {
          refused = true;
          continue;
        }
        const waitMs = backoff(error, failures++);
        const useless = error.retry === "never" || error.code === "stopped" || waitMs > patienceMs;
        if (useless || failures > retries || !again(error, waitMs)) throw error;
        await sleep(waitMs, signal);
      }
    }
  }

  private async request<T>(
    path: string,
    body: object,
    use: Use<T>,
    refused: boolean,
    signal?: AbortSignal,
  ): Promise<T> {
    const { url, headers, silenceMs = SILENCE_MS, wholeMs, fetch = usualFetch() } = this.options;
    const bearer = await this.bearer(refused, signal);
    const cancel = new AbortController();
    const abort = () => cancel.abort();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(abort, ms);
    };
    const alive: Alive = wholeMs === undefined ? (ms = silenceMs) => limit(ms) : () => {};
    let response: HttpResponse | undefined;
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    try {
      limit(wholeMs ?? silenceMs);
      response = await fetch(url.replace(/\/+$/, "") + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers, ...bearer },
        body: JSON.stringify(body),
        signal: cancel.signal,
        // The token goes to this address and no other, with nobody's cookies, and into no cache.
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
      alive();
      if (response.status !== 200) throw refusal(response, await response.text());
      return await use(response, alive);
    } catch (thrown) {
      throw asError(thrown, signal, response);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      // Whatever is left of the answer is of no use to anyone.
      abort();
    }
  }

  private async bearer(refused: boolean, signal?: AbortSignal): Promise<Record<string, string>> {
    const { credential, silenceMs = SILENCE_MS } = this.options;
    if (!credential) return {};
    try {
      return { authorization: `Bearer ${await within(silenceMs, signal, () => credential(refused))}` };
    } catch (thrown) {
      if (signal?.aborted) throw asError(thrown, signal);
      throw new HoldallError("unauthenticated", `there is no credential: ${(thrown as Error)?.message}`);
    }
  }
}

/** React Native's own `fetch` comes with the whole answer and no sooner; what it answers with has no `body`. */
function usualFetch(): Fetch {
  const streams = typeof Response !== "undefined" && "body" in Response.prototype;
  return streams ? globalThis.fetch.bind(globalThis) : xhrFetch;
}

/** Reads the stream of a turn to its `done`. */
async function readTurn(response: HttpResponse, alive: Alive, show: Emit): Promise<Answer> {
  if (!/^text\/event-stream/i.test(response.headers.get("content-type") ?? "")) throw unexpected(response);
  for await (const { event, data } of readEvents(response, alive)) {
    // What is not known here came later, and can be done without.
    if (event === "delta") show({ type: "delta", ...JSON.parse(data) });
    if (event === "tool_call") show({ type: "tool_call", ...JSON.parse(data) });
    if (event === "error") throw refusal(response, data);
    if (event !== "done") continue;
    const answer = JSON.parse(data) as Answer | null;
    // Without a token there is nothing that could go on.
    if (typeof answer?.token !== "string") throw unexpected(response);
    return answer;
  }
  throw new TypeError("the stream ended without `done`");
}

/** How long to wait after so many failures, spread so that clients that failed together do not come back together. */
function backoff({ retryAfterMs }: HoldallError, failures: number): number {
  const spread = (ms: number) => ms * (0.5 + Math.random() / 2);
  return retryAfterMs === undefined ? spread(1_000 * 2 ** failures) : retryAfterMs + spread(500);
}
