// Runs a WebAssembly module that must import nothing.
//
//   node run.mjs MODULE …                               a test binary, as the runner that cargo calls
//   node run.mjs --call FUNCTION ARGUMENT RESULT MODULE   a function of numbers
//
// On wasm32-unknown-unknown libtest works, but has neither arguments nor standard output: `main` gives 0 when all tests
// passed, and the first that fails traps, its name on the stack. For the message of its panic run it natively:
// cargo test --lib --no-default-features NAME.
import { readFileSync } from "node:fs";
import { basename } from "node:path";

// The test's name stands below the frames of its panic.
Error.stackTraceLimit = 50;

const words = process.argv.slice(2);
const call = words[0] === "--call";
const [name, argument, expected] = call ? [words[1], Number(words[2]), Number(words[3])] : ["main", 0, 0];
const path = call ? words[4] : words[0];

const module = new WebAssembly.Module(readFileSync(path));
const imports = WebAssembly.Module.imports(module).map((entry) => `${entry.module}.${entry.name}`);
if (imports.length > 0) {
  // Whatever C code was compiled but cannot be linked shows up here, as imports from `env`.
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
