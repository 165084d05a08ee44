/** The errors: those of the server (RFC 9457) and those of this client. */

import type { HttpResponse } from "./http";
import { parse, type Answer, type Input, type PartialReply, type Problem } from "./types";

/** An error of a turn. `code` says what happened, `retry` says what to do. */
export class HoldallError extends Error {
  readonly name = "HoldallError";
  /** How to retry the same turn: `safe` now, `after` once `retryAfterMs` has passed, `never`
   * without a change. */
  readonly retry: "after" | "never" | "safe";
  readonly retryAfterMs?: number;
  /** The HTTP status, if there was a response. */
  readonly status?: number;
  /** The id of the request in the operator's log. */
  readonly requestId?: string;
  /** The input of the turn. */
  readonly input?: Input;
  /** A reply that was interrupted after some of it was shown: `keep` it, or send the turn again. */
  readonly partial?: PartialReply;
  /** A complete reply that was not stored. After `conflict`, `keep` it to overwrite the other tab's
   * turn. */
  readonly answer?: Answer;

  constructor(
    /** One of the server's codes, or of this client's: `network` (no response), `stream_lost` (no
     * end), `stopped`, `unexpected` (not from Holdall), `conflict` (another tab stored a turn
     * first), `storage_full`, `storage_failed`. */
    readonly code: string,
    message: string,
    { input, partial, answer, retry = "never", ...more }: ErrorDetails = {},
  ) {
    super(message);
    this.retry = retry;
    Object.assign(this, more);
    this.attach({ input, partial, answer });
  }

  /** True if no further turn can follow on this token. */
  get final(): boolean {
    return this.retry === "never" && FINAL.has(this.code);
  }

  /** @internal Adds the members that hold text and tokens. They are not enumerable, so a log or a
   * crash report that stores the whole error contains neither. */
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

/** The members of an error that hold text and tokens. */
export type Secrets = Pick<ErrorDetails, "answer" | "input" | "partial">;

const FINAL = new Set([
  "guard_unavailable",
  "token_expired",
  "token_invalid",
  "token_revoked",
  "token_too_large",
  "token_used",
]);

/** Converts what was thrown to a `HoldallError`. Pass `response` if the head of a response had
 * arrived. */
export function asError(thrown: unknown, signal?: AbortSignal, response?: HttpResponse): HoldallError {
  if (thrown instanceof HoldallError) return thrown;
  if (signal?.aborted) return new HoldallError("stopped", "The turn was stopped.", { retry: "safe" });
  if (thrown instanceof SyntaxError && response) return unexpected(response);
  return response
    ? new HoldallError("stream_lost", "The connection broke in the middle of the response.", {
        retry: "safe",
        ...origin(response),
      })
    : new HoldallError("network", "The server cannot be reached.", { retry: "safe" });
}

/** The error for a response with a status other than 200. */
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

/** The error for a response that is not from Holdall: from a balancer, a captive portal, another
 * server. */
export function unexpected(response: HttpResponse): HoldallError {
  const { status } = response;
  const header = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  const passes = status === 408 || status === 429 || status >= 500;
  return new HoldallError("unexpected", `The response is not from a Holdall server (status ${status}).`, {
    ...origin(response),
    retry: !passes ? "never" : seconds >= 0 ? "after" : "safe",
    ...(passes && seconds >= 0 && { retryAfterMs: seconds * 1000 }),
  });
}

function origin(response: HttpResponse): Pick<ErrorDetails, "requestId" | "status"> {
  const requestId = response.headers.get("x-request-id");
  return { status: response.status, ...(requestId !== null && { requestId }) };
}
