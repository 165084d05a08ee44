// Makes credentials with the npm package jose, for identity.py: what to make comes as JSON on standard input, and the
// tokens go to standard output.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const installed = createRequire(join(process.env.JOSE_MODULES ?? here, "package.json")).resolve("jose");
const { SignJWT, UnsecuredJWT, importJWK } = await import(pathToFileURL(installed));

const work = JSON.parse(readFileSync(0, "utf8"));
const good = work.claims.find((claims) => claims.name === "good").payload;
const tokens = [];
for (const [family, algorithms] of Object.entries(work.families)) {
  const isSecret = family === "secret";
  const kid = isSecret ? undefined : family;
  const add = (name, alg, token, taken) => tokens.push({ name: `jose: ${alg}, ${name}`, family, token, taken });
  const sign = (payload, header, key) => new SignJWT(payload).setProtectedHeader({ ...header, kid }).sign(key);
  for (const alg of algorithms) {
    const key = isSecret ? Buffer.from(work.secret, "base64url") : await importJWK(work.keys[family], alg);
    for (const { name, payload, taken } of work.claims) {
      add(name, alg, await sign(payload, { alg }, key), taken);
    }
    const token = await sign(good, { alg }, key);
    const [head, , tag] = token.split(".");
    const payload = Buffer.from(JSON.stringify({ ...good, sub: "eve" })).toString("base64url");
    add("tampered", alg, `${head}.${payload}.${tag}`, false);
    add("with a member that is critical", alg, await sign(good, { alg, crit: ["b64"], b64: true }, key), false);
    const other = isSecret ? Buffer.alloc(64, 7) : await importJWK(work.others[family], alg);
    add("by another key", alg, await sign(good, { alg }, other), false);
    if (!isSecret) {
      const { d, p, q, dp, dq, qi, key_ops, ...jwk } = work.others[family];
      add("by a key that it brings", alg, await sign(good, { alg, jwk }, other), false);
    }
  }
  add("by no key", "none", new UnsecuredJWT(good).encode(), false);
  if (!isSecret) {
    const secret = Buffer.from(work.pems[family]);
    add("by the public key as a secret", "HS256", await sign(good, { alg: "HS256" }, secret), false);
  }
}
process.stdout.write(JSON.stringify(tokens));
