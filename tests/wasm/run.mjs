// Runs a WebAssembly module that must import nothing.
//
//   node run.mjs MODULE …                                 runs a test binary; cargo calls this
//   node run.mjs --call FUNCTION ARGUMENT RESULT MODULE   calls a function with one number
//
// On wasm32-unknown-unknown, libtest has no arguments and no standard output. `main` returns 0 if
// all tests pass. The first test that fails traps, with its name on the stack. To see the message of the
// panic, run the test natively: cargo test --lib --no-default-features NAME
import { readFileSync } from "node:fs";
import { basename } from "node:path";

// The name of the test is below the frames of its panic.
Error.stackTraceLimit = 50;

const words = process.argv.slice(2);
const call = words[0] === "--call";
const [name, argument, expected] = call ? [words[1], Number(words[2]), Number(words[3])] : ["main", 0, 0];
const path = call ? words[4] : words[0];

const module = new WebAssembly.Module(readFileSync(path));
const imports = WebAssembly.Module.imports(module).map((entry) => `${entry.module}.${entry.name}`);
if (imports.length > 0) {
  // C code that was compiled but cannot be linked appears here, as imports from `env`.
  console.error(`${basename(path)} imports ${imports.join(", ")}`);
  process.exit(1);
}
const { exports } = new WebAssembly.Instance(module);
try {
  const started = performance.now();
  const result = exports[name](argument, 0);
  const millis = (performance.now() - started).toFixed(0);
  console.log(`${basename(path)}: no imports, ${name}(${argument}) = ${result} in ${millis} ms`);
  process.exitCode = result === expected ? 0 : 1;
} catch (trap) {
  console.error(trap.stack);
  process.exitCode = 1;
}
