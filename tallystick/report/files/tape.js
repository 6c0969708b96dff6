"use strict";
/* Replays an episode: memory and pointers from the tokens' roles, one token a step; and draws the tape. */

const PROMPT = 0,
  THOUGHT = 1,
  COMMAND = 2,
  OBSERVATION = 3,
  OUTPUT = 4;
const EOS = 1; // the grammar's marks stand first in every vocabulary: [BOS] [EOS] [ANS] ...

/* What the episode is after each of its tokens, and who wrote each cell. Step i is the token at place first + i; step 0
   is the problem as it is given (or the last token before the stretch). */
class Replay {
  constructor(data, episode) {
    this.episode = episode;
    this.words = data.tasks[episode.task].vocab;
    this.roles = [...episode.roles].map(Number);
    this.trained = this.roles.map((role) => data.trained[role]);
    this.first = Math.max(episode.prompt - 1 - episode.start, -1);
    this.steps = this.roles.length - 1 - this.first;
    this.names = Object.keys(episode.pointers);
    this.cells = new Map();
    for (const [at, ids, roles] of episode.cells)
      ids.forEach((id, i) => this.cells.set(at + i, { id, role: +roles[i] }));
    this.sizes = [];
    this.paths = Object.fromEntries(this.names.map((name) => [name, []]));
    this.run();
  }

  run() {
    let size = this.episode.memory;
    const at = { ...this.episode.pointers };
    this.before = { size, at: { ...at } };
    this.episode.ids.forEach((id, i) => {
      const role = this.roles[i],
        [name, verb] = this.words[id].replace(/^\[|\]$/g, "").split(".").slice(-2);
      if (role === COMMAND && name in at) at[name] += { left: -1, right: 1 }[verb] || 0;
      const place = i + this.episode.start,
        { marks, prompt } = this.episode;
      const given = place > marks && place < prompt - marks; // [BOS] and a mixture's marks are not remembered
      const kept = role === PROMPT ? given : (role === THOUGHT && id !== EOS) || role === OUTPUT;
      if (kept) {
        this.cells.set(size, { id, role });
        size += 1;
      }
      this.sizes.push(size);
      for (const other of this.names) this.paths[other].push(at[other]);
    });
  }

  /* After step `step`: {token, size, at: {pointer: cell}}; token is -1 before the stretch's first. */
  state(step) {
    const token = this.first + step;
    if (token < 0) return { token, ...this.before };
    return { token, size: this.sizes[token], at: Object.fromEntries(this.names.map((n) => [n, this.paths[n][token]])) };
  }

  /* Place in the whole episode of a step's token. */
  position(step) {
    return this.episode.start + this.first + step;
  }
  step(position) {
    return Math.max(0, Math.min(this.steps, position - this.episode.start - this.first));
  }
  word(token) {
    return this.words[this.episode.ids[token]];
  }
}

const visible = (word) => word.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");

/* The tape: rows of cells from cell -1, which reads [BOS], to the one past the end, which reads [EOS]. Where not all
   rows fit, those with a pointer and the last one are shown. */
function drawTape(host, replay, { token, size, at }, cell) {
  const label = 14 + 7 * String(size).length,
    each = Math.max(6, Math.floor((host.clientWidth - label - 2) / cell));
  const rowOf = (index) => Math.floor((Math.max(-1, Math.min(index, size)) + 1) / each),
    last = rowOf(size);
  const rows =
    last < 6
      ? [...Array(last + 1).keys()]
      : [...new Set([...replay.names.map((n) => rowOf(at[n])), last])].sort((a, b) => a - b);
  const fresh =
    token >= 0 && size > (token ? replay.sizes[token - 1] : replay.before.size) && replay.roles[token] !== PROMPT
      ? size - 1
      : null;
  const lanes = replay.names.length,
    old = new Map([...host.querySelectorAll("[data-pin]")].map((n) => [n.dataset.pin, n]));
  const layer = make("div", { class: "cells" }),
    places = new Map();
  let next = 0;
  for (const r of rows) {
    if (r > next) layer.append(make("div", { class: "gap" }, `⋯ ${count((r - next) * each)} cells further`));
    const row = make(
      "div",
      { class: "row", style: `padding-bottom: ${lanes * 17 + 8}px` },
      make("span", { class: "at", style: `width: ${label}px` }, count(Math.max(0, r * each - 1))),
    );
    for (let i = r * each - 1; i < (r + 1) * each - 1 && i <= size; i++) {
      const node = tapeCell(replay, i, size, cell, i === fresh);
      places.set(i, node);
      row.append(node);
    }
    layer.append(row);
    next = r + 1;
  }
  const previous = host.querySelector(".cells");
  if (previous) previous.replaceWith(layer);
  else host.append(layer);
  replay.names.forEach((name, lane) =>
    placePin(host, old, replay, name, lane, at[name], places.get(Math.max(-1, Math.min(at[name], size))), token),
  );
  for (const [key, node] of old) if (!(key.slice(1) in at)) node.remove();
  host.setAttribute(
    "aria-label",
    `memory of ${size} cells; ${replay.names.map((n) => `${n} on cell ${at[n]}`).join(", ")}`,
  );
}

function tapeCell(replay, i, size, width, fresh) {
  const style = `width: ${width - 2}px; margin-right: 2px`;
  if (i < 0 || i >= size)
    return make(
      "span",
      { class: "cell ghost", style, title: i < 0 ? "below the first cell" : "beyond the last cell" },
      i < 0 ? "[BOS]" : "[EOS]",
    );
  const cell = replay.cells.get(i);
  if (!cell) return make("span", { class: "cell ghost", style, title: "not embedded in this report" }, "·");
  const word = visible(replay.words[cell.id]);
  return make(
    "span",
    {
      class: `cell r${cell.role}${word.length > 3 ? " long" : ""}${fresh ? " fresh" : ""}`,
      style,
      title: `cell ${i}: ${word}`,
    },
    word,
  );
}

/* A pointer's label below its cell, a stem to it, and a ring around the cell: kept from step to step, so that they move. */
function placePin(host, old, replay, name, lane, at, cell, token) {
  const part = (key, cls) =>
    old.get(key) || host.appendChild(make("div", { class: cls, "data-pin": key, style: `--c: var(--s${lane % 8})` }));
  const [pin, stem, ring] = [part(`p${name}`, "pin"), part(`s${name}`, "stem"), part(`r${name}`, "ring")];
  const { offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: h } = cell,
    down = y + h + 4 + 17 * lane;
  const acting =
    token >= 0 &&
    [token, token - 1].some(
      (t) =>
        t >= 0 &&
        replay.roles[t] === COMMAND &&
        replay.word(t).startsWith(`[${name}.`) &&
        (t === token || replay.roles[token] === OBSERVATION),
    );
  pin.textContent = name;
  pin.title = `pointer ${name} on cell ${at}`;
  pin.dataset.at = at;
  pin.classList.toggle("acting", acting);
  Object.assign(pin.style, { width: `${w}px`, transform: `translate(${x}px, ${down}px)`, zIndex: 2 });
  Object.assign(stem.style, {
    height: `${down - y - h}px`,
    transform: `translate(${x + w / 2 - 1 + (lane - (replay.names.length - 1) / 2) * 4}px, ${y + h}px)`,
  });
  Object.assign(ring.style, { width: `${w}px`, height: `${h}px`, transform: `translate(${x}px, ${y}px)` });
}
