// Runs every `*.test.mjs`, one file at a time because heartbeats are measured, and closes with one line of totals.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { here } from "./harness.mjs";

const wanted = process.argv.slice(2);
const names = (await readdir(here)).filter((name) => name.endsWith(".test.mjs")).sort();
const files = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)));
const totals = { pass: 0, fail: 0, cancelled: 0 };

const stream = run({ files: files.map((name) => join(here, name)), concurrency: 1 });
stream.on("test:diagnostic", ({ message, nesting }) => {
  const [, key, count] = /^(pass|fail|cancelled) (\d+)$/.exec(message) ?? [];
  if (key && nesting === 0) totals[key] += Number(count);
});
stream.on("end", () => {
  const failed = totals.fail + totals.cancelled;
  process.exitCode = failed === 0 && totals.pass > 0 ? 0 : 1;
  process.on("exit", () => console.log(`end-to-end: ${totals.pass} passed, ${failed} failed`));
});
stream.compose(new spec()).pipe(process.stdout);
