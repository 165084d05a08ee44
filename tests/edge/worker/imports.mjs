// Says what a module imports that no JavaScript supplies: C that was compiled for another platform imports from `env`.

import { readFileSync } from "node:fs";

for (const path of process.argv.slice(2)) {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(path)));
  const missing = imports.filter(({ module }) => module === "env").map(({ name }) => name);
  if (missing.length > 0) {
    console.error(`${path} imports from env: ${missing.join(", ")}`);
    process.exitCode = 1;
  }
}
