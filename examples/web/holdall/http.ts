/** The part of HTTP that the client uses, so that a test or another platform can replace it. */

/** The part of `fetch` that the client uses. A response without `body` is read as one text, with
 * the same events. */
export type Fetch = (url: string, init: RequestInit) => Promise<HttpResponse>;
export interface HttpResponse {
  status: number;
  headers: { get(name: string): string | null };
  body?: { getReader(): ReadableStreamDefaultReader<Uint8Array> } | AsyncIterable<string> | null;
  text(): Promise<string>;
}
