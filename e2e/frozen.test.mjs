// A server that stands still, as under a debugger or on a machine that was suspended: its clients answer its pings
// meanwhile, and it must read what they have sent before it takes them for dead.

import assert from "node:assert/strict";
import { after } from "node:test";
import { pause, scenario, startExample, stopAll, until } from "./harness.mjs";
import { Frames } from "./wire.mjs";

// So long that every client is connected before the first is pinged, and none is given up before the last is pinged.
const PING_INTERVAL = 4000;
const PING_TIMEOUT = 4000;
const CLIENTS = 500;

after(stopAll);

scenario("a server that stood still for longer than the ping timeout drops none of the clients that answered", async () => {
  const env = { PING_INTERVAL_MS: String(PING_INTERVAL), PING_TIMEOUT_MS: String(PING_TIMEOUT) };
  const server = await startExample("conformance", { env });
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => Frames.session(server, "/engine.io/")));
  let pings = 0;
  const closed = [];
  for (const client of clients) {
    client.socket.on("message", (data) => {
      if (data.toString() !== "2") return;
      pings += 1;
      // The first pings of all are answered while the server stands still.
      if (pings > CLIENTS) client.send("3");
    });
    client.closing.then((how) => closed.push(how));
  }
  await until("every client is pinged", () => pings >= CLIENTS);
  process.kill(server.pid, "SIGSTOP");
  try {
    clients.forEach((client) => client.send("3"));
    await pause(2 * PING_TIMEOUT);
  } finally {
    process.kill(server.pid, "SIGCONT");
  }
  await until("every client is pinged again", () => pings >= 2 * CLIENTS || closed.length > 0);
  assert.deepEqual(closed, []);
  assert.equal(server.log(), "", "nobody is reported lost");
  clients.forEach((client) => client.socket.close());
});
