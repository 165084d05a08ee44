// Creates credentials with the npm package jose for identity.py. Reads their description as JSON from
// standard input, and writes the tokens to standard output.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const installed = createRequire(join(process.env.JOSE_MODULES ?? here, "package.json")).resolve("jose");
const { SignJWT, UnsecuredJWT, importJWK } = await import(pathToFileURL(installed));

const work = JSON.parse(readFileSync(0, "utf8"));
const valid = work.claims.find((claims) => claims.name === "valid").payload;
const tokens = [];
for (const [family, algorithms] of Object.entries(work.families)) {
  const isSecret = family === "secret";
  const kid = isSecret ? undefined : family;
  const add = (name, alg, token, accepted) => tokens.push({ name: `jose: ${alg}, ${name}`, family, token, accepted });
  const sign = (payload, header, key) => new SignJWT(payload).setProtectedHeader({ ...header, kid }).sign(key);
  for (const alg of algorithms) {
    const key = isSecret ? Buffer.from(work.secret, "base64url") : await importJWK(work.keys[family], alg);
    for (const { name, payload, accepted } of work.claims) {
      add(name, alg, await sign(payload, { alg }, key), accepted);
    }
    const token = await sign(valid, { alg }, key);
    const [head, , tag] = token.split(".");
    const payload = Buffer.from(JSON.stringify({ ...valid, sub: "eve" })).toString("base64url");
    add("tampered", alg, `${head}.${payload}.${tag}`, false);
    add("with a critical member", alg, await sign(valid, { alg, crit: ["b64"], b64: true }, key), false);
    const other = isSecret ? Buffer.alloc(64, 7) : await importJWK(work.others[family], alg);
    add("signed with another key", alg, await sign(valid, { alg }, other), false);
    if (!isSecret) {
      const { d, p, q, dp, dq, qi, key_ops, ...jwk } = work.others[family];
      add("signed with an embedded key", alg, await sign(valid, { alg, jwk }, other), false);
    }
  }
  add("unsigned", "none", new UnsecuredJWT(valid).encode(), false);
  if (!isSecret) {
    const secret = Buffer.from(work.pems[family]);
    add("signed with the public key as a secret", "HS256", await sign(valid, { alg: "HS256" }, secret), false);
  }
}
process.stdout.write(JSON.stringify(tokens));
