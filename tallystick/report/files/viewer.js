"use strict";
/* The episode viewer: its controls, the tape, and the stream of tokens. */

const SPEEDS = [2, 8, 30, 120];

/* Icons drawn as shapes, since few fonts have them. */
const ICONS = {
  home: "M3 3v10M13 3v10L5 8z",
  back: "M11 3v10L4 8zM13.5 3v10",
  play: "M4 3v10L12 8z",
  pause: "M4 3h3v10h-3zM9 3h3v10h-3z",
  forward: "M5 3v10L12 8zM2.5 3v10",
  end: "M13 3v10M3 3v10L11 8z",
};

function icon(name) {
  const svg = draw("svg", { viewBox: "0 0 16 16", class: "glyph", "aria-hidden": true });
  svg.append(draw("path", { d: ICONS[name] }));
  return svg;
}

class Viewer {
  constructor(data, host) {
    this.data = data;
    this.step = 0;
    this.playing = false;
    this.makeParts();
    host.append(this.arrange());
    new ResizeObserver(() => this.replay && this.showTape(this.replay.state(this.step))).observe(this.tape);
    const error = data.episodes.findIndex((episode) => episode.error);
    this.open(Math.max(error, 0));
  }

  /* The elements that change from step to step, or whose values are read. */
  makeParts() {
    const titles = this.data.episodes.map((episode) => episodeTitle(this.data, episode));
    const speed = (n) => make("option", { value: n, selected: n === 8 }, `${n} tokens/s`);
    const position = () => this.go(this.replay.step(+this.box.value));
    const jump = (event) => event.target.dataset.i && this.go(+event.target.dataset.i - this.replay.first);
    const stream = { class: "stream", id: "stream", tabindex: 0, role: "region", "aria-label": "tokens" };
    this.choice = make(
      "select",
      { id: "episode", onchange: () => this.open(+this.choice.value) },
      titles.map((title, i) => make("option", { value: i }, title)),
    );
    const slide = () => this.go(+this.slider.value);
    this.slider = make("input", { type: "range", id: "slider", min: 0, "aria-label": "step", oninput: slide });
    this.box = make("input", { type: "number", id: "jump", onchange: position });
    this.speed = make("select", { id: "speed" }, SPEEDS.map(speed));
    this.playButton = this.button("play", "Play", () => this.play(!this.playing));
    const toError = () => this.go(this.replay.step(this.replay.episode.error.position));
    const error = { type: "button", id: "error", title: "Go to the first wrong token", onclick: toError };
    this.errorButton = make("button", error, "Wrong token");
    this.about = make("p", { class: "soft", id: "about" });
    this.length = make("span", {});
    this.now = make("p", { class: "now", id: "now", "aria-live": "polite" });
    this.tape = make("div", { class: "tape", id: "tape", role: "img" });
    this.stream = make("div", { ...stream, onclick: jump });
  }

  button(id, about, action) {
    const attributes = { type: "button", id, class: "icon", title: about, "aria-label": about, onclick: action };
    return make("button", attributes, icon(id));
  }

  arrange() {
    const controls = [
      this.button("home", "First step (Home)", () => this.go(0)),
      this.button("back", "Step back (left arrow)", () => this.go(this.step - 1)),
      this.playButton,
      this.button("forward", "Step forward (right arrow)", () => this.go(this.step + 1)),
      this.button("end", "Last step (End)", () => this.go(this.replay.steps)),
      this.errorButton,
      make("label", {}, "Speed ", this.speed),
      this.slider,
      make("label", {}, "Token ", this.box, this.length),
    ];
    const label = { tabindex: 0, role: "group", "aria-label": "episode viewer", onkeydown: (event) => this.key(event) };
    this.node = make(
      "div",
      { class: "viewer", id: "viewer", ...label },
      make("label", {}, "Episode ", this.choice),
      this.about,
      make("div", { class: "controls" }, controls),
      this.now,
      heading("Memory: the cells that the pointers read"),
      this.tape,
      heading("Tokens, in the order in which they are said"),
      this.stream,
      roleKey(this.data),
      this.keys(),
    );
    return this.node;
  }

  keys() {
    const key = (name) => make("kbd", {}, name);
    const step = [key("←"), " ", key("→"), " one step (ten with ", key("Shift"), "), "];
    const ends = [key("Space"), " play or pause, ", key("Home"), " ", key("End"), " first or last step. "];
    const text = ["Keys, once the viewer has the focus: ", ...step, ...ends, "Click a token to go to it."];
    return make("p", { class: "soft" }, text);
  }

  open(number) {
    this.play(false);
    const episode = this.data.episodes[number];
    const replay = new Replay(this.data, episode);
    this.replay = replay;
    this.choice.value = number;
    this.slider.max = replay.steps;
    this.box.min = replay.position(0);
    this.box.max = replay.position(replay.steps);
    this.length.textContent = `of ${count(replay.position(replay.steps))}`;
    this.errorButton.hidden = !episode.error;
    this.about.textContent = episodeAbout(this.data, episode);
    const wrong = episode.error ? episode.error.position - replay.start : Infinity;
    this.stream.replaceChildren(...replay.ids.flatMap((_, i) => this.streamToken(i, wrong)));
    this.go(episode.error ? replay.step(episode.error.position) : 0);
  }

  /* A token of the stream. At the model's error, its token stands before the program's. */
  streamToken(i, wrong) {
    const chip = tokenChip(this.replay, i);
    chip.dataset.i = i;
    chip.classList.toggle("program", i > wrong);
    if (i !== wrong) return [chip, " "];
    const { got } = this.replay.episode.error;
    const said = { class: "tok wrong", id: "wrong", "data-i": i, title: "what the model says" };
    return [make("span", said, got === null ? "(nothing)" : visible(got)), " ", chip, " "];
  }

  go(step) {
    this.step = Math.max(0, Math.min(this.replay.steps, Math.round(step) || 0));
    const state = this.replay.state(this.step);
    const position = this.replay.position(this.step);
    this.slider.value = this.step;
    this.slider.setAttribute("aria-valuetext", `token ${position}`);
    this.box.value = position;
    this.node.dataset.position = position;
    this.now.replaceChildren(...stepAbout(this.replay, state));
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
    const height = this.stream.clientHeight;
    const top = current ? current.offsetTop - this.stream.scrollTop : 0;
    if (!current) this.stream.scrollTop = 0;
    else if (top < 30 || top > height - 50) this.stream.scrollTop = current.offsetTop - height / 2;
  }

  showTape(state) {
    const lengths = [...this.replay.cells.values()].map((cell) => this.replay.words[cell.id].length);
    const longest = lengths.reduce((a, b) => Math.max(a, b), 1);
    drawTape(this.tape, this.replay, state, 18 + 7 * Math.min(longest, 3));
  }

  key(event) {
    const { tagName, type } = event.target;
    if (event.altKey || event.ctrlKey || event.metaKey || tagName === "SELECT" || type === "number") return;
    const by = event.shiftKey ? 10 : 1;
    const steps = { ArrowLeft: this.step - by, ArrowRight: this.step + by, Home: 0, End: this.replay.steps };
    if (event.key in steps) this.go(steps[event.key]);
    else if (event.key === " " && tagName !== "BUTTON") this.play(!this.playing);
    else return;
    event.preventDefault();
  }

  play(on) {
    if (on && this.step === this.replay.steps) this.go(0);
    this.playing = on;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    this.now.setAttribute("aria-live", on ? "off" : "polite");
    if (on) this.advance(performance.now(), 0);
  }

  /* Advance by the number of steps due since `last`; `owed` is the fraction of a step still due. */
  advance(last, owed) {
    requestAnimationFrame((now) => {
      if (!this.playing) return;
      const due = owed + (Math.max(0, now - last) / 1000) * +this.speed.value;
      if (due >= 1) this.go(this.step + Math.floor(due));
      this.advance(now, due % 1);
    });
  }
}
