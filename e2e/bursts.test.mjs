// Much at once, by clients that read: more than the server's outbox holds is sent in one go, and nobody is disconnected. The
// Rust client's part of it is `crates/client/tests/bursts.rs`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { io } from "socket.io-client";
import { PYTHON, here, pause, scenario, startExample, stopAll, until, within } from "./harness.mjs";
import { Frames } from "./wire.mjs";

const COUNT = 10_000;
const TEXT = "x".repeat(1_000);
const LIMIT = 120_000;

let server;
before(async () => {
  const long = "30000";
  // python-socketio puts everything that waits into one body, whatever the server accepts.
  const env = { PING_INTERVAL_MS: long, PING_TIMEOUT_MS: long, MAX_PAYLOAD: String(16 << 20) };
  server = await startExample("conformance", { env });
});
after(stopAll);

for (const transport of ["polling", "websocket"]) {
  describe(`socket.io-client, ${transport}`, () => {
    large(`${COUNT} emits in one tick are acknowledged in order`, async (t) => {
      const { socket, lost } = await connected(t, transport);
      const answers = [];
      for (let number = 0; number < COUNT; number++)
        socket.emit("message-with-ack", number, TEXT, (...answer) => answers.push(answer));
      await until("every acknowledgement", () => lost() ?? answers.length === COUNT, LIMIT);
      assert.equal(lost(), undefined, `disconnected with ${answers.length} acknowledged`);
      for (const [number, answer] of answers.entries()) assert.deepEqual(answer, [number, TEXT]);
      assert.equal(await socket.timeout(LIMIT).emitWithAck("message-with-ack", "still here"), "still here");
    });

    large("a handler that emits 425 × 10 kB in one go is heard to the end", async (t) => {
      const { socket, lost } = await connected(t, transport);
      const parts = [];
      socket.on("part", (number, text) => parts.push([number, text.length]));
      await within(LIMIT, "the handler ends", socket.emitWithAck("burst", 425, 10_000));
      await until("every part", () => lost() ?? parts.length === 425, LIMIT);
      assert.equal(lost(), undefined, `disconnected after ${parts.length} parts`);
      assert.deepEqual(parts, Array.from({ length: 425 }, (_, number) => [number, 10_000]));
    });
  });

  describe(`python-socketio AsyncClient, ${transport}`, () => {
    large(`${COUNT} emits in one tick are acknowledged in order`, async (t) => {
      const child = spawn(PYTHON, [join(here, "python/bursts.py"), `is_acknowledged_over_${transport}`, server.url]);
      t.after(() => child.kill("SIGKILL"));
      const output = [];
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
      const [code] = await once(child, "close");
      assert.equal(code, 0, Buffer.concat(output).toString());
    });
  });
}

describe("a bare WebSocket that reads only after it has sent what it can", () => {
  large("gets 8 MB of echoes", async (t) => {
    const frames = await Frames.joined(server);
    t.after(() => frames.close());
    frames.socket.pause();
    const count = 8_000;
    for (let number = 0; number < count; number++) frames.send(`42${number}["message-with-ack","${TEXT}"]`);
    // Everything is sent, or the server holds up reading and nothing more fits into the sockets between.
    await until("no more can be sent", async () => {
      const waiting = frames.socket.bufferedAmount;
      await pause(300);
      return frames.socket.bufferedAmount === waiting;
    }, LIMIT);
    frames.socket.resume();
    for (let number = 0; number < count; number++) assert.equal(await frames.message(), `43${number}["${TEXT}"]`);
    frames.send('42["message","still here"]');
    assert.equal(await frames.message(), '42["message-back","still here"]');
  });
});

function large(name, body) {
  scenario(name, body, { limit: 2 * LIMIT });
}

/** A connected client that ends with the test; `lost` says why the connection was lost. */
async function connected(t, transport) {
  const socket = io(server.url, { transports: [transport], forceNew: true, reconnection: false });
  t.after(() => socket.disconnect());
  let reason;
  socket.on("disconnect", (why) => (reason = why));
  await within(LIMIT, "the connection", once(socket, "connect"));
  return { socket, lost: () => reason };
}
