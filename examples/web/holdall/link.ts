/** Sends requests to the server and retries them. */

import { asError, HoldallError, refusal, unexpected } from "./error";
import { readEvents } from "./events";
import type { Fetch, HttpResponse } from "./http";
import type { TurnEvent } from "./turn";
import type { Answer, History } from "./types";
import { SILENCE_MS, sleep, within } from "./wait";
import { xhrFetch } from "./xhr";

export interface LinkOptions {
  /** The URL of the proxy, without `/v1`. */
  url: string;
  /** Returns a bearer credential. Called before each request; `refused` is true if the server has
   * just rejected the last one. */
  credential?: (refused: boolean) => string | Promise<string>;
  /** Additional headers of each request. */
  headers?: Record<string, string>;
  /** Another `fetch`, such as that of `expo/fetch`. The default is `xhrFetch` where responses have
   * no `body` to stream. */
  fetch?: Fetch;
  /** How often a request is retried. Default 2. */
  retries?: number;
  /** The longest wait before a retry. Default 30 s. A longer wait is an error with
   * `retryAfterMs`. */
  patienceMs?: number;
  /** The silence after which a connection, `credential` or storage counts as failed. Default 60 s.
   * The server sends a comment every 15 s. */
  silenceMs?: number;
  /** For a `fetch` that shows nothing before the end, not even the status: the longest time for the
   * whole request. It replaces `silenceMs`. 11 minutes are enough, since the server ends a turn
   * after 10. */
  wholeMs?: number;
}

export type Emit = (event: TurnEvent) => void;
/** Reports that something arrived, and how long the next silence may last. */
type Alive = (ms?: number) => void;
type Use<T> = (response: HttpResponse, alive: Alive) => Promise<T>;

export class Link {
  constructor(private readonly options: LinkOptions) {}

  /** Sends a turn. Retries it only while nothing of its reply was shown. */
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

  /** The messages in a token; also in an expired one. */
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
        // Only if the server rejected it, not if `credential` itself failed.
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
        // Sends the token only to this address, without cookies, and keeps it out of caches.
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
      // The rest of the response is not needed.
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
      throw new HoldallError("unauthenticated", `No credential is available: ${(thrown as Error)?.message}`);
    }
  }
}

/** React Native's own `fetch` resolves only with the complete response, which has no `body`. */
function usualFetch(): Fetch {
  const streams = typeof Response !== "undefined" && "body" in Response.prototype;
  return streams ? globalThis.fetch.bind(globalThis) : xhrFetch;
}

/** Reads the stream of a turn up to `done`. */
async function readTurn(response: HttpResponse, alive: Alive, show: Emit): Promise<Answer> {
  if (!/^text\/event-stream/i.test(response.headers.get("content-type") ?? "")) throw unexpected(response);
  for await (const { event, data } of readEvents(response, alive)) {
    // Later versions may add events: unknown ones are ignored.
    if (event === "delta") show({ type: "delta", ...JSON.parse(data) });
    if (event === "tool_call") show({ type: "tool_call", ...JSON.parse(data) });
    if (event === "error") throw refusal(response, data);
    if (event !== "done") continue;
    const answer = JSON.parse(data) as Answer | null;
    // Without a token the conversation cannot continue.
    if (typeof answer?.token !== "string") throw unexpected(response);
    return answer;
  }
  throw new TypeError("The stream ended without `done`.");
}

/** The wait before the next retry, in milliseconds. It is randomized, so that clients do not retry
 * together. */
function backoff({ retryAfterMs }: HoldallError, failures: number): number {
  const spread = (ms: number) => ms * (0.5 + Math.random() / 2);
  return retryAfterMs === undefined ? spread(1_000 * 2 ** failures) : retryAfterMs + spread(500);
}
