// Stock clients that are cut off again and again, with a restart of the server in between: where `recovered` says so,
// nothing is lost and nothing is doubled. RECOVERY_CLIENTS, RECOVERY_SECONDS and RECOVERY_CUT_SECONDS make it larger.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after } from "node:test";
import { io } from "socket.io-client";
import { pause, scenario, startExample, stopAll, until, within } from "./harness.mjs";

const CLIENTS = Number(process.env.RECOVERY_CLIENTS ?? 40);
const SECONDS = Number(process.env.RECOVERY_SECONDS ?? 8);
const CUT_SECONDS = Number(process.env.RECOVERY_CUT_SECONDS ?? 2);
const LIMIT = 30_000 + CLIENTS * 100;
after(stopAll);

scenario(
  "clients that are recovered have missed nothing and hear nothing twice",
  async (t) => {
    const env = { SOCKEYE_RECOVERY: "1" };
    let server = await startExample("interop", { env });
    const { port } = server;
    const clients = Array.from({ length: CLIENTS }, (_, index) => listener(t, server.url, index));
    await within(LIMIT, "every client is in the room", Promise.all(clients.map(({ joined }) => joined)));
    let number = 0;
    const sender = connect(t, server.url, { transports: ["websocket"] });
    const sending = setInterval(() => {
      if (!sender.connected) return;
      sender.emit("to-room", "all", ++number);
      // Text that a client without an offset behind it would take for one.
      sender.emit("volatile-to-room", "all", String(number % 50));
    }, CLIENTS / 2);
    t.after(() => clearInterval(sending));
    const begun = Date.now();
    let restarts = 0;
    for (let round = 0; Date.now() - begun < SECONDS * 1000; ) {
      await pause((CUT_SECONDS * 1000) / CLIENTS);
      // Every client is cut off once in CUT_SECONDS, however late this loop gets its turn.
      for (; round < ((Date.now() - begun) / (CUT_SECONDS * 1000)) * CLIENTS; round++)
        cutOff(clients[round % CLIENTS].socket, round + Math.floor(round / CLIENTS));
      if (restarts === 0 && Date.now() - begun > (SECONDS * 1000) / 2) {
        restarts++;
        await server.stop();
        server = await startExample("interop", { env, port });
      }
    }
    await until("every client is back", () => sender.connected && clients.every(({ socket }) => socket.connected), LIMIT);
    clearInterval(sending);
    await until("every client has heard the last", () => clients.every(({ last }) => last() === number), LIMIT);
    const total = (name) => clients.reduce((sum, { counts }) => sum + counts[name], 0);
    const figures = { sent: number, cuts: total("cuts"), recovered: total("recovered"), anew: total("anew"), lost: total("lost"), doubled: total("doubled") };
    t.diagnostic(JSON.stringify(figures));
    assert.equal(restarts, 1);
    // The restart cuts every client off, and none is recovered from it.
    assert.ok(figures.recovered > (figures.cuts - CLIENTS) / 2, JSON.stringify(figures));
    assert.deepEqual([figures.lost, figures.doubled], [0, 0], JSON.stringify(figures));
  },
  { limit: SECONDS * 1000 + 3 * LIMIT },
);

function connect(t, url, options) {
  const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 300, forceNew: true, ...options });
  t.after(() => socket.disconnect());
  return socket;
}

/** A client of the room that notes what it hears; it expects each number once while it is recovered. */
function listener(t, url, index) {
  const socket = connect(t, url, { transports: index % 3 === 0 ? ["polling"] : ["websocket"] });
  const counts = { cuts: 0, recovered: 0, anew: 0, lost: 0, doubled: 0 };
  let last;
  socket.on("room-message", (_room, number) => {
    if (last !== undefined && number > last + 1) counts.lost += number - last - 1;
    if (last !== undefined && number <= last) counts.doubled++;
    last = number;
  });
  socket.on("disconnect", () => counts.cuts++);
  const joined = once(socket, "connect");
  socket.on("connect", () => {
    if (socket.recovered) {
      counts.recovered++;
    } else {
      counts.anew++;
      last = undefined;
      socket.emit("join", "all");
    }
  });
  return { socket, counts, joined, last: () => last };
}

/** Has a client lose its connection, every other time without the server's notice. */
function cutOff(socket, round) {
  const transport = socket.io.engine?.transport;
  if (!socket.connected || !transport) return;
  if (round % 2 === 0) transport.doClose = () => {};
  socket.io.engine.close();
}
