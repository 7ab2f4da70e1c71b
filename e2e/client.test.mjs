// The Rust client against the servers of others, and through the faults that `fault_proxy.mjs` makes: the tests are Rust's,
// in `crates/client/tests`, and each counts as one here.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { here, within } from "./harness.mjs";

const FILES = ["reference", "tls", "faults"];
const LIMIT = 600_000;

const targets = FILES.flatMap((file) => ["--test", file]);
const child = spawn("cargo", ["test", "-p", "sockeye-client", ...targets, "--no-fail-fast", "--", "--include-ignored"], {
  cwd: join(here, ".."),
  stdio: ["ignore", "pipe", "pipe"],
});
const output = [];
for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
try {
  await within(LIMIT, "the tests of the client end", once(child, "close"));
} finally {
  child.kill("SIGKILL");
}
const log = Buffer.concat(output).toString();
const results = [...log.matchAll(/^test (\w+) \.\.\. (\w+)$/gm)];

for (const [, name, result] of results) test(name, () => assert.equal(result, "ok", log));

test("all files were run to their end", () => {
  assert.equal([...log.matchAll(/^test result: /gm)].length, FILES.length, log);
  assert.equal(child.exitCode, 0, log);
});
