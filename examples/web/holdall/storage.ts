/** Storage for tokens. */

/** Storage for the token. `localStorage` and React Native's AsyncStorage have this interface. */
export interface TokenStorage {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): unknown;
  removeItem(key: string): unknown;
}

/** Keeps tokens in IndexedDB, which has room for them. `localStorage` holds about 5 million
 * characters per site. */
export function indexedDbStorage(database = "holdall"): TokenStorage {
  if (typeof indexedDB === "undefined") throw new TypeError("This platform has no IndexedDB. Pass `storage`.");
  let opened: Promise<IDBDatabase> | undefined;
  const open = () =>
    (opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(database, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("tokens");
      request.onsuccess = () => {
        // The browser may close it, or another tab may delete it. The next access opens it again.
        request.result.onclose = request.result.onversionchange = () => {
          request.result.close();
          opened = undefined;
        };
        resolve(request.result);
      };
      request.onerror = () => reject(request.error);
    }).catch((error) => {
      opened = undefined;
      throw error;
    }));
  const run = async <T>(mode: IDBTransactionMode, ask: (tokens: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const transaction = (await open()).transaction("tokens", mode);
    const request = ask(transaction.objectStore("tokens"));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  };
  return {
    getItem: async (key) =>
      ((await run<unknown>("readonly", (tokens) => tokens.get(key))) as string | undefined) ?? null,
    setItem: (key, value) => run("readwrite", (tokens) => tokens.put(value, key)),
    removeItem: (key) => run("readwrite", (tokens) => tokens.delete(key)),
  };
}

/** Keeps tokens in memory until the program ends. */
export function memoryStorage(): TokenStorage {
  const kept = new Map<string, string>();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
}
