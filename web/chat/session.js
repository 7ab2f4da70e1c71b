// The wire: one Socket.IO connection to namespace `/imchat` and the events the server speaks there.

export const LOBBY = "lobby";

/** How long an answer may take, in milliseconds, before a message counts as not sent. */
const ANSWER_LIMIT = 10_000;

/**
 * Connects as `name` and reports what happens to `on`:
 * `state(kind, reason)` with kind connecting, online, reconnecting, refused or closed; `named(name)` as the server knows us;
 * `online(names)`, `changed(joined, left)`; `lobby(message)` and `direct(message)`, each `{from, text, time}`;
 * `trouble(text)` for something the person should read.
 */
export function openSession(name, on) {
  const socket = globalThis.io("/imchat", { auth: { token: name }, forceNew: true });

  on.state("connecting");

  socket.on("connect", async () => {
    on.state("online");
    // Rooms belong to a connection, so the lobby is entered again after every reconnect.
    const answer = await ask("enter_room", { room: LOBBY }).catch((error) => ({ ok: false, error: error.message }));
    if (!answer?.ok && socket.connected) on.trouble(`The lobby could not be entered: ${answer?.error ?? "no reason given"}.`);
  });

  socket.on("connect_error", (error) => {
    // An active socket tries again by itself; an inactive one was refused by the server.
    if (socket.active) on.state("reconnecting", "The server does not answer.");
    else on.state("refused", error.message);
  });

  socket.on("disconnect", (reason) => {
    if (socket.active) on.state("reconnecting", "The connection was lost.");
    else if (reason === "io server disconnect") on.state("closed", "The server ended this conversation.");
  });

  socket.on("presence", (change) => {
    if (Array.isArray(change?.online)) on.online(change.online.map(String));
    // One name, or several where many come and go at once.
    const [joined, left] = [change?.joined, change?.left].map((names) => [names ?? []].flat().map(String));
    if (joined.length + left.length > 0) on.changed(joined, left);
  });

  socket.on("message", (data) => {
    if (data?.room === LOBBY && data.from !== undefined) on.lobby(received(data));
    else if (typeof data?.user === "string") on.named(data.user);
  });

  socket.on("chat", (data) => on.direct(received(data)));

  async function ask(event, data) {
    try {
      return await socket.timeout(ANSWER_LIMIT).emitWithAck(event, data);
    } catch {
      throw new Error(socket.connected ? "the server did not answer in time" : "you are not connected");
    }
  }

  /** Sends and gives the server's answer; throws an error that says why nothing was sent. */
  async function send(event, data) {
    const answer = await ask(event, data);
    if (!answer?.ok) throw new Error(answer?.error ?? "the server refused without a reason");
    return answer;
  }

  return {
    toLobby: (text) => send("message", { room: LOBBY, message: text }),
    toPerson: (person, text) => send("chat", { to: person, message: text, type: "text" }),
    reconnect() {
      on.state("connecting");
      socket.connect();
    },
    close() {
      socket.off();
      socket.disconnect();
    },
  };
}

function received({ from, message, sendtime }) {
  const text = typeof message === "string" ? message : JSON.stringify(message) ?? "";
  return { from: String(from), text, time: typeof sendtime === "number" ? sendtime * 1000 : Date.now() };
}
