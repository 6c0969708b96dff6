"use strict";
/* Small pieces that the other scripts use: elements, numbers, and the one chart. Text from the data only ever becomes
   text nodes. */

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const count = (n) => n.toLocaleString("en-US");
const short = (n) =>
  n >= 1e6 ? `${+(n / 1e6).toPrecision(3)} M` : n >= 1e4 ? `${+(n / 1e3).toPrecision(3)} K` : count(n);
const share = (hits, all) => percent(hits / all);
const percent = (p) => `${+(100 * p).toPrecision(3)} %`;

function power(n) {
  if (n === 0 || (n >= 0.01 && n < 1000)) return `${+n.toPrecision(2)}`;
  const [digits, exponent] = n.toExponential(1).split("e");
  const raised = [...exponent.replace("+", "")].map((d) => (d === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])).join("");
  return digits === "1.0" ? `10${raised}` : `${digits} × 10${raised}`;
}

function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < 4) {
    n /= 1000;
    unit += 1;
  }
  return `${+n.toPrecision(3)} ${units[unit]}`;
}

/* Ticks of a linear axis, and of a logarithmic one: decades, with 2 and 5 where there are few of them. */
function linearTicks([low, high], about) {
  const raw = (high - low) / about,
    base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * base).find((s) => s >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high * (1 + 1e-9); t += step) ticks.push(+t.toPrecision(12));
  return ticks;
}

function logTicks([low, high], about) {
  const decades = Math.log10(high / low),
    ticks = [];
  const every = Math.max(1, Math.ceil(decades / about));
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e += every)
    for (const f of decades < about / 2 && every === 1 ? [1, 2, 5] : [1]) ticks.push(f * 10 ** e);
  return ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001);
}

function scale(axis, from, to) {
  const f = axis.log ? Math.log10 : (v) => v,
    [low, high] = axis.domain.map(f);
  return (v) => from + ((f(v) - low) / (high - low || 1)) * (to - from);
}

const SHAPES = {
  0: (x, y) => `M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0`,
  1: (x, y) => `M${x - 4.5} ${y - 4.5}h9v9h-9z`,
  2: (x, y) => `M${x} ${y - 5.8}l5.6 9.8h-11.2z`,
  3: (x, y) => `M${x} ${y - 6.2}l6.2 6.2l-6.2 6.2l-6.2 -6.2z`,
};
const mark = (series, x, y, hollow) =>
  draw("path", { d: SHAPES[series.look % 4](x, y), class: hollow ? "hollow" : "mark", style: colour(series) });
const colour = (series) => (series.look < 0 ? "--c: var(--soft)" : `--c: var(--s${series.look % 8})`);

/* x, y: {log, domain, label, format}; shades: [{to, label}]; series: [{look, name, thin, dashed, bare, points: [{x, y,
   low, high, hollow, tip}]}]. Drawn again at the width that it has. */
function chart(host, spec) {
  const svg = draw("svg", { role: "img", "aria-label": spec.about });
  host.append(svg);
  const redraw = () => drawChart(svg, host.clientWidth - 18, spec);
  new ResizeObserver(redraw).observe(host);
  svg.addEventListener("pointermove", (event) => showTip(svg, event));
  svg.addEventListener("pointerleave", () => {
    document.getElementById("tip").hidden = true;
  });
}

function drawChart(svg, width, spec) {
  if (width < 50) return;
  const height = Math.max(250, Math.min(350, width * 0.5)),
    box = {
      left: 58,
      right: width - 14,
      top: 42 + 14 * Math.max(0, (spec.shades || []).length - 1),
      bottom: height - 42,
    };
  const x = scale(spec.x, box.left, box.right),
    y = scale(spec.y, box.bottom, box.top);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  drawShades(svg, spec.shades || [], x, box);
  drawAxes(svg, spec, x, y, box, width);
  svg.hits = [];
  const apart = spec.dodge ? clusters(spec.series, x, y) : () => 0;
  for (const series of spec.series) {
    const points = series.points.map((p) => {
      const i = apart(series, p);
      return { ...p, px: x(p.x) + 8 * i, py: y(p.y) + 3 * i };
    });
    drawSeries(svg, series, points, y);
  }
}

/* Where points of several series fall on one place: how far from its middle each is drawn. */
function clusters(series, x, y) {
  const place = (p) => `${Math.round(x(p.x))} ${Math.round(y(p.y) / 3)}`,
    looks = new Map();
  for (const s of series) for (const p of s.points) looks.set(place(p), (looks.get(place(p)) || new Set()).add(s.look));
  return (s, p) => {
    const here = [...looks.get(place(p))];
    return here.indexOf(s.look) - (here.length - 1) / 2;
  };
}

function drawShades(svg, shades, x, box) {
  shades.forEach((shade, i) => {
    const right = Math.min(x(shade.to), box.right);
    svg.append(
      draw("rect", { class: "shade", x: box.left, y: box.top, width: right - box.left, height: box.bottom - box.top }),
    );
    svg.append(draw("text", { x: box.left + 2, y: box.top - 9 - 14 * i }, shade.label));
  });
}

function drawAxes(svg, spec, x, y, box, width) {
  const wide = width > 560;
  const ticks = (axis, n) => axis.ticks || (axis.log ? logTicks : linearTicks)(axis.domain, n);
  for (const t of ticks(spec.y, 6)) {
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(t), y2: y(t) }));
    svg.append(draw("text", { x: box.left - 8, y: y(t) + 4, "text-anchor": "end" }, spec.y.format(t)));
  }
  for (const t of ticks(spec.x, wide ? 9 : 5)) {
    svg.append(draw("line", { class: "axis", x1: x(t), x2: x(t), y1: box.bottom, y2: box.bottom + 5 }));
    svg.append(draw("text", { x: x(t), y: box.bottom + 19, "text-anchor": "middle" }, spec.x.format(t)));
  }
  svg.append(draw("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  svg.append(
    draw("text", { x: (box.left + box.right) / 2, y: box.bottom + 37, "text-anchor": "middle" }, spec.x.label),
  );
  svg.append(draw("text", { x: 2, y: 12 }, spec.y.label));
}

function drawSeries(svg, series, points, y) {
  const classes = ["line", series.thin ? "thin" : "", series.dashed ? "dashed" : ""].join(" ");
  const path = points.map((p, i) => `${i ? "L" : "M"}${p.px.toFixed(1)} ${p.py.toFixed(1)}`).join("");
  svg.append(draw("path", { d: path, class: classes, style: colour(series) }));
  for (const p of points) {
    if (p.low !== undefined)
      svg.append(
        draw("line", { class: "whisker", x1: p.px, x2: p.px, y1: y(p.low), y2: y(p.high), style: colour(series) }),
      );
    if (!series.bare) svg.append(mark(series, p.px, p.py, p.hollow));
    svg.hits.push(p);
  }
}

function showTip(svg, event) {
  const tip = document.getElementById("tip"),
    frame = svg.getBoundingClientRect();
  const far = (p) => Math.hypot(p.px - event.clientX + frame.left, p.py - event.clientY + frame.top);
  const near = (svg.hits || []).filter((p) => far(p) < 22).sort((a, b) => far(a) - far(b));
  tip.hidden = !near.length;
  if (!near.length) return;
  tip.textContent = near
    .slice(0, 4)
    .map((p) => p.tip)
    .join("\n");
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(event.clientX + 14, innerWidth - width - 6))}px`;
  tip.style.top = `${event.clientY - height - 12 < 0 ? event.clientY + 16 : event.clientY - height - 12}px`;
}

function legend(series) {
  return make(
    "ul",
    { class: "legend" },
    series.map((s) => {
      const swatch = draw("svg", { viewBox: "0 0 30 14", height: 14, "aria-hidden": true });
      swatch.append(draw("path", { d: "M0 7H30", class: `line ${s.dashed ? "dashed" : ""}`, style: colour(s) }));
      if (!s.bare) swatch.append(mark(s, 15, 7));
      return make("li", {}, swatch, make("span", {}, s.name));
    }),
  );
}

function figure(spec, caption) {
  const host = make("div", { class: "chart" });
  const named = spec.legend || spec.series;
  const node = make("figure", {}, host, legend(named), caption ? make("figcaption", {}, caption) : null);
  chart(host, spec);
  return node;
}

/* columns: [text or {text, left}]; rows: [[cell]], a cell being text, a node, or {text, cls, small}. */
function table(columns, rows, caption) {
  const cell = (value, i, tag = "td") => {
    const it = value !== null && typeof value === "object" && !(value instanceof Node) ? value : { text: value };
    const cls = [it.cls, columns[i] && columns[i].left ? "left" : ""].join(" ").trim();
    return make(
      tag,
      { class: cls || undefined, scope: tag === "th" ? "row" : undefined },
      it.text ?? "—",
      it.small ? make("small", {}, it.small) : null,
    );
  };
  const head = columns.map((c) => make("th", { scope: "col", class: c.left ? "left" : undefined }, c.text ?? c));
  const body = rows.map((row) =>
    make(
      "tr",
      {},
      row.map((value, i) => cell(value, i, i === 0 ? "th" : "td")),
    ),
  );
  const frame = make(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `table: ${columns[0].text ?? columns[0]} and more` },
    make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)),
  );
  return make("div", {}, caption ? make("p", { class: "soft" }, caption) : null, frame);
}
