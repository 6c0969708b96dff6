"use strict";
/* Draws the memory as a tape: rows of cells, from cell -1, which reads [BOS], to the one past the end, which reads
   [EOS], with a pin below each cell that a pointer stands on. Where not all rows fit, those with a pointer and the last
   one are drawn. */

const MOST_ROWS = 6;
const CELL_HEIGHT = 28;
const PIN_HEIGHT = 17;
const ROW_GAP = 8;

/* Draw the state after a step. Pins are kept from step to step, so that they move. */
function drawTape(host, replay, state, cellWidth) {
  const plan = planTape(host.clientWidth, replay, state.size, cellWidth);
  const pins = planPins(replay, state);
  const fresh = state.token >= 0 && replay.role(state.token) !== "prompt" ? replay.cellOf(state.token) : null;
  const rowOf = (cell) => Math.floor((cell + 1) / plan.cellsPerRow);
  const layer = make("div", { class: "cells" });
  const nodes = new Map();
  let next = 0;
  for (const row of plan.rows(pins.map((pin) => rowOf(pin.cell)))) {
    if (row > next) layer.append(make("div", { class: "gap" }, `⋯ ${count((row - next) * plan.cellsPerRow)} cells`));
    const lanes = Math.max(0, ...pins.filter((pin) => rowOf(pin.cell) === row).map((pin) => pin.lane + 1));
    layer.append(tapeRow(replay, plan, row, state.size, { cellWidth, fresh, lanes, nodes }));
    next = row + 1;
  }
  const previous = host.querySelector(".cells");
  if (previous) previous.replaceWith(layer);
  else host.append(layer);
  placePins(host, replay, state, pins, nodes);
  host.style.minHeight = `${plan.height}px`;
  const places = pins.map((pin) => `${pin.name} on cell ${pin.at}`).join(", ");
  host.setAttribute("aria-label", `memory of ${state.size} cells; ${places}`);
}

/* The number of cells in a row, the rows to be drawn, and the maximum height over all steps of the episode. */
function planTape(width, replay, size, cellWidth) {
  const label = 14 + 7 * String(size).length;
  const cellsPerRow = Math.max(6, Math.floor((width - label - 2) / cellWidth));
  const rowsOf = (cells) => Math.floor((cells + 1) / cellsPerRow) + 1;
  const last = rowsOf(size) - 1;
  const fits = last < MOST_ROWS;
  const rows = (withPins) => (fits ? [...Array(last + 1).keys()] : ascending(distinct([...withPins, last])));
  const atEnd = rowsOf(replay.state(replay.steps).size);
  const most = Math.min(atEnd, Math.max(MOST_ROWS, replay.pointers.length + 1));
  const height = most * (CELL_HEIGHT + ROW_GAP) + replay.pointers.length * PIN_HEIGHT;
  return { label, cellsPerRow, rows, height };
}

/* Each pointer's drawn cell and its lane: pointers on one cell are drawn below one another. */
function planPins(replay, { size, at }) {
  const taken = new Map();
  return replay.pointers.map((name, number) => {
    const cell = Math.max(-1, Math.min(at[name], size));
    const lane = taken.get(cell) || 0;
    taken.set(cell, lane + 1);
    return { name, number, at: at[name], cell, lane };
  });
}

function tapeRow(replay, plan, row, size, { cellWidth, fresh, lanes, nodes }) {
  const first = row * plan.cellsPerRow - 1;
  const label = make("span", { class: "at", style: `width: ${plan.label}px` }, count(Math.max(0, first)));
  const node = make("div", { class: "row", style: `padding-bottom: ${ROW_GAP + lanes * PIN_HEIGHT}px` }, label);
  for (let cell = first; cell < first + plan.cellsPerRow && cell <= size; cell++) {
    nodes.set(cell, tapeCell(replay, cell, size, cellWidth, cell === fresh));
    node.append(nodes.get(cell));
  }
  return node;
}

function tapeCell(replay, index, size, width, fresh) {
  const style = `width: ${width - 2}px; margin-right: 2px`;
  const ghost = (title, text) => make("span", { class: "cell ghost", style, title }, text);
  if (index < 0) return ghost("before the first cell", "[BOS]");
  if (index >= size) return ghost("after the last cell", "[EOS]");
  const cell = replay.cells.get(index);
  if (!cell) return ghost("this part of the memory is not in the report", "·");
  const word = visible(replay.words[cell.id]);
  const classes = `cell r${cell.role} ${word.length > 3 ? "long" : ""} ${fresh ? "fresh" : ""}`;
  return make("span", { class: classes, style, title: `cell ${index}: ${word}` }, word);
}

/* A pointer's label below its cell, a stem up to the cell, and a ring around it. */
function placePins(host, replay, state, pins, nodes) {
  const old = new Map([...host.querySelectorAll("[data-pin]")].map((node) => [node.dataset.pin, node]));
  const acting = actingPointer(replay, state.token);
  for (const { name, number, at, cell, lane } of pins) {
    const fresh = (kind, key) => make("div", { class: kind, "data-pin": key, style: `--c: var(--s${number % 8})` });
    const part = (kind) => old.get(`${kind} ${name}`) || host.appendChild(fresh(kind, `${kind} ${name}`));
    const { offsetLeft: x, offsetTop: y, offsetWidth: width, offsetHeight: height } = nodes.get(cell);
    const down = y + height + 4 + PIN_HEIGHT * lane;
    const [pin, stem, ring] = [part("pin"), part("stem"), part("ring")];
    pin.textContent = name;
    pin.title = `pointer ${name} on cell ${at}`;
    pin.dataset.at = at;
    pin.classList.toggle("acting", name === acting);
    Object.assign(pin.style, { width: `${width}px`, transform: `translate(${x}px, ${down}px)` });
    Object.assign(stem.style, {
      height: `${down - y - height}px`,
      transform: `translate(${x + width / 2 - 1}px, ${y + height}px)`,
    });
    Object.assign(ring.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${x}px, ${y}px)` });
  }
  const wanted = new Set(pins.flatMap(({ name }) => [`pin ${name}`, `stem ${name}`, `ring ${name}`]));
  for (const [key, node] of old) if (!wanted.has(key)) node.remove();
}

/* The pointer that a token commands, or whose answer the token is. */
function actingPointer(replay, token) {
  if (token < 0) return null;
  const command = replay.role(token) === "observation" ? token - 1 : token;
  return (command >= 0 && replay.pointerCommand(command)?.pointer) || null;
}
