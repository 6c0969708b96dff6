"use strict";
/* The view of an episode of symbols: each step is a token; the memory as a tape, and the stream of tokens. */

class TokenView {
  constructor(data, episode, go) {
    this.unit = "token";
    this.replay = new Replay(data, episode);
    this.steps = this.replay.steps;
    this.about = episodeAbout(data, episode);
    this.current = 0;
    const jump = (event) => event.target.dataset.i && go(+event.target.dataset.i - this.replay.first);
    const stream = { class: "stream", id: "stream", tabindex: 0, role: "region", "aria-label": "tokens" };
    this.live = make("p", { class: "now", id: "now", "aria-live": "polite" });
    this.tape = make("div", { class: "tape", id: "tape", role: "img" });
    this.stream = make("div", { ...stream, onclick: jump });
    const wrong = episode.error ? episode.error.position - this.replay.start : Infinity;
    this.stream.append(...this.replay.ids.flatMap((_, i) => this.streamToken(i, wrong)));
    this.nodes = [
      this.live,
      heading("Memory: the cells that the pointers read"),
      this.tape,
      heading("Tokens, in the order in which they are said"),
      this.stream,
      roleKey(data),
    ];
    const redraw = () => this.tape.isConnected && this.showTape(this.replay.state(this.current));
    new ResizeObserver(redraw).observe(this.tape);
  }

  /* The place of a step's token in the whole episode, and the step of a place. */
  position(step) {
    return this.replay.position(step);
  }

  step(position) {
    return this.replay.step(position);
  }

  get errorStep() {
    return this.replay.step(this.replay.episode.error.position);
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

  show(step) {
    this.current = step;
    const state = this.replay.state(step);
    this.live.replaceChildren(...stepAbout(this.replay, state));
    this.showTape(state);
    this.showStream(state.token);
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
}
