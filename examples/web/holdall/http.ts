/** The part of HTTP that is used, so that a test or another platform can stand in. */

/** The part of `fetch` that is used. Where a response has no `body`, its text is read whole, with the same events. */
export type Fetch = (url: string, init: RequestInit) => Promise<HttpResponse>;
export interface HttpResponse {
  status: number;
  headers: { get(name: string): string | null };
  body?: { getReader(): ReadableStreamDefaultReader<Uint8Array> } | AsyncIterable<string> | null;
  text(): Promise<string>;
}
