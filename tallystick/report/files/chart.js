"use strict";
/* The chart: lines of points over a linear or logarithmic axis, with a legend.

   A chart is {about, x, y, series, shade, spread}. An axis is {log, domain, ticks, label, format}. A series is {look,
   name, thin, dashed, bare, points}: `look` numbers its colour and mark (-1: grey), `bare` series have no marks, and
   series without a name are not in the legend. A point is {x, y, low, high, hollow, tip}. `shade` is {to, label}: the
   background up to x = to. With `spread`, marks that fall on one place are drawn side by side. */

/* A chart with its legend and caption. */
function figure(chart, caption) {
  const host = make("div", { class: "chart" });
  drawWhenResized(host, chart);
  const text = caption ? make("figcaption", {}, caption) : null;
  return make("figure", {}, host, legend(chart.series.filter((series) => series.name)), text);
}

function drawWhenResized(host, chart) {
  const svg = draw("svg", { role: "img", "aria-label": chart.about });
  host.append(svg);
  new ResizeObserver(() => drawChart(svg, host.clientWidth - 18, chart)).observe(host);
  svg.addEventListener("pointermove", (event) => showTip(svg, event));
  svg.addEventListener("pointerleave", () => {
    document.getElementById("tip").hidden = true;
  });
}

function drawChart(svg, width, chart) {
  if (width < 50) return;
  const height = Math.max(250, Math.min(350, width * 0.5));
  const box = { left: 58, right: width - 14, top: chart.shade ? 42 : 28, bottom: height - 42 };
  const x = scale(chart.x, box.left, box.right);
  const y = scale(chart.y, box.bottom, box.top);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  if (chart.shade) drawShade(svg, chart.shade, x, box);
  drawAxes(svg, chart, x, y, box, width > 560);
  svg.marks = [];
  const shift = chart.spread ? sideBySide(chart.series, x, y) : () => 0;
  for (const series of chart.series) {
    const points = series.points.map((p) => ({ ...p, px: x(p.x) + shift(series, p), py: y(p.y) }));
    drawSeries(svg, series, points, y);
  }
}

/* The screen coordinate of a value. */
function scale(axis, from, to) {
  const of = axis.log ? Math.log10 : (v) => v;
  const [low, high] = axis.domain.map(of);
  return (v) => from + ((of(v) - low) / (high - low || 1)) * (to - from);
}

/* Horizontal offset of a mark where marks of several styles coincide. Heights are never changed. */
function sideBySide(series, x, y) {
  const place = (p) => `${Math.round(x(p.x))} ${Math.round(y(p.y) / 3)}`;
  const looks = new Map();
  for (const s of series) for (const p of s.points) looks.set(place(p), (looks.get(place(p)) || new Set()).add(s.look));
  return (s, p) => {
    const here = [...looks.get(place(p))];
    return 9 * (here.indexOf(s.look) - (here.length - 1) / 2);
  };
}

function drawShade(svg, shade, x, box) {
  const right = Math.min(x(shade.to), box.right);
  const area = { x: box.left, y: box.top, width: right - box.left, height: box.bottom - box.top };
  svg.append(draw("rect", { class: "shade", ...area }));
  svg.append(draw("text", { x: box.left + 2, y: box.top - 7 }, shade.label));
}

function drawAxes(svg, chart, x, y, box, wide) {
  for (const tick of ticks(chart.y, 6)) {
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }));
    svg.append(draw("text", { x: box.left - 8, y: y(tick) + 4, "text-anchor": "end" }, chart.y.format(tick)));
  }
  for (const tick of ticks(chart.x, wide ? 9 : 5)) {
    svg.append(draw("line", { class: "axis", x1: x(tick), x2: x(tick), y1: box.bottom, y2: box.bottom + 5 }));
    svg.append(draw("text", { x: x(tick), y: box.bottom + 19, "text-anchor": "middle" }, chart.x.format(tick)));
  }
  svg.append(draw("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  const middle = { x: (box.left + box.right) / 2, y: box.bottom + 37, "text-anchor": "middle" };
  svg.append(draw("text", middle, chart.x.label));
  svg.append(draw("text", { x: 2, y: 12 }, chart.y.label));
}

/* About so many ticks: the axis' own, or decades of a logarithmic axis (with 2 and 5 where these are few), or steps of
   1, 2 or 5 times a power of ten. */
function ticks(axis, about) {
  if (axis.ticks) return axis.ticks;
  return axis.log ? logarithmicTicks(axis.domain, about) : linearTicks(axis.domain, about);
}

function linearTicks([low, high], about) {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((s) => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high * (1 + 1e-9); t += step) found.push(+t.toPrecision(12));
  return found;
}

function logarithmicTicks([low, high], about) {
  const decades = Math.log10(high / low);
  const every = Math.max(1, Math.ceil(decades / about));
  const factors = decades < about / 2 && every === 1 ? [1, 2, 5] : [1];
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e += every)
    for (const factor of factors) found.push(factor * 10 ** e);
  return found.filter((t) => t >= low * 0.999 && t <= high * 1.001);
}

function drawSeries(svg, series, points, y) {
  const path = points.map((p, i) => `${i ? "L" : "M"}${p.px.toFixed(1)} ${p.py.toFixed(1)}`).join("");
  svg.append(draw("path", { d: path, class: lineClass(series), style: colour(series) }));
  for (const p of points) {
    const bar = { x1: p.px, x2: p.px, y1: y(p.low), y2: y(p.high) };
    if (p.low !== undefined) svg.append(draw("line", { class: "interval", ...bar, style: colour(series) }));
    if (!series.bare) svg.append(mark(series, p.px, p.py, p.hollow));
    svg.marks.push(p);
  }
}

const lineClass = (series) => `line ${series.thin ? "thin" : ""} ${series.dashed ? "dashed" : ""}`;
const colour = (series) => (series.look < 0 ? "--c: var(--soft)" : `--c: var(--s${series.look % 8})`);

const MARKS = [
  (x, y) => `M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0`,
  (x, y) => `M${x - 4.5} ${y - 4.5}h9v9h-9z`,
  (x, y) => `M${x} ${y - 5.8}l5.6 9.8h-11.2z`,
  (x, y) => `M${x} ${y - 6.2}l6.2 6.2l-6.2 6.2l-6.2 -6.2z`,
];
function mark(series, x, y, hollow) {
  const shape = MARKS[series.look % MARKS.length];
  return draw("path", { d: shape(x, y), class: hollow ? "hollow" : "mark", style: colour(series) });
}

/* Show the values of the points near the mouse. */
function showTip(svg, event) {
  const tip = document.getElementById("tip");
  const frame = svg.getBoundingClientRect();
  const distance = (p) => Math.hypot(p.px - event.clientX + frame.left, p.py - event.clientY + frame.top);
  const near = (svg.marks || []).filter((p) => p.tip && distance(p) < 22).sort((a, b) => distance(a) - distance(b));
  tip.hidden = !near.length;
  if (!near.length) return;
  tip.textContent = distinct(near.map((p) => p.tip)).slice(0, 4).join("\n");
  const { width, height } = tip.getBoundingClientRect();
  const above = event.clientY - height - 12;
  tip.style.left = `${Math.max(6, Math.min(event.clientX + 14, innerWidth - width - 6))}px`;
  tip.style.top = `${above < 0 ? event.clientY + 16 : above}px`;
}

function legend(named) {
  return make("ul", { class: "legend" }, named.map((series) => {
    const sample = draw("svg", { viewBox: "0 0 30 14", height: 14, "aria-hidden": true });
    sample.append(draw("path", { d: "M0 7H30", class: lineClass(series), style: colour(series) }));
    if (!series.bare) sample.append(mark(series, 15, 7));
    return make("li", {}, sample, make("span", {}, series.name));
  }));
}
