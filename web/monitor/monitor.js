// The monitor: namespace `/test`, event `server_response`, `{data: ["MM:SS", [percent of each core]], count, memory, connections, log}`.

import { LineChart } from "./chart.js";

/** Five minutes of samples, one every five seconds. */
const SLOTS = 60;
const GIB = 2 ** 30;
const ACCENT = "var(--accent)";
const STATES = { connecting: "Connecting", online: "Live", reconnecting: "Reconnecting", refused: "Refused" };

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const percent = (value) => `${Math.round(value)} %`;
const gibibytes = (value) => `${(value / GIB).toFixed(1)} GiB`;

let memoryTotal = GIB;

const charts = {
  cpu: new LineChart(page["cpu-chart"], {
    slots: SLOTS,
    top: () => 100,
    format: percent,
    title: (sample) => (sample ? `Processor load over time, now ${percent(sample.lines[0].value)} on average` : "Processor load, no sample yet"),
    describe: ({ label, lines }) => [label, `average ${percent(lines[0].value)}`, ...lines.slice(1, 13).map(({ value }, core) => `core ${core} ${percent(value)}`)].join("\n"),
  }),
  memory: new LineChart(page["memory-chart"], {
    slots: SLOTS,
    top: () => memoryTotal,
    format: (value) => `${(value / GIB).toFixed(1)} G`,
    title: (sample) => (sample ? `Memory over time, now ${gibibytes(sample.lines[0].value)} used` : "Memory, no sample yet"),
    describe: ({ label, lines }) => `${label}\n${gibibytes(lines[0].value)} used`,
  }),
  connections: new LineChart(page["connections-chart"], {
    slots: SLOTS,
    top: roundUp,
    format: (value) => (Number.isInteger(value) ? value.toLocaleString() : ""),
    title: (sample) => (sample ? `Connections over time, now ${sample.lines[0].value}` : "Connections, no sample yet"),
    describe: ({ label, lines }) => `${label}\n${lines[0].value.toLocaleString()} connections`,
  }),
};

if (globalThis.io) {
  const socket = globalThis.io("/test");
  socket.on("connect", () => show("online"));
  socket.on("connect_error", (error) => show(socket.active ? "reconnecting" : "refused", socket.active ? "" : error.message));
  socket.on("disconnect", () => {
    show("reconnecting");
    for (const chart of Object.values(charts)) chart.push(null);
  });
  socket.on("server_response", take);
} else {
  show("refused", "the client library could not be loaded");
}

function show(state, reason = "") {
  page.state.dataset.state = state;
  page.state.textContent = reason ? `${STATES[state]}: ${reason}` : STATES[state];
}

function take({ data: [label, cores], count, memory, connections, log }) {
  const average = cores.reduce((sum, load) => sum + load, 0) / Math.max(1, cores.length);
  page["cpu-now"].textContent = percent(average);
  page["cpu-count"].textContent = cores.length;
  drawCores(cores);
  const thin = cores.map((value, core) => ({ value, stroke: hue(core, cores.length), kind: "thin" }));
  charts.cpu.push({ label, lines: [{ value: average, stroke: ACCENT, kind: "lead" }, ...thin] });

  if (memory) {
    memoryTotal = Math.max(1, memory.total);
    page["memory-now"].textContent = gibibytes(memory.used);
    page["memory-total"].textContent = `of ${gibibytes(memory.total)} in use`;
    charts.memory.push({ label, lines: [{ value: memory.used, stroke: "var(--good)", kind: "lead" }] });
  }
  if (connections !== undefined) {
    page["connections-now"].textContent = connections.toLocaleString();
    charts.connections.push({ label, lines: [{ value: connections, stroke: "var(--wait)", kind: "lead" }] });
  }
  page.latest.textContent = `Sample ${count} at ${label}.${describeLog(log)}`;
}

/** What the log has not said, if there is anything. */
function describeLog(log) {
  if (!log || log.left_out + log.dropped === 0) return "";
  return ` The log has left out ${log.left_out.toLocaleString()} repeated messages and dropped ${log.dropped.toLocaleString()} lines.`;
}

function drawCores(cores) {
  while (page.cores.childElementCount > cores.length) page.cores.lastElementChild.remove();
  cores.forEach((load, core) => {
    const item = page.cores.children[core] ?? page.cores.appendChild(newCore(core, cores.length));
    item.querySelector(".load").textContent = percent(load);
    item.style.setProperty("--load", Math.min(1, load / 100));
  });
}

function newCore(core, total) {
  const item = make("li", "core");
  item.style.setProperty("--stroke", hue(core, total));
  item.append(make("span", "core-name", `Core ${core}`), make("span", "load"), make("div", "track"));
  item.lastElementChild.append(make("div", "fill"));
  return item;
}

/** Evenly spaced hues at one lightness, so that no core looks more important than another. */
function hue(core, total) {
  return `oklch(0.66 0.12 ${Math.round(200 + (core * 300) / Math.max(2, total)) % 360})`;
}

/** The next "round" number that is divisible by four, so that the grid carries whole numbers. */
function roundUp(highest) {
  let step = 1;
  while (step * 4 < highest) step *= String(step).startsWith("2") ? 2.5 : 2;
  return step * 4;
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}
