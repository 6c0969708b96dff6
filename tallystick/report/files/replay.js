"use strict";
/* Replays a stretch of an episode: the memory and the pointers after each of its tokens. The data say which tokens are
   remembered and which are pointer commands. */

/* Step 0 is the last token of the prompt (or the last token before the stretch), and each step is one token. */
class Replay {
  constructor(data, episode) {
    const stretch = episode.stretch;
    this.episode = episode;
    this.start = stretch.start;
    this.ids = stretch.ids;
    this.words = data.programs[episode.program].vocab;
    this.roleNames = data.roles;
    this.roles = [...stretch.roles].map(Number);
    this.trained = this.roles.map((role) => data.trained[role]);
    this.first = Math.max(-1, Math.min(stretch.prompt - 1 - stretch.start, this.ids.length - 1));
    this.steps = this.ids.length - 1 - this.first;
    this.pointers = Object.keys(stretch.pointers);
    this.promptLength = stretch.prompt - 1;
    this.pointerCommands = stretch.pointer_commands;
    this.cells = new Map();
    for (const [first, ids, roles] of stretch.cells)
      ids.forEach((id, i) => this.cells.set(first + i, { id, role: +roles[i] }));
    this.run(stretch);
  }

  /* Go through all tokens once, and keep the size of the memory and the pointers' cells after each. */
  run(stretch) {
    let size = stretch.memory;
    const at = { ...stretch.pointers };
    this.before = { size, at: { ...at } };
    this.after = this.ids.map((id, i) => {
      const command = this.pointerCommand(i);
      if (command) at[command.pointer] += { left: -1, read: 0, right: 1 }[command.verb];
      if (stretch.remembered[i] === "1") {
        this.cells.set(size, { id, role: this.roles[i] });
        size += 1;
      }
      return { size, at: { ...at } };
    });
  }

  /* The state after a step: {token, size, at: {pointer: cell}}; token is -1 before the stretch's first token. */
  state(step) {
    const token = this.first + step;
    return { token, ...(token < 0 ? this.before : this.after[token]) };
  }

  /* The cell that a token was remembered in, or null. */
  cellOf(token) {
    if (token < 0) return null;
    const { size } = this.after[token];
    return size > (token ? this.after[token - 1] : this.before).size ? size - 1 : null;
  }

  pointerCommand(token) {
    const found = this.role(token) === "command" && this.pointerCommands[this.ids[token]];
    return found ? { pointer: found[0], verb: found[1] } : null;
  }

  role(token) {
    return this.roleNames[this.roles[token]];
  }

  word(token) {
    return this.words[this.ids[token]];
  }

  /* The place of a step's token in the whole episode, and the step of a place. */
  position(step) {
    return this.start + this.first + step;
  }

  step(position) {
    return Math.max(0, Math.min(this.steps, position - this.start - this.first));
  }
}
