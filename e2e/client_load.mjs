// What the official client spends on emits with acknowledgements, to compare `examples/client_load.rs` with: `node
// client_load.mjs 100000 16` has so many in flight, `node client_load.mjs 100000 1 100` on as many connections. `URL` is
// the address of a `bench_app`.

import { io } from "socket.io-client";

const [count = 100_000, inFlight = 16, connections = 1] = process.argv.slice(2).map(Number);
const url = process.env.URL ?? "http://127.0.0.1:3000";
const sockets = [];
for (let number = 0; number < connections; number += 1) {
  const socket = io(url, { transports: ["websocket"], forceNew: true });
  await new Promise((resolve) => socket.on("connect", resolve));
  sockets.push(socket);
}
const start = performance.now();
const before = process.cpuUsage();
await Promise.all(sockets.map(ask));
const { user, system } = process.cpuUsage(before);
const took = ((performance.now() - start) / 1000).toFixed(2);
const each = ((user + system) / count).toFixed(2);
console.log(`${count} acks, ${connections} × ${inFlight} in flight, in ${took}s: ${each} µs CPU each`);
for (const socket of sockets) socket.close();

async function ask(socket) {
  const waiting = [];
  for (let number = 0; number < count / connections; number += 1) {
    waiting.push(socket.emitWithAck("echo", number));
    if (waiting.length === inFlight) await waiting.shift();
  }
  await Promise.all(waiting);
}
