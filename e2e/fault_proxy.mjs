// Stands between a client and a server and breaks connections where it hurts. Its one argument is JSON:
//
//   target   the server's port
//   kind     "handshake": while HTTP requests and answers are under way, the first hundreds of bytes of a connection;
//            "upgrade": the same, but only connections on which a session moves to WebSocket;
//            "frame": later, anywhere in what follows
//   faults   how many connections are broken; those after them work
//   seed     what decides where, in which direction, and by FIN or RST; the same seed breaks the same connections at the
//            same bytes
//
// Its first line is its port. Then it says each fault, with the seed, and `spent` when there is none left.

import { connect, createServer } from "node:net";

const { target, kind, faults, seed } = JSON.parse(process.argv[2]);
const UPGRADE = /^GET [^ ]*transport=websocket&sid=/;

const random = generator(seed);
let left = faults;

const server = createServer((client) => {
  const upstream = connect(target, "127.0.0.1");
  const fault = left > 0 ? plan() : undefined;
  let broken = false;
  let concerned = kind !== "upgrade";
  const seen = { up: 0, down: 0 };
  for (const end of [client, upstream]) end.setNoDelay(true).on("error", () => destroy()).on("close", () => destroy());
  pipe("up", client, upstream);
  pipe("down", upstream, client);

  function pipe(direction, from, to) {
    from.on("data", (data) => {
      if (broken) return;
      if (direction === "up" && seen.up === 0 && UPGRADE.test(data.toString("latin1"))) concerned = true;
      const room = fault?.direction === direction && concerned && left > 0 ? fault.after - seen[direction] : Infinity;
      seen[direction] += data.length;
      if (data.length >= room) return cut(data.subarray(0, Math.max(room, 0)), to);
      if (!to.write(data)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
    });
    from.on("end", () => to.end());
  }

  function cut(rest, to) {
    broken = true;
    left -= 1;
    console.log(`cut ${kind} ${fault.direction} after ${fault.after} by ${fault.reset ? "RST" : "FIN"}, seed ${seed}`);
    if (left === 0) console.log("spent");
    const end = () => [client, upstream].forEach((end) => (fault.reset ? end.resetAndDestroy() : end.destroySoon()));
    if (rest.length === 0) end();
    else to.write(rest, end);
  }

  function destroy() {
    client.destroy();
    upstream.destroy();
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

/** Where one connection breaks. */
function plan() {
  const direction = random() < 0.5 ? "up" : "down";
  const reset = random() < 0.5;
  const where = random();
  // An upgrade's request has some 250 bytes and its answer 130; the probe and its answer follow.
  const after = kind === "frame" ? 400 + Math.floor(where * 1000) : Math.floor(where * (direction === "up" ? 280 : 150));
  return { direction, reset, after };
}

/** Numbers in [0, 1) that depend on the seed alone: a xorshift generator, whose state must never be 0. */
function generator(seed) {
  let state = seed | 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  // Small seeds begin with small numbers.
  for (let skipped = 0; skipped < 16; skipped += 1) next();
  return next;
}
