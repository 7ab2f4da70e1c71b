// python-socketio's clients, unmodified: each scenario of `python/*.py` is one test.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { PYTHON, here, scenario, startExample, startProgram, stopAll } from "./harness.mjs";

let conformance;
let program;
before(async () => {
  // Both sides wait so long for each other, and a machine that is busy with other things does not part them.
  conformance = await startExample("conformance", { env: { PING_TIMEOUT_MS: "2000" } });
  program = await startProgram();
});
after(stopAll);

const onConformance = () => conformance;
const onProgram = () => program;
const onItsOwn = startProgram;

suite("client.py", "python-socketio Client", {
  emits_over_polling: onConformance,
  emits_over_websocket: onConformance,
  receives_many_at_once: onConformance,
  upgrades: onConformance,
  calls: onConformance,
  sends_binary: onConformance,
  joins_namespaces: onConformance,
  is_refused_with_a_reason: onConformance,
  reconnects: onItsOwn,
});

suite("async_client.py", "python-socketio AsyncClient", {
  emits_and_receives: onConformance,
  calls: onConformance,
  sends_binary: onConformance,
  joins_namespaces: onConformance,
  stays_through_heartbeats: onConformance,
  reconnects: onItsOwn,
});

suite("simple_client.py", "python-socketio SimpleClient", {
  talks: onConformance,
  talks_async: onConformance,
  joins_a_namespace: onConformance,
  reconnects: onItsOwn,
});

suite("chat.py", "python-socketio in chat applications", {
  bridge_over_websocket_with_two_namespaces: onProgram,
  chat_with_a_header_token: onProgram,
});

function suite(file, title, scenarios) {
  describe(title, () => {
    for (const [name, where] of Object.entries(scenarios)) {
      scenario(name.replaceAll("_", " "), async (t) => {
        let server = await where();
        const child = spawn(PYTHON, [join(here, "python", file), name, server.url], { stdio: ["pipe", "pipe", "pipe"] });
        t.after(() => child.kill("SIGKILL"));
        const output = [];
        child.stderr.on("data", (data) => output.push(data));
        child.stdout.on("data", async (data) => {
          output.push(data);
          if (data.toString().trim() !== "restart") return;
          await server.stop();
          server = await startProgram({ port: server.port });
          child.stdin.write("restarted\n");
        });
        const [code] = await once(child, "close");
        if (where === onItsOwn) await server.stop();
        const text = Buffer.concat(output).toString();
        assert.equal(code, 0, text);
        assert.ok(text.includes(`passed ${name}`), text);
      });
    }
  });
}
