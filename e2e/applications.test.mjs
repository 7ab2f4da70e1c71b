// What applications of other Socket.IO servers do, with the stock JavaScript client: a dashboard on namespace `/test` that
// only listens, and a chat that names its user in an HTTP header.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { cpus, totalmem } from "node:os";
import { io } from "socket.io-client";
import { scenario, startProgram, stopAll, until, within } from "./harness.mjs";

let program;
before(async () => {
  program = await startProgram();
});
after(stopAll);

describe("a dashboard on namespace /test", () => {
  function watch(t) {
    // Deliberately the older spelling, `io.connect` with the namespace appended to the origin.
    const socket = io.connect(`${program.url}/test`, { forceNew: true });
    t.after(() => socket.disconnect());
    const samples = [];
    let connected;
    socket.on("connect", () => (connected = Date.now()));
    socket.on("server_response", (sample) => samples.push({ ...sample, connected, at: Date.now() }));
    return samples;
  }

  scenario("gets a sample at once and the next after five seconds", async (t) => {
    const samples = watch(t);
    await until("the first sample", () => samples.length >= 1);
    await until("two more", () => samples.length >= 3, 20_000);
    const [first, second, third] = samples;
    const wait = first.at - first.connected;
    assert.ok(wait < 4_000, `${wait} ms between connecting and the first sample`);
    const gap = third.at - second.at;
    assert.ok(gap > 4_000 && gap < 6_000, `${gap} ms between samples`);
    assert.ok(first.count <= second.count && second.count < third.count, `counts ${samples.map(({ count }) => count)}`);
    for (const { data } of samples) {
      assert.equal(data.length, 2);
      assert.match(data[0], /^[0-5]\d:[0-5]\d$/);
      // Those of the machine, of which a process may be allowed only some.
      assert.equal(data[1].length, cpus().length);
      for (const load of data[1]) assert.ok(load >= 0 && load <= 100, `load ${load}`);
      // This is how the page of such an application reads the first core.
      assert.ok(Number.isFinite(parseFloat(data[1])));
    }
  });

  scenario("also gets memory and connections", async (t) => {
    const samples = watch(t);
    await until("a sample", () => samples.length >= 1);
    const [{ memory, connections }] = samples;
    assert.ok(memory.used > 0 && memory.used < memory.total);
    assert.ok(Math.abs(memory.total / totalmem() - 1) < 0.05, `total ${memory.total} against ${totalmem()}`);
    assert.ok(Number.isInteger(connections) && connections >= 1, `connections ${connections}`);
  });

  scenario("is one stream for all who watch", async (t) => {
    const [one, other] = [watch(t), watch(t)];
    await until("both see three samples", () => one.length >= 3 && other.length >= 3, 20_000);
    const shared = one.filter(({ count }) => other.some((sample) => sample.count === count));
    assert.ok(shared.length >= 2, "the same samples reach both");
    for (const sample of shared) assert.deepEqual(other.find(({ count }) => count === sample.count).data, sample.data);
  });
});

describe("a chat that names its user in a header", () => {
  function join(t, token) {
    const socket = io(program.url, { forceNew: true, transports: ["websocket"], extraHeaders: { token } });
    t.after(() => socket.disconnect());
    return socket;
  }
  const next = (socket, name) => within(10_000, `event ${name}`, new Promise((resolve) => socket.once(name, resolve)));

  scenario("is welcomed, chats and enters a room, without acknowledgements", async (t) => {
    const [ada, bob] = [join(t, "1001"), join(t, "1002")];
    const welcomes = await Promise.all([next(ada, "message"), next(bob, "message")]);
    assert.deepEqual(welcomes.map(({ message }) => message), ["登陆成功", "登陆成功"]);
    ada.emit("chat", { to: "1002", from: "1001", message: "hi", type: "text" });
    const chat = await next(bob, "chat");
    assert.equal(chat.from, "1001");
    assert.equal(chat.message, "hi");
    const entered = next(ada, "message");
    ada.emit("enter_room", { room: "we" });
    assert.equal((await entered).msg, "进入房间成功");
  });

  scenario("is refused with a reason when the header is no name", async (t) => {
    const error = await next(join(t, "x".repeat(65)), "connect_error");
    assert.match(error.message, /name|character/i);
  });
});
