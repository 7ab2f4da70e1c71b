// The program as the person at the terminal meets it: what it prints, what it refuses and why, how it stops.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe } from "node:test";
import { io } from "socket.io-client";
import { freePort, pause, runProgram, scenario, startProgram, stopAll, until, within } from "./harness.mjs";
import { Frames, Polling, address } from "./wire.mjs";

after(stopAll);

describe("starting", () => {
  scenario("says within two seconds what it is and where its pages are", async () => {
    const begun = Date.now();
    const program = await startProgram();
    await until("the banner", () => /websocket/i.test(program.log()), 2_000 - Math.min(1_900, Date.now() - begun));
    const { log, url } = { log: program.log(), url: program.url };
    assert.match(log, /sockeye.*\d+\.\d+\.\d+/i);
    for (const expected of [`${url}/`, `${url}/monitor`, "polling", "websocket", "bus", "store"]) assert.ok(log.toLowerCase().includes(expected), `${expected} in\n${log}`);
    await program.stop();
  });

  scenario("serves its pages with their types and nothing that is not there", async () => {
    const program = await startProgram();
    for (const [path, type] of [
      ["/", "text/html"],
      ["/chat.js", "text/javascript"],
      ["/session.js", "text/javascript"],
      ["/conversations.js", "text/javascript"],
      ["/chat.css", "text/css"],
      ["/theme.css", "text/css"],
      ["/icon.svg", "image/svg+xml"],
      ["/monitor", "text/html"],
      ["/monitor/monitor.js", "text/javascript"],
      ["/monitor/chart.js", "text/javascript"],
      ["/monitor/monitor.css", "text/css"],
    ]) {
      const response = await fetch(program.url + path);
      assert.equal(response.status, 200, path);
      assert.ok(response.headers.get("content-type").startsWith(type), `${path}: ${response.headers.get("content-type")}`);
      assert.ok((await response.text()).length > 100, path);
    }
    for (const path of ["/nothing", "/chat.rs", "/monitor/nothing.js", "/Cargo.toml"]) assert.equal((await fetch(program.url + path)).status, 404, path);
    await program.stop();
  });

  scenario("a port in use is named, with the option that changes it", async () => {
    const program = await startProgram();
    const { code, output } = await runProgram(["serve", "--listen", `127.0.0.1:${program.port}`]);
    assert.notEqual(code, 0);
    assert.match(output, /in use|uses this port/i);
    assert.ok(output.includes(String(program.port)) && output.includes("--listen"), output);
    await program.stop();
  });

  scenario("another machine may not connect while nobody's identity is proven", async () => {
    const { code, output } = await runProgram(["serve", "--listen", `0.0.0.0:${await freePort()}`]);
    assert.notEqual(code, 0);
    assert.match(output, /identity/i);
    assert.match(output, /loopback|127\.0\.0\.1/i);
  });

  scenario("every packet is logged if that is asked for, those of an upgrade, too", async () => {
    const program = await startProgram({ args: ["--log-packets", "true"] });
    const session = await Polling.open(program, "/socket.io/");
    await session.post("40");
    const socket = session.upgrade();
    await socket.opened();
    socket.send("2probe");
    assert.equal(await socket.next(), "3probe");
    while ((await (await session.get()).text()) !== "6");
    socket.send("5");
    for (const [direction, kind, bytes] of [
      ["sent", "open"],
      ["received", "message"],
      ["sent", "message"],
      ["received", "ping", "2probe".length],
      ["sent", "pong", "3probe".length],
      ["sent", "noop", 1],
      ["received", "upgrade", 1],
    ]) {
      const line = new RegExp(`sockeye::packets: ${direction} sid="\\S+" kind="${kind}" bytes=${bytes ?? ""}`);
      await until(`${line} in the log`, () => line.test(program.log()));
    }
    socket.close();
    await program.stop();
  });

  scenario("an unknown option is an error", async () => {
    const { code, output } = await runProgram(["serve", "--lisen", "127.0.0.1:1"]);
    assert.notEqual(code, 0);
    assert.match(output, /--listen/);
  });
});

describe("settings", () => {
  async function configured(t, text) {
    const directory = await mkdtemp(join(tmpdir(), "sockeye-config-"));
    t.after(() => rm(directory, { recursive: true }));
    const file = join(directory, "sockeye.toml");
    await writeFile(file, text);
    return file;
  }

  scenario("come from a file", async (t) => {
    const port = await freePort();
    const program = await startProgram({ port, listen: false, args: ["--config", await configured(t, `listen = "127.0.0.1:${port}"\n`)] });
    assert.equal((await fetch(program.url)).status, 200);
    await program.stop();
  });

  scenario("come from the environment", async () => {
    const port = await freePort();
    const program = await startProgram({ port, listen: false, env: { SOCKEYE_LISTEN: `127.0.0.1:${port}` } });
    assert.equal((await fetch(program.url)).status, 200);
    await program.stop();
  });

  scenario("an unknown key is an error with a suggestion", async (t) => {
    const file = await configured(t, 'lisen = "127.0.0.1:0"\n');
    const { code, output } = await runProgram(["serve", "--config", file]);
    assert.notEqual(code, 0);
    assert.ok(output.includes("lisen") && output.includes("`listen`"), output);
  });

  scenario("an unknown key in the environment is an error with a suggestion", async () => {
    const { code, output } = await runProgram(["serve"], { env: { SOCKEYE_LISEN: "127.0.0.1:0" } });
    assert.notEqual(code, 0);
    assert.ok(output.includes("SOCKEYE_LISEN") && output.includes("SOCKEYE_LISTEN"), output);
  });

  scenario("a missing file is named", async () => {
    const { code, output } = await runProgram(["serve", "--config", "/nowhere/sockeye.toml"]);
    assert.notEqual(code, 0);
    assert.ok(output.includes("/nowhere/sockeye.toml"), output);
  });
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  describe(`stopping by ${signal}`, () => {
    scenario("drops transports so that clients come back, and ends with status 0", async (t) => {
      const program = await startProgram();
      const clients = ["polling", "websocket"].map((transport) => io(`${program.url}/imchat`, { transports: [transport], forceNew: true, auth: { token: transport } }));
      t.after(() => clients.forEach((client) => client.disconnect()));
      await Promise.all(clients.map((client) => new Promise((resolve) => client.on("connect", resolve))));
      const plain = Frames.connect(`${program.ws}/ws/somebody/`);
      await plain.opened();
      const reasons = Promise.all(clients.map((client) => new Promise((resolve) => client.on("disconnect", resolve))));
      const begun = Date.now();
      assert.equal(await program.stop(signal), 0);
      assert.ok(Date.now() - begun < 10_000, "it ends within its drain limit");
      for (const reason of await within(5_000, "the clients notice", reasons)) assert.match(reason, /^transport (close|error)$/);
      for (const client of clients) assert.equal(client.active, true, "the client tries again");
      await plain.closed();
    });

    scenario("does not wait for a connection that says nothing", async () => {
      const program = await startProgram();
      const idle = Frames.connect(address(program.ws, "/socket.io/", { transport: "websocket" }));
      await idle.next();
      await pause(50);
      assert.equal(await program.stop(signal), 0);
    });
  });
}
