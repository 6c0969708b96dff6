"use strict";
/* Elements, formatted numbers and tables. Text from the data only ever becomes text nodes, never markup. */

/* An HTML element. Attributes that begin with "on" are listeners; true is an attribute without a value. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/* An SVG element. */
function draw(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const paragraph = (...parts) => make("p", {}, ...parts);
const remark = (...parts) => make("p", { class: "note" }, ...parts);
const heading = (...parts) => make("h3", {}, ...parts);
const code = (text) => make("code", {}, text);
const folded = (title, ...parts) => make("details", {}, make("summary", {}, title), ...parts);

/* A text in which `words` between backticks are code. */
const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? code(part) : part));

/* A token with visible spaces, newlines and tabs; and several tokens in a line. */
const visible = (token) => token.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
const visibleLine = (tokens) => tokens.map(visible).join(" ");

const count = (n) => n.toLocaleString("en-US");
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const percent = (share) => `${+(100 * share).toPrecision(3)} %`;

/* A percentage; a share below 1 is never shown as 100 %. */
const exactPercent = (share) => (share === 1 ? "100 %" : `${(Math.floor(1e5 * share) / 1e3).toFixed(3)} %`);

/* A number of any size, such as 0.25 or 3.1 × 10⁻⁵. */
function scientific(n) {
  if (n === 0 || (n >= 0.01 && n < 1000)) return `${+n.toPrecision(2)}`;
  const [digits, exponent] = n.toExponential(1).split("e");
  const raised = [...exponent.replace("+", "")].map((d) => (d === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])).join("");
  return digits === "1.0" ? `10${raised}` : `${digits} × 10${raised}`;
}

function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${+n.toPrecision(3)} ${units[unit]}`;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const distinct = (values) => [...new Set(values)];
const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

/* A table. columns: texts, or {text, left} for a column that is not of numbers. rows: lists of cells, each a text, a
   node, or {text, cls, small}; `small` stands below the text. The first cell of a row is its heading. */
function table(columns, rows, caption) {
  const heads = columns.map((column) => (typeof column === "string" ? { text: column } : column));
  const head = heads.map((h) => make("th", { scope: "col", class: h.left ? "left" : undefined }, h.text));
  const body = rows.map((row) => make("tr", {}, row.map((value, i) => tableCell(value, heads[i], i === 0))));
  const label = `table: ${heads.map((h) => h.text).join(", ")}`;
  const frame = make(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)),
  );
  return make("div", {}, caption ? make("p", { class: "soft" }, caption) : null, frame);
}

function tableCell(value, head, isHeading) {
  const isPlain = value === null || typeof value !== "object" || value instanceof Node;
  const cell = isPlain ? { text: value } : value;
  const classes = [cell.cls, head.left ? "left" : ""].filter(Boolean).join(" ");
  return make(
    isHeading ? "th" : "td",
    { class: classes || undefined, scope: isHeading ? "row" : undefined },
    cell.text ?? "—",
    cell.small ? make("small", {}, cell.small) : null,
  );
}
