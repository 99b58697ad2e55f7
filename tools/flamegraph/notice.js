// Puts the licences of what is bundled on top of it, as they ask for.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const page = "../../factory_reuse/_suite/page/";
const packages = readdirSync("node_modules").filter((name) => name.startsWith("d3-"));
const notices = packages.concat("internmap").map((name) => {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  return [`${name} ${version} (${license})`, readFileSync(`node_modules/${name}/LICENSE`, "utf8")];
});
const licences = new Map();
for (const [title, text] of notices) {
  licences.set(text.trim(), [...(licences.get(text.trim()) ?? []), title]);
}
writeFileSync(
  page + "LICENSES.txt",
  [...licences].map(([text, titles]) => `${titles.join(", ")}\n\n${text}\n`).join(`\n${"-".repeat(80)}\n\n`),
);
const titles = notices.map(([title]) => title).join(", ");
const file = page + "flamegraph.js";
writeFileSync(file, `/* ${titles}. Licences: LICENSES.txt in the package factory_reuse. */\n${readFileSync(file, "utf8")}`);
writeFileSync(page + "flamegraph.css", readFileSync("node_modules/d3-flame-graph/dist/d3-flamegraph.css"));
