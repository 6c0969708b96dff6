"use strict";
/* The view of a text task's episode: each step is what the agent says, a command, its answer, and the files changed.
   All of it is text from models and programs that nobody vouches for: it only ever becomes text nodes. */

class TurnView {
  constructor(data, episode, go) {
    this.unit = "step";
    this.episode = episode;
    this.conversation = episode.conversation;
    this.steps = this.conversation.turns.length;
    this.about = turnsAbout(data, episode);
    const jump = (event) => {
      const entry = event.target.closest("[data-step]");
      if (entry) go(+entry.dataset.step);
    };
    const list = { class: "turns", id: "turns", tabindex: 0, "aria-label": "steps", onclick: jump };
    this.list = make("ol", list, this.promptEntry(), this.conversation.turns.map((turn, i) => this.entry(turn, i)));
    this.live = make("div", { class: "turn", id: "turn", "aria-live": "polite" });
    this.nodes = [make("div", { class: "conversation" }, this.list, this.live)];
  }

  /* A step's number in the whole episode, and the step of a number; step 0 is the prompt. */
  position(step) {
    return step ? this.conversation.before + step : 0;
  }

  step(position) {
    return Math.max(0, Math.min(this.steps, position - this.conversation.before));
  }

  get errorStep() {
    return this.conversation.slip ? this.conversation.slip.turn + 1 : this.steps;
  }

  promptEntry() {
    return make("li", { "data-step": 0 }, make("span", { class: "number" }, "0"), make("span", {}, "The problem"));
  }

  /* A line of the list: the step's number, what is said, and the names of the files that change. */
  entry(turn, i) {
    const number = make("span", { class: "number" }, count(this.position(i + 1)));
    const names = turn.changes.map((change) => change.name);
    const more = names.length > 1 ? ` and ${names.length - 1} more` : "";
    const files = names.length ? make("small", {}, `${inline(names[0])}${more}`) : null;
    const wrong = this.conversation.slip?.turn === i ? make("small", { class: "bad" }, "wrong token") : null;
    const text = make("span", {}, inline(turn.said || turn.command || ""), files, wrong);
    return make("li", { "data-step": i + 1 }, number, text);
  }

  show(step) {
    for (const entry of this.list.children) {
      const at = +entry.dataset.step;
      entry.classList.toggle("later", at > step);
      if (at === step) entry.setAttribute("aria-current", "step");
      else entry.removeAttribute("aria-current");
    }
    this.scrollTo(this.list.children[step]);
    this.live.replaceChildren(...(step ? this.turn(step - 1) : this.problem()));
  }

  scrollTo(entry) {
    const { scrollTop, clientHeight } = this.list;
    const { offsetTop: top, offsetHeight: height } = entry;
    if (top < scrollTop || top + height > scrollTop + clientHeight)
      this.list.scrollTop = top - (clientHeight - height) / 2;
  }

  problem() {
    const { prompt, files } = this.conversation;
    const folder = files ? [make("p", { class: "soft" }, `A folder of ${plural(files, "file")}.`)] : [];
    return [label("The problem"), block("prompt", prompt), ...folder];
  }

  turn(i) {
    const turn = this.conversation.turns[i];
    const slip = this.conversation.slip?.turn === i ? this.conversation.slip : null;
    const said = turn.said || slip?.part === "said";
    const parts = [];
    if (said) parts.push(label("Says"), block("said", ...this.withSlip(turn.said, slip, "said")));
    if (turn.command !== null)
      parts.push(label("Runs"), block("command", "$ ", ...this.withSlip(turn.command, slip, "command")));
    if (slip) parts.push(make("p", { class: "slip" }, ...errorAbout(this.episode.error)));
    if (turn.command !== null) parts.push(...answer(turn), ...changes(turn));
    return parts;
  }

  /* A text, with the model's wrong token struck through before the program's rest. */
  withSlip(text, slip, part) {
    if (slip?.part !== part) return [text];
    const { got } = this.episode.error;
    const wrong = make("del", { class: "wrong", id: "wrong" }, got === null ? "(nothing)" : visible(got));
    return [text.slice(0, slip.offset), wrong, make("span", { class: "program" }, text.slice(slip.offset))];
  }
}

/* A text of one line, without characters that nobody sees. */
const inline = (text) => text.replace(/\s+/g, " ").replace(HIDDEN, shownCode);

/* Control characters, and those that change the direction of text, as their numbers. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const shownCode = (char) => `\\u{${char.codePointAt(0).toString(16)}}`;

const label = (text) => make("h4", {}, text);

/* A block of text as it stands, with line ends. */
function block(kind, ...parts) {
  const shown = parts.map((part) => (typeof part === "string" ? part.replace(HIDDEN, shownCode) : part));
  return make("pre", { class: `text ${kind}` }, shown);
}

function answer(turn) {
  if (!turn.answered) return [make("p", { class: "soft" }, "There is no answer.")];
  const failed = ["0", ""].includes(turn.code) ? "" : `, return code ${turn.code}`;
  if (!turn.output) return [make("p", { class: "soft" }, `The command prints nothing${failed}.`)];
  return [label(`Reads${failed}`), block("output", turn.output)];
}

function changes(turn) {
  if (!turn.changes.length) return [];
  const files = turn.changes.map((change) =>
    make(
      "details",
      { class: "change", open: turn.changes.length <= 3 },
      make("summary", {}, code(inline(change.name)), ` ${change.kind}`),
      make("pre", { class: "text diff" }, change.diff.replace(/\n$/, "").split("\n").map(diffLine)),
    ),
  );
  return [label(`Files changed: ${count(turn.changes.length)}`), ...files];
}

/* A line of a diff, in its colour. */
function diffLine(line) {
  const kind = { "+": "plus", "-": "minus", "@": "hunk" }[line[0]] || "same";
  return make("span", { class: kind }, `${line.replace(HIDDEN, shownCode)}\n`);
}
