// A real Node server with one adapter over a broker that is faked: what the adapter publishes is printed, and what is fed to
// it counts as received. Usage: node cluster_adapters.mjs sharded|streams|postgres. Reads and answers lines of JSON.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { createAdapter as createPostgresAdapter } from "@socket.io/postgres-adapter";
import { Emitter as PostgresEmitter } from "@socket.io/postgres-emitter";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Server } from "socket.io";

const { Adapter } = createRequire(import.meta.url)("socket.io-adapter");
const [format] = process.argv.slice(2);
const SERVERS = 2;

/** What has been published since it was last asked for; bytes as base64. */
let published = [];
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const publish = (channel, payload) => published.push({ channel, payload: base64(payload) });

/** A client of the package `redis`. */
class Redis {
  static listeners = new Map();
  static reads = [];
  sSubscribe(channels, listener) {
    for (const channel of [channels].flat()) Redis.listeners.set(channel, listener);
  }
  subscribe(channels, listener) {
    this.sSubscribe(channels, listener);
  }
  async sPublish(channel, payload) {
    publish(channel, payload);
  }
  async publish(channel, payload) {
    publish(channel, payload);
  }
  async xAdd(stream, id, fields) {
    published.push({ stream, fields: Object.entries(fields).map(([name, value]) => [name, base64(value)]) });
    return "1-0";
  }
  xRead() {
    return new Promise((resolve) => Redis.reads.push(resolve));
  }
  async sendCommand([, , channel]) {
    return [channel, SERVERS];
  }
  duplicate() {
    return new Redis();
  }
  on() {}
  async connect() {}
  disconnect() {}
}

/** A pool of the package `pg`. */
const attachments = new Map();
let notified;
const pool = {
  async connect() {
    return { on: (event, listener) => event === "notification" && (notified = listener), query: async () => {}, release() {} };
  },
  async query(sql, [first, second] = []) {
    if (sql.startsWith("SELECT pg_notify")) publish(first, second);
    else if (sql.startsWith("INSERT")) {
      attachments.set(String(attachments.size + 1), Buffer.from(first));
      published.push({ attachment: base64(first) });
      return { rows: [{ id: String(attachments.size) }] };
    } else if (sql.startsWith("SELECT payload")) return { rows: [{ payload: attachments.get(String(first)) }] };
    return { rows: [] };
  },
};

/** The value without what JSON cannot hold. */
function plain(value) {
  if (value instanceof Set) return [...value];
  if (typeof value === "string") return value.toWellFormed();
  if (value instanceof Uint8Array) return { base64: base64(value) };
  if (value instanceof Date) return { date: value.getTime() };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** What the adapter does with what it receives, before it does it. */
let done = [];
for (const method of ["broadcast", "broadcastWithAck", "addSockets", "delSockets", "disconnectSockets"]) {
  const original = Adapter.prototype[method];
  Adapter.prototype[method] = function (...args) {
    done.push([method, ...args.filter((arg) => typeof arg !== "function").map(plain)]);
    return original.apply(this, args);
  };
}

const io = new Server({
  adapter: {
    sharded: () => createShardedAdapter(new Redis(), new Redis()),
    streams: () => createStreamsAdapter(new Redis()),
    postgres: () => createPostgresAdapter(pool, { errorHandler: (error) => done.push(["error", error.message]) }),
  }[format](),
});
io.on("event", (...args) => {
  const answer = args.at(-1);
  if (typeof answer === "function") answer(`answer to ${args[0]}`, "lost");
  done.push(["event", ...args.filter((arg) => typeof arg !== "function").map(plain)]);
});
const { adapter } = io.of("/");
const pg = new PostgresEmitter(pool);
const binary = Buffer.from([1, 2, 3]);
const date = new Date(1_700_000_000_000);

/** What a program does. */
const actions = {
  emit: () => io.emit("hello", 1, "2", { a: [true, null, 1.5, -7] }),
  emitNothing: () => io.emit("hello"),
  emitBinary: () => io.to("r1").emit("bin", binary, [binary, 300]),
  emitDate: () => io.emit("date", date, binary),
  emitLong: () => io.emit("long", "x".repeat(9_000)),
  emitToRooms: () => io.to(["r1", "r2"]).except("r3").volatile.emit("x", "é🚀\ud83d"),
  join: () => io.in("r1").socketsJoin(["r2", "r3"]),
  leave: () => io.in("r1").socketsLeave("r2"),
  disconnect: () => io.in("r1").disconnectSockets(true),
  serverSideEmit: () => io.serverSideEmit("event", 1, { a: null }),
};
/** What a program asks; what it is answered is noted. */
const questions = {
  fetchSockets: () => io.in("r1").fetchSockets().then((sockets) => sockets.map(({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data }))),
  serverSideEmit: () => io.serverSideEmitWithAck("event", 1),
  emitWithAck: () => io.timeout(5_000).to("r1").emitWithAck("q", 1),
};
const emitterActions = {
  emit: () => pg.to("r1").emit("hello", 1),
  emitBinary: () => pg.emit("bin", binary),
  join: () => pg.in("r1").socketsJoin("r2"),
  disconnect: () => pg.disconnectSockets(true),
  serverSideEmit: () => pg.serverSideEmit("event", 1),
};
/** Nothing here waits for time or for input: after some turns of the event loop everything has been done. */
async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function receive({ channel, payload, stream, fields, attachment }) {
  const bytes = payload && Buffer.from(payload, "base64");
  if (attachment) {
    attachments.set(String(attachments.size + 1), Buffer.from(attachment, "base64"));
    return { number: attachments.size };
  }
  if (format === "postgres") await notified({ channel, payload: bytes.toString() });
  else if (stream) {
    const message = Object.fromEntries(fields.map(([name, value]) => [name, Buffer.from(value, "base64").toString()]));
    Redis.reads.splice(0).forEach((resolve) => resolve([{ name: stream, messages: [{ id: "1-0", message }] }]));
  } else Redis.listeners.get(channel)(bytes, Buffer.from(channel));
}

const commands = {
  start: async () => ({ uid: adapter.uid }),
  act: async ({ name }) => void actions[name](),
  emitter: async ({ name }) => void emitterActions[name](),
  ask: async ({ name }) => {
    questions[name]().then(
      (answer) => done.push(["answered", plain(answer)]),
      (error) => done.push(["failed", error.message]),
    );
  },
  receive,
  /** A server with heartbeats counts those it has heard. */
  servers: async () => ({ count: await adapter.serverCount() }),
};

await settled();
// A server hears the channels of rooms that have members.
adapter.addAll("somebody", new Set(["r1"]));
await settled();
published = [];
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line);
  const result = await commands[command](parameters);
  await settled();
  console.log(JSON.stringify({ ...result, published: published.splice(0), done: done.splice(0) }));
}
process.exit(0);
