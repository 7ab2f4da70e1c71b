// The wire: one Socket.IO connection to namespace `/imchat` and the events the server speaks there.

export const LOBBY = "lobby";

/** How long an answer may take, in milliseconds, before a message counts as not sent. */
const ANSWER_LIMIT = 10_000;

/**
 * Connects as `name` and reports what happens to `on`:
 * `state(kind, reason)` with kind connecting, online, reconnecting, refused or closed; `named(name)` as the server knows us;
 * `online(names)`, `changed(joined, left)`; `lobby(message)` and `direct(message)`, each `{from, text, time}`;
 * `trouble(text)` for something the person should read; `shared(yes)` whether others are connected by our name.
 */
export function openSession(name, on) {
  const socket = globalThis.io("/imchat", { auth: { token: name }, forceNew: true });
  // On a new connection the client library first sends what was said without one, before any room is entered; so what is
  // said to the lobby waits here until that is entered.
  let lobby = door();

  on.state("connecting");

  socket.on("connect", async () => {
    on.state("online");
    // Rooms belong to a connection, so the lobby is entered again after every reconnect.
    const answer = await ask("enter_room", { room: LOBBY }).catch((error) => ({ ok: false, error: error.message }));
    if (!socket.connected) return;
    if (!answer?.ok) on.trouble(`The lobby could not be entered: ${answer?.error ?? "no reason given"}.`);
    // If it was not entered, the server says so to whoever speaks.
    lobby.open();
  });

  socket.on("connect_error", (error) => {
    // An active socket tries again by itself; an inactive one was refused by the server.
    if (socket.active) on.state("reconnecting", "The server does not answer.");
    else on.state("refused", error.message);
  });

  socket.on("disconnect", (reason) => {
    if (lobby.isOpen) lobby = door();
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

  socket.on("shared_name", (data) => on.shared(data?.shared === true));

  socket.on("chat", (data) => on.direct(received(data)));

  async function ask(event, data) {
    try {
      return await socket.timeout(ANSWER_LIMIT).emitWithAck(event, data);
    } catch {
      throw late();
    }
  }

  function late() {
    return new Error(socket.connected ? "the server did not answer in time" : "you are not connected");
  }

  /** Sends and gives the server's answer; throws an error that says why nothing was sent. */
  async function send(event, data) {
    const answer = await ask(event, data);
    if (!answer?.ok) throw new Error(answer?.error ?? "the server refused without a reason");
    return answer;
  }

  return {
    async toLobby(text) {
      if (!(await lobby.opened(ANSWER_LIMIT))) throw late();
      return send("message", { room: LOBBY, message: text });
    },
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

/** Something to wait for, but not for longer than so many milliseconds. */
function door() {
  let open;
  const opening = new Promise((resolve) => {
    open = () => resolve(true);
  });
  return {
    isOpen: false,
    open() {
      this.isOpen = true;
      open();
    },
    /** Whether it has been opened in time. */
    opened: (limit) => Promise.race([opening, new Promise((resolve) => setTimeout(resolve, limit, false))]),
  };
}

function received({ from, message, sendtime }) {
  const text = typeof message === "string" ? message : JSON.stringify(message) ?? "";
  return { from: String(from), text, time: typeof sendtime === "number" ? sendtime * 1000 : Date.now() };
}
