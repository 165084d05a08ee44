/** Streams where `fetch` cannot: in React Native. */

import type { Fetch } from "./http";

/**
 * A `fetch` made with XMLHttpRequest. It streams in React Native, whose own `fetch` shows nothing
 * before the end of a response.
 *
 * It cannot prevent a redirect. It only notices that one was followed, and then fails. The platform
 * decides `cache` and `referrerPolicy`.
 */
export const xhrFetch: Fetch = (url, { method = "GET", headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let outcome: "cut" | "whole" | undefined;
    let tell = () => {};
    async function* text() {
      for (let read = 0; ;) {
        const more = new Promise<void>((resolve) => (tell = resolve));
        const { responseText } = xhr;
        if (responseText.length > read) yield responseText.slice(read, (read = responseText.length));
        else if (outcome === "whole") return;
        else if (outcome === "cut") throw new TypeError("The connection broke in the middle of the response.");
        else await more;
      }
    }
    const response = () => ({
      status: xhr.status,
      headers: { get: (name: string) => xhr.getResponseHeader(name) },
      body: text(),
      text: async () => {
        let whole = "";
        for await (const piece of text()) whole += piece;
        return whole;
      },
    });
    const end = (how: "cut" | "whole") => () => {
      outcome = how;
      tell();
      reject(new TypeError("The server cannot be reached."));
    };
    xhr.onreadystatechange = () => {
      if (xhr.readyState === 2 && elsewhere(xhr.responseURL, url)) xhr.abort();
      else if (xhr.readyState === 2) resolve(response());
      tell();
    };
    xhr.onprogress = () => tell();
    xhr.onload = end("whole");
    xhr.onerror = xhr.onabort = xhr.ontimeout = end("cut");
    xhr.open(method, url);
    xhr.withCredentials = false;
    for (const [name, value] of Object.entries(headers as Record<string, string>)) xhr.setRequestHeader(name, value);
    signal?.addEventListener("abort", () => xhr.abort());
    if (signal?.aborted) return reject(new TypeError("aborted"));
    xhr.send(body as string);
  });

/** True if the response comes from another address than the requested one. */
function elsewhere(answered: string | null | undefined, asked: string): boolean {
  const base = globalThis.location?.href;
  return Boolean(answered) && new URL(answered!, base).href !== new URL(asked, base).href;
}
