"use strict";
/* The episode viewer: its controls, and below them a view of the episode: its tokens, or the turns of a text task. */

const SPEEDS = { token: [2, 8, 30, 120], step: [0.5, 1, 2, 8] };
const USUAL_SPEED = { token: 8, step: 1 };

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
    const error = data.episodes.findIndex((episode) => episode.error);
    this.open(Math.max(error, 0));
  }

  /* The elements that change from step to step, or whose values are read. */
  makeParts() {
    const titles = this.data.episodes.map((episode) => episodeTitle(this.data, episode));
    this.choice = make(
      "select",
      { id: "episode", onchange: () => this.open(+this.choice.value) },
      titles.map((title, i) => make("option", { value: i }, title)),
    );
    const slide = () => this.go(+this.slider.value);
    const jump = () => this.go(this.view.step(+this.box.value));
    this.slider = make("input", { type: "range", id: "slider", min: 0, "aria-label": "step", oninput: slide });
    this.box = make("input", { type: "number", id: "jump", onchange: jump });
    this.unit = make("span", {});
    this.speed = make("select", { id: "speed" });
    this.playButton = this.button("play", "Play", () => this.play(!this.playing));
    const error = { type: "button", id: "error", title: "Go to the first wrong token" };
    this.errorButton = make("button", { ...error, onclick: () => this.go(this.view.errorStep) }, "Wrong token");
    this.about = make("p", { class: "soft", id: "about" });
    this.length = make("span", {});
    this.place = make("div", {});
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
      this.button("end", "Last step (End)", () => this.go(this.view.steps)),
      this.errorButton,
      make("label", {}, "Speed ", this.speed),
      this.slider,
      make("label", {}, this.unit, this.box, this.length),
    ];
    const label = { tabindex: 0, role: "group", "aria-label": "episode viewer", onkeydown: (event) => this.key(event) };
    this.node = make(
      "div",
      { class: "viewer", id: "viewer", ...label },
      make("label", {}, "Episode ", this.choice),
      this.about,
      make("div", { class: "controls" }, controls),
      this.place,
      this.keys(),
    );
    return this.node;
  }

  keys() {
    const key = (name) => make("kbd", {}, name);
    const step = [key("←"), " ", key("→"), " one step (ten with ", key("Shift"), "), "];
    const ends = [key("Space"), " play or pause, ", key("Home"), " ", key("End"), " first or last step. "];
    const text = ["Keys, once the viewer has the focus: ", ...step, ...ends, "Click a step to go to it."];
    return make("p", { class: "soft" }, text);
  }

  open(number) {
    this.play(false);
    const episode = this.data.episodes[number];
    const View = episode.conversation ? TurnView : TokenView;
    this.view = new View(this.data, episode, (step) => this.go(step));
    this.place.replaceChildren(...this.view.nodes);
    this.choice.value = number;
    this.slider.max = this.view.steps;
    this.box.min = this.view.position(0);
    this.box.max = this.view.position(this.view.steps);
    this.length.textContent = `of ${count(this.view.position(this.view.steps))}`;
    this.errorButton.hidden = !episode.error;
    this.about.textContent = this.view.about;
    this.offerSpeeds(this.view.unit);
    this.go(episode.error ? this.view.errorStep : 0);
  }

  /* The speeds of a unit, unless they are on offer already. */
  offerSpeeds(unit) {
    this.unit.textContent = unit === "token" ? "Token " : "Step ";
    if (this.speed.dataset.unit === unit) return;
    this.speed.dataset.unit = unit;
    const option = (n) => make("option", { value: n, selected: n === USUAL_SPEED[unit] }, `${n} ${unit}${n === 1 ? "" : "s"}/s`);
    this.speed.replaceChildren(...SPEEDS[unit].map(option));
  }

  go(step) {
    this.step = Math.max(0, Math.min(this.view.steps, Math.round(step) || 0));
    const position = this.view.position(this.step);
    this.slider.value = this.step;
    this.slider.setAttribute("aria-valuetext", `${this.view.unit} ${position}`);
    this.box.value = position;
    this.node.dataset.position = position;
    this.view.show(this.step);
    if (this.step === this.view.steps) this.play(false);
  }

  key(event) {
    const { tagName, type } = event.target;
    if (event.altKey || event.ctrlKey || event.metaKey || tagName === "SELECT" || type === "number") return;
    const by = event.shiftKey ? 10 : 1;
    const steps = { ArrowLeft: this.step - by, ArrowRight: this.step + by, Home: 0, End: this.view.steps };
    if (event.key in steps) this.go(steps[event.key]);
    else if (event.key === " " && tagName !== "BUTTON") this.play(!this.playing);
    else return;
    event.preventDefault();
  }

  play(on) {
    if (on && this.step === this.view.steps) this.go(0);
    this.playing = on;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    if (this.view) this.view.live.setAttribute("aria-live", on ? "off" : "polite");
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
