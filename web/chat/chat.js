// The document: draws the conversations and turns what the person does into messages.

import { Conversations, lobbyKey } from "./conversations.js";
import { openSession } from "./session.js";

const STORED_NAME = "sockeye.name";
/** When more people than this come or go at once, they are counted, not named. */
const MOST_NAMED = 3;
const STATES = { connecting: "Connecting", online: "Online", reconnecting: "Reconnecting", refused: "Refused", closed: "Disconnected" };

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const entries = new Map();

let session = null;
let me = "";
let state = "closed";
let trouble = "";
let isShared = false;
let conversations = new Conversations();
let current = lobbyKey;

page.join.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = page.name.value.trim();
  if (name) join(name);
});

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = page.draft.value.trim();
  if (!text) return;
  page.draft.value = "";
  fitDraft();
  say(conversations.get(current), text);
});

page.draft.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    page.composer.requestSubmit();
  }
});

page.draft.addEventListener("input", fitDraft);
page.leave.addEventListener("click", () => leave());
page.again.addEventListener("click", () => session.reconnect());
page.back.addEventListener("click", () => {
  page.chat.dataset.view = "list";
  entries.get(current)?.button.focus();
});

page.list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...page.list.querySelectorAll(".entry")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  if (session && isRead(current)) select(current, { focus: false });
});

const remembered = sessionStorage.getItem(STORED_NAME);
if (!globalThis.io) showRefusal("The client library could not be loaded from this server. Reload the page once it is back.");
else if (remembered) join(remembered);

// Coming and going.

function join(name) {
  me = name;
  conversations = new Conversations();
  entries.forEach(({ item }) => item.remove());
  entries.clear();
  current = lobbyKey;
  page.log.dataset.key = "";
  page.enter.disabled = true;
  page.refusal.hidden = true;
  session?.close();
  session = openSession(name, {
    state: changeState,
    named(known) {
      me = known;
      drawAll();
    },
    trouble(text) {
      trouble = text;
      drawState();
    },
    shared(yes) {
      isShared = yes;
      drawState();
    },
    online(names) {
      conversations.online = new Set(names);
      drawAll();
    },
    changed(joined, left) {
      const others = (person) => person !== me;
      const came = joined.filter((person) => others(person) && !conversations.online.has(person));
      const gone = left.filter((person) => conversations.online.delete(person) && others(person));
      came.forEach((person) => conversations.online.add(person));
      for (const [people, verb] of [[came, "joined"], [gone, "left"]]) {
        if (people.length > MOST_NAMED) note(`${people.length} people ${verb}`);
        else people.forEach((person) => note(`${person} ${verb}`));
      }
    },
    lobby(message) {
      const mine = message.from === me;
      const echoed = mine && conversations.claimEcho(message);
      if (echoed) redraw(conversations.lobby(), echoed);
      else arrive(conversations.lobby(), { ...message, mine });
    },
    direct(message) {
      arrive(conversations.withPerson(message.from), { ...message, mine: message.from === me });
    },
  });
}

function leave(reason = "") {
  session?.close();
  session = null;
  sessionStorage.removeItem(STORED_NAME);
  page.chat.hidden = true;
  page.welcome.hidden = false;
  page.enter.disabled = false;
  page.name.value = me;
  document.title = "Sockeye";
  showRefusal(reason);
  page.name.select();
}

function showRefusal(reason) {
  page.refusal.textContent = reason;
  page.refusal.hidden = !reason;
}

function changeState(kind, reason = "") {
  state = kind;
  trouble = reason;
  // After a reconnect the server says it again.
  if (kind !== "online") isShared = false;
  if (kind === "refused") return leave(`The server refused: ${reason}`);
  if (kind === "online") {
    sessionStorage.setItem(STORED_NAME, me);
    if (page.chat.hidden) enterChat();
  } else if (page.chat.hidden && kind === "reconnecting") {
    showRefusal(`${reason} Trying again…`);
  }
  drawAll();
}

function enterChat() {
  page.welcome.hidden = true;
  page.chat.hidden = false;
  page.enter.disabled = false;
  select(lobbyKey);
}

// Talking.

async function say(conversation, text) {
  const message = conversations.record(conversation, { from: me, text, time: Date.now(), mine: true, fate: "sending" });
  append(conversation, message, { scroll: true });
  await deliver(conversation, message);
}

async function deliver(conversation, message) {
  Object.assign(message, { fate: "sending", detail: "" });
  redraw(conversation, message);
  try {
    const { person } = conversation;
    const answer = person === null ? await session.toLobby(message.text) : await session.toPerson(person, message.text);
    if (person === null) message.fate = "sent";
    else if (answer.delivered > 0) Object.assign(message, { fate: "delivered", detail: "Delivered" });
    else Object.assign(message, { fate: "missed", detail: `${person} is not online.` });
  } catch (error) {
    Object.assign(message, { fate: "failed", detail: `Not sent: ${error.message}.` });
  }
  redraw(conversation, message);
  drawList();
}

function arrive(conversation, message) {
  const recorded = conversations.record(conversation, message);
  if (!recorded.mine && !isRead(conversation.key)) conversation.unread += 1;
  append(conversation, recorded);
}

/** Whether somebody is looking at a conversation. On a phone the list hides the one that was open last. */
function isRead(key) {
  return key === current && !document.hidden && page.chat.dataset.view === "conversation";
}

function note(text) {
  const recorded = conversations.record(conversations.lobby(), { from: "", text, time: Date.now(), note: true });
  append(conversations.lobby(), recorded);
  drawAll();
}

// Drawing. Text from people only ever enters the document as text.

function select(key, { focus = true } = {}) {
  const changed = current !== key || page.log.dataset.key !== key;
  current = key;
  const conversation = conversations.get(key);
  conversation.unread = 0;
  page.chat.dataset.view = "conversation";
  if (changed || page.log.childElementCount === 0) {
    page.log.dataset.key = key;
    page.log.replaceChildren(...conversation.messages.map((message) => drawMessage(conversation, message)));
    page.log.scrollTop = page.log.scrollHeight;
  }
  drawAll();
  if (focus && matchMedia("(hover: hover)").matches) page.draft.focus();
}

function drawAll() {
  drawState();
  drawHeading();
  drawList();
}

function drawState() {
  page.state.dataset.state = state;
  page.state.textContent = STATES[state];
  const notice = trouble || (isShared ? `Another device is connected as ${me}. This server takes names without proof, so it may be somebody else's.` : "");
  page.notice.hidden = !notice;
  page["notice-text"].textContent = state === "reconnecting" ? `${notice} Reconnecting…` : notice;
  page.again.hidden = state !== "closed";
  page["me-name"].textContent = me;
  paintAvatar(page["me-avatar"], me);
}

function drawHeading() {
  const { title, person } = conversations.get(current);
  page.title.textContent = title;
  page.subtitle.textContent =
    person === null ? `${conversations.online.size === 1 ? "Only you are" : `${conversations.online.size} people are`} here` : conversations.online.has(person) ? "Online" : "Not online";
  page.log.dataset.empty = person === null ? "Nothing has been said since you came. Say hello!" : `Only you and ${person} see what is said here.`;
  page.draft.placeholder = person === null ? "Write to everyone" : `Write to ${person}`;
}

function drawList() {
  const people = conversations.people(me);
  const others = people.filter(({ person }) => conversations.online.has(person)).length;
  arrange(page.rooms, [conversations.lobby()]);
  arrange(page.people, people);
  page["people-count"].textContent = others;
  page.alone.hidden = people.length > 0;
  const elsewhere = conversations.unread(current);
  page.elsewhere.textContent = elsewhere;
  page.elsewhere.hidden = elsewhere === 0;
  const unread = conversations.unread();
  document.title = unread > 0 ? `(${unread}) Sockeye` : "Sockeye";
}

/** Brings the list to the given order, moving only what is out of place so that the keyboard focus stays. */
function arrange(list, wanted) {
  const items = wanted.map((conversation) => drawEntry(conversation));
  for (const item of [...list.children]) if (!items.includes(item)) item.remove();
  items.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

function drawEntry({ key, title, person, messages, unread }) {
  let entry = entries.get(key);
  if (!entry) {
    const item = make("li");
    const button = item.appendChild(make("button", "entry"));
    button.type = "button";
    button.addEventListener("click", () => select(key));
    const avatar = button.appendChild(make("span", person === null ? "avatar room" : "avatar"));
    avatar.setAttribute("aria-hidden", "true");
    if (person === null) avatar.textContent = "#";
    else paintAvatar(avatar, person);
    const name = button.appendChild(make("span", "name", title));
    const preview = name.appendChild(make("span", "preview"));
    const badge = button.appendChild(make("span", "badge"));
    entry = { item, button, preview, badge };
    entries.set(key, entry);
  }
  const here = person !== null && conversations.online.has(person);
  const last = messages.findLast(({ note }) => !note);
  entry.button.setAttribute("aria-current", String(key === current));
  entry.button.classList.toggle("here", here);
  entry.button.classList.toggle("away", person !== null && !here);
  entry.preview.textContent = last ? `${last.mine ? "You: " : person === null ? `${last.from}: ` : ""}${last.text}` : person === null ? "Talk with everyone" : here ? "Online" : "Not online";
  entry.badge.textContent = unread;
  entry.badge.hidden = unread === 0;
  entry.badge.setAttribute("aria-label", `${unread} unread`);
  return entry.item;
}

function append(conversation, message, { scroll = false } = {}) {
  drawList();
  if (page.log.dataset.key !== conversation.key) return;
  const atEnd = page.log.scrollHeight - page.log.scrollTop - page.log.clientHeight < 80;
  page.log.append(drawMessage(conversation, message));
  while (page.log.childElementCount > conversation.messages.length) page.log.firstElementChild.remove();
  if (scroll || atEnd) page.log.scrollTop = page.log.scrollHeight;
}

function redraw(conversation, message) {
  if (page.log.dataset.key !== conversation.key) return;
  page.log.querySelector(`[data-id="${message.id}"]`)?.replaceWith(drawMessage(conversation, message));
}

function drawMessage(conversation, message) {
  if (message.note) return make("p", "note", message.text);
  const article = make("article", `message${message.mine ? " mine" : ""}${message.follows ? " follows" : ""}`);
  article.dataset.id = message.id;
  article.dataset.fate = message.fate;
  const avatar = article.appendChild(make("span", "avatar"));
  avatar.setAttribute("aria-hidden", "true");
  paintAvatar(avatar, message.from);
  const head = article.appendChild(make("header", "head"));
  head.append(make("b", "", message.from));
  const at = new Date(message.time);
  const time = head.appendChild(make("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  time.dateTime = at.toISOString();
  article.append(make("div", "bubble", message.text));
  if (message.detail) {
    const fate = article.appendChild(make("div", "fate", message.detail));
    if (message.fate === "failed" || message.fate === "missed") {
      const retry = fate.appendChild(make("button", "", "Try again"));
      retry.type = "button";
      retry.addEventListener("click", () => deliver(conversation, message));
    }
  }
  return article;
}

function paintAvatar(element, name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  element.style.setProperty("--hue", (hue * 137) % 360);
  element.textContent = [...name].slice(0, 2).join("").toLocaleUpperCase();
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function fitDraft() {
  page.draft.style.height = "auto";
  page.draft.style.height = `${page.draft.scrollHeight + 2}px`;
}
