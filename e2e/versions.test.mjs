// socket.io-client 2.x (Engine.IO 3), 3.x and 4.x, with JSON and MessagePack, on every transport, and python-socketio 4.x
// (Engine.IO 3) and 5.x, against the example `interop`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { io as io4 } from "socket.io-client";
import io2 from "socket.io-client-2";
import { io as io3 } from "socket.io-client-3";
import msgpack from "socket.io-msgpack-parser";
import msgpack2 from "socket.io-msgpack-parser-2";
import { here, pause, scenario, startExample, stopAll, until, within } from "./harness.mjs";

const LIMIT = 5_000;
const TRANSPORTS = { "polling only": ["polling"], "WebSocket only": ["websocket"], "polling, then WebSocket": ["polling", "websocket"] };
const VERSIONS = [
  { version: "2.x", io: io2, msgpack: msgpack2 },
  { version: "3.x", io: io3, msgpack },
  { version: "4.x", io: io4, msgpack },
];

const servers = {};
before(async () => {
  servers.json = await startExample("interop");
  servers.msgpack = await startExample("interop", { env: { SOCKEYE_PARSER: "msgpack" } });
});
after(stopAll);

for (const { version, io, msgpack } of VERSIONS)
  for (const parser of ["json", "msgpack"])
    for (const [how, transports] of Object.entries(TRANSPORTS)) {
      const options = { transports, forceNew: true, ...(parser === "msgpack" && { parser: msgpack }) };
      describe(`socket.io-client ${version}, ${parser}, ${how}`, () => speaks({ version, parser, transports, connect }));

      function connect(t, path = "", more = {}) {
        const socket = io(servers[parser].url + path, { ...options, ...more });
        t.after(() => socket.disconnect());
        return socket;
      }
    }

function speaks({ version, parser, transports, connect }) {
  const isOld = version === "2.x";
  const connected = async (t, ...rest) => {
    const socket = connect(t, ...rest);
    await event(socket, "connect");
    return socket;
  };

  scenario("sends and receives arguments of every JSON kind", async (t) => {
    const socket = await connected(t);
    const sent = [1, -2.5, "héllo 🐟 \u0000 \u2028", true, null, [], {}, { a: [{ b: null }] }, "x".repeat(70_000)];
    const back = event(socket, "message-back");
    socket.emit("message", ...sent);
    assert.deepEqual(await back, sent);
    const alone = event(socket, "message-back");
    socket.emit("message");
    assert.deepEqual(await alone, []);
  });

  scenario("sends and receives binary, wherever it sits", async (t) => {
    const socket = await connected(t);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const back = event(socket, "message-back");
    socket.emit("message", bytes, { deep: [Buffer.alloc(0), "text", Buffer.from("más")] });
    const [first, second] = await back;
    assert.deepEqual(Buffer.from(first), bytes);
    assert.deepEqual(second.deep.map((one) => (typeof one === "string" ? one : Buffer.from(one).toString())), ["", "text", "más"]);
  });

  scenario("is acknowledged, and acknowledges, with binary too", async (t) => {
    const socket = await connected(t);
    assert.deepEqual(await ask(socket, "message-with-ack", 1, "2", { 3: [false] }), [1, "2", { 3: [false] }]);
    const [binary] = await ask(socket, "message-with-ack", Buffer.from([1, 2, 3]));
    assert.deepEqual(Buffer.from(binary), Buffer.from([1, 2, 3]));
    socket.on("question", (number, data, answer) => answer({ number: number + 1, data }));
    const answered = event(socket, "you-answered");
    socket.emit("ask-me", 41, Buffer.from("bytes"));
    const [{ number, data }] = await answered;
    assert.equal(number, 42);
    assert.equal(Buffer.from(data).toString(), "bytes");
  });

  scenario("joins a namespace and says who it is", async (t) => {
    const socket = isOld ? connect(t, "/custom?token=abc&x=%C3%A9") : connect(t, "/custom", { auth: { token: "abc", x: "é" } });
    assert.deepEqual(await event(socket, "auth"), [{ token: "abc", x: "é" }]);
    const id = isOld ? /^\/custom#[\w-]{20}$/ : /^[\w-]{20}$/;
    assert.match(socket.id, id);
    assert.deepEqual(await ask(socket, "message-with-ack", "in custom"), ["in custom"]);
  });

  scenario("is told why it is refused", async (t) => {
    const refusal = async (path) => (await event(connect(t, path), isOld ? "error" : "connect_error"))[0];
    const [closed, unknown] = [await refusal("/closed"), await refusal("/nowhere")];
    // Clients of Socket.IO 2 are handed the bare value, later ones an error.
    assert.equal(isOld ? closed : closed.message, "members only");
    assert.equal(isOld ? unknown : unknown.message, "Invalid namespace");
  });

  scenario("hears its rooms, once each message", async (t) => {
    const [one, two, outside] = [await connected(t), await connected(t), await connected(t)];
    const heard = [];
    one.on("room-message", (room, text) => heard.push(`one ${text}`));
    two.on("room-message", (room, text) => heard.push(`two ${text}`));
    outside.on("room-message", () => heard.push("outside"));
    const room = `${version} ${parser} ${transports}`;
    for (const member of [one, one, two]) await ask(member, "join", room);
    for (const text of ["a", "b"]) await ask(outside, "to-room", room, text);
    await until("both heard both", () => heard.length >= 4);
    await ask(outside, "message-with-ack");
    assert.deepEqual(heard.sort(), ["one a", "one b", "two a", "two b"]);
  });

  scenario("keeps events in order while transports change", async (t) => {
    const socket = connect(t);
    const received = [];
    socket.on("message-back", (number) => received.push(number));
    await event(socket, "connect");
    for (let number = 0; number < 200; number += 1) {
      socket.emit("message", number);
      if (number % 40 === 0) await pause(2);
    }
    await until("every event is back", () => received.length >= 200);
    assert.deepEqual(received, Array.from({ length: 200 }, (_, number) => number));
    if (transports.length === 2) await until("the upgrade", () => socket.io.engine.transport.name === "websocket");
  });

  scenario("stays through heartbeats and is taken out by the server", async (t) => {
    const socket = await connected(t);
    await pause(1_700);
    assert.equal(socket.connected, true, "a connection with heartbeats was given up");
    const left = event(socket, "disconnect");
    socket.emit("kick-me");
    assert.equal((await left)[0], "io server disconnect");
  });
}

/** The arguments of the next event `name`. */
function event(socket, name) {
  return within(LIMIT, `event ${name}`, new Promise((resolve) => socket.once(name, (...args) => resolve(args))));
}

/** The arguments of the acknowledgement. */
function ask(socket, name, ...args) {
  return within(LIMIT, `the acknowledgement of ${name}`, new Promise((resolve) => socket.emit(name, ...args, (...answer) => resolve(answer))));
}

const PYTHONS = [
  { version: "4.x", parser: "json", python: process.env.E2E_PYTHON_EIO3 ?? join(here, ".venv-eio3/bin/python") },
  { version: "5.x", parser: "json", python: process.env.E2E_PYTHON ?? join(here, ".venv/bin/python") },
  { version: "5.x", parser: "msgpack", python: process.env.E2E_PYTHON ?? join(here, ".venv/bin/python") },
];

for (const { version, parser, python } of PYTHONS)
  describe(`python-socketio ${version}, ${parser}`, () => {
    for (const name of ["is_the_expected_version", "echoes", "sends_binary", "is_acknowledged", "answers", "joins_a_namespace", "is_refused", "upgrades_and_stays"])
      scenario(name.replaceAll("_", " "), async (t) => {
        const env = { ...process.env, SOCKEYE_PARSER: parser, EXPECTED_VERSION: version[0] };
        const child = spawn(python, [join(here, "python/versions.py"), name, servers[parser].url], { env });
        t.after(() => child.kill("SIGKILL"));
        const output = [];
        for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
        const [code] = await once(child, "close");
        assert.equal(code, 0, Buffer.concat(output).toString());
      });
  });
