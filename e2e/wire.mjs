// Speaking the protocols by hand: Engine.IO over fetch and a bare WebSocket, and bytes over TCP.

import { once } from "node:events";
import { connect } from "node:net";
import { randomBytes } from "node:crypto";
import WebSocket from "ws";
import { within } from "./harness.mjs";

const LIMIT = 5_000;

/** The address of an Engine.IO endpoint; parameters that are `undefined` are left out. */
export function address(base, path, parameters = {}) {
  const query = new URLSearchParams({ EIO: "4", transport: "polling" });
  for (const [key, value] of Object.entries(parameters)) {
    if (value === undefined) query.delete(key);
    else query.set(key, value);
  }
  return `${base}${path}?${query}`;
}

/** One long-polling session. */
export class Polling {
  static async open(server, path) {
    const response = await fetch(address(server.url, path));
    const text = await response.text();
    if (response.status !== 200 || text[0] !== "0") throw new Error(`no session: ${response.status} ${text}`);
    return new Polling(server, path, JSON.parse(text.slice(1)));
  }

  constructor(server, path, handshake) {
    Object.assign(this, { server, path, handshake, sid: handshake.sid });
  }

  url(parameters = {}) {
    return address(this.server.url, this.path, { sid: this.sid, ...parameters });
  }

  get(options) {
    return fetch(this.url(), options);
  }

  post(body, options = {}) {
    return fetch(this.url(), { method: "POST", body, ...options });
  }

  /** Opens a WebSocket for the same session. */
  upgrade() {
    return Frames.connect(address(this.server.ws, this.path, { transport: "websocket", sid: this.sid }));
  }

  /** Takes the session to a WebSocket, all the way. */
  async upgraded() {
    const socket = this.upgrade();
    await socket.opened();
    socket.send("2probe");
    const answer = await socket.next();
    if (answer !== "3probe") throw new Error(`expected 3probe, got ${answer}`);
    await (await this.get()).text();
    socket.send("5");
    return socket;
  }
}

/** A bare WebSocket whose frames wait in order until they are asked for, so that none is missed. */
export class Frames {
  static connect(url, options) {
    return new Frames(new WebSocket(url, { perMessageDeflate: false, ...options }));
  }

  /** A new Engine.IO session; its handshake has been taken off. */
  static async session(server, path) {
    const frames = Frames.connect(address(server.ws, path, { transport: "websocket" }));
    const open = await frames.next();
    if (open[0] !== "0") throw new Error(`expected the handshake, got ${open}`);
    frames.handshake = JSON.parse(open.slice(1));
    return frames;
  }

  /** A new Engine.IO session that joined namespace `/` of the conformance example. */
  static async joined(server) {
    const frames = await Frames.session(server, "/socket.io/");
    frames.send("40");
    const answer = await frames.message();
    if (!answer.startsWith('40{"sid":')) throw new Error(`expected to be connected, got ${answer}`);
    await frames.message();
    return frames;
  }

  #waiting = [];
  #arrived = [];

  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "nodebuffer";
    socket.on("message", (data, binary) => this.#take(binary ? data : data.toString()));
    socket.on("error", (error) => (this.error = error));
    this.closing = new Promise((resolve) => socket.on("close", (code, reason) => resolve({ code, reason: reason.toString(), error: this.error })));
    this.closing.then((how) => this.#waiting.splice(0).forEach(({ reject }) => reject(new Error(`closed (${how.code}) while waiting for a frame`))));
  }

  #take(frame) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve(frame);
    else this.#arrived.push(frame);
  }

  async opened() {
    if (this.socket.readyState !== WebSocket.OPEN) await within(LIMIT, "the WebSocket opens", once(this.socket, "open"));
  }

  send(data) {
    this.socket.send(data);
  }

  /** The next frame, text as a string and binary as a buffer. */
  next(limit = LIMIT) {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    if (this.socket.readyState >= WebSocket.CLOSING) return Promise.reject(new Error("closed, no frame left"));
    const waiting = {};
    const arrival = new Promise((resolve, reject) => this.#waiting.push(Object.assign(waiting, { resolve, reject })));
    return within(limit, "a frame arrives", arrival).finally(() => {
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
    });
  }

  /** The next frame that is not a ping; pings are answered. */
  async message() {
    for (;;) {
      const frame = await this.next();
      if (frame !== "2") return frame;
      this.send("3");
    }
  }

  /** How the connection closed. */
  closed(limit = LIMIT) {
    return within(limit, "the connection closes", this.closing);
  }

  close() {
    this.socket.close();
  }
}

/** Bytes over TCP: writes `chunks` and gives everything that came back until the server closed, `until` matched or `limit` passed. */
export async function raw(port, chunks, { limit = LIMIT, end = false, until } = {}) {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const received = [];
  let closed = false;
  socket.on("data", (data) => received.push(data));
  socket.on("error", () => {});
  const over = new Promise((resolve) => socket.once("close", resolve)).then(() => (closed = true));
  const said = new Promise((resolve) =>
    socket.on("data", () => until?.test(Buffer.concat(received).toString("latin1")) && resolve()),
  );
  await once(socket, "connect");
  for (const chunk of [chunks].flat()) if (socket.writable) socket.write(chunk);
  if (end) socket.end();
  let timer;
  await Promise.race([over, said, new Promise((resolve) => (timer = setTimeout(resolve, limit)))]);
  clearTimeout(timer);
  socket.destroy();
  return { bytes: Buffer.concat(received), text: Buffer.concat(received).toString("latin1"), closed };
}

/** The request that opens a WebSocket session at `path`, as bytes. */
export function upgradeRequest(path, headers = {}) {
  const all = {
    Host: "127.0.0.1",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined).map(([key, value]) => `${key}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A WebSocket frame as bytes, with every field open to being wrong. */
export function frame({ opcode = 1, payload = "", fin = true, reserved = 0, masked = true, announced, lengthForm } = {}) {
  const data = Buffer.from(payload);
  const length = BigInt(announced ?? data.length);
  const form = lengthForm ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64);
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode];
  const bit = masked ? 0x80 : 0;
  if (form === 7) head.push(bit | Number(length));
  else head.push(bit | (form === 16 ? 126 : 127));
  const extended = Buffer.alloc(form === 7 ? 0 : form / 8);
  if (form === 16) extended.writeUInt16BE(Number(length));
  if (form === 64) extended.writeBigUInt64BE(length);
  const mask = masked ? randomBytes(4) : Buffer.alloc(0);
  const body = masked ? Buffer.from(data.map((byte, index) => byte ^ mask[index % 4])) : data;
  return Buffer.concat([Buffer.from(head), extended, mask, body]);
}
