// One fleet of two Sockeye programs and a Node server on a real Redis, in the format of `@socket.io/redis-adapter`, and the
// emitters that other processes use, old ones too.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, describe } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import Redis from "ioredis";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import oldEmitter from "socket.io-emitter";
import { scenario, start, startProgram, startRedis, stopAll, until } from "./harness.mjs";

const LIMIT = 20_000;

let redis;
let programs;
let node;
const clients = {};

before(async () => {
  redis = await startRedis();
  const bus = `redis://127.0.0.1:${redis.port}`;
  programs = await Promise.all([0, 1].map(() => startProgram({ args: ["--bus", bus] })));
  node = await startNode();
  await until("the programs are ready", async () => {
    const answers = await Promise.all(programs.map(({ url }) => fetch(`${url}/readyz`)));
    return answers.every(({ status }) => status === 200);
  });
  const urls = { first: programs[0].url, second: programs[1].url, node: node.url };
  for (const [name, url] of Object.entries(urls)) clients[name] = await connect(url, name);
});

after(async () => {
  for (const { socket } of Object.values(clients)) socket.disconnect();
  await node?.stop();
  await stopAll();
});

/** Socket.IO's server with the classic adapter. */
async function startNode() {
  const publisher = createClient({ url: `redis://127.0.0.1:${redis.port}` });
  const subscriber = publisher.duplicate();
  // Redis is killed by a test; the clients connect again.
  for (const client of [publisher, subscriber]) client.on("error", () => {});
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const http = createServer().listen(0, "127.0.0.1");
  await once(http, "listening");
  const server = new Server(http, { adapter: createAdapter(publisher, subscriber) });
  server.on("connection", (socket) => socket.on("question", (...args) => args.pop()(...args)));
  // What waits for an answer of Redis, as closing the adapter does, would wait for a connection that is being made again.
  const stop = async () => {
    for (const client of [publisher, subscriber]) client.destroy();
    const closed = once(http, "close");
    http.close();
    server.engine.close();
    http.closeAllConnections();
    await closed;
  };
  return { server, url: `http://127.0.0.1:${http.address().port}`, stop };
}

/** A client that notes every event, and answers every question with its own name. */
async function connect(url, name) {
  const socket = io(url, { auth: { token: name }, forceNew: true });
  const received = [];
  socket.onAny((event, ...args) => {
    if (typeof args.at(-1) === "function") args.pop()(name);
    received.push([event, ...args]);
  });
  await once(socket, "connect");
  return { socket, received, of: (event) => received.filter(([name]) => name === event).map(([, ...args]) => args) };
}

/** Waits until exactly these clients have received an event with these arguments. */
async function reached(event, args, names) {
  await until(`${event} reaches ${names}`, () => names.every((name) => clients[name].of(event).length > 0), LIMIT);
  for (const name of Object.keys(clients)) {
    assert.deepEqual(clients[name].of(event), names.includes(name) ? [args] : [], name);
  }
}

describe("a Node server with @socket.io/redis-adapter", () => {
  scenario("emits to the clients of all servers, with binary data in order", async () => {
    const binary = Buffer.from([1, 2, 3]);
    node.server.emit("node-all", 1, "2", { a: [true, null], binary });
    await reached("node-all", [1, "2", { a: [true, null], binary }], ["first", "second", "node"]);
    for (let number = 0; number < 100; number++) node.server.emit("counted", number);
    await until("all have come", () => clients.second.of("counted").length === 100, LIMIT);
    assert.deepEqual(clients.second.of("counted"), Array.from({ length: 100 }, (_, number) => [number]));
  });

  scenario("makes sockets of Sockeye join rooms, emits to these, and excludes", async () => {
    node.server.in(clients.first.socket.id).socketsJoin("room");
    await until("it has joined", async () => (await node.server.in("room").fetchSockets()).length === 1, LIMIT);
    node.server.to("room").emit("node-room", "x");
    await reached("node-room", ["x"], ["first"]);
    node.server.except("room").emit("node-except", "y");
    await reached("node-except", ["y"], ["second", "node"]);
    node.server.in("room").socketsLeave("room");
    await until("it has left", async () => (await node.server.in("room").fetchSockets()).length === 0, LIMIT);
  });

  scenario("gets the sockets of all servers with their handshake and rooms", async () => {
    const sockets = await node.server.fetchSockets();
    const ids = sockets.map(({ id }) => id).sort();
    assert.deepEqual(ids, Object.values(clients).map(({ socket }) => socket.id).sort());
    const first = sockets.find(({ id }) => id === clients.first.socket.id);
    assert.ok(first.rooms.has(first.id));
    assert.equal(first.handshake.address, "127.0.0.1");
    assert.equal(first.handshake.query.EIO, "4");
  });

  scenario("collects the acknowledgements of all clients", async () => {
    const answers = await node.server.timeout(LIMIT).emitWithAck("node-asks", 7);
    assert.deepEqual(answers.sort(), ["first", "node", "second"]);
  });

  scenario("gets an answer to an event of servers from Sockeye, too", async () => {
    const answers = await node.server.serverSideEmitWithAck("nobody-handles-this");
    assert.equal(answers.length, 2);
  });
});

describe("Sockeye", () => {
  scenario("sends a message of the chat to a user on another program", async () => {
    const answer = await clients.first.socket.timeout(LIMIT).emitWithAck("chat", { to: "second", message: "hi" });
    assert.equal(answer.ok, true);
    await until("it has come", () => clients.second.of("chat").length === 1, LIMIT);
    assert.equal(clients.second.of("chat")[0][0].message, "hi");
    assert.equal(clients.node.of("chat").length, 0);
  });

  scenario("announces presence to the clients of all servers", async () => {
    const late = await connect(programs[0].url, "late");
    await until("all know", () => ["second", "node"].every((name) => JSON.stringify(clients[name].of("presence")).includes("late")), LIMIT);
    late.socket.disconnect();
  });
});

describe("a process without a server", () => {
  scenario("emits by @socket.io/redis-emitter in all shapes", async () => {
    const client = createClient({ url: `redis://127.0.0.1:${redis.port}` });
    await client.connect();
    const emitter = new Emitter(client);
    emitter.emit("emitter-all", 1);
    await reached("emitter-all", [1], ["first", "second", "node"]);
    emitter.to(clients.second.socket.id).emit("emitter-socket", { b: Buffer.from([9]) });
    await reached("emitter-socket", [{ b: Buffer.from([9]) }], ["second"]);
    emitter.to([clients.first.socket.id, clients.node.socket.id]).emit("emitter-two");
    await reached("emitter-two", [], ["first", "node"]);
    emitter.except(clients.first.socket.id).emit("emitter-except", "x");
    await reached("emitter-except", ["x"], ["second", "node"]);
    await client.close();
  });

  scenario("emits by socket.io-emitter 3", async () => {
    const client = new Redis(redis.port, "127.0.0.1");
    const emitter = oldEmitter(client);
    emitter.emit("old-all", "x");
    await reached("old-all", ["x"], ["first", "second", "node"]);
    emitter.to(clients.first.socket.id).emit("old-one", 1);
    await reached("old-one", [1], ["first"]);
    client.disconnect();
  });
});

scenario("a Node server disconnects a socket of Sockeye", async () => {
  const late = await connect(programs[1].url, "late");
  const gone = once(late.socket, "disconnect");
  node.server.in(late.socket.id).disconnectSockets(true);
  await gone;
  late.socket.disconnect();
});

scenario("clients of different servers talk on after Redis was killed", async () => {
  const { port } = redis;
  await redis.stop();
  await until("the programs know", async () => (await fetch(`${programs[0].url}/readyz`)).status === 503, LIMIT);
  assert.equal((await fetch(`${programs[0].url}/healthz`)).status, 200);
  redis = await start("redis", {
    port,
    args: (free) => ["--port", free, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(String),
    command: "redis-server",
  });
  await until("the programs are back", async () => {
    const answers = await Promise.all(programs.map(({ url }) => fetch(`${url}/readyz`)));
    return answers.every(({ status }) => status === 200);
  });
  clients.second.received.length = 0;
  const answer = await clients.first.socket.timeout(LIMIT).emitWithAck("chat", { to: "second", message: "again" });
  assert.equal(answer.ok, true);
  await until("it has come", () => clients.second.of("chat").length === 1, LIMIT);
});
