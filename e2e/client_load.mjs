// What the official client spends on emits with acknowledgements, to compare `examples/client_load.rs` with: `node
// client_load.mjs 100000 16` has so many in flight. `URL` is the address of a `bench_app`.

import { io } from "socket.io-client";

const [count = 100_000, inFlight = 16] = process.argv.slice(2).map(Number);
const socket = io(process.env.URL ?? "http://127.0.0.1:3000", { transports: ["websocket"] });
await new Promise((resolve) => socket.on("connect", resolve));
const start = performance.now();
const before = process.cpuUsage();
const waiting = [];
for (let number = 0; number < count; number += 1) {
  waiting.push(socket.emitWithAck("echo", number));
  if (waiting.length === inFlight) await waiting.shift();
}
await Promise.all(waiting);
const { user, system } = process.cpuUsage(before);
const took = ((performance.now() - start) / 1000).toFixed(2);
console.log(`${count} acks, ${inFlight} in flight, in ${took}s: ${((user + system) / count).toFixed(2)} µs CPU each`);
socket.close();
