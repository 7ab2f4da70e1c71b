// What has been said, and to whom: the page's state, free of the document and of the network.

import { LOBBY } from "./session.js";

/** Older messages leave the page first; it is a window on the talk, not its archive. */
const KEPT_PER_CONVERSATION = 500;

/** Messages of one person closer than this, in milliseconds, are shown as one group. */
const GROUPED_WITHIN = 180_000;

export const lobbyKey = `room ${LOBBY}`;
export const personKey = (name) => `person ${name}`;

export class Conversations {
  #all = new Map();
  #lastId = 0;

  constructor() {
    this.online = new Set();
    this.add({ key: lobbyKey, title: "Lobby", person: null });
  }

  add({ key, title, person }) {
    const conversation = { key, title, person, messages: [], unread: 0 };
    this.#all.set(key, conversation);
    return conversation;
  }

  get(key) {
    return this.#all.get(key);
  }

  lobby() {
    return this.#all.get(lobbyKey);
  }

  withPerson(name) {
    return this.#all.get(personKey(name)) ?? this.add({ key: personKey(name), title: name, person: name });
  }

  /** One conversation for each person who is here or with whom something was said, those who are here first. */
  people(me) {
    for (const name of this.online) if (name !== me) this.withPerson(name);
    return [...this.#all.values()]
      .filter(({ person, messages }) => person !== null && person !== me && (this.online.has(person) || messages.length > 0))
      .sort((a, b) => this.online.has(b.person) - this.online.has(a.person) || a.title.localeCompare(b.title));
  }

  /** Messages nobody has looked at, in every conversation but `except`. */
  unread(except) {
    return [...this.#all.values()].reduce((sum, { key, unread }) => sum + (key === except ? 0 : unread), 0);
  }

  /** Adds a message and says whether it continues the group before it. */
  record(conversation, { from, text, time, mine = false, fate = "sent", note = false }) {
    const before = conversation.messages.at(-1);
    const follows = Boolean(before && !note && !before.note && before.from === from && time - before.time < GROUPED_WITHIN);
    const message = { id: ++this.#lastId, from, text, time, mine, fate, note, follows, detail: "", echoed: false };
    conversation.messages.push(message);
    if (conversation.messages.length > KEPT_PER_CONVERSATION) conversation.messages.shift();
    return message;
  }

  /** The message of ours that this lobby message is the echo of, if we sent it from this page. */
  claimEcho({ text, time }) {
    const message = this.lobby().messages.find((one) => one.mine && !one.echoed && one.fate !== "failed" && one.text === text);
    if (message) Object.assign(message, { echoed: true, fate: "sent", time });
    return message;
  }
}
