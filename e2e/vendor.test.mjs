// The bundle under `web/vendor` is the one of the client these tests drive.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { here, scenario } from "./harness.mjs";

scenario("web/vendor equals the pinned socket.io-client, byte for byte", async () => {
  const client = join(here, "node_modules/socket.io-client");
  const vendor = join(here, "../web/vendor");
  const { version } = JSON.parse(await readFile(join(client, "package.json"), "utf8"));
  const bundles = (await readdir(join(client, "dist"))).filter((name) => name.startsWith("socket.io."));
  assert.equal(bundles.length, 8);
  for (const name of bundles) {
    assert.ok((await readFile(join(vendor, name))).equals(await readFile(join(client, "dist", name))), `${name} differs`);
  }
  assert.equal(await readFile(join(vendor, "LICENSE"), "utf8"), await readFile(join(client, "LICENSE"), "utf8"));
  assert.ok((await readFile(join(vendor, "README.md"), "utf8")).includes(`**${version}**`), `the README names version ${version}`);
});
