// Malformed, oversized and truncated input, layer by layer, with the answer each kind gets; and the server serves on.

import assert from "node:assert/strict";
import { after, afterEach, before, describe } from "node:test";
import { pause, scenario, startExample, startProgram, stopAll, until } from "./harness.mjs";
import { Frames, Polling, address, frame, raw, upgradeRequest } from "./wire.mjs";

/** The `maxPayload` of the conformance example, in bytes. */
const MAX_PAYLOAD = 1_000_000;
const ENGINE = "/engine.io/";
const SOCKET = "/socket.io/";

let server;
before(async () => {
  // No ping comes in between, and none of the server's timeouts is why a connection is closed.
  server = await startExample("conformance", { env: { PING_INTERVAL_MS: "30000", CONNECT_TIMEOUT_MS: "30000" } });
});
afterEach(async () => {
  assert.ok(server.running(), "the server has ended");
  const socket = await Frames.joined(server);
  socket.send('4217["message-with-ack","still serving"]');
  assert.equal(await socket.message(), '4317["still serving"]');
  socket.close();
});
after(stopAll);

describe("HTTP requests that Engine.IO refuses", () => {
  // A server that serves clients of Engine.IO 3 takes whatever is not version 4 for theirs, as the reference does.
  let strict;
  before(async () => (strict = await startProgram()));
  const known = { 0: "Transport unknown", 1: "Session ID unknown", 2: "Bad handshake method", 3: "Bad request", 5: "Unsupported protocol version" };
  for (const [title, parameters, code, init] of [
    ["no transport", { transport: undefined }, 0],
    ["an unknown transport", { transport: "carrier-pigeon" }, 0],
    ["a transport named like an object's inside", { transport: "__proto__" }, 0],
    ["a transport named constructor", { transport: "constructor" }, 0],
    ["an unknown session", { sid: "abcdefghijklmnopqrst" }, 1],
    ["an absurd session", { sid: "x".repeat(2_000) }, 1],
    ["a session named __proto__", { sid: "__proto__" }, 1],
    ["a handshake by POST", {}, 2, { method: "POST", body: "4hello" }],
    ["WebSocket without an upgrade", { transport: "websocket" }, 3],
    ["no protocol version", { EIO: undefined }, 5],
    ["protocol version 2", { EIO: "2" }, 5],
    ["protocol version 5", { EIO: "5" }, 5],
    ["no number as version", { EIO: "four" }, 5],
  ]) {
    scenario(`${title}: code ${code}`, async () => {
      const endpoint = code === 5 ? [strict.url, SOCKET] : [server.url, ENGINE];
      const response = await fetch(address(...endpoint, parameters), init);
      assert.equal(response.status, 400);
      assert.match(response.headers.get("content-type"), /^application\/json/);
      assert.deepEqual(await response.json(), { code, message: known[code] });
    });
  }

  for (const [title, parameters, message] of [
    ["an unknown session", { sid: "nothing" }, "Session ID unknown"],
    ["an unknown transport", { transport: "pigeon" }, "Transport unknown"],
  ]) {
    scenario(`an upgrade with ${title}: 400 and the plain message`, async () => {
      const url = new URL(address(server.url, ENGINE, { transport: "websocket", ...parameters }));
      const { text } = await raw(server.port, upgradeRequest(url.pathname + url.search));
      assert.match(text, /^HTTP\/1\.1 400 /);
      assert.ok(text.endsWith(message) || text.includes(`"message":"${message}"`), text);
    });
  }

  for (const [title, headers] of [
    ["no key", { "Sec-WebSocket-Key": undefined }],
    ["a key that is no key", { "Sec-WebSocket-Key": "short" }],
    ["version 7", { "Sec-WebSocket-Version": "7" }],
  ]) {
    scenario(`an upgrade with ${title}: no 101`, async () => {
      const { text } = await raw(server.port, upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`, headers));
      assert.match(text, /^HTTP\/1\.1 4\d\d /);
    });
  }
});

describe("long-polling bodies", () => {
  scenario("larger than the limit, announced: 413 and the session stays", async () => {
    const session = await Polling.open(server, ENGINE);
    const response = await session.post(`4${"x".repeat(MAX_PAYLOAD)}`);
    assert.equal(response.status, 413);
    assert.equal((await session.post("4hello")).status, 200);
    assert.equal(await (await session.get()).text(), "4hello");
  });

  scenario("larger than the limit, without a length: 413 and the session stays", async () => {
    const session = await Polling.open(server, ENGINE);
    const { pathname, search } = new URL(session.url());
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    const { text } = await raw(server.port, [`POST ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n`, chunk.repeat(20), "0\r\n\r\n"], { until: /\r\n\r\n/ });
    assert.match(text, /^HTTP\/1\.1 413 /);
    assert.equal((await session.post("4hello")).status, 200);
  });

  scenario("of an absurd announced length: 413 before the body comes", async () => {
    const session = await Polling.open(server, ENGINE);
    const { pathname, search } = new URL(session.url());
    for (const length of ["1000001", "999999999999", "9223372036854775807"]) {
      const { text } = await raw(server.port, `POST ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n4x`, { until: /\r\n\r\n/ });
      assert.match(text, /^HTTP\/1\.1 413 /, `length ${length}`);
    }
  });

  scenario("of exactly the limit: taken", async () => {
    const session = await Polling.open(server, ENGINE);
    const packet = `4${"x".repeat(MAX_PAYLOAD - 1)}`;
    assert.equal((await session.post(packet)).status, 200);
    assert.equal(await (await session.get()).text(), packet);
  });

  scenario("of binary type: 400 and the session is closed", async () => {
    const session = await Polling.open(server, ENGINE);
    assert.equal((await session.post("4hello", { headers: { "content-type": "application/octet-stream" } })).status, 400);
    assert.equal((await session.get()).status, 400);
  });

  scenario("cut off in the middle: nothing of it counts", async () => {
    const session = await Polling.open(server, ENGINE);
    const { pathname, search } = new URL(session.url());
    await raw(server.port, `POST ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4half`, { end: true, limit: 100 });
    const next = await session.get();
    assert.notEqual(await next.text(), "4half");
  });

  for (const [title, body] of [
    ["an unknown packet type", "7hello"],
    ["no packet", ""],
    ["an empty packet among good ones", "4a\x1e\x1e4b"],
    ["a letter", "x"],
    ["base64 that is none", "b****"],
    ["base64 of the wrong length", "bAAAAA"],
    ["invalid UTF-8", Buffer.from([0x34, 0xc3, 0x28])],
    ["NUL bytes", "\0\0\0"],
  ]) {
    scenario(`with ${title}: the session is closed`, async () => {
      const session = await Polling.open(server, ENGINE);
      const status = await session.post(body, { headers: { "content-type": "text/plain;charset=UTF-8" } }).then((response) => response.status, () => "aborted");
      assert.ok(status === 400 || status === "aborted", `the POST gave ${status}`);
      assert.equal((await session.get()).status, 400);
    });
  }

  scenario("with a ping, which is the server's to send: the session is closed", async () => {
    const session = await Polling.open(server, ENGINE);
    await session.post("2").catch(() => "aborted");
    assert.equal((await session.get()).status, 400);
  });

  for (const method of ["PUT", "DELETE", "PATCH"]) {
    scenario(`${method} on a session: refused`, async () => {
      const session = await Polling.open(server, ENGINE);
      assert.ok((await fetch(session.url(), { method })).status >= 400);
    });
  }
});

describe("Engine.IO packets over WebSocket", () => {
  for (const [title, packet] of [
    ["a ping, which is the server's to send", "2"],
    ["an unknown type", "7"],
    ["an empty text frame", ""],
    ["a letter", "hello"],
    ["base64 that is none", "b****"],
  ]) {
    scenario(`${title}: closed`, async () => {
      const socket = await Frames.session(server, ENGINE);
      socket.send(packet);
      await socket.closed();
    });
  }

  for (const [title, packet] of [["an unasked pong", "3"], ["an open packet", "0"], ["an upgrade", "5"], ["a noop", "6"]]) {
    scenario(`${title}: of no consequence`, async () => {
      const socket = await Frames.session(server, ENGINE);
      socket.send(packet);
      socket.send("4hello");
      assert.equal(await socket.message(), "4hello");
      socket.close();
    });
  }

  scenario("base64 in a text frame: a binary message", async () => {
    const socket = await Frames.session(server, ENGINE);
    socket.send("bAQIDBA==");
    assert.deepEqual(await socket.message(), Buffer.from([1, 2, 3, 4]));
    socket.close();
  });

  scenario("a probe that says something else closes only the probe", async () => {
    const session = await Polling.open(server, ENGINE);
    const probe = session.upgrade();
    await probe.opened();
    probe.send("4hello");
    await probe.closed();
    assert.equal((await session.post("4hello")).status, 200);
    assert.equal(await (await session.get()).text(), "4hello");
  });

  scenario("more than the limit: close code 1009", async () => {
    const socket = await Frames.session(server, ENGINE);
    socket.send("4".repeat(MAX_PAYLOAD + 1));
    assert.equal((await socket.closed()).code, 1009);
  });

  scenario("exactly the limit: taken", async () => {
    const socket = await Frames.session(server, ENGINE);
    const packet = `4${"x".repeat(MAX_PAYLOAD - 1)}`;
    socket.send(packet);
    assert.equal(await socket.message(), packet);
    socket.close();
  });
});

describe("WebSocket frames", () => {
  const closeCode = (bytes) => {
    // The close frame is the last thing the server sends: 0x88, a length, a code.
    const at = bytes.lastIndexOf(0x88);
    return at >= 0 && bytes.length >= at + 4 ? bytes.readUInt16BE(at + 2) : null;
  };
  for (const [title, code, bytes] of [
    ["a reserved bit", 1002, frame({ reserved: 4, payload: "4x" })],
    ["an unknown opcode", 1002, frame({ opcode: 3, payload: "4x" })],
    ["an unknown control opcode", 1002, frame({ opcode: 11 })],
    ["no mask", 1002, frame({ masked: false, payload: "4x" })],
    ["a continuation of nothing", 1002, frame({ opcode: 0, payload: "4x" })],
    ["a message inside a fragmented message", 1002, Buffer.concat([frame({ fin: false, payload: "4a" }), frame({ payload: "4b" })])],
    ["a fragmented ping", 1002, frame({ opcode: 9, fin: false })],
    ["a ping of 126 bytes", 1002, frame({ opcode: 9, payload: "x".repeat(126) })],
    ["a length that is longer than needed", 1002, frame({ payload: "4x", lengthForm: 16 })],
    ["a length with its highest bit set", 1002, frame({ payload: "4x", announced: 1n << 63n })],
    ["an announced length of 2^62", 1009, frame({ payload: "4x", announced: 1n << 62n })],
    ["an announced length just over the limit", 1009, frame({ payload: "4x", announced: MAX_PAYLOAD + 1 })],
    ["invalid UTF-8", 1007, frame({ payload: Buffer.from([0x34, 0xc3, 0x28]) })],
    ["UTF-8 that encodes a surrogate", 1007, frame({ payload: Buffer.from([0x34, 0xed, 0xa0, 0x80]) })],
    ["a close frame of one byte", 1002, frame({ opcode: 8, payload: "x" })],
    ["a close frame with a forbidden code", 1002, frame({ opcode: 8, payload: Buffer.from([0x03, 0xed]) })],
  ]) {
    scenario(`${title}: closed with ${code}`, async () => {
      const answer = await raw(server.port, [upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`), bytes]);
      assert.match(answer.text, /^HTTP\/1\.1 101 /);
      assert.ok(answer.closed, "the connection is closed");
      assert.equal(closeCode(answer.bytes), code);
    });
  }

  scenario("a message in many fragments, together over the limit: 1009", async () => {
    const part = "x".repeat(60_000);
    const fragments = [frame({ fin: false, payload: `4${part}` }), ...Array.from({ length: 20 }, () => frame({ opcode: 0, fin: false, payload: part }))];
    const answer = await raw(server.port, [upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`), ...fragments]);
    assert.equal(closeCode(answer.bytes), 1009);
  });

  scenario("fragments with a ping between them: one message", async () => {
    const bytes = [frame({ fin: false, payload: "4hel" }), frame({ opcode: 9, payload: "!" }), frame({ opcode: 0, payload: "lo" })];
    const { text } = await raw(server.port, [upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`), ...bytes], { until: /\x8a\x01![^]*4hello/ });
    assert.ok(text.includes("4hello"), text);
    assert.ok(text.includes("\x8a\x01!"), "the ping is answered");
  });

  scenario("a frame cut off in the middle: the session ends", async () => {
    const answer = await raw(server.port, [upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`), frame({ payload: "4hello", announced: 500 })], { end: true });
    assert.ok(answer.closed);
  });

  scenario("a frame that comes byte by byte: a message", async () => {
    const bytes = [...frame({ payload: "4slowly" })].map((byte) => Buffer.from([byte]));
    const { text } = await raw(server.port, [upgradeRequest(`${ENGINE}?EIO=4&transport=websocket`), ...bytes], { until: /4slowly/ });
    assert.ok(text.includes("4slowly"), text);
  });
});

describe("Socket.IO packets", () => {
  const two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
  describe("before joining a namespace: closed", () => {
    const attached = ['451-["message",{"_placeholder":true,"num":0}]', Buffer.from("x")];
    for (const packets of [["40[]"], ['40"x"'], ["40null"], ["40{"], ['42["message"]'], ["41"], ["44"], ["4"], ["49"], ['43["x"]'], attached]) {
      scenario(packets[0], async () => {
        const socket = await Frames.session(server, SOCKET);
        for (const packet of packets) socket.send(packet);
        await socket.closed();
      });
    }
  });

  describe("after joining: closed", () => {
    for (const [title, ...frames] of [
      ["a second CONNECT", "40"],
      ["a CONNECT_ERROR", '44{"message":"no"}'],
      ["a DISCONNECT with data", "41{}"],
      ["an event of no name", "42[]"],
      ["an object for an event", "42{}"],
      ["an event whose name is true", "42[true]"],
      ["an event whose name is an object", "42[{}]"],
      ["a reserved event, connect", '42["connect"]'],
      ["a reserved event, connect_error", '42["connect_error"]'],
      ["a reserved event, disconnect", '42["disconnect"]'],
      ["a reserved event, disconnecting", '42["disconnecting"]'],
      ["a reserved event, newListener", '42["newListener"]'],
      ["a reserved event, removeListener", '42["removeListener"]'],
      ["JSON that ends early", '42["message",{"a":1'],
      ["JSON with more behind it", '42["message"]]'],
      ["JSON nested 100,000 deep", `42["message",${"[".repeat(100_000)}${"]".repeat(100_000)}]`],
      ["an event for a namespace not joined", '42/custom,["message"]'],
      ["a DISCONNECT from a namespace not joined", "41/custom,"],
      ["an ack that is an object", "431{}"],
      ["attachments without a dash", `452["message",${two}]`],
      ["no attachments announced", '450-["message",1]'],
      ["a negative number of attachments", `45-1-["message",${two}]`],
      ["eleven attachments", '4511-["message",{"_placeholder":true,"num":0}]'],
      ["a billion attachments", '45999999999999-["message",{"_placeholder":true,"num":0}]'],
      ["a placeholder out of range", '451-["message",{"_placeholder":true,"num":1}]', Buffer.from("x")],
      ["a placeholder below zero", '451-["message",{"_placeholder":true,"num":-1}]', Buffer.from("x")],
      ["a placeholder that is text", '451-["message",{"_placeholder":true,"num":"splice"}]', Buffer.from("x")],
      ["text while attachments are outstanding", `452-["message",${two}]`, Buffer.from("x"), '42["message"]'],
      ["binary that nobody announced", Buffer.from("stray")],
    ]) {
      scenario(title, async () => {
        const socket = await Frames.joined(server);
        for (const one of frames) socket.send(one);
        await socket.closed();
      });
    }
  });

  describe("after joining: of no consequence", () => {
    for (const [title, packet] of [
      ["an ack nobody waits for", '4399["x"]'],
      ["an empty ack", "431[]"],
      ["an event nobody handles", '42["unheard of",1]'],
      ["an event named by a number", "42[1,2]"],
      ["an event without payload", "42"],
      ["a CONNECT to an unknown namespace", "40/nowhere,"],
    ]) {
      scenario(title, async () => {
        const socket = await Frames.joined(server);
        socket.send(packet);
        socket.send('4217["message-with-ack",1]');
        for (let answer = ""; answer !== "4317[1]"; answer = await socket.message());
        socket.close();
      });
    }
  });

  scenario("the query in a CONNECT is part of the namespace's name", async () => {
    const socket = await Frames.session(server, SOCKET);
    socket.send("40/custom?token=1,");
    assert.equal(await socket.message(), '44/custom?token=1,{"message":"Invalid namespace"}');
    socket.close();
  });

  scenario("a pong between an event and its attachments is legal", async () => {
    const socket = await Frames.joined(server);
    socket.send('451-["message",{"_placeholder":true,"num":0}]');
    socket.send("3");
    socket.send(Buffer.from("x"));
    assert.equal(await socket.message(), '451-["message-back",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.message(), Buffer.from("x"));
    socket.close();
  });

  scenario("keys named __proto__ are keys", async () => {
    const socket = await Frames.joined(server);
    socket.send('42["message",{"__proto__":{"a":1}}]');
    assert.equal(await socket.message(), '42["message-back",{"__proto__":{"a":1}}]');
    socket.close();
  });

  scenario("over long-polling a bad packet closes the session as well", async () => {
    const session = await Polling.open(server, SOCKET);
    await session.post("42{}").catch(() => "aborted");
    await until("the session is closed", async () => (await session.get()).status === 400);
  });
});

describe("bytes that are no HTTP, against the program", () => {
  let program;
  before(async () => {
    program = await startProgram();
  });
  afterEach(async () => {
    assert.equal((await fetch(program.url)).status, 200);
  });

  const request = (line, ...headers) => `${line}\r\nHost: localhost\r\n${headers.map((header) => `${header}\r\n`).join("")}\r\n`;
  for (const [title, bytes, answer] of [
    ["noise", Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 167 + 13) % 256)), /^HTTP\/1\.1 400 |^$/],
    ["the start of TLS", Buffer.from("16030100a5010000a10303", "hex"), /^HTTP\/1\.1 400 |^$/],
    ["a request of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /^/],
    ["a request line without end", `GET /${"a".repeat(200_000)}`, /^HTTP\/1\.1 4(00|14|31) |^$/],
    ["a header of a million bytes", request("GET / HTTP/1.1", `X: ${"a".repeat(1_000_000)}`), /^HTTP\/1\.1 4(00|13|31) |^$/],
    ["2,000 headers", request("GET / HTTP/1.1", ...Array.from({ length: 2_000 }, (_, index) => `X-${index}: 1`)), /^HTTP\/1\.1 4(00|31) |^$/],
    ["two different lengths", request("POST /socket.io/ HTTP/1.1", "Content-Length: 1", "Content-Length: 2") + "xx", /^HTTP\/1\.1 400 |^$/],
    ["a length below zero", request("POST /socket.io/ HTTP/1.1", "Content-Length: -1"), /^HTTP\/1\.1 400 |^$/],
    ["a path that climbs", request("GET /../../../../etc/passwd HTTP/1.1", "Connection: close"), /^HTTP\/1\.1 40[04] /],
    ["a path that climbs, encoded", request("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "Connection: close"), /^HTTP\/1\.1 40[04] /],
    ["a path with a broken escape", request("GET /%zz%f HTTP/1.1", "Connection: close"), /^HTTP\/1\.1 40[04] /],
  ]) {
    scenario(title, async () => {
      const { text } = await raw(program.port, bytes);
      assert.match(text.slice(0, 40), answer);
      assert.ok(!text.includes("root:"));
    });
  }

  scenario("100 connections that say nothing do not keep others out", async () => {
    const silent = Array.from({ length: 100 }, () => raw(program.port, "GET / HT", { limit: 600 }));
    await pause(100);
    assert.equal((await fetch(program.url)).status, 200);
    await Promise.all(silent);
  });

  scenario("plain WebSocket: too much, no UTF-8, cut off", async () => {
    for (const bytes of [frame({ payload: "x", announced: 1n << 40n }), frame({ payload: Buffer.from([0xff]) }), frame({ payload: "{", announced: 100 })]) {
      const { text } = await raw(program.port, [upgradeRequest("/ws/somebody/"), bytes], { end: true });
      assert.match(text, /^HTTP\/1\.1 101 /);
    }
    const socket = Frames.connect(`${program.ws}/ws/`);
    await socket.opened();
    socket.send("still here");
    assert.equal(await socket.next(), "still here");
    socket.close();
  });
});
