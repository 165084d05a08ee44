// Says what a module imports that no JavaScript supplies: C that was compiled for another platform imports from `env`.
//
// The import section is read here (WebAssembly core specification, 5.5.5), since the optimiser writes types that node 20
// does not know and workerd does.

import { readFileSync } from "node:fs";

const [FUNCTION, TAG] = [0, 4];

/** The modules that a binary imports from, each with a name. */
function* imports(bytes) {
  let at = 8;
  const number = () => {
    let [value, scale, byte] = [0, 1, 0];
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  const text = () => {
    const length = number();
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  while (at < bytes.length) {
    const [section, length] = [bytes[at++], number()];
    if (section !== 2) {
      at += length;
      continue;
    }
    for (let left = number(); left > 0; left -= 1) {
      yield [text(), text()];
      const kind = bytes[at++];
      if (kind !== FUNCTION && kind !== TAG) throw new Error(`an import of kind ${kind}: a memory, a table or a global`);
      // A tag has a byte before its type.
      if (kind === TAG) at += 1;
      number();
    }
    return;
  }
}

for (const path of process.argv.slice(2)) {
  const all = [...imports(readFileSync(path))];
  const missing = all.filter(([module]) => module === "env").map(([, name]) => name);
  if (missing.length > 0 || all.length === 0) {
    console.error(`${path} imports from env: ${missing.join(", ")}; ${all.length} imports in all`);
    process.exitCode = 1;
  }
}
