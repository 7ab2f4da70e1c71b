// Clients that send more than the server's outbox takes, and read the answers afterwards.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { io } from "socket.io-client";
import { scenario, startExample, stopAll, until } from "./harness.mjs";

const COUNT = 10_000;

let server;
before(async () => (server = await startExample("bench_app")));
after(stopAll);

for (const transport of ["websocket", "polling"]) {
  scenario(`answers 10,000 events of 1 KB that are emitted at once, in order, over ${transport}`, async (t) => {
    const socket = io(server.url, { forceNew: true, transports: [transport] });
    t.after(() => socket.disconnect());
    const ends = [];
    socket.on("disconnect", (reason) => ends.push(reason));
    await until("the connection", () => socket.connected);
    const answered = [];
    const text = "x".repeat(1_000);
    for (let number = 0; number < COUNT; number += 1) socket.emit("echo", number, text, (echoed) => answered.push(echoed));
    await until("all answers", () => answered.length === COUNT || ends.length > 0, 50_000);
    assert.deepEqual(ends, []);
    assert.deepEqual(answered, Array.from({ length: COUNT }, (_, number) => number));
  });
}
