// Starts the built programs on free ports, waits until they answer, stops them, and shows their logs when a test fails.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

export const here = fileURLToPath(new URL(".", import.meta.url));
export const artifacts = join(here, "artifacts");

const release = resolve(process.env.CARGO_TARGET_DIR ?? join(here, "../target"), "release");
export const PROGRAM = process.env.SOCKEYE_BIN ?? join(release, "sockeye");
export const PYTHON = process.env.E2E_PYTHON ?? join(here, ".venv/bin/python");
const EXAMPLES = process.env.SOCKEYE_EXAMPLES ?? join(release, "examples");

const START_LIMIT = 20_000;
const STOP_LIMIT = 20_000;
const TEST_LIMIT = 60_000;
const LOG_SHOWN = 8_000;

/** The program `sockeye`, serving on a free port or on `port`; with `listen: false` its settings come from elsewhere. */
export function startProgram({ port, listen = true, args = [], env = {} } = {}) {
  const where = (free) => (listen ? ["--listen", `127.0.0.1:${free}`] : []);
  return start("sockeye", { port, env, command: PROGRAM, args: (free) => ["serve", ...where(free), ...args] });
}

/** Runs the program until it ends by itself; gives its exit code and what it printed. It reads `input`. */
export async function runProgram(args, { env = {}, input = "", limit = STOP_LIMIT } = {}) {
  const program = spawnProgram(args, { env });
  program.child.stdin.end(input);
  try {
    const code = await within(limit, `sockeye ${args.join(" ")} ends`, program.ended);
    return { code, output: program.output(), stdout: program.stdout(), stderr: program.stderr() };
  } finally {
    program.child.kill("SIGKILL");
  }
}

/** Starts the program as a command that goes on until it is told to end. */
export function spawnProgram(args, { env = {} } = {}) {
  const child = spawn(PROGRAM, args, { env: { ...inherited(), ...env }, stdio: ["pipe", "pipe", "pipe"] });
  const printed = { stdout: [], stderr: [], both: [] };
  for (const name of ["stdout", "stderr"])
    child[name].on("data", (data) => {
      printed[name].push(data);
      printed.both.push(data);
    });
  // A program that does not read its input to the end is no fault of the test.
  child.stdin.on("error", () => {});
  const text = (name) => Buffer.concat(printed[name]).toString();
  return {
    child,
    stdout: () => text("stdout"),
    stderr: () => text("stderr"),
    output: () => text("both"),
    /** The exit code, or the signal that ended it. */
    ended: once(child, "close").then(([code, signal]) => code ?? signal),
  };
}

/** An example that reads its port from the environment, or that listens on none and is `ready` when it says so. */
export function startExample(name, { port, env = {}, ready } = {}) {
  return start(name, { port, env, ready, command: join(EXAMPLES, name), args: () => [] });
}

/** A Redis server that keeps nothing on disk. */
export function startRedis({ port } = {}) {
  const args = (free) => ["--port", free, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(String);
  return start("redis", { port, args, command: "redis-server" });
}

/** python-socketio's server with the events of `servers/python_socketio.py`; its log has what it says it handles. */
export function startPythonServer({ port } = {}) {
  const args = (free) => [join(here, "servers/python_socketio.py"), JSON.stringify({ port: free })];
  return start("python-socketio", { port, args, command: PYTHON });
}

/** A test that fails after `limit` milliseconds, and that shows the logs of the servers of this file when it fails. */
export function scenario(name, body, { limit = TEST_LIMIT } = {}) {
  test(name, async (t) => {
    const before = started.length;
    try {
      await within(limit, name, Promise.resolve().then(() => body(t)));
    } catch (error) {
      const concerned = started.filter((server, index) => index >= before || server.running());
      for (const { name, port, log } of concerned) console.error(`--- log of ${name} on port ${port}\n${log().slice(-LOG_SHOWN)}---`);
      throw error;
    }
  });
}

/** `promise`, or an error naming `what` did not happen in `limit` milliseconds. */
export async function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${limit} ms: ${what}`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks `condition` again and again until it is true. */
export async function until(what, condition, limit = 10_000) {
  const deadline = Date.now() + limit;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${limit} ms: ${what}`);
    await pause(20);
  }
}

/** Lets time pass. For protocol deadlines and for polling a condition, never as a guess that something is done. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Stops every server of this file that still runs. */
export async function stopAll() {
  for (const server of started) if (server.running()) await server.stop();
}

const started = [];
process.once("exit", () => started.forEach(({ pid, running }) => running() && process.kill(pid, "SIGKILL")));

/** A server of any kind: `args` gets the port, on which it is ready when it accepts connections, unless `ready` says so. */
export async function start(name, { port, command, args, ready, env = {} }) {
  // Another process may take a free port between asking for it and listening on it, so a chosen port is tried again.
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(name, { port: port ?? (await freePort()), command, args, ready, env });
    } catch (error) {
      if (port !== undefined || attempt === 3) throw error;
    }
  }
}

async function launch(name, { port, command, args, ready = () => answers(port), env }) {
  await mkdir(artifacts, { recursive: true });
  const directory = await mkdtemp(join(tmpdir(), "sockeye-e2e-"));
  const child = spawn(command, args(port), { cwd: directory, env: { ...inherited(), PORT: String(port), ...env }, stdio: ["ignore", "pipe", "pipe"] });
  await once(child, "spawn").catch(async ({ message }) => {
    await rm(directory, { recursive: true });
    throw new Error(`${message}; \`./test\` builds or installs what is missing`);
  });
  const lines = [];
  child.stdout.on("data", (data) => lines.push(data));
  child.stderr.on("data", (data) => lines.push(data));
  // By then all that it had printed has been read, too.
  const ended = once(child, "close");
  const log = () => Buffer.concat(lines).toString();
  const server = {
    name,
    port,
    pid: child.pid,
    url: `http://127.0.0.1:${port}`,
    ws: `ws://127.0.0.1:${port}`,
    log,
    running: () => child.exitCode === null && child.signalCode === null,
    /** Ends the server as an operator would and checks that it went without a panic; gives its exit code. */
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      try {
        await within(STOP_LIMIT, `${name} ends after ${signal}`, ended);
      } finally {
        child.kill("SIGKILL");
        await rm(directory, { recursive: true, force: true });
      }
      if (/panicked at/.test(log())) throw new Error(`${name} panicked:\n${log()}`);
      return child.exitCode;
    },
  };
  started.push(server);
  await until(`${name} is ready on port ${port}`, () => !server.running() || ready(server), START_LIMIT);
  if (!server.running()) throw new Error(`${name} ended before it was ready on port ${port}:\n${log()}`);
  return server;
}

/** This process's environment without settings of the program, which a test states itself. */
function inherited() {
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("SOCKEYE_")));
}

async function answers(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
