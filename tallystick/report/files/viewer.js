"use strict";
/* The trajectory viewer: the controls around a replay, and what they say of it. */

/* Drawn, for few fonts have them. */
const ICONS = {
  home: "M3 3v10M13 3v10L5 8z",
  back: "M11 3v10L4 8z",
  play: "M4 3v10L12 8z",
  pause: "M4 3h3v10h-3zM9 3h3v10h-3z",
  forward: "M5 3v10L12 8z",
  end: "M13 3v10M3 3v10L11 8z",
};
function icon(name) {
  const svg = draw("svg", { viewBox: "0 0 16 16", class: "glyph", "aria-hidden": true });
  svg.append(draw("path", { d: ICONS[name] }));
  if (name === "back" || name === "forward")
    svg.append(draw("path", { d: name === "back" ? "M13.5 3v10" : "M2.5 3v10" }));
  return svg;
}

class Viewer {
  constructor(data, host) {
    this.data = data;
    this.step = 0;
    this.playing = false;
    this.host = host;
    this.build();
    new ResizeObserver(() => this.replay && this.showTape(this.replay.state(this.step))).observe(this.tape);
    this.open(data.episodes.some((e) => e.error) ? data.episodes.findIndex((e) => e.error) : 0);
  }

  build() {
    const button = (id, about, action) =>
      make(
        "button",
        { type: "button", id, class: "icon", title: about, "aria-label": about, onclick: action },
        icon(id),
      );
    this.choice = make(
      "select",
      { id: "episode", onchange: () => this.open(+this.choice.value) },
      this.data.episodes.map((episode, i) => make("option", { value: i }, title(this.data, episode))),
    );
    this.slider = make("input", {
      type: "range",
      id: "slider",
      min: 0,
      "aria-label": "step",
      oninput: () => this.go(+this.slider.value),
    });
    this.box = make("input", {
      type: "number",
      id: "jump",
      onchange: () => this.go(this.replay.step(+this.box.value)),
    });
    this.speed = make(
      "select",
      { id: "speed" },
      [2, 8, 30, 120].map((n) => make("option", { value: n, selected: n === 8 }, `${n} tokens/s`)),
    );
    this.playButton = button("play", "Play", () => this.play(!this.playing));
    this.errorButton = make(
      "button",
      { type: "button", id: "error", title: "Go to the first wrong token" },
      "Wrong token",
    );
    this.errorButton.addEventListener("click", () => this.go(this.replay.step(this.replay.episode.error.position)));
    this.about = make("p", { class: "soft", id: "about" });
    this.of = make("span", {});
    this.now = make("p", { class: "now", id: "now", "aria-live": "polite" });
    this.tape = make("div", { class: "tape", id: "tape", role: "img" });
    this.stream = make("div", {
      class: "stream",
      id: "stream",
      tabindex: 0,
      role: "region",
      "aria-label": "tokens",
      onclick: (e) => e.target.dataset.i && this.go(+e.target.dataset.i - this.replay.first),
    });
    this.node = make(
      "div",
      {
        class: "viewer",
        id: "viewer",
        tabindex: 0,
        role: "group",
        "aria-label": "trajectory viewer",
        onkeydown: (e) => this.key(e),
      },
      make("label", {}, "Episode ", this.choice),
      this.about,
      make(
        "div",
        { class: "controls" },
        button("home", "First step (Home)", () => this.go(0)),
        button("back", "Step back (left arrow)", () => this.go(this.step - 1)),
        this.playButton,
        button("forward", "Step forward (right arrow)", () => this.go(this.step + 1)),
        button("end", "Last step (End)", () => this.go(Infinity)),
        this.errorButton,
        make("label", {}, "Speed ", this.speed),
        this.slider,
        make("label", {}, "Token ", this.box, this.of),
      ),
      this.now,
      make("h3", {}, "Memory: the tape that the tools read"),
      this.tape,
      make("h3", {}, "Tokens, in the order in which they are said"),
      this.stream,
      roleKey(this.data),
      make(
        "p",
        { class: "soft" },
        "Keys, once the viewer has the focus: ",
        make("kbd", {}, "←"),
        " ",
        make("kbd", {}, "→"),
        " step (ten with ",
        make("kbd", {}, "Shift"),
        "), ",
        make("kbd", {}, "Space"),
        " play and pause, ",
        make("kbd", {}, "Home"),
        " ",
        make("kbd", {}, "End"),
        " first and last. Click a token to jump to it.",
      ),
    );
    this.host.append(this.node);
  }

  open(index) {
    this.play(false);
    const episode = this.data.episodes[index],
      replay = (this.replay = new Replay(this.data, episode));
    this.choice.value = index;
    this.highest = 0;
    this.slider.max = replay.steps;
    this.box.min = replay.position(0);
    this.box.max = replay.position(replay.steps);
    this.of.textContent = `of ${count(replay.position(replay.steps))}`;
    this.errorButton.hidden = !episode.error;
    this.about.textContent = told(this.data, episode, replay);
    const error = episode.error ? episode.error.position - episode.start : Infinity;
    this.stream.replaceChildren(...episode.ids.flatMap((id, i) => this.token(i, error)));
    this.go(episode.error ? replay.step(episode.error.position) : 0);
  }

  /* A token of the stream; where the model went wrong, what it said stands before what it should have said. */
  token(i, error) {
    const { episode, roles, trained } = this.replay;
    const classes = `tok r${roles[i]}${trained[i] ? " trained" : ""}${i > error ? " program" : ""}`;
    const node = make("span", { class: classes, "data-i": i }, visible(this.replay.word(i)));
    if (i !== error) return [node, " "];
    const got = episode.error.got === null ? "(nothing)" : visible(episode.error.got);
    return [
      make("span", { class: "tok wrong", id: "wrong", "data-i": i, title: "what the model says" }, got),
      " ",
      node,
      " ",
    ];
  }

  go(step) {
    this.step = Math.max(0, Math.min(this.replay.steps, Math.round(step) || 0));
    if (step === Infinity) this.step = this.replay.steps;
    const state = this.replay.state(this.step),
      place = this.replay.position(this.step);
    this.slider.value = this.step;
    this.slider.setAttribute("aria-valuetext", `token ${place}`);
    this.box.value = place;
    this.node.dataset.position = place;
    this.now.replaceChildren(...explain(this.replay, state));
    this.showTape(state);
    this.showStream(state.token);
    if (this.step === this.replay.steps) this.play(false);
  }

  showStream(token) {
    for (const node of this.stream.children) {
      const i = +node.dataset.i;
      node.classList.toggle("later", i > token);
      node.classList.toggle("current", i === token && node.id !== "wrong");
    }
    const current = this.stream.querySelector(".current");
    if (!current) {
      this.stream.scrollTop = 0;
      return;
    }
    const top = current.offsetTop - this.stream.scrollTop,
      room = this.stream.clientHeight;
    if (top < 30 || top > room - 50) this.stream.scrollTop = current.offsetTop - room / 2;
  }

  showTape(state) {
    const sizes = [...this.replay.cells.values()].reduce(
      (most, cell) => Math.max(most, Math.min(this.replay.words[cell.id].length, 3)),
      1,
    );
    drawTape(this.tape, this.replay, state, 18 + 7 * sizes);
    this.highest = Math.max(this.highest, this.tape.scrollHeight);
    this.tape.style.minHeight = `${this.highest}px`;
  }

  key(event) {
    const kind = event.target.tagName,
      type = event.target.type,
      by = event.shiftKey ? 10 : 1;
    if (event.altKey || event.ctrlKey || event.metaKey || kind === "SELECT" || type === "number") return;
    const to = { ArrowLeft: this.step - by, ArrowRight: this.step + by, Home: 0, End: Infinity }[event.key];
    if (to !== undefined) this.go(to);
    else if (event.key === " " && kind !== "BUTTON") this.play(!this.playing);
    else return;
    event.preventDefault();
  }

  play(on) {
    if (on && this.step === this.replay.steps) this.go(0);
    this.playing = on;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    this.now.setAttribute("aria-live", on ? "off" : "polite");
    if (!on) return;
    let last = performance.now(),
      owed = 0;
    const turn = (now) => {
      if (!this.playing) return;
      owed += ((now - last) / 1000) * +this.speed.value;
      last = now;
      if (owed >= 1) {
        this.go(this.step + Math.floor(owed));
        owed %= 1;
      }
      requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }
}

/* The words around the viewer. */

function title(data, episode) {
  const task = data.tasks[episode.task],
    size = `length ${count(episode.length)}`;
  if (episode.run === null) return `${task.task}, ${task.variant} program: solved, ${size}`;
  const run = data.runs[episode.run],
    row = run.rows[episode.row];
  return `${run.name}: first error, ${size}${row.worst_cases ? ", worst case" : ""}${row.mode === "generate" ? ", free running" : ""}`;
}

function told(data, episode, replay) {
  const last = episode.start + episode.ids.length - 1;
  if (!episode.error) {
    const ends = episode.ids.at(-1) === EOS;
    return `The program's own episode of length ${count(episode.length)}: what models are trained to say. ${ends ? `All of its ${count(last + 1)} tokens.` : `Its first ${count(last + 1)} tokens.`}`;
  }
  const part = episode.start
    ? `Shown: tokens ${count(episode.start)} to ${count(last)}, and the memory near the pointers.`
    : `Shown: from the start to token ${count(last)}.`;
  const run = data.runs[episode.run];
  return `${run.model}, seed ${run.seed}: right up to token ${count(episode.error.position - 1)}, wrong at token ${count(episode.error.position)}. ${part} What follows the wrong token is the program's.`;
}

function roleKey(data) {
  const about = {
    prompt: "given",
    thought: "said, remembered",
    command: "said to a tool",
    observation: "a tool's answer",
    output: "the answer, remembered",
    note: "said, not remembered",
  };
  const items = data.roles.map((name, i) =>
    make(
      "li",
      {},
      make("span", { class: `tok r${i}${data.trained[i] ? " trained" : ""}` }, name),
      ` ${about[name] || ""}`,
    ),
  );
  items.push(
    make("li", {}, make("span", { class: "tok trained" }, "underlined"), " trained: the model must say it"),
    make("li", {}, make("span", { class: "tok wrong" }, "wrong"), " what the model said instead"),
  );
  return make("ul", { class: "key" }, items);
}

/* One sentence on what a step does. */
function explain(replay, { token, size, at }) {
  const { episode } = replay;
  if (token < 0) return [`The memory and the pointers before token ${count(episode.start)}.`];
  const role = replay.roles[token],
    word = replay.word(token);
  const chip = make("span", { class: `tok r${role}${replay.trained[token] ? " trained" : ""}` }, visible(word));
  if (role === PROMPT) return ["The problem is given: ", ...problem(replay)];
  const parts = [chip, ` ${meaning(replay, token, word, role, size, at)}`];
  if (episode.error && token + episode.start === episode.error.position)
    parts.push(make("br"), ...verdict(episode.error));
  return parts;
}

function problem(replay) {
  const shown = [...replay.cells].filter(([, cell]) => cell.role === PROMPT).slice(0, 24);
  const all = replay.episode.prompt - 1;
  return [
    make("code", {}, shown.map(([, cell]) => visible(replay.words[cell.id])).join(" ")),
    all > 24 ? ` and ${count(all - 24)} more tokens` : "",
  ];
}

function meaning(replay, token, word, role, size, at) {
  const [name, verb] = word.replace(/^\[|\]$/g, "").split(".").slice(-2);
  if (role === COMMAND && name in at)
    return verb === "read"
      ? `pointer ${name} reads cell ${count(at[name])}`
      : `pointer ${name} moves ${verb} to cell ${count(at[name])}`;
  if (role === COMMAND) return "a command to a tool";
  if (role === OBSERVATION) return "the tool's answer: forced, not trained";
  if (word === "[ANS]") return `thoughts end here, the answer begins; remembered in cell ${count(size - 1)}`;
  if (replay.episode.ids[token] === EOS) return "the episode ends";
  if (role === THOUGHT || role === OUTPUT)
    return `${role === OUTPUT ? "output, part of the answer" : "thought"}; remembered in cell ${count(size - 1)}`;
  return "note: said, not remembered";
}

function verdict(error) {
  const margin =
    error.margin === null
      ? ""
      : ` Margin ${error.margin.toFixed(3)}: the right token's score (logit) less the best other's.`;
  const want = ["Here the right token is ", make("code", {}, visible(error.want)), "; the model says "];
  if (error.got === null)
    return [...want, make("b", { class: "bad" }, "nothing"), ": it has never seen this context, or it is ambiguous."];
  return [...want, make("b", { class: "bad" }, visible(error.got)), `.${margin}`];
}
