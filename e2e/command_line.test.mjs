// `sockeye connect`, `emit` and `doctor` against the reference server, python-socketio, the program itself, and what goes
// wrong between clients and servers.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { createServer as createTcpServer, connect as connectTcp } from "node:net";
import { join } from "node:path";
import { after, describe } from "node:test";
import { promisify } from "node:util";
import { Server } from "socket.io";
import createServer2 from "socket.io-2";
import { PROGRAM, freePort, here, runProgram, scenario, spawnProgram, startProgram, startPythonServer, stopAll, until, within } from "./harness.mjs";

const LIMIT = 30_000;
after(stopAll);

/** What terminals obey: an escape sequence, the same in one character of C1, and text that turns the next around. */
const ORDERS = "\x1b[2J\u009b2J\u202e";
const IS_ORDER = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/;

/** The reference server in this process, with some events. */
async function reference(t, options = {}) {
  const http = createServer((_, answer) => answer.writeHead(404).end());
  const io = new Server(http, { pingTimeout: LIMIT, ...options });
  const received = [];
  for (const namespace of [io.of("/"), io.of("/room")])
    namespace.on("connection", (socket) => {
      socket.onAny((event, ...args) => received.push([event, ...args.filter((arg) => typeof arg !== "function")]));
      socket.on("echo", (...args) => args.at(-1)(...args.slice(0, -1)));
      socket.on("send-me", (...args) => socket.emit(...args));
      socket.on("ask-me", (...args) => socket.emit("question", ...args, (...answers) => received.push(["answered", ...answers])));
      socket.on("kick-me", () => socket.disconnect());
      socket.on("cut-me", () => socket.conn.close());
    });
  io.of("/terminal").use((socket, next) => next(new Error(`not you${ORDERS}`)));
  io.of("/members").use((socket, next) => {
    if (socket.handshake.auth.token === "secret-swordfish") return next();
    next(Object.assign(new Error("members only"), { data: { hint: "ask for a token" } }));
  });
  const port = await listen(t, http);
  t.after(() => io.close());
  return { io, port, received, url: `http://127.0.0.1:${port}` };
}

/** Listens on a free port until the test ends. */
async function listen(t, server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sockets = new Set();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return server.address().port;
}

/** A reverse proxy that sends requests to the ports in turn; without `upgrades` it drops the headers of an upgrade. */
async function proxy(t, ports, { upgrades = true } = {}) {
  let turn = 0;
  const next = () => ports[turn++ % ports.length];
  const server = createServer((incoming, outgoing) => {
    const { connection, upgrade, ...headers } = incoming.headers;
    const passed = request({ host: "127.0.0.1", port: next(), path: incoming.url, method: incoming.method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    incoming.pipe(passed);
  });
  if (upgrades)
    server.on("upgrade", (incoming, socket) => {
      const passed = connectTcp(next(), "127.0.0.1");
      const headers = incoming.rawHeaders.map((text, index) => text + (index % 2 ? "\r\n" : ": ")).join("");
      passed.write(`${incoming.method} ${incoming.url} HTTP/1.1\r\n${headers}\r\n`);
      for (const [from, to] of [[socket, passed], [passed, socket]]) from.on("error", () => to.destroy()).pipe(to);
    });
  return `http://127.0.0.1:${await listen(t, server)}`;
}

/** Runs a command, checks how it ended and that it says the words. */
async function expectEnd(code, words, args, options) {
  const result = await runProgram(args, { limit: LIMIT, ...options });
  assert.equal(result.code, code, `sockeye ${args.join(" ")}\n${result.output}`);
  for (const word of words) assert.ok(plain(result.output).includes(word), `${word} in\n${result.output}`);
  return result;
}

/** A text without the line breaks that only make it fit the terminal. */
const plain = (text) => text.replace(/\s+/g, " ");

describe("emit", () => {
  for (const transport of ["polling", "websocket"])
    scenario(`by ${transport}, the event has left when the program ends`, async (t) => {
      const server = await reference(t);
      const args = ['"hello"', '{"b":1,"a":[null,2.5]}', "-3", '{"$binary":"aGVsbG8="}'];
      await expectEnd(0, [], ["emit", server.url, "chat", ...args, "--transport", transport]);
      await until("the event arrives", () => server.received.length > 0);
      assert.deepEqual(server.received, [["chat", "hello", { b: 1, a: [null, 2.5] }, -3, Buffer.from("hello")]]);
    });

  scenario("the answer is printed as one line of JSON", async (t) => {
    const server = await reference(t);
    for (const parameters of [[], ["--transport", "websocket"], ["--namespace", "/room"]]) {
      const { stdout } = await expectEnd(0, [], ["emit", server.url, "echo", '"hello"', '{"b":1,"a":{"$binary":"aGVsbG8="}}', "--ack", ...parameters]);
      assert.equal(stdout, '["hello",{"b":1,"a":{"$binary":"aGVsbG8="}}]\n');
    }
    await expectEnd(0, ["[7]"], ["emit", `${server.url}/room`, "echo", "7", "--ack"]);
  });

  scenario("servers of Socket.IO 2 and those with MessagePack are spoken to, too", async (t) => {
    const http = createServer();
    const io = createServer2(http);
    io.on("connection", (socket) => socket.on("echo", (value, answer) => answer(value)));
    const port = await listen(t, http);
    t.after(() => io.close());
    await expectEnd(0, ['["old"]'], ["emit", `127.0.0.1:${port}`, "echo", '"old"', "--ack", "--eio", "3"]);
    const { default: parser } = await import("socket.io-msgpack-parser");
    const packed = await reference(t, { parser });
    await expectEnd(0, ['["packed"]'], ["emit", packed.url, "echo", '"packed"', "--ack", "--parser", "msgpack"]);
  });

  scenario("python-socketio answers, and refuses, by either transport", async () => {
    const server = await startPythonServer();
    for (const transport of ["polling", "websocket"]) {
      const emit = (url, ...more) => ["emit", url, ...more, "--transport", transport];
      const { stdout } = await expectEnd(0, [], emit(server.url, "echo", '"hello"', '{"b":1,"a":{"$binary":"aGVsbG8="}}', "--ack"));
      assert.equal(stdout, '["hello",{"b":1,"a":{"$binary":"aGVsbG8="}}]\n');
      for (const [code, words, args] of [
        [0, ["[7]"], emit(`${server.url}/refused`, "echo", "7", "--ack", "--auth", '{"token":"right"}')],
        [1, ["/refused", "who are you?", "--auth"], emit(`${server.url}/refused`, "echo", "7")],
        [1, ["/nowhere", "no namespace of this name"], emit(`${server.url}/nowhere`, "echo", "7")],
        [1, ["404", "path"], emit(server.url, "echo", "7", "--path", "/elsewhere")],
        [3, ["did not acknowledge", "--timeout"], emit(server.url, "silence", "--ack", "--timeout", "5")],
        [1, ["disconnected", "acknowledged"], emit(server.url, "drop", "--ack")],
      ])
        await expectEnd(code, words, args);
    }
    const count = 500;
    const input = Array.from({ length: count }, (_, index) => `${index}\n`).join("");
    const { stdout } = await expectEnd(0, [`${count} acknowledged`], ["emit", server.url, "seq", "--stdin", "--ack"], { input });
    const numbers = Array.from({ length: count }, (_, index) => `[${index}]`);
    assert.deepEqual(stdout.trimEnd().split("\n"), numbers);
    await server.stop("SIGKILL");
    assert.deepEqual([...server.log().matchAll(/^seq (.*)$/gm)].map(([, args]) => args), numbers);
  });

  scenario("the exit status and the words say what went wrong", async (t) => {
    const server = await reference(t);
    const other = `http://127.0.0.1:${await listen(t, createServer((_, answer) => answer.end("<h1>It works!</h1>")))}`;
    const nobody = `http://127.0.0.1:${await freePort()}`;
    const emit = (url, ...more) => ["emit", url, "chat", "1", ...more];
    for (const [code, words, args] of [
      [0, [], emit(`${server.url}/members`, "--auth", '{"token":"secret-swordfish"}')],
      [1, ["/members", "members only", "--auth"], emit(`${server.url}/members`)],
      [1, ["/members", "members only"], emit(server.url, "--namespace", "members")],
      [1, ["/nowhere", "Invalid namespace"], emit(`${server.url}/nowhere`)],
      [1, ["404", "path"], emit(server.url, "--path", "/elsewhere")],
      [1, ["not Engine.IO", "It works!"], emit(other)],
      [1, [nobody, "running", `sockeye doctor ${nobody}`], emit(nobody)],
      [2, ["hello", '"hello"', "argument 1"], ["emit", server.url, "chat", "hello"]],
      [2, ["--auth", "not JSON"], emit(server.url, "--auth", "secret")],
      [2, ["ftp://a"], emit("ftp://a")],
      [2, ["reserved"], ["emit", server.url, "disconnect"]],
      [2, ["reserved"], ["emit", server.url, "connect", "--ack"]],
      [2, ["--ack"], emit(server.url, "--acks")],
      [3, ["did not acknowledge", "--timeout"], emit(server.url, "--ack", "--timeout", "5")],
      [1, ["disconnected", "acknowledged"], ["emit", server.url, "cut-me", "--ack"]],
      [0, [], ["emit", server.url, "kick-me"]],
    ])
      await expectEnd(code, words, args);
  });

  scenario("what the server says gives the terminal no orders", async (t) => {
    const server = await reference(t);
    const echo = ["emit", server.url, "echo", JSON.stringify(ORDERS), "--ack"];
    for (const [code, args, options] of [
      [1, ["emit", `${server.url}/terminal`, "chat"]],
      [1, ["connect", `${server.url}/terminal`]],
      [1, ["doctor", `${server.url}/terminal`]],
      [0, echo],
      [0, ["emit", server.url, "echo", "--stdin", "--ack"], { input: `${JSON.stringify(ORDERS)}\n` }],
    ]) {
      const { output } = await expectEnd(code, [code === 0 ? "u202e" : "not you"], args, options);
      assert.doesNotMatch(output, IS_ORDER, args.join(" "));
    }
    const { stdout } = await expectEnd(0, [], echo);
    assert.deepEqual(JSON.parse(stdout), [ORDERS], "for programs it is what the server said");
    const listener = spawnProgram(["connect", server.url, "--listen"]);
    t.after(() => listener.child.kill("SIGKILL"));
    await until("the listener connects", () => listener.stderr().includes("connected to"), LIMIT);
    server.io.emit(`chat${ORDERS}`, ORDERS);
    await until("the event is printed", () => listener.stdout().includes("\n"), LIMIT);
    assert.doesNotMatch(listener.output(), IS_ORDER);
    const { event, args } = JSON.parse(listener.stdout());
    assert.deepEqual([event, args], [`chat${ORDERS}`, [ORDERS]]);
  });

  scenario("10,000 lines are acknowledged in order", async (t) => {
    const server = await reference(t);
    const count = 10_000;
    const input = Array.from({ length: count }, (_, index) => (index % 2 ? `[${index},"odd"]\n` : `{"index":${index}}\n`)).join("");
    const { stdout, stderr } = await expectEnd(0, [`${count} events emitted, ${count} acknowledged`], ["emit", server.url, "echo", "--stdin", "--ack", "--timeout", "20"], { input, limit: 50_000 });
    const answers = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(answers.length, count);
    answers.forEach((answer, index) => assert.deepEqual(answer, index % 2 ? [index, "odd"] : [{ index }]));
    assert.deepEqual(server.received.map(([, first]) => first.index ?? first), Array.from({ length: count }, (_, index) => index));
    assert.ok(!stderr.includes("\x1b"), "there is no progress bar without a terminal");
  });

  scenario("lines without acknowledgement arrive in order, too", async (t) => {
    const server = await reference(t);
    const count = 5_000;
    const input = Array.from({ length: count }, (_, index) => index).join("\n\n");
    await expectEnd(0, [`${count} events emitted in`], ["emit", server.url, "line", "--stdin"], { input });
    await until("all lines arrive", () => server.received.length === count);
    assert.deepEqual(server.received, Array.from({ length: count }, (_, index) => ["line", index]));
  });

  scenario("a malformed line is named, and nothing after it is sent", async (t) => {
    const server = await reference(t);
    const input = "1\n\n2\nthree\n4\n";
    const { stdout } = await expectEnd(2, ["line 4", "three", '"three"'], ["emit", server.url, "echo", "--stdin", "--ack"], { input });
    assert.equal(stdout, "[1]\n[2]\n");
    assert.deepEqual(server.received, [["echo", 1], ["echo", 2]]);
    await expectEnd(2, ["line 1", "UTF-8"], ["emit", server.url, "echo", "--stdin"], { input: Buffer.from([0xff, 10]) });
  });

  scenario("a server that stops answering is reported with the line", async (t) => {
    const server = await reference(t);
    server.io.of("/").on("connection", (socket) => socket.on("third", (value, answer) => value === 3 || answer(value)));
    const options = { input: "1\n2\n3\n4\n" };
    const { stdout } = await expectEnd(3, ["line 3", "did not acknowledge"], ["emit", server.url, "third", "--stdin", "--ack", "--timeout", "5"], options);
    assert.equal(stdout, "[1]\n[2]\n");
    await expectEnd(1, ["line 1", "disconnected"], ["emit", server.url, "cut-me", "--stdin", "--ack"], options);
    // Line 130 is the last there is room for while line 3 is waited for: two lines of 128 that may wait were answered.
    const input = Array.from({ length: 200 }, (_, index) => `${index + 1}\n`).join("");
    const words = ["130 events emitted, 2 acknowledged", "line 3", "up to 127 after it may have arrived"];
    await expectEnd(3, words, ["emit", server.url, "third", "--stdin", "--ack", "--timeout", "5"], { input });
  });

  scenario("an event that is cut off on its way is not called sent", async (t) => {
    const server = await reference(t);
    const input = JSON.stringify("x".repeat(15_000_000));
    const emit = (url, transport) => ["emit", url, "chat", "--stdin", "--transport", transport];
    // More than the server takes in one message, which it answers with status 413.
    await expectEnd(1, ["the connection ended", "--ack"], emit(server.url, "polling"), { input });
    const cutting = createTcpServer((socket) => {
      const passed = connectTcp(server.port, "127.0.0.1");
      let bytes = 0;
      socket.on("data", (data) => {
        bytes += data.length;
        if (bytes > 100_000) socket.destroy();
        else passed.write(data);
      });
      socket.on("close", () => passed.destroy());
      passed.on("error", () => socket.destroy()).pipe(socket);
    });
    await expectEnd(1, ["the connection ended", "--ack"], emit(`http://127.0.0.1:${await listen(t, cutting)}`, "websocket"), { input });
    assert.deepEqual(server.received, []);
  });
});

describe("connect", () => {
  /** A listener that is connected, and what it prints. */
  async function listener(t, url, ...args) {
    const program = spawnProgram(["connect", url, "--listen", ...args]);
    t.after(() => program.child.kill("SIGKILL"));
    await until("the listener connects", () => program.stderr().includes("connected to"), LIMIT);
    return program;
  }

  for (const signal of ["SIGINT", "SIGTERM"])
    scenario(`--listen prints an object for each event and leaves by ${signal}`, async (t) => {
      const server = await reference(t);
      const program = await listener(t, `${server.url}/room`);
      server.io.of("/room").emit("chat", "hello", { b: 1, a: Buffer.from("hello") });
      server.io.of("/room").emit("two words");
      await until("both events are printed", () => program.stdout().split("\n").length > 2, LIMIT);
      const lines = program.stdout().trimEnd().split("\n").map((line) => JSON.parse(line));
      for (const { time } of lines) assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000 && /^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/.test(time), time);
      assert.deepEqual(lines.map(({ time, ...others }) => others), [
        { namespace: "/room", event: "chat", args: ["hello", { b: 1, a: { $binary: "aGVsbG8=" } }] },
        { namespace: "/room", event: "two words", args: [] },
      ]);
      program.child.kill(signal);
      assert.equal(await within(LIMIT, "it ends", program.ended), 0, program.output());
      await until("the server sees it leave", () => server.io.of("/room").sockets.size === 0);
    });

  scenario("--listen ends when nobody reads it any more", async (t) => {
    const server = await reference(t);
    const program = await listener(t, server.url);
    program.child.stdout.destroy();
    server.io.emit("chat", "into the void");
    assert.equal(await within(LIMIT, "it ends", program.ended), 0, program.stderr());
    assert.ok(!program.stderr().includes("panicked"), program.stderr());
  });

  scenario("lines that are piped in are sent, and their answers are waited for", async (t) => {
    const server = await reference(t);
    const input = 'chat "hello" {"a":1}\n\necho? 1 2\nack echo "three"\n["chat","packet"]\nsend-me "back" [1] {"$binary":"aGVsbG8="}\nask-me "why"\nack echo\n';
    const { stdout, stderr } = await expectEnd(0, [], ["connect", `${server.url}/room`], { input });
    for (const expected of [
      /^\d\d:\d\d:\d\d\.\d{3} connected to \/room as \S+ by (polling|websocket)$/m,
      /^[\d:.]{12} < \/room ack of echo: 1 2 \(\d+\.\d ms\)$/m,
      /^[\d:.]{12} < \/room ack of echo: "three" \(\d+\.\d ms\)$/m,
      /^[\d:.]{12} < \/room ack of echo: nothing \(\d+\.\d ms\)$/m,
      /^[\d:.]{12} < \/room back \[1\] <5 bytes 68656c6c6f>$/m,
      /^[\d:.]{12} < \/room question "why" \(acknowledged\)$/m,
    ])
      assert.match(stdout, expected);
    assert.equal(stderr, "");
    await until("the server has the acknowledgement", () => server.received.some(([event]) => event === "answered"));
    assert.deepEqual(server.received.filter(([event]) => event === "chat"), [["chat", "hello", { a: 1 }], ["chat", "packet"]]);
    assert.deepEqual(server.received.find(([event]) => event === "answered"), ["answered"]);
  });

  scenario("a piped line that is not understood and one that is not answered count", async (t) => {
    const server = await reference(t);
    await expectEnd(2, ['"hello"', "`chat`"], ["connect", server.url], { input: "chat hello\n" });
    await expectEnd(3, ["no ack of chat"], ["connect", server.url, "--timeout", "5"], { input: "chat? 1\n" });
  });

  scenario("--verbose shows the packets of both ways, and nothing else tells a secret", async (t) => {
    const server = await reference(t);
    const args = ["connect", `${server.url}/members`, "--auth", '{"token":"secret-swordfish"}', "--transport", "websocket"];
    const silent = await expectEnd(0, [], args, { input: "chat 1\n" });
    assert.ok(!silent.output.includes("swordfish"), silent.output);
    const { stderr } = await expectEnd(0, [], [...args, "--verbose"], { input: "chat 1\n" });
    for (const expected of [
      /received websocket open \{"sid":/,
      /sent +websocket message connect 0\/members,\{"token":"secret-swordfish"\}/,
      /received websocket message connect 0\/members,\{"sid":/,
      /sent +websocket message event 2\/members,\["chat",1\]/,
      /sent +websocket message disconnect 1\/members/,
    ])
      assert.match(stderr, expected);
    const refused = await expectEnd(1, ["members only"], ["connect", `${server.url}/members`, "--auth", '{"token":"wrong-tuna"}'], { input: "chat 1\n" });
    assert.ok(!refused.output.includes("tuna"), refused.output);
  });

  scenario("a server that comes back is connected to again", async (t) => {
    const program = await startProgram();
    const listening = await listener(t, `${program.url}/imchat`, "--auth", '{"token":"alice"}');
    await program.stop();
    await until("it tries again", () => /disconnected: transport (close|error)[^]*reconnecting, attempt 1 in \d/.test(listening.stderr()), LIMIT);
    const again = await startProgram({ port: program.port });
    await until("it is connected again", () => listening.stderr().split("connected to /imchat").length === 3, LIMIT);
    await expectEnd(0, ['"delivered":1'], ["emit", again.url, "chat", '{"to":"alice","message":"welcome back"}', "--namespace", "/imchat", "--auth", '{"token":"bob"}', "--ack"]);
    await until("the message comes", () => listening.stdout().includes("welcome back"), LIMIT);
    listening.child.kill("SIGTERM");
    assert.equal(await within(LIMIT, "it ends", listening.ended), 0);
    await again.stop();
  });

  scenario("python-socketio is listened to and answered, and connected to again when it comes back", async (t) => {
    const server = await startPythonServer();
    const { stdout } = await expectEnd(0, [], ["connect", `${server.url}/custom`], { input: "echo? 1 2\nask?\n" });
    assert.match(stdout, /^[\d:.]{12} < \/custom ack of echo: 1 2 \(\d+\.\d ms\)$/m);
    assert.match(stdout, /^[\d:.]{12} < \/custom question "how\?" \(acknowledged\)$/m);
    const listening = await listener(t, `${server.url}/custom`);
    // The server says hello to whom it lets in.
    const printed = (count) => until(`${count} lines are printed`, () => listening.stdout().split("\n").length > count, LIMIT);
    await printed(1);
    await server.stop("SIGKILL");
    await until("it tries again", () => listening.stderr().includes("reconnecting, attempt 1"), LIMIT);
    const again = await startPythonServer({ port: server.port });
    await printed(2);
    const lines = listening.stdout().trimEnd().split("\n").map((line) => JSON.parse(line));
    for (const { namespace, event, args } of lines) assert.deepEqual([namespace, event, typeof args[0]], ["/custom", "hello", "string"]);
    assert.notEqual(lines[0].args[0], lines[1].args[0]);
    listening.child.kill("SIGTERM");
    assert.equal(await within(LIMIT, "it ends", listening.ended), 0, listening.output());
    await again.stop("SIGKILL");
  });

  scenario("a server that disconnects for good ends it with status 1", async (t) => {
    const server = await reference(t);
    await expectEnd(1, ["disconnected: io server disconnect"], ["connect", server.url], { input: "kick-me\necho? 1\n" });
    const listening = await listener(t, server.url);
    server.io.disconnectSockets();
    assert.equal(await within(LIMIT, "it ends", listening.ended), 1);
  });

  scenario("at a terminal lines are edited, and what comes meanwhile leaves them whole", async (t) => {
    const server = await reference(t);
    const steps = [
      ["wait", "connected to / as"],
      // Between two prompts the terminal is as it was, and keys would mean something else.
      ["wait", "> "],
      ["type", 'send-me "news" "first'],
      ["wait", 'send-me "news" "first'],
      // It comes while a line is being typed, which is drawn again behind it.
      ["wait", 'from elsewhere"'],
      ["wait", 'send-me "news" "first'],
      ["type", ' half"\r'],
      ["wait", 'news "first half"'],
      ["wait", "> "],
      ["type", "echo? hello\r"],
      ["wait", 'needs double quotes: "hello"'],
      ["wait", "> "],
      // The line before, without its last word, which is written again.
      ["type", '\x1b[A\x17"hello"\r'],
      ["wait", 'ack of echo: "hello"'],
      ["type", "quit\r"],
    ];
    const typed = promisify(execFile)("python3", [join(here, "python/terminal.py"), JSON.stringify(steps), PROGRAM, "connect", server.url]);
    const elsewhere = setInterval(() => server.io.emit("news", "from elsewhere"), 200);
    t.after(() => clearInterval(elsewhere));
    const { code, printed } = JSON.parse((await typed).stdout);
    assert.equal(code, 0, printed);
  });
});

describe("doctor", () => {
  const CURE_OF_PROXY = ["problem websocket", "101", "proxy_set_header Upgrade $http_upgrade;", "proxy_http_version 1.1;"];
  const CURE_OF_BALANCER = ["problem sessions", "does not know it", "sticky", "--transport websocket"];

  scenario("finds nothing wrong with servers that are in order", async (t) => {
    const program = await startProgram();
    const server = await reference(t);
    const python = await startPythonServer();
    for (const url of [program.url, `${program.url}/imchat`, server.url, `${server.url}/room`, python.url, `${python.url}/custom`]) {
      const { stdout } = await expectEnd(0, ["ok polling", "ok sessions", "latency", "ok websocket", "ok namespace", "ok upgrade", "ok clock", "0 problems"], ["doctor", url]);
      assert.doesNotMatch(stdout, /^problem/m);
    }
    await until("no client is left", () => server.io.engine.clientsCount === 0);
    await python.stop("SIGKILL");
    await program.stop();
  });

  scenario("says why a client would fail", async (t) => {
    const server = await reference(t);
    const page = `http://127.0.0.1:${await listen(t, createServer((_, answer) => answer.end("<h1>It works!</h1>")))}`;
    const mute = `http://127.0.0.1:${await listen(t, createTcpServer((socket) => socket.end("220 mail.example ESMTP\r\n")))}`;
    const silent = `http://127.0.0.1:${await listen(t, createTcpServer(() => {}))}`;
    const moved = `http://127.0.0.1:${await listen(t, createServer((_, answer) => answer.writeHead(301, { location: "https://elsewhere.example/" }).end()))}`;
    const websocketOnly = await reference(t, { transports: ["websocket"] });
    const pollingOnly = await reference(t, { transports: ["polling"] });
    const old = createServer();
    const io2 = createServer2(old);
    t.after(() => io2.close());
    const revision3 = `http://127.0.0.1:${await listen(t, old)}`;
    const nobody = `http://127.0.0.1:${await freePort()}`;
    for (const [code, words, args] of [
      [1, ["problem address", "refused", "No program listens"], [nobody]],
      // Longer than a name may be, so that no name server is asked.
      [1, ["problem address", "cannot be resolved"], [`http://${"a".repeat(70)}.invalid`]],
      [1, ["problem polling", "/elsewhere/", "404"], [server.url, "--path", "elsewhere"]],
      [1, ["problem polling", "not Engine.IO", "It works!"], [page]],
      [1, ["problem polling", "does not answer by HTTP"], [mute]],
      [1, ["problem polling", "does not answer", "/socket.io/", "--path"], [silent, "--timeout", "1"]],
      [1, ["problem polling", "redirects", "https://elsewhere.example/"], [moved]],
      [1, ["problem tls", "http://"], [server.url.replace("http", "https")]],
      [1, ["problem polling", "revision 3", "--eio 3", "socket.io-client 2.x"], [revision3]],
      [0, ["ok polling", "Engine.IO 3"], [revision3, "--eio", "3"]],
      [1, ["problem polling", "revision 3", "Leave out --eio"], [server.url, "--eio", "3"]],
      [1, ["problem namespace", "/nowhere", "Invalid namespace"], [`${server.url}/nowhere`]],
      [1, ["problem namespace", "members only", "ask for a token", "--auth"], [`${server.url}/members`]],
      [0, ["ok namespace"], [`${server.url}/members`, "--auth", '{"token":"secret-swordfish"}']],
      [0, ["warning polling", "--transport websocket", "ok websocket", "ok namespace"], [websocketOnly.url]],
      [0, ["ok polling", "warning websocket", "switched off", "ok namespace"], [pollingOnly.url]],
      [2, ["not a server's address"], ["ftp://a"]],
      [2, ["www.example.org"], [server.url, "--origin", "www.example.org"]],
    ])
      await expectEnd(code, words, ["doctor", ...args]);
  });

  scenario("finds a proxy that does not pass upgrades on", async (t) => {
    const server = await reference(t);
    const program = await startProgram();
    for (const port of [server.port, program.port]) {
      const url = await proxy(t, [port], { upgrades: false });
      await expectEnd(1, [...CURE_OF_PROXY, "problem upgrade", "ok namespace"], ["doctor", url]);
      const { stdout } = await expectEnd(0, ["ok namespace"], ["doctor", url, "--transport", "polling"]);
      assert.doesNotMatch(stdout, /upgrade|websocket/i);
      await expectEnd(0, ["0 problems"], ["doctor", await proxy(t, [port])]);
    }
    await program.stop();
  });

  scenario("finds a load balancer whose sessions are not sticky", async (t) => {
    const references = [await reference(t), await reference(t)];
    const programs = [await startProgram(), await startProgram()];
    for (const servers of [references, programs]) {
      const url = await proxy(t, servers.map(({ port }) => port));
      await expectEnd(1, CURE_OF_BALANCER, ["doctor", url]);
      // What is recommended works.
      await expectEnd(0, [], ["emit", url, "chat", "1", "--transport", "websocket"]);
    }
    for (const program of programs) await program.stop();
  });

  scenario("says whether a browser would let a page in", async (t) => {
    const server = await reference(t, { cors: { origin: "https://www.example.org" } });
    const program = await startProgram();
    const allowing = await startProgram({ args: ["--allowed-origins", "https://www.example.org"] });
    for (const [code, words, url, origin] of [
      [0, ["ok origin"], program.url, program.url],
      [0, ["ok origin"], program.url, "http://localhost:5173/page"],
      [1, ["problem origin", "403", "allowed_origins", "https://evil.example"], program.url, "https://evil.example"],
      [0, ["ok origin", "may poll", "may open a WebSocket"], allowing.url, "https://www.example.org"],
      [1, ["problem origin", "browsers hide the answer", "cors: { origin:"], server.url, "https://evil.example"],
      [0, ["ok origin", "without cookies"], server.url, "https://www.example.org"],
    ])
      await expectEnd(code, words, ["doctor", url, "--origin", origin]);
    await allowing.stop();
    await program.stop();
  });

  scenario("without an address it looks at this machine", async () => {
    const port = await freePort();
    const env = { SOCKEYE_LISTEN: `127.0.0.1:${port}` };
    await expectEnd(0, ["open files", "local ports", `127.0.0.1:${port} is free`], ["doctor"], { env });
    const program = await startProgram({ port });
    await expectEnd(0, ["warning listen", `127.0.0.1:${port} is in use`, "--listen"], ["doctor"], { env });
    await program.stop();
    await expectEnd(2, ["SOCKEYE_LISEN"], ["doctor"], { env: { SOCKEYE_LISEN: "x" } });
  });
});

describe("help", () => {
  for (const command of ["connect", "emit", "doctor"])
    scenario(`of ${command} explains every option and gives examples`, async () => {
      const { stdout } = await expectEnd(0, ["Examples:", "Exit status:", "--namespace", "--auth", "--transport", "--insecure", "--header", "--path"], [command, "--help"]);
      const lines = stdout.split("\n");
      const options = lines.flatMap((line, index) => (/^ {2,6}(-\w, )?--\w/.test(line) ? [index] : []));
      assert.ok(options.length > 8, stdout);
      // The explanation stands below the option.
      for (const index of options) assert.match(lines[index + 1], /^ {8,}\S/, lines[index]);
      await expectEnd(0, [command], ["--help"]);
    });
});
