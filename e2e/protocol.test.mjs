// What the official suites of Engine.IO 4 (25 cases) and Socket.IO 5 (32 cases) require of a server, case by case,
// against `examples/conformance`: ping every 300 ms, 200 ms to answer it, 1000 ms to join a namespace.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { pause, scenario, startExample, stopAll, until } from "./harness.mjs";
import { Frames, Polling, address } from "./wire.mjs";

const PING_INTERVAL = 300;
const PING_TIMEOUT = 200;

/** Mostly enough for the server to hold a poll that was sent before, or to see that it was cancelled; short against a ping. */
const HELD = 15;

/** A server with the heartbeat of the suites; the others wait longer for what a busy machine holds up. */
let strict;
/** One that waits for pongs. */
let patient;
/** One without pings, which would come between. */
let server;
before(async () => {
  strict = await startExample("conformance", { env: { CONNECT_TIMEOUT_MS: "30000" } });
  patient = await startExample("conformance", { env: { PING_TIMEOUT_MS: "30000", CONNECT_TIMEOUT_MS: "30000" } });
  server = await startExample("conformance", { env: { PING_INTERVAL_MS: "30000", CONNECT_TIMEOUT_MS: "30000" } });
});
after(stopAll);

describe("Engine.IO protocol 4", () => {
  const path = "/engine.io/";
  handshake(path);
  describe("message", () => {
    describe("HTTP long-polling", () => {
      for (const [what, payload] of [
        ["one plain text packet", "4hello"],
        ["several plain text packets", "4test1\x1e4test2\x1e4test3"],
        ["plain text and binary packets", "4hello\x1ebAQIDBA=="],
      ]) {
        scenario(`sends and receives a payload containing ${what}`, async () => {
          const session = await Polling.open(server, path);
          const post = await session.post(payload);
          assert.equal(post.status, 200);
          assert.equal(await post.text(), "ok");
          const get = await session.get();
          assert.equal(get.status, 200);
          assert.equal(await get.text(), payload);
        });
      }

      scenario("closes the session upon invalid packet format", async () => {
        const session = await Polling.open(server, path);
        const status = await session.post("abc").then((response) => response.status, () => "aborted");
        assert.ok(status === 400 || status === "aborted", `the POST gave ${status}`);
        assert.equal((await session.get()).status, 400);
      });

      scenario("closes the session upon duplicate poll requests", async () => {
        const session = await Polling.open(server, path);
        // They go over two connections: which is the second is for the server to say.
        const polls = await Promise.all([session.get(), session.get()]);
        const [first, second] = polls.sort((one, other) => one.status - other.status);
        assert.equal(first.status, 200);
        assert.equal(await first.text(), "1");
        assert.ok([400, 500].includes(second.status), `the second GET gave ${second.status}`);
        assert.equal((await session.get()).status, 400);
      });

      scenario("closes the session upon cancelled polling request", async () => {
        // Nothing tells when the server holds a poll, and one that is cancelled before is none: it is tried with another.
        await until("a cancelled poll closes its session", async () => {
          const session = await Polling.open(server, path);
          const cancel = new AbortController();
          const cancelled = session.get({ signal: cancel.signal });
          await pause(HELD);
          cancel.abort();
          await assert.rejects(cancelled);
          await pause(HELD);
          // Another poll would be a duplicate as long as the server holds this one.
          return (await session.post("3")).status === 400;
        });
      });
    });

    describe("WebSocket", () => {
      scenario("sends and receives a plain text packet", async () => {
        const socket = await Frames.session(server, path);
        socket.send("4hello");
        assert.equal(await socket.message(), "4hello");
        socket.close();
      });

      scenario("sends and receives a binary packet", async () => {
        const socket = await Frames.session(server, path);
        socket.send(Buffer.from([1, 2, 3, 4]));
        assert.deepEqual(await socket.message(), Buffer.from([1, 2, 3, 4]));
        socket.close();
      });

      scenario("closes the session upon invalid packet format", async () => {
        const socket = await Frames.session(server, path);
        socket.send("abc");
        await socket.closed();
      });
    });
  });
  heartbeat(path);
  close(path);
  upgrade(path, [["4hello", /^4hello$/], ["4again", /^4again$/]]);
});

describe("Socket.IO protocol 5", () => {
  const path = "/socket.io/";
  describe("Engine.IO protocol", () => {
    handshake(path);
    heartbeat(path);
    close(path);
    upgrade(path, [["40", /^40\{"sid":/], ["40/custom", /^40\/custom,\{"sid":/]]);
  });

  describe("connect", () => {
    for (const [title, namespace, payload] of [
      ["should allow connection to the main namespace", "", ""],
      ["should allow connection to the main namespace with a payload", "", '{"token":"123"}'],
      ["should allow connection to a custom namespace", "/custom,", ""],
      ["should allow connection to a custom namespace with a payload", "/custom,", '{"token":"abc"}'],
    ]) {
      scenario(title, async () => {
        const socket = await Frames.session(server, path);
        socket.send(`40${namespace}${payload}`);
        const answer = await socket.message();
        assert.ok(answer.startsWith(`40${namespace}{`), answer);
        assert.deepEqual(Object.keys(JSON.parse(answer.slice(`40${namespace}`.length))), ["sid"]);
        assert.equal(await socket.message(), `42${namespace}["auth",${payload || "{}"}]`);
        socket.close();
      });
    }

    scenario("should disallow connection to an unknown namespace", async () => {
      const socket = await Frames.session(server, path);
      socket.send("40/random");
      assert.equal(await socket.message(), '44/random,{"message":"Invalid namespace"}');
      socket.close();
    });

    scenario("should disallow connection with an invalid handshake", async () => {
      const socket = await Frames.session(server, path);
      socket.send("4abc");
      await socket.closed();
    });

    scenario("should close the connection if no handshake is received", async () => {
      // Otherwise the ping timeout would come first.
      const hasty = await startExample("conformance", { env: { PING_INTERVAL_MS: "30000" } });
      const socket = await Frames.session(hasty, path);
      await socket.closed();
    });
  });

  describe("disconnect", () => {
    scenario("should disconnect from the main namespace", async () => {
      const socket = await Frames.joined(patient);
      socket.send("41");
      assert.equal(await socket.next(), "2");
      socket.close();
    });

    scenario("should connect then disconnect from a custom namespace", async () => {
      const socket = await Frames.joined(server);
      socket.send("40/custom");
      assert.match(await socket.message(), /^40\/custom,\{"sid":/);
      assert.equal(await socket.message(), '42/custom,["auth",{}]');
      socket.send("41/custom");
      socket.send('42["message","still here"]');
      assert.equal(await socket.message(), '42["message-back","still here"]');
      socket.close();
    });
  });

  describe("message", () => {
    const attachments = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];
    const placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    for (const [title, sent, expected, binary] of [
      ["should send a plain-text packet", '42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]', []],
      ["should send a packet with binary attachments", `452-["message",${placeholders}]`, `452-["message-back",${placeholders}]`, attachments],
      ["should send a plain-text packet with an ack", '42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]', []],
      ["should send a packet with binary attachments and an ack", `452-789["message-with-ack",${placeholders}]`, `462-789[${placeholders}]`, attachments],
    ]) {
      scenario(title, async () => {
        const socket = await Frames.joined(server);
        socket.send(sent);
        for (const one of binary) socket.send(one);
        assert.equal(await socket.message(), expected);
        for (const one of binary) assert.deepEqual(await socket.message(), one);
        socket.close();
      });
    }

    for (const [what, packet] of [
      ["unknown packet type", "4abc"],
      ["invalid payload format", "42{}"],
      ["invalid ack id", '42abc["message-with-ack",1,"2",{"3":[false]}]'],
    ]) {
      scenario(`should close the connection upon invalid format (${what})`, async () => {
        const socket = await Frames.joined(server);
        socket.send(packet);
        await socket.closed();
      });
    }
  });
});

function handshake(path) {
  describe("handshake", () => {
    const check = (open, upgrades) => {
      assert.deepEqual(Object.keys(open).sort(), ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
      assert.equal(typeof open.sid, "string");
      assert.deepEqual({ ...open, sid: "" }, { sid: "", upgrades, pingInterval: PING_INTERVAL, pingTimeout: PING_TIMEOUT, maxPayload: 1_000_000 });
    };

    describe("HTTP long-polling", () => {
      scenario("successfully opens a session", async () => {
        const response = await fetch(address(strict.url, path));
        assert.equal(response.status, 200);
        const text = await response.text();
        assert.equal(text[0], "0");
        check(JSON.parse(text.slice(1)), ["websocket"]);
      });

      for (const [parameter, key] of [["'EIO'", "EIO"], ["'transport'", "transport"]]) {
        scenario(`fails with an invalid ${parameter} query parameter`, async () => {
          for (const value of [undefined, "abc"]) assert.equal((await fetch(address(server.url, path, { [key]: value }))).status, 400);
        });
      }

      scenario("fails with an invalid request method", async () => {
        for (const method of ["POST", "PUT"]) assert.equal((await fetch(address(server.url, path), { method })).status, 400);
      });
    });

    describe("WebSocket", () => {
      scenario("successfully opens a session", async () => {
        const socket = await Frames.session(strict, path);
        check(socket.handshake, []);
        socket.close();
      });

      for (const [parameter, key] of [["'EIO'", "EIO"], ["'transport'", "transport"]]) {
        scenario(`fails with an invalid ${parameter} query parameter`, async () => {
          for (const value of [undefined, "abc"]) {
            const socket = Frames.connect(address(server.ws, path, { transport: "websocket", [key]: value }));
            await socket.closed();
          }
        });
      }
    });
  });
}

function heartbeat(path) {
  describe("heartbeat", () => {
    describe("HTTP long-polling", () => {
      scenario("sends ping/pong packets", async () => {
        const session = await Polling.open(patient, path);
        for (let round = 1; round <= 3; round += 1) {
          const get = await session.get();
          assert.equal(get.status, 200);
          assert.equal(await get.text(), "2");
          assert.equal((await session.post("3")).status, 200);
        }
      });

      scenario("closes the session upon ping timeout", async () => {
        const session = await Polling.open(strict, path);
        // The server counts its own time: until it is over, it answers polls, with the ping and with the end of the session.
        await until("the session is closed", async () => (await session.get()).status === 400);
      });
    });

    describe("WebSocket", () => {
      scenario("sends ping/pong packets", async () => {
        const socket = await Frames.session(patient, path);
        for (let round = 1; round <= 3; round += 1) {
          assert.equal(await socket.next(), "2");
          socket.send("3");
        }
        socket.close();
      });

      scenario("closes the session upon ping timeout", async () => {
        const socket = await Frames.session(strict, path);
        await socket.closed();
        assert.equal(await socket.next(), "2");
      });
    });
  });
}

function close(path) {
  describe("close", () => {
    describe("HTTP long-polling", () => {
      scenario("forcefully closes the session", async () => {
        // Nothing tells when the server holds a poll. If the end of the session overtakes it, it is tried with another.
        const [session, answer] = await until("a poll is held when the session is closed", async () => {
          const session = await Polling.open(server, path);
          const poll = session.get();
          await pause(HELD);
          assert.equal((await session.post("1")).status, 200);
          const answer = await poll;
          return answer.status === 200 && [session, await answer.text()];
        });
        assert.equal(answer, "6");
        assert.equal((await session.get()).status, 400);
      });
    });

    describe("WebSocket", () => {
      scenario("forcefully closes the session", async () => {
        const socket = await Frames.session(server, path);
        socket.send("1");
        await socket.closed();
      });
    });
  });
}

/** `exchanges` are what the client says after the upgrade and how the answer begins. */
function upgrade(path, exchanges) {
  const exchange = async (socket, [said, expected]) => {
    socket.send(said);
    for (let answer = ""; !expected.test(answer); answer = await socket.message());
  };

  describe("upgrade", () => {
    scenario("successfully upgrades from HTTP long-polling to WebSocket", async () => {
      const session = await Polling.open(server, path);
      const socket = session.upgrade();
      await socket.opened();
      socket.send("2probe");
      assert.equal(await socket.next(), "3probe");
      const get = await session.get();
      assert.equal(get.status, 200);
      assert.equal(await get.text(), "6");
      socket.send("5");
      await exchange(socket, exchanges[0]);
      socket.close();
    });

    scenario("ignores HTTP requests with same sid after upgrade", async () => {
      const session = await Polling.open(server, path);
      const socket = await session.upgraded();
      // The answer over WebSocket shows that the server has seen the upgrade, which went another way than the request.
      await exchange(socket, exchanges[0]);
      assert.equal((await session.get()).status, 400);
      await exchange(socket, exchanges[1]);
      socket.close();
    });

    scenario("ignores WebSocket connection with same sid after upgrade", async () => {
      const session = await Polling.open(server, path);
      const socket = await session.upgraded();
      const second = session.upgrade();
      assert.equal((await second.closed()).error, undefined, "the second WebSocket is opened and then closed");
      await exchange(socket, exchanges[0]);
      socket.close();
    });
  });
}
