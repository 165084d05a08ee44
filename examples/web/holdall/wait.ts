/** Waits that end after a time, or when they are stopped. */

/** The silence of a connection, or of a promise of the caller, that counts as a failure. */
export const SILENCE_MS = 60_000;

/** The result of `work`. Throws if `work` is stopped or takes longer than `ms`, even if it ends
 * later. */
export async function within<T>(ms: number, signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  let end = () => {};
  const over = new Promise<never>((_, reject) => {
    const stop = () => reject(new Error("It was stopped."));
    const timer = setTimeout(() => reject(new Error(`It took longer than ${ms / 1000} s.`)), ms);
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    };
  });
  try {
    return await Promise.race([over, (async () => work())()]);
  } finally {
    end();
  }
}

/** Waits for `ms`. A stop ends the wait early, without an error: the next request notices the
 * stop. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}
