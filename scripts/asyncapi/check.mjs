// Reads an AsyncAPI document with the reference parser; every error and
// warning is one of ours. Run by `make lint` with the path of the document.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const path = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"), { source: path });
const [error, warning] = [0, 1]; // of Spectral; what is above is advice
const bad = diagnostics.filter((d) => d.severity === error || d.severity === warning);
for (const d of bad) {
  console.error(`${path}:${d.range.start.line + 1}: ${d.path.join(".")}: ${d.message}`);
}
if (!document || bad.length > 0) {
  console.error(`${path} is no valid AsyncAPI document`);
  process.exit(1);
}
