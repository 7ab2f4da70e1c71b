// The pages in headless Chromium: two tabs chat, the monitor's charts move. Screenshots are kept under `artifacts/`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { chromium } from "playwright-core";
import { artifacts, scenario, startProgram, stopAll, until } from "./harness.mjs";

const CHROMIUM = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PHONE = { width: 390, height: 780 };

let program;
let browser;
let profile;
before(async () => {
  await mkdir(artifacts, { recursive: true });
  program = await startProgram();
  profile = await mkdtemp(join(tmpdir(), "sockeye-chromium-"));
  browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, headless: true, args: FLAGS, viewport: { width: 1200, height: 760 } });
  browser.setDefaultTimeout(15_000);
});
after(async () => {
  await browser?.close();
  await rm(profile, { recursive: true, force: true });
  await stopAll();
});

/** What the browser says when a client itself gives up a WebSocket it was still opening, as on leaving in mid-upgrade. */
const GIVEN_UP = /WebSocket is closed before the connection is established/;

/** A new tab. What its console complains about, and every request that leaves this machine, fails the test at its end. */
async function tab(t, path, { expected = /^$/, base = program.url } = {}) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => /127\.0\.0\.1|^data:/.test(request.url()) || complaints.push(`request to ${request.url()}`));
  t.after(async () => {
    await page.close();
    assert.deepEqual(complaints.filter((text) => !expected.test(text) && !GIVEN_UP.test(text)), []);
  });
  await page.goto(base + path);
  return page;
}

async function enter(t, name, options) {
  const page = await tab(t, "/", options);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join the chat" }).click();
  await page.getByRole("status").filter({ hasText: "Online" }).waitFor();
  return page;
}

/** A promise and what fulfils it. */
function deferred() {
  let resolve;
  const promise = new Promise((fulfil) => (resolve = fulfil));
  return { promise, resolve };
}

async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
}

const bubble = (page, text) => page.getByRole("log").locator(".bubble").filter({ hasText: text });
const person = (page, name) => page.locator("#people").getByRole("button", { name });
const shot = (page, name) => page.screenshot({ path: join(artifacts, `${name}.png`), fullPage: true });

describe("the chat page", () => {
  scenario("two tabs choose names, see each other and chat in the lobby and one to one", async (t) => {
    const ada = await enter(t, "Ada");
    const bob = await enter(t, "Bob");
    await person(ada, "Bob").waitFor();
    await person(bob, "Ada").waitFor();

    await say(ada, "Hello, lobby");
    await bubble(bob, "Hello, lobby").waitFor();
    assert.equal(await bubble(ada, "Hello, lobby").count(), 1, "what one says is shown once to oneself");
    await say(bob, "Hello, Ada");
    await bubble(ada, "Hello, Ada").waitFor();
    for (const _ of ["once", "twice"]) await say(ada, "The same again");
    await until("both are heard", async () => (await bubble(bob, "The same again").count()) === 2);
    await until("both are shown", async () => (await bubble(ada, "The same again").count()) === 2);
    await until("both are sent", async () => (await ada.locator('[data-fate="sending"]').count()) === 0);
    await shot(ada, "chat-lobby");

    await person(ada, "Bob").click();
    await say(ada, "Just between us");
    await person(bob, "Ada").getByText("1", { exact: true }).waitFor();
    assert.equal(await bubble(bob, "Just between us").count(), 0, "it is not in Bob's lobby");
    await person(bob, "Ada").click();
    await bubble(bob, "Just between us").waitFor();
    await say(bob, "Understood");
    await bubble(ada, "Understood").waitFor();
    await bob.getByText("Delivered").waitFor();
    await shot(ada, "chat-direct");
    assert.equal(await bubble(bob, "Understood").count(), 1);
  });

  scenario("markup in names and messages stays text", async (t) => {
    const name = '<img src=x onerror="document.title=1">';
    const eve = await enter(t, name);
    const ada = await enter(t, "Ada M");
    await say(eve, "<b>bold</b><script>document.title=1</script>");
    await bubble(ada, "<b>bold</b><script>document.title=1</script>").waitFor();
    await person(ada, name).waitFor();
    assert.equal(await ada.locator("#log img, #log b:not(.head b), #log script, #people img").count(), 0);
    assert.equal(await ada.title(), "Sockeye");
  });

  scenario("a person who leaves is seen to leave, and a message to nobody says so", async (t) => {
    const ada = await enter(t, "Ada L");
    const bob = await enter(t, "Bob L");
    await person(ada, "Bob L").click();
    await say(ada, "Are you there?");
    await bubble(bob, "Are you there?").waitFor({ state: "hidden" });
    await ada.getByText("Delivered").waitFor();
    await bob.getByRole("button", { name: "Leave" }).click();
    await ada.locator("#subtitle").filter({ hasText: "Not online" }).waitFor();
    await say(ada, "And now?");
    await ada.locator('[data-fate="missed"], [data-fate="failed"]').waitFor();
    await shot(ada, "chat-not-online");
  });

  scenario("a refused name shows the server's reason and can be corrected", async (t) => {
    // The client is refused while it still polls; its next poll then finds the session gone.
    const page = await tab(t, "/", { expected: /status of 400/ });
    // The field holds at most 64 characters, so what is typed is refused for its kind; a stored name for its length.
    await page.evaluate(() => sessionStorage.setItem("sockeye.name", "x".repeat(65)));
    await page.reload();
    const refusal = page.getByRole("alert");
    await refusal.filter({ hasText: /name|character/i }).waitFor();
    await shot(page, "chat-refused");
    await page.getByLabel("Your name").fill("Better");
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: "Online" }).waitFor();
  });

  scenario("a reload keeps the name, a second tab asks for its own", async (t) => {
    const ada = await enter(t, "Ada R");
    await ada.reload();
    await ada.getByRole("status").filter({ hasText: "Online" }).waitFor();
    assert.equal(await ada.locator("#me-name").textContent(), "Ada R");
    const other = await tab(t, "/");
    assert.equal(await other.getByLabel("Your name").inputValue(), "");
  });

  scenario("says that it reconnects, does so, and goes on", async (t) => {
    const first = await startProgram();
    const lost = /ERR_CONNECTION_REFUSED|WebSocket connection|Failed to load resource/;
    const ada = await enter(t, "Ada", { base: first.url, expected: lost });
    const bob = await enter(t, "Bob", { base: first.url, expected: lost });
    await say(ada, "Before");
    await bubble(bob, "Before").waitFor();
    await first.stop();
    await ada.getByRole("status").filter({ hasText: "Reconnecting" }).waitFor();
    await shot(ada, "chat-reconnecting");
    await startProgram({ port: first.port });
    for (const page of [ada, bob]) await page.getByRole("status").filter({ hasText: "Online" }).waitFor({ timeout: 30_000 });
    await person(ada, "Bob").waitFor();
    await say(ada, "After");
    await bubble(bob, "After").waitFor();
  });

  scenario("what is written to the lobby while reconnecting is said there afterwards", async (t) => {
    const first = await startProgram();
    const lost = /ERR_CONNECTION_REFUSED|WebSocket connection|Failed to load resource/;
    const ada = await enter(t, "Ada", { base: first.url, expected: lost });
    const bob = await enter(t, "Bob", { base: first.url, expected: lost });
    // Ada's way back is barred until she has written and Bob is there to read it.
    const { promise: opened, resolve: open } = deferred();
    await ada.route("**/socket.io/?*", (route) => opened.then(() => route.continue()));
    await first.stop();
    for (const page of [ada, bob]) await page.getByRole("status").filter({ hasText: "Reconnecting" }).waitFor();
    await startProgram({ port: first.port });
    await bob.getByRole("status").filter({ hasText: "Online" }).waitFor({ timeout: 30_000 });
    await say(bob, "Here again");
    await bob.locator('[data-fate="sent"]').filter({ hasText: "Here again" }).waitFor();
    await say(ada, "Meanwhile");
    open();
    await bubble(bob, "Meanwhile").waitFor({ timeout: 30_000 });
    assert.equal(await bubble(ada, "Meanwhile").count(), 1);
  });

  scenario("works on a phone, by touch of one hand, in the dark", async (t) => {
    const ada = await enter(t, "Ada P");
    const bob = await tab(t, "/");
    await bob.setViewportSize(PHONE);
    await bob.emulateMedia({ colorScheme: "dark" });
    await shot(bob, "chat-phone-welcome");
    await bob.getByLabel("Your name").fill("Bob P");
    await bob.keyboard.press("Enter");
    await person(ada, "Bob P").click();
    await say(ada, "On the phone?");
    await bob.getByRole("button", { name: "Chats" }).getByText("1").waitFor();
    await bob.getByRole("button", { name: "Chats" }).click();
    await shot(bob, "chat-phone-list");
    await person(bob, "Ada P").click();
    await bubble(bob, "On the phone?").waitFor();
    await say(bob, "A message that is long enough to need several lines on a screen this narrow, and has nowhereelsetobreakthanhereinthemiddleofaverylongword.");
    await shot(bob, "chat-phone-direct");
    const overflow = await bob.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(overflow, 0, "nothing sticks out at the side");
  });

  scenario("whoever comes back to the list on a phone finds the list, and what is unread there", async (t) => {
    const ada = await enter(t, "Ada H");
    const bob = await tab(t, "/");
    await bob.setViewportSize(PHONE);
    await bob.getByLabel("Your name").fill("Bob H");
    await bob.keyboard.press("Enter");
    await bob.getByRole("button", { name: "Chats" }).click();
    await person(bob, "Ada H").click();
    await bob.getByRole("button", { name: "Chats" }).click();
    // As a browser says that another tab is looked at, and later this one again.
    const looked = (hidden) =>
      bob.evaluate((value) => {
        Object.defineProperty(document, "hidden", { configurable: true, value });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await person(ada, "Bob H").click();
    await say(ada, "While the list is shown");
    await person(bob, "Ada H").getByText("1", { exact: true }).waitFor();
    await looked(true);
    await say(ada, "Not seen yet");
    const badge = person(bob, "Ada H").getByText("2", { exact: true });
    await badge.waitFor();
    await looked(false);
    assert.ok(await badge.isVisible(), "it is in the list, unread");
    await person(bob, "Ada H").click();
    await bubble(bob, "Not seen yet").waitFor();
    await looked(true);
    await say(ada, "Nor this");
    await until("it is unread", async () => (await bob.title()) === "(1) Sockeye");
    await looked(false);
    assert.equal(await bob.title(), "Sockeye", "whoever comes back to a conversation has read it");
  });

  scenario("can be used with the keyboard alone", async (t) => {
    const bob = await enter(t, "Bob K");
    const page = await tab(t, "/");
    await page.keyboard.type("Ada K");
    await page.keyboard.press("Enter");
    await person(page, "Bob K").waitFor();
    await page.keyboard.type("typed at once");
    await page.keyboard.press("Enter");
    await bubble(bob, "typed at once").waitFor();
    await page.locator("#rooms button").focus();
    for (let step = 0; step < 20 && !(await person(page, "Bob K").evaluate((button) => button === document.activeElement)); step += 1) {
      await page.keyboard.press("ArrowDown");
    }
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Bob K" }).waitFor();
  });
});

describe("the monitor page", () => {
  scenario("draws every core, memory and connections, and its drawing changes", async (t) => {
    const page = await tab(t, "/monitor");
    await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
    // A processor that is busy all the time draws a line without height, which does not count as visible.
    await page.locator("#cpu-chart .line").first().waitFor({ state: "attached" });
    const drawing = () => page.locator("#cpu-chart svg").innerHTML();
    const latest = () => page.locator("#latest").textContent();
    const [firstDrawing, firstSample] = [await drawing(), await latest()];
    assert.match(firstSample, /^Sample \d+ at \d\d:\d\d\.$/);
    await until("another sample", async () => (await latest()) !== firstSample);
    assert.notEqual(await drawing(), firstDrawing);
    const cores = await page.locator("#cores li").count();
    assert.ok(cores >= 1);
    assert.equal(await page.locator("#cpu-chart .line").count(), cores + 1, "a line for each core and the average");
    assert.match(await page.locator("#memory-now").textContent(), /^\d+\.\d GiB$/);
    assert.ok(Number(await page.locator("#connections-now").textContent()) >= 1);
    await page.locator("#cpu-chart").hover();
    await shot(page, "monitor");
    await page.setViewportSize(PHONE);
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(page, "monitor-phone");
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  });
});

describe("pages of other applications", () => {
  scenario("a dashboard page with the served bundle reads samples as it always did", async (t) => {
    const page = await tab(t, "/monitor");
    await page.addScriptTag({ url: "/socket.io/socket.io.min.js" });
    const sample = await page.evaluate(async () => {
      const socket = io.connect(`${location.protocol}//${document.domain}:${location.port}/test`, { forceNew: true });
      const result = await new Promise((resolve) => socket.on("server_response", resolve));
      socket.disconnect();
      return { time: result.data[0], cpu: parseFloat(result.data[1]) };
    });
    assert.match(sample.time, /^\d\d:\d\d$/);
    assert.ok(sample.cpu >= 0 && sample.cpu <= 100);
  });

  scenario("a page with the browser's own WebSocket talks to everyone and to one", async (t) => {
    const page = await tab(t, "/");
    const answers = await page.evaluate(async () => {
      const open = (path) =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket(`ws://${location.host}${path}`);
          socket.onopen = () => resolve(socket);
          socket.onerror = () => reject(new Error(`no connection to ${path}`));
        });
      const heard = (socket) => new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
      const [everyone, ada, bob] = [await open("/ws/"), await open("/ws/vue-ada/"), await open("/ws/vue-bob/")];
      const broadcast = heard(everyone);
      everyone.send("to everyone");
      const direct = heard(bob);
      ada.send(JSON.stringify({ message: "to Bob", to_user: "vue-bob" }));
      return [await broadcast, JSON.parse(await direct)];
    });
    assert.deepEqual(answers, ["to everyone", { message: "to Bob", to_user: "vue-bob", from: "vue-ada" }]);
  });
});
