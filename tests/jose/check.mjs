// Checks that the npm package jose agrees with Holdall on every tag.
//
//     node check.mjs FRESH
//
// FRESH is the output of the test `jose::fresh_tokens`. JOSE_MODULES is a folder with node_modules.
// Exits with 1 and names the cases in which they disagree.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const installed = createRequire(join(process.env.JOSE_MODULES ?? here, "package.json")).resolve("jose");
const { compactVerify, decodeProtectedHeader, errors } = await import(pathToFileURL(installed));

const VECTORS = join(here, "..", "vectors", "token");
// Libraries accept base64url that is not canonical. Holdall does not.
const LENIENT = new Set(["tag-trailing-bits", "tag-length-1"]);
const SIGNED = new Set(["seal", "padding", "frames", "lines", "claims", "issuer", "subject", "times", "items"]);

function* vectors() {
  for (const file of readdirSync(VECTORS).filter((name) => name.endsWith(".txt") && name !== "requirements.txt").sort()) {
    const text = readFileSync(join(VECTORS, file), "utf8");
    const end = text.indexOf("\n\n");
    const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)];
    }));
    yield [file.replace(/\.txt$/, ""), fields, text.slice(end + 2, -1)];
  }
}

async function verifies(token, keys) {
  try {
    await compactVerify(token, keys[decodeProtectedHeader(token).kid], { algorithms: ["HS256"] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}

const failures = [];
const counts = { verified: 0, refused: 0, fresh: 0 };
for (const [name, fields, token] of vectors()) {
  const keys = Object.fromEntries(fields.keys.split(",").map((entry) => {
    const [kid, secret] = entry.split(":");
    return [kid, Buffer.from(secret, "base64url")];
  }));
  if (["accepted", "token_expired"].includes(fields.verdict) || SIGNED.has(fields.check)) {
    counts.verified += 1;
    if (!(await verifies(token, keys))) failures.push(`${name}: jose refuses the tag`);
  } else if (fields.check === "tag" && !LENIENT.has(name)) {
    counts.refused += 1;
    if (await verifies(token, keys)) failures.push(`${name}: jose accepts the tag`);
  }
}
for (const line of readFileSync(process.argv[2], "utf8").split("\n").filter((line) => line.startsWith("token "))) {
  const [, secret, token] = line.split(" ");
  counts.fresh += 1;
  if (!(await verifies(token, { k1: Buffer.from(secret, "base64url") }))) failures.push("jose refuses a fresh token");
  if (await verifies(token, { k1: Buffer.alloc(32) })) failures.push("jose accepts a fresh token with another key");
}
console.log("jose", counts);
if (Object.values(counts).includes(0)) failures.push("nothing was checked");
if (failures.length > 0) {
  console.error(failures.join("\n"));
  process.exit(1);
}
