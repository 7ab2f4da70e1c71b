// A small live line chart in SVG: a fixed number of slots, the newest sample at the right edge.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 10, right: 14, bottom: 24, left: 48 };

export class LineChart {
  #host;
  #options;
  #samples = [];
  #pointer = null;

  /**
   * Draws into `host`. `options` are `slots`, how many samples fit; `top(highest)`, the value at the upper edge;
   * `format(value)`, for the axis; `title`, for people who hear the page; `describe(sample)`, the text under the pointer.
   */
  constructor(host, options) {
    this.#host = host;
    this.#options = options;
    new ResizeObserver(() => this.#draw()).observe(host);
    host.addEventListener("pointermove", (event) => this.#point(event.clientX - host.getBoundingClientRect().left));
    host.addEventListener("pointerleave", () => this.#point(null));
  }

  /** Adds a sample `{label, lines: [{value, stroke, kind}]}`, where kind is lead, thin or empty; `null` is a gap. */
  push(sample) {
    if (sample === null && this.#samples.at(-1) == null) return;
    this.#samples.push(sample);
    if (this.#samples.length > this.#options.slots) this.#samples.shift();
    this.#draw();
  }

  #point(x) {
    this.#pointer = x;
    this.#draw();
  }

  #draw() {
    const { slots, top, format, title } = this.#options;
    const width = this.#host.clientWidth;
    const height = this.#host.clientHeight;
    if (width === 0) return;
    const known = this.#samples.filter((sample) => sample !== null);
    const upper = top(Math.max(0, ...known.flatMap(({ lines }) => lines.map(({ value }) => value))));
    const left = MARGIN.left;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const x = (index) => right - ((this.#samples.length - 1 - index) * (right - left)) / (slots - 1);
    const y = (value) => bottom - (Math.min(value, upper) / upper) * (bottom - MARGIN.top);

    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title(known.at(-1)) });
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const at = y(upper * part);
      svg.append(node("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      const text = format(upper * part);
      if (text) svg.append(node("text", { class: "label", x: left - 8, y: at + 4, "text-anchor": "end" }, text));
    }
    if (known.length === 0) svg.append(node("text", { class: "waiting", x: (left + right) / 2, y: height / 2 }, "Waiting for the first sample"));
    this.#drawTimes(svg, x, height);
    const count = Math.max(0, ...known.map(({ lines }) => lines.length));
    for (let line = count - 1; line >= 0; line -= 1) this.#drawLine(svg, line, x, y, bottom);
    const pointed = this.#nearest(x);
    if (pointed !== null) svg.append(node("line", { class: "cursor", x1: x(pointed), x2: x(pointed), y1: MARGIN.top, y2: bottom }));
    this.#host.replaceChildren(svg, ...this.#readout(pointed, x, width));
  }

  #drawTimes(svg, x, height) {
    const every = this.#host.clientWidth > 560 ? 6 : 12;
    this.#samples.forEach((sample, index) => {
      if (sample === null || (this.#samples.length - 1 - index) % every !== 0) return;
      svg.append(node("text", { class: "label", x: x(index), y: height - 6, "text-anchor": "middle" }, sample.label));
    });
  }

  /** One line over all samples, broken where there is a gap; the leading line has its area filled. */
  #drawLine(svg, line, x, y, bottom) {
    const runs = [[]];
    this.#samples.forEach((sample, index) => {
      const one = sample?.lines[line];
      if (!one) runs.push([]);
      else runs.at(-1).push([x(index), y(one.value), one]);
    });
    for (const run of runs.filter(({ length }) => length > 0)) {
      const [lastX, lastY, { stroke, kind }] = run.at(-1);
      const path = run.map(([px, py], step) => `${step === 0 ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
      const style = `--stroke: ${stroke}`;
      if (kind !== "thin") svg.append(styled("path", style, { class: "area", d: `${path}L${lastX.toFixed(1)} ${bottom}L${run[0][0].toFixed(1)} ${bottom}Z` }));
      svg.append(styled("path", style, { class: `line ${kind}`, d: path }));
      if (run.at(-1)[2] === this.#samples.at(-1)?.lines[line]) svg.append(styled("circle", style, { class: "head", cx: lastX, cy: lastY, r: kind === "thin" ? 2 : 3.5 }));
    }
  }

  #nearest(x) {
    if (this.#pointer === null) return null;
    let best = null;
    this.#samples.forEach((sample, index) => {
      if (sample && (best === null || Math.abs(x(index) - this.#pointer) < Math.abs(x(best) - this.#pointer))) best = index;
    });
    return best;
  }

  #readout(pointed, x, width) {
    if (pointed === null) return [];
    const readout = document.createElement("div");
    readout.className = "readout";
    readout.textContent = this.#options.describe(this.#samples[pointed]);
    const at = x(pointed);
    if (at > width / 2) readout.style.right = `${width - at + 10}px`;
    else readout.style.left = `${at + 10}px`;
    return [readout];
  }
}

function node(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

/** Like `node`, with the one custom property set through the object model, which a strict content policy allows. */
function styled(name, style, attributes) {
  const element = node(name, attributes);
  const [property, value] = style.split(": ");
  element.style.setProperty(property, value);
  return element;
}
