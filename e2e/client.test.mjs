// The Rust client through the faults of others: servers that are killed, paused and started again, and connections that
// `fault_proxy.mjs` breaks. The tests are Rust's, in `crates/client/tests/faults.rs`, and each counts as one here; the others
// beside it, which take less time, are run by `cargo test`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { here, within } from "./harness.mjs";

// The whole workspace, because one crate alone would be built with other features of its dependencies, all of them anew.
const TESTS = ["test", "--workspace", "--test", "faults"];
const BUILD_LIMIT = 3_600_000;
const LIMIT = 600_000;

const built = await cargo([...TESTS, "--no-run"], BUILD_LIMIT);
test("the tests are built", () => assert.equal(built.code, 0, built.log));

if (built.code === 0) {
  const { code, log } = await cargo([...TESTS, "--", "--include-ignored"], LIMIT);
  const results = [...log.matchAll(/^test (\w+) \.\.\. (\w+)$/gm)];
  for (const [, name, result] of results) test(name, () => assert.equal(result, "ok", log));
  test("all were run to their end", () => {
    assert.equal([...log.matchAll(/^test result: /gm)].length, 1, log);
    assert.equal(code, 0, log);
  });
}

/** Runs Cargo in a group of its own, so that the tests and the servers they have started end with it. */
async function cargo(args, limit) {
  const child = spawn("cargo", args, { cwd: join(here, ".."), detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
  const kill = () => child.pid && process.kill(-child.pid, "SIGKILL");
  // What ends this process does not reach the other group.
  const ends = ["exit", "SIGINT", "SIGTERM"];
  for (const end of ends) process.once(end, kill);
  try {
    await within(limit, `cargo ${args.join(" ")} ends`, once(child, "close"));
  } catch (error) {
    kill();
    throw new Error(`${error.message}\n${Buffer.concat(output)}`);
  } finally {
    for (const end of ends) process.off(end, kill);
  }
  return { code: child.exitCode, log: Buffer.concat(output).toString() };
}
