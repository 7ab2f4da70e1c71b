// The proxy configurations of the guide, as they are but for ports, paths and timeouts, between the official client and the
// example `behind_proxy`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { promisify } from "node:util";
import { io } from "socket.io-client";
import { freePort, here, pause, scenario, start, startExample, stopAll, until, within } from "./harness.mjs";

const LIMIT = 10_000;
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
const TRANSPORTS = { polling: ["polling"], WebSocket: ["websocket"], "polling, then WebSocket": ["polling", "websocket"] };

/** What is replaced in a proxy's configuration of the guide, and how the proxy is started with the result. */
const PROXIES = {
  nginx: {
    file: "nginx.conf",
    // Debian's nginx writes to /var otherwise.
    replaced: ({ port, directory }) => [
      // A machine that tests may not have so many files to open.
      ["worker_processes auto;\nworker_rlimit_nofile 20000;", "worker_processes 1;"],
      ["worker_connections 10000", "worker_connections 100"],
      ["http {", `http {\n    access_log off;\n${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `    ${name}_temp_path ${directory}/${name};\n`).join("")}`],
      ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`],
      ["server_name example.org", "server_name localhost"],
      ["/etc/ssl/example.org", directory],
    ],
    command: "nginx",
    args: (file, directory) => ["-p", directory, "-c", file, "-e", "stderr", "-g", `daemon off; pid ${directory}/nginx.pid;`],
  },
  HAProxy: {
    file: "haproxy.cfg",
    replaced: ({ port, directory }) => [
      ["bind :443", `bind 127.0.0.1:${port}`],
      // A machine that tests may not have so many files to open.
      ["maxconn 20000", "maxconn 100"],
      ["/etc/ssl/example.org", directory],
    ],
    command: "haproxy",
    args: (file) => ["-db", "-f", file],
  },
  Caddy: {
    file: "Caddyfile",
    // Without these options Caddy also listens on port 80, to redirect, and on its administration port.
    replaced: ({ port, directory }) => [
      ["example.org:443 {", `{\n\tadmin off\n\tauto_https disable_redirects\n}\n\nlocalhost:${port} {\n\tbind 127.0.0.1`],
      ["/etc/ssl/example.org", directory],
    ],
    command: "caddy",
    args: (file) => ["run", "--adapter", "caddyfile", "--config", file],
  },
};

let directory;
let ca;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "sockeye-proxies-"));
  const [certificate, key] = [join(directory, "fullchain.pem"), join(directory, "privkey.pem")];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  await promisify(execFile)("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, ...names]);
  ca = await readFile(certificate, "utf8");
  await writeFile(join(directory, "fullchain-and-key.pem"), ca + (await readFile(key, "utf8")));
});
after(async () => {
  await stopAll();
  await rm(directory, { recursive: true, force: true });
});

/** Starts a proxy in front of `server`; its idle timeout is `idle` instead of the guide's 90 s. */
async function startProxy(name, server, { idle = "90s", replaced = [] } = {}) {
  const proxy = PROXIES[name];
  const port = await freePort();
  let text = await readFile(join(here, "../docs/guide/proxies", proxy.file), "utf8");
  for (const [from, to] of [["127.0.0.1:3000", `127.0.0.1:${server.port}`], ["90s", idle], ...replaced, ...proxy.replaced({ port, directory })]) {
    // Caddy has no idle timeout for connections to a server.
    assert.ok(text.includes(from) || from === "90s", `${proxy.file} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  const file = join(directory, `${port}-${proxy.file}`);
  await writeFile(file, text);
  const env = { PATH, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
  return start(name, { port, command: proxy.command, args: () => proxy.args(file, directory), env });
}

function client(t, proxy, options = {}) {
  const socket = io(`https://localhost:${proxy.port}`, { forceNew: true, reconnection: false, ca, ...options });
  t.after(() => socket.disconnect());
  return socket;
}

function event(emitter, name) {
  return within(LIMIT, name, new Promise((resolve) => emitter.once(name, resolve)));
}

async function connected(t, proxy, options) {
  const socket = client(t, proxy, options);
  const refused = event(socket, "connect_error").then((error) => Promise.reject(error));
  await Promise.race([event(socket, "connect"), refused]);
  refused.catch(() => {});
  return socket;
}

for (const name of Object.keys(PROXIES))
  describe(name, () => {
    let server;
    let proxy;
    before(async () => {
      server = await startExample("behind_proxy");
      proxy = await startProxy(name, server);
    });

    for (const [how, transports] of Object.entries(TRANSPORTS))
      scenario(`passes on events of every size by ${how}`, async (t) => {
        const socket = await connected(t, proxy, { transports });
        if (transports.length > 1) await until("the upgrade", () => socket.io.engine.transport.name === "websocket");
        for (const sent of ["hello", "x".repeat(900_000), Buffer.alloc(600_000, 7)])
          assert.deepEqual(await socket.timeout(LIMIT).emitWithAck("echo", sent), sent);
        const burst = Array.from({ length: 200 }, (_, number) => socket.timeout(LIMIT).emitWithAck("echo", number));
        assert.deepEqual(await Promise.all(burst), [...Array(200).keys()]);
      });

    scenario("admits pages of its own host, and of no other", async (t) => {
      for (const transports of [["polling"], ["websocket"]]) {
        await connected(t, proxy, { transports, extraHeaders: { Origin: `https://localhost:${proxy.port}` } });
        const foreign = client(t, proxy, { transports, extraHeaders: { Origin: "https://evil.example" } });
        await event(foreign, "connect_error");
        assert.equal(foreign.connected, false);
      }
    });

    scenario("says who the client is", async (t) => {
      const socket = await connected(t, proxy, {});
      assert.equal(await socket.timeout(LIMIT).emitWithAck("forwarded for"), "127.0.0.1");
    });
  });

describe("nginx", () => {
  for (const host of ["$http_host", "$host:$server_port"])
    scenario(`may name the host by ${host}`, async (t) => {
      const server = await startExample("behind_proxy");
      const proxy = await startProxy("nginx", server, { replaced: [["Host $http_host;", `Host ${host};`]] });
      await connected(t, proxy, { extraHeaders: { Origin: `https://localhost:${proxy.port}` } });
    });
});

// Longer than the idle timeout of two seconds that the proxies are given here.
const IDLE = 5_000;

for (const name of ["nginx", "HAProxy"])
  for (const transports of [["websocket"], ["polling"]]) {
    scenario(`${name} keeps idle connections by ${transports} because of the heartbeat`, async (t) => {
      const server = await startExample("behind_proxy", { env: { PING_INTERVAL_MS: "500" } });
      const socket = await connected(t, await startProxy(name, server, { idle: "2s" }), { transports });
      let reason;
      socket.on("disconnect", (why) => (reason = why));
      await pause(IDLE);
      assert.equal(reason, undefined);
      assert.equal(await socket.timeout(LIMIT).emitWithAck("echo", "still here"), "still here");
    });

    scenario(`${name} ends idle connections by ${transports} if the heartbeat is slower than its timeout`, async (t) => {
      const server = await startExample("behind_proxy", { env: { PING_INTERVAL_MS: "20000" } });
      const socket = await connected(t, await startProxy(name, server, { idle: "2s" }), { transports });
      assert.match(await event(socket, "disconnect"), /transport (close|error)/);
    });
  }

scenario("Caddy keeps idle connections", async (t) => {
  const server = await startExample("behind_proxy", { env: { PING_INTERVAL_MS: "500" } });
  const proxy = await startProxy("Caddy", server);
  const sockets = [await connected(t, proxy, { transports: ["websocket"] }), await connected(t, proxy, { transports: ["polling"] })];
  await pause(IDLE);
  for (const socket of sockets) assert.equal(await socket.timeout(LIMIT).emitWithAck("echo", "still here"), "still here");
});
