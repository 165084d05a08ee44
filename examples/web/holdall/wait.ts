/** Waiting, which ends: by time, or because it was stopped. */

/** Silence, of a connection or of the caller's own promises, that is taken for a failure. */
export const SILENCE_MS = 60_000;

/** What `work` comes to, unless it is stopped or takes longer than `ms`: then this throws, whatever becomes of it. */
export async function within<T>(ms: number, signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  let end = () => {};
  const over = new Promise<never>((_, reject) => {
    const stop = () => reject(new Error("it was stopped"));
    const timer = setTimeout(() => reject(new Error(`it took longer than ${ms / 1000} s`)), ms);
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

/** Waits; a stop ends the wait, and the next request finds it. */
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
