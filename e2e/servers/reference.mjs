// The reference server with what the tests of the client ask of it, set up by its one argument, JSON. Its first line is its
// port; then it says each `seq` it handles, so that what it has seen outlives it.
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createRequire } from "node:module";

const { port = 0, version = 4, msgpack = false, tls, options = {} } = JSON.parse(process.argv[2] ?? "{}");
const require = createRequire(import.meta.url);
const { Server } = require(version === 2 ? "socket.io-2" : "socket.io");
// Without an answer of its own, a request for another path would wait for ever.
const elsewhere = (_, answer) => answer.writeHead(404).end();
const http = tls ? createSecureServer(tls, elsewhere) : createServer(elsewhere);
const parser = msgpack ? { parser: require("socket.io-msgpack-parser") } : {};
const io = version === 2 ? require("socket.io-2")(http, options) : new Server(http, { ...options, ...parser });
// Those who ask for `/slow`, until somebody has them let in, and how many have left it.
const held = [];
let left = 0;

function serve(socket) {
  socket.emit("hello", socket.id);
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("back", (...args) => socket.emit("back", ...args));
  socket.on("ask", (done) => socket.emit("question", "how?", (answer) => done(answer)));
  socket.on("id", (done) => done(socket.id));
  socket.on("auth", (done) => done(socket.handshake.auth ?? {}));
  socket.on("request", (done) => done({ query: socket.handshake.query, headers: socket.handshake.headers }));
  socket.on("silence", () => {});
  socket.on("leave", () => socket.disconnect());
  socket.on("drop", () => socket.conn.close());
  // An event to all once this client has gone, which it only sees if its state is recovered.
  socket.on("after-me", (data) => socket.on("disconnect", () => io.emit("back", data)));
  socket.on("flood", (count, size) => {
    for (let number = 0; number < count; number += 1) socket.emit("drop-of-flood", number, "x".repeat(size));
  });
  socket.on("held", (done) => done(held.length));
  socket.on("left", (done) => done(left));
  socket.on("let-in", () => held.splice(0).forEach((next) => next()));
  socket.on("garbage", () => socket.conn.write("not a packet"));
  socket.on("seq", (...args) => {
    const done = typeof args.at(-1) === "function" ? args.pop() : () => {};
    process.stdout.write(`seq ${JSON.stringify(args)}\n`);
    done(args[0]);
  });
}

io.of("/").on("connection", serve);
io.of("/custom").on("connection", serve);
if (version !== 2) {
  const refused = io.of("/refused");
  refused.use((socket, next) => {
    if (socket.handshake.auth.token === "right") return next();
    next(Object.assign(new Error("who are you?"), { data: { retry: false } }));
  });
  refused.on("connection", serve);
  const slow = io.of("/slow");
  slow.use((_, next) => held.push(next));
  slow.on("connection", (socket) => {
    serve(socket);
    socket.on("disconnect", () => (left += 1));
  });
}
http.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
http.listen(port, "127.0.0.1", () => console.log(http.address().port));
