// `docs/features.md` explains each row, and the tests it names exist.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { here } from "./harness.mjs";

const text = await readFile(join(here, "../docs/features.md"), "utf8");
const rows = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| row "));
const cells = (row) => row.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, ""));
const TEST = /`(\w+)\/(?:(src)\/)?([\w/]+)::([^`]+)`/g;

test("every row says where it is and which test holds it, or why it is left out", () => {
  assert.ok(rows.length > 100, `only ${rows.length} rows were found`);
  for (const row of rows) {
    const [name, where, proof] = cells(row);
    assert.ok(name && where && proof, row);
    assert.ok(proof.match(TEST) || (where === "–" && /^Left out( here)?: ./.test(proof)), `no test and no reason: ${row}`);
  }
});

test("every test that is named exists", async () => {
  const files = new Map();
  const read = async (path) => files.get(path) ?? files.set(path, await readFile(join(here, "..", path), "utf8")).get(path);
  for (const row of rows)
    for (const [named, place, src, file, title] of cells(row)[2].matchAll(TEST)) {
      const path = place === "e2e" ? `e2e/${file}.test.mjs` : place === "examples" ? "examples/tests/examples.rs" : `crates/${place}/${src ?? "tests"}/${file}.rs`;
      const source = await read(path);
      const found = place === "e2e" ? source.includes(title) : new RegExp(`#\\[(tokio::)?test[^]*?\\bfn ${title}\\(`).test(source);
      assert.ok(found, `${named} is not in ${path}`);
    }
});
