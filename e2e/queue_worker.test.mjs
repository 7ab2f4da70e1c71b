// The example `queue_worker` between a real Redis and the reference server: tasks pass in order through lost connections, a
// lost server, a killed worker and refusals, and none is lost.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { after } from "node:test";
import { promisify } from "node:util";
import { Server } from "socket.io";
import { freePort, scenario, startExample, startRedis, stopAll, until } from "./harness.mjs";

const TASKS = 600;
const LIMIT = 60_000;
after(stopAll);

scenario("every task arrives, in order, or lands in the poison list", async (t) => {
  const redis = await startRedis();
  const handled = [];
  const refused = new Set();
  const lost = new Set();
  const receiver = await Receiver.start(t, (event, data, connection) => {
    if (data.poison) {
      refused.add(data.number);
      return { error: "this one is never taken" };
    }
    // The connection breaks before the task is taken, the first time.
    if (data.number % 89 === 5 && !lost.has(data.number)) {
      lost.add(data.number);
      return connection.close();
    }
    handled.push({ event, number: data.number });
    // The task is taken, but the worker never hears of it.
    if (handled.length % 97 === 0) return connection.close();
    return { ok: true };
  });

  const events = ["message", "action", "chat"];
  const isPoison = (number) => number % 250 === 100;
  const tasks = Array.from({ length: TASKS }, (_, number) => JSON.stringify({ event: events[number % 3], data: { number, poison: isPoison(number) } }));
  const broken = ["{", JSON.stringify({ event: "other", data: {} })];
  await redisCommand(redis, "RPUSH", "tasks", ...tasks, ...broken);

  const work = () => startExample("queue_worker", { ready: () => true, env: { REDIS_URL: `redis://127.0.0.1:${redis.port}`, SERVER_URL: `${receiver.url}/imchat` } });
  const first = await work();
  await until("a third is handled", () => handled.length > TASKS / 3, LIMIT);
  await receiver.restart();
  await until("half is handled", () => handled.length > TASKS / 2, LIMIT);
  await first.stop("SIGKILL");
  await work();

  const length = async (list) => Number(await redisCommand(redis, "LLEN", list));
  await until("nothing is left", async () => (await length("tasks")) + (await length("tasks:processing")) === 0, LIMIT);

  const wanted = tasks.map((_, number) => number).filter((number) => !isPoison(number));
  const firsts = [...new Set(handled.map(({ number }) => number))];
  assert.deepEqual(firsts, wanted, "each is handled, in the order of the queue");
  for (const { event, number } of handled) assert.equal(event, events[number % 3]);
  assert.ok(handled.length > wanted.length, "some were handled twice, since their acknowledgement was lost");
  const poison = (await redisCommand(redis, "LRANGE", "tasks:poison", "0", "-1")).split("\n");
  assert.deepEqual(poison, [...tasks.filter((_, number) => isPoison(number)), ...broken]);
  assert.equal(refused.size, tasks.length - wanted.length);
  assert.equal(await redisCommand(redis, "EXISTS", "tasks:tries"), "0");
}, { limit: 3 * LIMIT });

/** The reference server on namespace `/imchat`: what `take` returns is the acknowledgement, if it returns anything. */
class Receiver {
  static async start(t, take) {
    const receiver = new Receiver();
    receiver.port = await freePort();
    receiver.take = take;
    await receiver.listen();
    t.after(() => receiver.io.close());
    return receiver;
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

async function redisCommand({ port }, ...command) {
  const { stdout } = await promisify(execFile)("redis-cli", ["-p", String(port), ...command], { maxBuffer: 1 << 24 });
  return stdout.trimEnd();
}
