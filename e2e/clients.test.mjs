// The official JavaScript client, unmodified, against the conformance example and the program.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { io } from "socket.io-client";
import { pause, scenario, startExample, startProgram, stopAll, until, within } from "./harness.mjs";

const LIMIT = 10_000;
const TRANSPORTS = { "polling only": ["polling"], "WebSocket only": ["websocket"], "polling, then WebSocket": ["polling", "websocket"] };

/** Both sides wait so long for each other, and a machine that is busy with other things does not part them. */
const PATIENT = { PING_TIMEOUT_MS: "2000" };

let conformance;
let program;
before(async () => {
  conformance = await startExample("conformance", { env: PATIENT });
  program = await startProgram();
});
after(stopAll);

/** A connected client that ends with the test. */
async function connected(t, url, options = {}) {
  const socket = client(t, url, options);
  await event(socket, "connect");
  return socket;
}

function client(t, url, options = {}) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  t.after(() => socket.disconnect());
  return socket;
}

/** The arguments of the next event `name`. */
function event(socket, name, limit = LIMIT) {
  return within(limit, `event ${name}`, new Promise((resolve) => socket.once(name, (...args) => resolve(args))));
}

const ask = (socket, name, ...args) => socket.timeout(LIMIT).emitWithAck(name, ...args);

for (const [how, transports] of Object.entries(TRANSPORTS)) {
  describe(`socket.io-client, ${how}`, () => {
    scenario("connects and is told its auth", async (t) => {
      const socket = client(t, conformance.url, { transports, auth: { token: "123", nested: [1, null] } });
      assert.deepEqual(await event(socket, "auth"), [{ token: "123", nested: [1, null] }]);
      assert.equal(typeof socket.id, "string");
    });

    scenario("connects although it asks for a subprotocol", async (t) => {
      const socket = await connected(t, conformance.url, { transports, protocols: ["chat", "v2.chat"] });
      await until("the upgrade", () => socket.io.engine.transport.name === transports.at(-1));
      assert.equal(await ask(socket, "message-with-ack", 1), 1);
    });

    scenario("sends and receives several arguments of every JSON kind", async (t) => {
      const socket = await connected(t, conformance.url, { transports });
      const sent = [1, -2.5, "héllo 🐟 \u0000 \u2028", true, null, [], {}, { a: [{ b: null }] }];
      socket.emit("message", ...sent);
      assert.deepEqual(await event(socket, "message-back"), sent);
    });

    scenario("sends and receives binary, wherever it sits", async (t) => {
      const socket = await connected(t, conformance.url, { transports });
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
      socket.emit("message", bytes, { deep: [Buffer.alloc(0), "text", Buffer.from("más")] });
      const [first, second] = await event(socket, "message-back");
      assert.deepEqual(first, bytes);
      assert.deepEqual(second, { deep: [Buffer.alloc(0), "text", Buffer.from("más")] });
    });

    scenario("sends and receives half an emoji, also with binary", async (t) => {
      const half = "hi 🐟".slice(0, 4);
      const socket = client(t, conformance.url, { transports, auth: { [half]: [half] } });
      assert.deepEqual(await event(socket, "auth"), [{ "hi \ufffd": ["hi \ufffd"] }]);
      socket.emit("message", half, { [half]: "🐟" });
      assert.deepEqual(await event(socket, "message-back"), [half, { [half]: "🐟" }], "what is passed on is not touched");
      socket.emit("message", half, { [half]: Buffer.from([1]) });
      assert.deepEqual(await event(socket, "message-back"), [half, { [half]: Buffer.from([1]) }]);
      const ada = await connected(t, `${program.url}/imchat`, { transports, auth: { token: `half ${how}` } });
      const heard = event(ada, "chat");
      assert.equal((await ask(ada, "chat", { to: `half ${how}`, message: half, type: "text" })).delivered, 1);
      assert.equal((await heard)[0].message, "hi \ufffd", "what is read has no halves");
    });

    scenario("gets its acknowledgement, also with binary", async (t) => {
      const socket = await connected(t, conformance.url, { transports });
      const plain = await within(LIMIT, "an ack", new Promise((resolve) => socket.emit("message-with-ack", 1, "2", { 3: [false] }, (...args) => resolve(args))));
      assert.deepEqual(plain, [1, "2", { 3: [false] }]);
      const binary = await ask(socket, "message-with-ack", Buffer.from([1, 2, 3]));
      assert.deepEqual(binary, Buffer.from([1, 2, 3]));
    });

    scenario("keeps 400 events in order while transports change", async (t) => {
      const socket = client(t, conformance.url, { transports });
      const received = [];
      socket.on("message-back", (number) => received.push(number));
      await event(socket, "connect");
      for (let number = 0; number < 400; number += 1) {
        socket.emit("message", number);
        if (number % 40 === 0) await pause(2);
      }
      await until("every event is back", () => received.length >= 400);
      assert.deepEqual(received, Array.from({ length: 400 }, (_, number) => number));
    });

    scenario("carries a message just under the limit", async (t) => {
      const socket = await connected(t, conformance.url, { transports });
      const big = "x".repeat(990_000);
      assert.equal(await ask(socket, "message-with-ack", big), big);
    });

    scenario("loses only the connection that sends more than the limit, and serves it again", async (t) => {
      const other = await connected(t, conformance.url, { transports });
      const socket = await connected(t, conformance.url, { transports });
      const gone = event(socket, "disconnect");
      socket.emit("message", "x".repeat(1_100_000));
      assert.match((await gone)[0], /^transport (close|error)$/);
      await event(socket, "connect");
      assert.equal(await ask(socket, "message-with-ack", "again"), "again");
      assert.equal(await ask(other, "message-with-ack", "never left"), "never left");
    });

    scenario("has two namespaces on one connection", async (t) => {
      const main = await connected(t, conformance.url, { transports });
      const custom = main.io.socket("/custom", { auth: { who: "me" } });
      assert.deepEqual(await event(custom, "auth"), [{ who: "me" }]);
      assert.notEqual(main.id, custom.id);
      custom.disconnect();
      assert.equal(await ask(main, "message-with-ack", "still here"), "still here");
    });

    scenario("is told that a namespace does not exist", async (t) => {
      const socket = client(t, `${conformance.url}/nowhere`, { transports });
      const [error] = await event(socket, "connect_error");
      assert.equal(error.message, "Invalid namespace");
      assert.equal(socket.active, false);
    });

    scenario("answers heartbeats for longer than the ping timeout", async (t) => {
      const socket = await connected(t, conformance.url, { transports });
      let pings = 0;
      socket.io.on("ping", () => (pings += 1));
      await until("eight pings, one every 300 ms", () => pings >= 8);
      assert.equal(socket.connected, true);
    });

    scenario("chats through the program", async (t) => {
      const ada = await connected(t, `${program.url}/imchat`, { transports, auth: { token: `ada ${how}` } });
      const bob = await connected(t, `${program.url}/imchat`, { transports, auth: { token: `bob ${how}` } });
      const heard = event(bob, "chat");
      const answer = await ask(ada, "chat", { to: `bob ${how}`, from: "somebody else", message: "hello", type: "text" });
      assert.equal(answer.ok, true);
      assert.equal(answer.delivered, 1);
      const [message] = await heard;
      assert.deepEqual(message, { from: `ada ${how}`, message: "hello", sendtime: answer.sendtime, type: "text" });
      assert.ok(Math.abs(message.sendtime - Date.now() / 1000) < 60, `sendtime is in seconds: ${message.sendtime}`);
    });

    scenario("comes back after the server was started again", async (t) => {
      const first = await startProgram();
      t.after(() => first.running() && first.stop());
      const socket = await connected(t, `${first.url}/imchat`, { transports, auth: { token: "ada" } });
      const gone = event(socket, "disconnect");
      assert.equal(await first.stop(), 0);
      assert.match((await gone)[0], /^transport (close|error)$/, "a drain lets clients reconnect");
      const back = event(socket, "connect", 30_000);
      const second = await startProgram({ port: first.port });
      t.after(() => second.running() && second.stop());
      await back;
      assert.equal((await ask(socket, "enter_room", { room: "lobby" })).ok, true);
      socket.disconnect();
      assert.equal(await second.stop(), 0);
    });
  });
}

describe("socket.io-client: the transports in use", () => {
  scenario("polling only never upgrades", async (t) => {
    const socket = await connected(t, conformance.url, { transports: ["polling"] });
    assert.equal(await ask(socket, "message-with-ack", 1), 1);
    assert.equal(socket.io.engine.transport.name, "polling");
  });

  scenario("polling becomes WebSocket", async (t) => {
    const socket = client(t, conformance.url, { transports: ["polling", "websocket"] });
    await until("the upgrade", () => socket.io.engine?.transport?.name === "websocket");
    assert.equal(await ask(socket, "message-with-ack", 1), 1);
  });
});

for (const namespace of ["/", "/imchat"]) {
  describe(`the program, namespace ${namespace}`, () => {
    const join = (t, name, options) => connected(t, program.url + namespace, { auth: { token: name }, ...options });

    scenario("welcomes by name, from auth or from the header", async (t) => {
      const byAuth = client(t, program.url + namespace, { auth: { token: "auth-name" }, extraHeaders: { token: "header-name" } });
      assert.deepEqual(await event(byAuth, "message"), [{ message: "登陆成功", user: "auth-name" }]);
      const byHeader = client(t, program.url + namespace, { extraHeaders: { token: "header-name" } });
      assert.deepEqual(await event(byHeader, "message"), [{ message: "登陆成功", user: "header-name" }]);
    });

    scenario("names a guest", async (t) => {
      const [welcome] = await event(client(t, program.url + namespace), "message");
      assert.match(welcome.user, /^guest-.+/);
    });

    scenario("refuses a name with its reason", async (t) => {
      for (const name of ["x".repeat(65), "line\nbreak", ""]) {
        const socket = client(t, program.url + namespace, { auth: { token: name } });
        const [error] = await event(socket, "connect_error");
        assert.match(error.message, /name|character/i);
        assert.equal(socket.active, false);
      }
      await join(t, "é".repeat(64));
    });

    scenario("delivers to every device of a person and to nobody else", async (t) => {
      const sender = await join(t, "dev-a");
      const [phone, laptop, other] = [await join(t, "dev-b"), await join(t, "dev-b"), await join(t, "dev-c")];
      const stray = [];
      other.on("chat", (message) => stray.push(message));
      const heard = Promise.all([event(phone, "chat"), event(laptop, "chat")]);
      const answer = await ask(sender, "chat", { to: "dev-b", message: { rich: ["text", 1] }, type: "card" });
      assert.equal(answer.delivered, 2);
      for (const [message] of await heard) assert.deepEqual(message, { from: "dev-a", message: { rich: ["text", 1] }, sendtime: answer.sendtime, type: "card" });
      await ask(sender, "chat", { to: "dev-c", message: "now", type: "text" });
      await until("dev-c hears", () => stray.length > 0);
      assert.deepEqual(stray.map(({ message }) => message), ["now"]);
    });

    scenario("says when a message reached nobody or made no sense", async (t) => {
      const socket = await join(t, "lonely");
      const nobody = await ask(socket, "chat", { to: "nobody-here", message: "?", type: "text" });
      assert.ok(nobody.ok === false ? nobody.error : nobody.delivered === 0, JSON.stringify(nobody));
      for (const wrong of [{}, { to: { no: "name" }, message: "x" }, "text", null, { message: "to whom?" }]) {
        const answer = await ask(socket, "chat", wrong);
        assert.equal(answer.ok, false, JSON.stringify({ wrong, answer }));
        assert.equal(typeof answer.error, "string");
      }
      assert.equal(socket.connected, true);
    });

    scenario("has rooms that one enters, talks in and leaves", async (t) => {
      const [ada, bob, eve] = [await join(t, "room-a"), await join(t, "room-b"), await join(t, "room-e")];
      const confirmed = new Promise((resolve) => ada.on("message", (data) => data.msg && resolve(data)));
      const entered = await ask(ada, "enter_room", { room: "river" });
      assert.deepEqual(entered, { ok: true, room: "river" });
      assert.deepEqual(await within(LIMIT, "the confirmation", confirmed), { msg: "进入房间成功", room: "river" });
      await ask(bob, "enter_room", { room: "river" });

      const outside = await ask(eve, "message", { room: "river", message: "let me in" });
      assert.equal(outside.ok, false);
      assert.equal(typeof outside.error, "string");

      const overheard = [];
      eve.on("message", (data) => data.room === "river" && overheard.push(data));
      const inRoom = (socket) => within(LIMIT, "a room message", new Promise((resolve) => socket.on("message", (data) => data.from && resolve(data))));
      const heard = Promise.all([inRoom(ada), inRoom(bob)]);
      assert.equal((await ask(ada, "message", { room: "river", message: "hello, river" })).ok, true);
      for (const message of await heard) {
        assert.deepEqual({ ...message, sendtime: 0 }, { from: "room-a", room: "river", message: "hello, river", sendtime: 0 });
        assert.equal(typeof message.sendtime, "number");
      }

      await ask(bob, "leave_room", { room: "river" });
      assert.equal((await ask(bob, "message", { room: "river", message: "gone" })).ok, false);
      assert.deepEqual(overheard, []);
    });

    scenario("keeps the room of a person closed to others", async (t) => {
      const victim = await join(t, "private-v");
      const eve = await join(t, "private-e");
      const overheard = [];
      eve.on("chat", (message) => overheard.push(message));
      eve.on("message", (message) => message.from && overheard.push(message));
      // Whatever a private room is called on the server, no name of a room lets another person in.
      for (const room of ["private-v", "user:private-v", "room:user:private-v", " private-v", victim.id, "user:"]) {
        const answer = await ask(eve, "enter_room", { room });
        if (/^(user:)?private-v$/.test(room)) assert.equal(answer.ok, false, `room ${room}: ${JSON.stringify(answer)}`);
        assert.equal((await ask(eve, "message", { room: "private-v", message: "intruder" })).ok, false);
      }
      const heard = event(victim, "chat");
      await ask(await join(t, "private-a"), "chat", { to: "private-v", message: "secret", type: "text" });
      await heard;
      await ask(eve, "chat", { to: "private-e", message: "after", type: "text" });
      await until("eve hears her own", () => overheard.length > 0);
      assert.deepEqual(overheard.map(({ message }) => message), ["after"]);
    });

    scenario("tells who is there and who comes and goes", async (t) => {
      const watcher = client(t, program.url + namespace, { auth: { token: "pres-w" } });
      const changes = [];
      watcher.on("presence", (change) => changes.push(change));
      await until("the first presence", () => changes.some(({ online }) => online));
      assert.ok(changes.find(({ online }) => online).online.includes("pres-w"));
      const visitor = await join(t, "pres-v");
      await until("the visitor is announced", () => changes.some(({ joined }) => joined === "pres-v"));
      assert.ok((await ask(watcher, "who")).online.includes("pres-v"));
      const second = await join(t, "pres-v");
      visitor.disconnect();
      assert.equal((await ask(second, "who")).online.includes("pres-v"), true, "one device is left");
      assert.equal(changes.filter(({ joined }) => joined === "pres-v").length, 1, "a second device is no arrival");
      second.disconnect();
      await until("the visitor is gone", () => changes.some(({ left }) => left === "pres-v"));
      assert.equal((await ask(watcher, "who")).online.includes("pres-v"), false);
      assert.equal(changes.filter(({ left }) => left === "pres-v").length, 1);
    });
  });
}

describe("the program serves the client bundle", () => {
  for (const [name, type] of [
    ["socket.io.js", /javascript/],
    ["socket.io.min.js", /javascript/],
    ["socket.io.esm.min.js", /javascript/],
    ["socket.io.msgpack.min.js", /javascript/],
    ["socket.io.js.map", /json/],
    ["socket.io.min.js.map", /json/],
    ["socket.io.esm.min.js.map", /json/],
    ["socket.io.msgpack.min.js.map", /json/],
  ]) {
    scenario(name, async () => {
      const response = await fetch(`${program.url}/socket.io/${name}`);
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type"), type);
      const body = Buffer.from(await response.arrayBuffer());
      if (type.test("javascript")) assert.match(body.subarray(0, 80).toString(), /Socket\.IO v4\./);
      const tag = response.headers.get("etag");
      assert.ok(tag, "an ETag lets the browser keep it");
      assert.equal((await fetch(`${program.url}/socket.io/${name}`, { headers: { "if-none-match": tag } })).status, 304);
    });
  }
});
