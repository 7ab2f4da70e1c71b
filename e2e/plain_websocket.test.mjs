// Clients without Socket.IO, as a browser's own WebSocket: `/ws/` tells everyone, `/ws/<user>/` speaks to one person.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";
import { scenario, startProgram, stopAll, until } from "./harness.mjs";
import { Frames, raw, upgradeRequest } from "./wire.mjs";

let program;
before(async () => {
  program = await startProgram();
});
after(stopAll);

async function open(t, path) {
  const socket = Frames.connect(program.ws + path);
  t.after(() => socket.close());
  await socket.opened();
  return socket;
}

const send = (socket, data) => socket.send(JSON.stringify(data));
const receive = async (socket) => JSON.parse(await socket.next());

describe("plain WebSocket beside Socket.IO", () => {
  async function join(t, token) {
    const socket = io(`${program.url}/imchat`, { forceNew: true, auth: { token } });
    t.after(() => socket.disconnect());
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  }

  scenario("a chat message reaches the plain connections of its recipient as well", async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()];
    const [sender, modern, plain] = [await join(t, ada), await join(t, bob), await open(t, `/ws/${bob}/`)];
    const heard = new Promise((resolve) => modern.once("chat", resolve));
    const answer = await sender.timeout(5_000).emitWithAck("chat", { to: bob, message: "to all devices", type: "text" });
    assert.equal(answer.delivered, 2);
    assert.equal((await heard).message, "to all devices");
    const { from, message } = await receive(plain);
    assert.deepEqual({ from, message }, { from: ada, message: "to all devices" });
  });

  scenario("a plain message reaches the recipient's Socket.IO devices as a chat message", async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()];
    const [sender, modern] = [await open(t, `/ws/${ada}/`), await join(t, bob)];
    const heard = new Promise((resolve) => modern.once("chat", resolve));
    send(sender, { message: "hello", to_user: bob });
    const { from, message, sendtime, type } = await heard;
    assert.deepEqual({ from, message, type }, { from: ada, message: "hello", type: "text" });
    assert.equal(typeof sendtime, "number");
  });
});

describe("plain WebSocket, everyone at /ws/", () => {
  scenario("what one says reaches all as it was said, the speaker included", async (t) => {
    const sockets = [await open(t, "/ws/"), await open(t, "/ws/"), await open(t, "/ws/")];
    for (const text of ["hello", "not { JSON", '{"message":"JSON"}', "", "é🐟"]) {
      sockets[0].send(text);
      for (const socket of sockets) assert.equal(await socket.next(), text);
    }
  });

  scenario("messages of one speaker arrive in order", async (t) => {
    const [speaker, listener] = [await open(t, "/ws/"), await open(t, "/ws/")];
    for (let number = 0; number < 200; number += 1) speaker.send(String(number));
    for (let number = 0; number < 200; number += 1) assert.equal(await listener.next(), String(number));
  });

  scenario("one who left is not missed", async (t) => {
    const [stays, leaves] = [await open(t, "/ws/"), await open(t, "/ws/")];
    leaves.close();
    await leaves.closed();
    stays.send("alone");
    assert.equal(await stays.next(), "alone");
  });
});

describe("plain WebSocket, one person at /ws/<user>/", () => {
  scenario("a message reaches every connection of its recipient, with its sender", async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()];
    const sender = await open(t, `/ws/${ada}/`);
    const devices = [await open(t, `/ws/${bob}/`), await open(t, `/ws/${bob}/`)];
    send(sender, { message: "hello", to_user: bob });
    for (const device of devices) assert.deepEqual(await receive(device), { message: "hello", to_user: bob, from: ada });
  });

  scenario("the sender cannot be forged", async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()];
    const [sender, recipient] = [await open(t, `/ws/${ada}/`), await open(t, `/ws/${bob}/`)];
    send(sender, { message: "hello", to_user: bob, from: "somebody else" });
    assert.equal((await receive(recipient)).from, ada);
  });

  scenario("one may write to oneself", async (t) => {
    const ada = randomUUID();
    const socket = await open(t, `/ws/${ada}/`);
    send(socket, { message: { any: ["JSON"] }, to_user: ada });
    assert.deepEqual(await receive(socket), { message: { any: ["JSON"] }, to_user: ada, from: ada });
  });

  scenario("a name with letters of any script is one name, encoded or not", async (t) => {
    const socket = await open(t, `/ws/${encodeURIComponent("张 伟")}/`);
    send(socket, { message: "你好", to_user: "张 伟" });
    assert.equal((await receive(socket)).from, "张 伟");
  });

  scenario("an unknown recipient gives an answer and the socket stays", async (t) => {
    const ada = randomUUID();
    const socket = await open(t, `/ws/${ada}/`);
    send(socket, { message: "hello?", to_user: "nobody-at-all" });
    const { error } = await receive(socket);
    assert.equal(typeof error, "string");
    send(socket, { message: "still here", to_user: ada });
    assert.equal((await receive(socket)).message, "still here");
  });

  scenario("nonsense gives an answer and the socket stays", async (t) => {
    const ada = randomUUID();
    const socket = await open(t, `/ws/${ada}/`);
    for (const text of ["not JSON", "", "[]", "null", "7", '{"message":"to whom?"}', '{"to_user":7,"message":"x"}', `{"to_user":"${ada}"`]) {
      socket.send(text);
      const { error } = await receive(socket);
      assert.equal(typeof error, "string", `answer to ${text}`);
    }
    socket.send(Buffer.from([0xff, 0xfe]));
    assert.equal(typeof (await receive(socket)).error, "string", "answer to binary");
    send(socket, { message: "still here", to_user: ada });
    assert.equal((await receive(socket)).message, "still here");
  });

  scenario("a person who left is unknown again", async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()];
    const [sender, recipient] = [await open(t, `/ws/${ada}/`), await open(t, `/ws/${bob}/`)];
    recipient.close();
    await recipient.closed();
    const answer = await until("the server notices", () => {
      send(sender, { message: "too late", to_user: bob });
      return sender.next(100).catch(() => null);
    });
    assert.equal(typeof JSON.parse(answer).error, "string");
  });

  for (const [title, path] of [
    ["is too long", `/ws/${"x".repeat(65)}/`],
    ["has control characters", "/ws/a%00b%0a/"],
    ["is no UTF-8", "/ws/%ff%fe/"],
  ]) {
    scenario(`a name that ${title} is refused with a reason`, async () => {
      const answer = await raw(program.port, upgradeRequest(path, { Connection: "close, Upgrade" }), { limit: 1_000 });
      assert.match(answer.text, /^HTTP\/1\.1 400 /);
      assert.match(answer.text, /name|character|UTF-8/i);
    });
  }

  scenario("a request that is no WebSocket is told so", async () => {
    const response = await fetch(`${program.url}/ws/`);
    assert.ok([400, 426].includes(response.status), `status ${response.status}`);
  });
});
