/** What can be wrong, the server's refusals (RFC 9457) and this side's own troubles alike. */

import type { HttpResponse } from "./http";
import { parse, type Answer, type Input, type PartialReply, type Problem } from "./types";

/** What can be wrong; `code` says what, `retry` what to do about it. */
export class HoldallError extends Error {
  readonly name = "HoldallError";
  /** Whether the same turn may be sent again: at once, after `retryAfterMs`, or not without a change. */
  readonly retry: "after" | "never" | "safe";
  readonly retryAfterMs?: number;
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  /** Names the request in the operator's log. */
  readonly requestId?: string;
  /** What the turn said. */
  readonly input?: Input;
  /** A reply that broke off after some of it was shown: `keep` it, or send the turn again. */
  readonly partial?: PartialReply;
  /** A whole reply that could not be stored; `keep` it where another tab has gone on meanwhile (`conflict`). */
  readonly answer?: Answer;

  constructor(
    /** One of the server's codes, or of this side's: `network` (no answer), `stream_lost` (no end), `stopped`,
     * `unexpected` (no Holdall), `conflict` (another tab was faster), `storage_full`, `storage_failed`. */
    readonly code: string,
    message: string,
    { input, partial, answer, retry = "never", ...more }: ErrorDetails = {},
  ) {
    super(message);
    this.retry = retry;
    Object.assign(this, more);
    this.attach({ input, partial, answer });
  }

  /** Whether no further turn can follow on this token as it is. */
  get final(): boolean {
    return this.retry === "never" && FINAL.has(this.code);
  }

  /** @internal Adds what holds text and tokens, not enumerable: a log or a crash report that takes in the whole error then
   * has neither. */
  attach(secrets: Secrets): this {
    for (const [name, value] of Object.entries(secrets)) {
      if (value !== undefined) Object.defineProperty(this, name, { value, configurable: true, enumerable: false });
    }
    return this;
  }
}

type ErrorDetails = Partial<
  Pick<HoldallError, "answer" | "input" | "partial" | "requestId" | "retry" | "retryAfterMs" | "status">
>;

/** What an error has of text and tokens. */
export type Secrets = Pick<ErrorDetails, "answer" | "input" | "partial">;

const FINAL = new Set([
  "guard_unavailable",
  "token_expired",
  "token_invalid",
  "token_revoked",
  "token_too_large",
  "token_used",
]);

/** What was thrown, as an error of ours; `response` if the head of an answer had come. */
export function asError(thrown: unknown, signal?: AbortSignal, response?: HttpResponse): HoldallError {
  if (thrown instanceof HoldallError) return thrown;
  if (signal?.aborted) return new HoldallError("stopped", "the turn was stopped", { retry: "safe" });
  if (thrown instanceof SyntaxError && response) return unexpected(response);
  return response
    ? new HoldallError("stream_lost", "the answer broke off", { retry: "safe", ...origin(response) })
    : new HoldallError("network", "the server cannot be reached", { retry: "safe" });
}

/** An answer with a status other than 200. */
export function refusal(response: HttpResponse, body: string): HoldallError {
  const told = parse<Problem>(body);
  return typeof told?.code === "string" ? problem(told, response) : unexpected(response);
}

function problem(told: Problem, response: HttpResponse): HoldallError {
  const wait = told.retry_after_seconds;
  return new HoldallError(told.code, told.detail, {
    ...origin(response),
    status: told.status,
    retry: told.retry,
    ...(wait !== undefined && { retryAfterMs: wait * 1000 }),
    ...(told.partial && { partial: told.partial }),
  });
}

/** Something else than Holdall has answered: a balancer, a captive portal, another server. */
export function unexpected(response: HttpResponse): HoldallError {
  const { status } = response;
  const header = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  const passes = status === 408 || status === 429 || status >= 500;
  return new HoldallError("unexpected", `something else than a Holdall server answered, with status ${status}`, {
    ...origin(response),
    retry: !passes ? "never" : seconds >= 0 ? "after" : "safe",
    ...(passes && seconds >= 0 && { retryAfterMs: seconds * 1000 }),
  });
}

function origin(response: HttpResponse): Pick<ErrorDetails, "requestId" | "status"> {
  const requestId = response.headers.get("x-request-id");
  return { status: response.status, ...(requestId !== null && { requestId }) };
}
