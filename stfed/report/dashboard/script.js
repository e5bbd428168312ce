// Draws what the server says. Everything that comes from a log is set as text; no markup is ever made of it.
"use strict";

const COLOURS = ["#3b86c0", "#d98e4a", "#6a9f58", "#9a6fb0", "#4fb0ae", "#c25b5b", "#8c6d46", "#9aa5b1"];
const SVG = "http://www.w3.org/2000/svg";
const LOOK_MS = 1500;
const WHERE = { train: "parties, after training", evaluate: "parties' own data", global: "coordinator's data" };
let shown = "";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function ticks(low, high, count) {
  const raw = (high - low) / count || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => raw <= factor * power * 1.0000001);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

const number = (value) => (Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(4))));
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : bytes >= 1e3 ? `${(bytes / 1e3).toFixed(1)} kB` : `${bytes} B`);
const clock = (seconds) => new Date(seconds * 1000).toLocaleString();

function chart(title, series, { stacked = false, limit = null, zero = stacked } = {}) {
  const [width, height, left, bottom, top] = [460, 210, 48, 26, 10];
  const names = Object.keys(series);
  const xs = [...new Set(names.flatMap((name) => series[name].map(([x]) => x)))].sort((a, b) => a - b);
  const sums = new Map(xs.map((x) => [x, 0]));
  const tops = names.flatMap((name) => series[name].map(([x, y]) => (stacked ? (sums.set(x, sums.get(x) + y), sums.get(x)) : y)));
  if (limit !== null) tops.push(limit);
  let [low, high] = [zero ? 0 : Math.min(...tops), Math.max(...tops)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const air = stacked ? 0 : (high - low) * 0.05;
  [low, high] = [zero ? 0 : low - air, high + air];
  const [first, last] = [xs[0] - (stacked ? 0.6 : 0), Math.max(xs[xs.length - 1] + (stacked ? 0.6 : 0), xs[0] + 1)];
  const px = (x) => left + ((x - first) / (last - first)) * (width - left - 10);
  const py = (y) => height - bottom - ((y - low) / (high - low)) * (height - bottom - top);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const y of ticks(low, high, 5)) {
    picture.append(draw("line", { x1: left, x2: width - 10, y1: py(y), y2: py(y), stroke: "currentColor", "stroke-opacity": 0.12 }));
    picture.append(draw("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, number(y)));
  }
  for (const x of ticks(first, last, 6).filter((x) => Number.isInteger(x) && x <= xs[xs.length - 1])) picture.append(draw("text", { x: px(x), y: height - 8, "text-anchor": "middle" }, x));
  if (limit !== null) picture.append(draw("line", { x1: left, x2: width - 10, y1: py(limit), y2: py(limit), stroke: "#c25b5b", "stroke-dasharray": "5 4" }));
  const below = new Map(xs.map((x) => [x, 0]));
  names.forEach((name, index) => {
    const colour = COLOURS[index % COLOURS.length];
    if (stacked) {
      const wide = Math.max(1.5, Math.min(26, (px(first + 1) - px(first)) * 0.75));
      for (const [x, y] of series[name]) {
        const base = below.get(x);
        picture.append(draw("rect", { x: px(x) - wide / 2, width: wide, y: py(base + y), height: Math.max(0, py(base) - py(base + y)), fill: colour }));
        below.set(x, base + y);
      }
      return;
    }
    picture.append(draw("polyline", { points: series[name].map(([x, y]) => `${px(x)},${py(y)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8 }));
    if (series[name].length < 60) for (const [x, y] of series[name]) picture.append(draw("circle", { cx: px(x), cy: py(y), r: 2.4, fill: colour }));
  });
  const legend = make("div", { class: "legend soft" });
  if (names.length > 1) names.forEach((name, index) => {
    const mark = make("i");
    mark.style.background = COLOURS[index % COLOURS.length];
    legend.append(make("span", {}, mark, name));
  });
  return make("figure", {}, make("figcaption", {}, title), legend, picture);
}

const isNumber = (cell) => typeof cell === "number" || /^[\d.,]+( \S{1,2})?$/.test(cell);

// Columns without any text are left out; those of numbers are set to the right, with their heads.
function table(header, rows) {
  const used = header.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ""));
  const right = used.map((column) => rows.every((row) => row[column] === "" || isNumber(row[column])));
  const line = (tag, cells) => make("tr", {}, ...used.map((column, at) => make(tag, right[at] ? { class: "n" } : {}, cells[column] ?? "")));
  return make("div", { class: "wide" }, make("table", {}, line("th", header), ...rows.map((row) => line("td", row))));
}

function metrics(run) {
  const found = {};
  for (const [name, points] of Object.entries(run.series)) {
    const [where, ...rest] = name.split(" ");
    (found[rest.join(" ")] ??= {})[WHERE[where]] = points;
  }
  return Object.entries(found).map(([name, series]) => {
    const where = Object.keys(series);
    return chart(`${name}${where.length === 1 ? `, ${where[0]}` : ""}, by round`, series);
  });
}

function phases(run) {
  const slowest = {};
  for (const one of run.sums) for (const [step, seconds] of Object.entries(one.seconds)) {
    const key = `${one.round} ${one.phase}`;
    const steps = (slowest[step] ??= {});
    steps[key] = Math.max(steps[key] ?? 0, seconds);
  }
  const series = {};
  for (const [step, by] of Object.entries(slowest)) {
    const rounds = new Map();
    for (const [key, seconds] of Object.entries(by)) rounds.set(parseInt(key), (rounds.get(parseInt(key)) ?? 0) + seconds);
    series[step] = [...rounds].filter(([round]) => !Number.isNaN(round)).sort(([a], [b]) => a - b);
  }
  return series;
}

function page(run) {
  const parts = [make("h2", {}, run.name)];
  const told = run.broken ?? run.failure;
  if (told) parts.push(make("p", { class: "bad" }, told));
  for (const text of run.warnings) parts.push(make("p", { class: "warn", role: "alert" }, text));
  for (const one of run.now) {
    const group = one.group === null ? "" : `, group ${one.group + 1}`;
    const said = one.asked ? `${one.answered} of ${one.asked} parties have answered` : "the coordinator adds up";
    parts.push(make("p", { class: "now" }, `now: round ${one.server_round ?? "?"}, ${one.phase}${group}, ${one.step}: ${said}`));
  }
  parts.push(make("div", { class: "cards" }, ...run.summary.map((fact) => make("div", { class: "card" }, make("span", {}, fact.name), make("b", {}, fact.value), ...(fact.meaning ? [make("small", {}, fact.meaning)] : [])))));
  const charts = metrics(run);
  const steps = phases(run);
  if (Object.keys(steps).length) charts.push(chart("seconds of each step, by round", steps, { stacked: true }));
  if (run.privacy.length) charts.push(chart("privacy spent, epsilon, by round of the protocol", { epsilon: run.privacy }, { limit: run.budget }));
  if (run.sums.length) {
    const trained = run.sums.filter((one) => one.phase === "train" && one.round !== null);
    const count = (key) => [...trained.reduce((by, one) => by.set(one.round, (by.get(one.round) ?? 0) + one[key]), new Map())];
    if (trained.length) charts.push(chart("parties in training, by round", { asked: count("asked"), "in the sum": count("summed") }, { zero: true }));
  }
  parts.push(make("div", { class: "charts" }, ...charts));
  if (run.protection.length) {
    const list = make("dl");
    for (const fact of run.protection) list.append(make("dt", {}, fact.name), make("dd", {}, fact.value, make("small", {}, fact.meaning)));
    parts.push(make("h3", {}, "What protects the parties"), list);
  }
  if (run.sums.length) {
    const rows = [...run.sums].reverse().slice(0, 40).map((one) => [one.round ?? "", one.group === null ? one.phase : `${one.phase}, group ${one.group + 1}`, one.asked, one.summed,
      Object.entries(one.dropped).map(([name, why]) => `${name} (${why})`).join(", "), size(one.up), size(one.down), one.failure ?? ""]);
    parts.push(make("h3", {}, "Sums"), table(["round", "of", "asked", "summed", "dropped", "up", "down", "failed"], rows));
  }
  if (run.models.length) {
    const rows = [...run.models].reverse().slice(0, 20).map((one) => [one.server_round, one.file, size(one.bytes)]);
    parts.push(make("h3", {}, "Sealed models"), table(["round", "file", "size"], rows));
  }
  if (run.audit) {
    parts.push(make("h3", {}, "Audit log"));
    if (run.audit.broken) parts.push(make("p", { class: "bad" }, run.audit.broken));
    const rows = run.audit.entries.slice(0, 20).map((entry) => [entry.index, clock(entry.time), entry.kind, Object.entries(entry.fields).slice(0, 4).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")]);
    if (rows.length) parts.push(table(["", "time", "what", ""], rows));
  }
  return parts;
}

async function json(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

async function look() {
  const chosen = decodeURIComponent(location.hash.slice(1));
  try {
    const runs = await json("runs.json");
    document.getElementById("none").hidden = runs.length > 0;
    const items = runs.map((run) => {
      const link = make("a", { href: `#${encodeURIComponent(run.name)}` }, make("i", { class: `dot ${run.state}` }), run.name);
      if (run.name === (chosen || runs[0].name)) link.setAttribute("aria-current", "true");
      const last = Object.entries(run.last).map(([name, value]) => `${name} ${number(value)}`).join(", ");
      link.append(make("small", {}, run.strategy ? `${run.strategy}, ${run.rounds} of ${run.of} rounds` : "not begun"), ...(run.plain ? [make("small", { class: "bad" }, "plain: nothing protected")] : []), make("small", {}, last));
      return make("li", {}, link);
    });
    document.getElementById("runs").replaceChildren(...items);
    const name = chosen || (runs[0] && runs[0].name);
    if (name) {
      const run = await json(`run.json?name=${encodeURIComponent(name)}`);
      const text = JSON.stringify(run);
      if (text !== shown) {
        shown = text;
        document.getElementById("run").replaceChildren(...page(run));
        document.title = `${run.name}: ${run.state}`;
      }
    }
  } catch (error) {
    document.title = "stfed: no answer";
    if (!document.getElementById("gone")) document.getElementById("run").prepend(make("p", { id: "gone", class: "bad" }, "The dashboard does not answer: was it stopped?"));
    shown = "";
  }
  setTimeout(look, LOOK_MS);
}

addEventListener("hashchange", () => { shown = ""; });
look();
