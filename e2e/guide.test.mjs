// The Python program of the guide, between the official client and python-socketio, so that the page compares what works.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { io } from "socket.io-client";
import { PYTHON, here, scenario, start, within } from "./harness.mjs";

const LIMIT = 10_000;

scenario("the server in Python delivers messages and refuses who has no name", async (t) => {
  const page = await readFile(join(here, "../docs/guide/from-python-socketio.md"), "utf8");
  const [, program] = /```python\n([^]*?)```/.exec(page);
  assert.ok(program.includes("port=5000"));
  const server = await start("python", { command: PYTHON, args: (port) => ["-c", program.replace("port=5000", `port=${port}`)] });
  // aiohttp waits a minute for WebSockets when it is asked to end.
  t.after(() => server.stop("SIGKILL"));
  const client = (auth) => {
    const socket = io(server.url, { auth, forceNew: true, reconnection: false });
    t.after(() => socket.disconnect());
    return socket;
  };
  const event = (socket, name) => within(LIMIT, name, new Promise((resolve) => socket.once(name, resolve)));

  const [ada, bob] = [client({ name: "ada" }), client({ name: "bob" })];
  assert.deepEqual(await Promise.all([event(ada, "message"), event(bob, "message")]), [{ text: "welcome" }, { text: "welcome" }]);
  const received = event(bob, "chat");
  assert.deepEqual(await ada.timeout(LIMIT).emitWithAck("chat", { to: "bob", text: "hello" }), { delivered: true });
  assert.deepEqual(await received, { from: "ada", text: "hello" });
  assert.equal((await event(client({}), "connect_error")).message, "who are you?");
});
