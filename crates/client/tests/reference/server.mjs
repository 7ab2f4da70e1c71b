// The reference server with what the tests of the client ask of it. It prints its port once it listens.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";

const [modules, settings] = process.argv.slice(2);
const { port = 0, version = 4, msgpack = false, tls, options = {} } = JSON.parse(settings);
const require = createRequire(join(modules, "x.js"));
const { Server } = require(version === 2 ? "socket.io-2" : "socket.io");
const http = tls ? createSecureServer(tls) : createServer();
const parser = msgpack ? { parser: require("socket.io-msgpack-parser") } : {};
const io = version === 2 ? require("socket.io-2")(http, options) : new Server(http, { ...options, ...parser });

function serve(socket) {
  socket.emit("hello", socket.id);
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("back", (...args) => socket.emit("back", ...args));
  socket.on("ask", (done) => socket.emit("question", "how?", (answer) => done(answer)));
  socket.on("auth", (done) => done(socket.handshake.auth ?? {}));
  socket.on("request", (done) => done({ query: socket.handshake.query, headers: socket.handshake.headers }));
  socket.on("leave", () => socket.disconnect());
  socket.on("drop", () => socket.conn.close());
  socket.on("later", (data, delay) => setTimeout(() => io.emit("back", data), delay));
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
}
http.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
http.listen(port, "127.0.0.1", () => console.log(http.address().port));
