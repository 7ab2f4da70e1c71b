// The examples whose point is the network: beside axum's routes, and over TLS.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after } from "node:test";
import { io } from "socket.io-client";
import { scenario, startExample, stopAll, until, within } from "./harness.mjs";

const LIMIT = 10_000;
after(stopAll);

for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
  scenario(`axum's routes and the server's path are side by side, ${transports}`, async (t) => {
    const { url } = await startExample("axum");
    assert.equal(await (await fetch(url)).text(), "hello from axum");
    const [one, two] = [client(t, url, { transports }), client(t, url, { transports })];
    await Promise.all([once(one, "connect"), once(two, "connect")]);
    const heard = within(LIMIT, "the other's message", once(two, "chat"));
    one.emit("chat", "hello");
    assert.deepEqual(await heard, ["hello"]);
    const announced = within(LIMIT, "the announcement", once(one, "chat"));
    assert.equal(await (await fetch(`${url}/announce/dinner`)).text(), "told 2 connections\n");
    assert.deepEqual(await announced, ["dinner"]);
    if (transports.length === 2) await until("the upgrade", () => one.io.engine.transport.name === "websocket");
  });

  scenario(`TLS carries everything, ${transports}`, async (t) => {
    const { port } = await startExample("tls");
    const socket = client(t, `https://127.0.0.1:${port}`, { transports, rejectUnauthorized: false });
    await within(LIMIT, "the connection", once(socket, "connect"));
    assert.deepEqual(await socket.timeout(LIMIT).emitWithAck("echo", "x".repeat(100_000)), "x".repeat(100_000));
  });
}

function client(t, url, options) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  t.after(() => socket.disconnect());
  return socket;
}
