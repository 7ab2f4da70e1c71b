// The example `queue_worker` between a real Redis and the servers of others: tasks pass in order through lost connections, a
// lost server, a killed worker and refusals, and none is lost.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { after } from "node:test";
import { promisify } from "node:util";
import { Server } from "socket.io";
import { freePort, scenario, startExample, startPythonServer, startRedis, stopAll, until } from "./harness.mjs";

const TASKS = 600;
const LIMIT = 60_000;
after(stopAll);

scenario("every task arrives, in order, or lands in the poison list", (t) => passes(() => Receiver.start(t)), { limit: 3 * LIMIT });

scenario("so it is with python-socketio, which is killed and started again", () => passes(PythonReceiver.start), { limit: 3 * LIMIT });

async function passes(startReceiver) {
  const redis = await startRedis();
  const receiver = await startReceiver();

  const events = ["message", "action", "chat"];
  const isPoison = (number) => number % 250 === 100;
  const tasks = Array.from({ length: TASKS }, (_, number) => JSON.stringify({ event: events[number % 3], data: { number, poison: isPoison(number) } }));
  const broken = ["{", JSON.stringify({ event: "other", data: {} })];
  await redisCommand(redis, "RPUSH", "tasks", ...tasks, ...broken);

  const work = () => startExample("queue_worker", { ready: () => true, env: { REDIS_URL: `redis://127.0.0.1:${redis.port}`, SERVER_URL: `${receiver.url}/imchat` } });
  const first = await work();
  await until("a third is handled", () => receiver.handled().length > TASKS / 3, LIMIT);
  await receiver.restart();
  await until("half is handled", () => receiver.handled().length > TASKS / 2, LIMIT);
  await first.stop("SIGKILL");
  const second = await work();

  const length = async (list) => Number(await redisCommand(redis, "LLEN", list));
  await until("nothing is left", async () => (await length("tasks")) + (await length("tasks:processing")) === 0, LIMIT);
  await until("all have been seen", () => new Set(receiver.handled().map(({ data }) => data.number)).size === TASKS);

  const seen = receiver.handled();
  const handled = seen.filter(({ data }) => !data.poison).map(({ event, data }) => ({ event, number: data.number }));
  const refused = new Set(seen.filter(({ data }) => data.poison).map(({ data }) => data.number));
  const wanted = tasks.map((_, number) => number).filter((number) => !isPoison(number));
  const firsts = [...new Set(handled.map(({ number }) => number))];
  assert.deepEqual(firsts, wanted, "each is handled, in the order of the queue");
  for (const { event, number } of handled) assert.equal(event, events[number % 3]);
  assert.ok(handled.length > wanted.length, "some were handled twice, since their acknowledgement was lost");
  const poison = (await redisCommand(redis, "LRANGE", "tasks:poison", "0", "-1")).split("\n");
  assert.deepEqual(poison, [...tasks.filter((_, number) => isPoison(number)), ...broken]);
  assert.equal(refused.size, tasks.length - wanted.length);
  assert.equal(await redisCommand(redis, "EXISTS", "tasks:tries"), "0");
  await second.stop();
  await redis.stop();
}

/** The reference server on namespace `/imchat`. */
class Receiver {
  static async start(t) {
    const receiver = new Receiver();
    receiver.port = await freePort();
    receiver.seen = [];
    receiver.taken = 0;
    receiver.lost = new Set();
    await receiver.listen();
    t.after(() => receiver.io.close());
    return receiver;
  }

  /** The tasks that came, as often as they came. */
  handled() {
    return this.seen;
  }

  /** What a task is acknowledged with. */
  take(event, data, connection) {
    // The connection breaks before the task is taken, the first time.
    if (!data.poison && data.number % 89 === 5 && !this.lost.has(data.number)) {
      this.lost.add(data.number);
      return connection.close();
    }
    this.seen.push({ event, data });
    if (data.poison) return { error: "this one is never taken" };
    this.taken += 1;
    // The task is taken, but the worker never hears of it.
    if (this.taken % 97 === 0) return connection.close();
    return { ok: true };
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async listen() {
    const http = createServer();
    this.io = new Server(http);
    this.io.of("/imchat").on("connection", (socket) => {
      socket.onAny((event, data, acknowledge) => {
        const answer = this.take(event, data, socket.conn);
        if (answer) acknowledge(answer);
      });
    });
    http.listen(this.port, "127.0.0.1");
    await once(http, "listening");
  }

  /** Drops the transports, as a server that dies does; closing the server itself would tell clients to stay away. */
  async restart() {
    const closed = new Promise((resolve) => this.io.httpServer.close(resolve));
    this.io.engine.close();
    this.io.httpServer.closeAllConnections();
    await closed;
    await this.listen();
  }
}

/** python-socketio's server, whose tasks are read from its log, and which does the same. */
class PythonReceiver {
  static async start() {
    const receiver = new PythonReceiver();
    receiver.servers = [await startPythonServer()];
    return receiver;
  }

  get url() {
    return this.servers[0].url;
  }

  handled() {
    const lines = this.servers.flatMap(({ log }) => [...log().matchAll(/^task (.*)\n/gm)]);
    return lines.map(([, task]) => JSON.parse(task)).map(([event, data]) => ({ event, data }));
  }

  async restart() {
    const last = this.servers.at(-1);
    await last.stop("SIGKILL");
    this.servers.push(await startPythonServer({ port: last.port }));
  }
}

async function redisCommand({ port }, ...command) {
  const { stdout } = await promisify(execFile)("redis-cli", ["-p", String(port), ...command], { maxBuffer: 1 << 24 });
  return stdout.trimEnd();
}
