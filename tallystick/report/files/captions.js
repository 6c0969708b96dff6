"use strict";
/* Captions of the viewer: the name of the episode, and a sentence on each step. */

/* An episode's name in the list of episodes. */
function episodeTitle(data, episode) {
  const length = `length ${count(episode.length)}`;
  if (episode.run === null) {
    const { task, variant } = data.programs[episode.program];
    return `${task}, ${variant} program: solved, ${length}`;
  }
  const run = data.runs[episode.run];
  const row = run.rows[episode.row];
  const kind = `${row.worst_cases ? ", worst case" : ""}${row.mode === "generate" ? ", free running" : ""}`;
  return `${run.name}: first error, ${length}${kind}`;
}

/* A paragraph that describes an episode of tokens, and one that describes an episode of turns. */
function episodeAbout(data, episode) {
  const { start, ids } = episode.stretch;
  const last = start + ids.length - 1;
  if (!episode.error) {
    const whole = data.programs[episode.program].vocab[ids.at(-1)] === "[EOS]";
    const part = whole ? `All of its ${count(last + 1)} tokens.` : `Its first ${count(last + 1)} tokens.`;
    return `The program's own episode of length ${count(episode.length)}: what models are trained to say. ${part}`;
  }
  const run = data.runs[episode.run];
  const { position } = episode.error;
  const from = start ? `tokens ${count(start)} to ${count(last)}` : `everything up to token ${count(last)}`;
  return (
    `${run.model}, seed ${run.seed}: right up to token ${count(position - 1)}, wrong at token ${count(position)}. ` +
    `Shown: ${from}. What follows the wrong token is the program's.`
  );
}

function turnsAbout(data, episode) {
  const { before, turns, whole } = episode.conversation;
  const from = before ? `Steps ${count(before + 1)} to ${count(before + turns.length)}` : `Its first ${plural(turns.length, "step")}`;
  const part = whole && !before ? `All of its ${plural(turns.length, "step")}.` : `${from}.`;
  if (!episode.error)
    return `The program's own episode of length ${count(episode.length)}: what models are trained to say. ${part}`;
  const run = data.runs[episode.run];
  return (
    `${run.model}, seed ${run.seed}: as the program up to token ${count(episode.error.position - 1)}, another token ` +
    `then. ${part} What follows the other token is the program's.`
  );
}

/* A sentence that describes a step. */
function stepAbout(replay, { token, at }) {
  if (token < 0) return [`The memory and the pointers before token ${count(replay.start)}.`];
  if (replay.role(token) === "prompt") return ["The problem is given: ", ...promptAbout(replay)];
  const parts = [tokenChip(replay, token), ` ${tokenAbout(replay, token, at)}`];
  const { error } = replay.episode;
  if (error && token + replay.start === error.position) parts.push(make("br"), ...errorAbout(error));
  return parts;
}

function tokenChip(replay, token) {
  const trained = replay.trained[token] ? " trained" : "";
  return make("span", { class: `tok r${replay.roles[token]}${trained}` }, visible(replay.word(token)));
}

function promptAbout(replay) {
  const most = 24;
  const given = [...replay.cells.values()].filter((cell) => replay.roleNames[cell.role] === "prompt").slice(0, most);
  const more = replay.promptLength - most;
  return [
    code(visibleLine(given.map((cell) => replay.words[cell.id]))),
    more > 0 ? ` and ${plural(more, "more token")}` : "",
  ];
}

function tokenAbout(replay, token, at) {
  const command = replay.pointerCommand(token);
  if (command) {
    const cell = `cell ${count(at[command.pointer])}`;
    if (command.verb === "read") return `pointer ${command.pointer} reads ${cell}`;
    return `pointer ${command.pointer} moves ${command.verb} to ${cell}`;
  }
  const role = replay.role(token);
  const cell = replay.cellOf(token);
  const where = cell === null ? "not remembered" : `remembered in cell ${count(cell)}`;
  if (role === "command") return "a command to a tool";
  if (role === "observation") return "the tool's answer: not said by the model, not trained";
  if (role === "note") return "a note: said, not remembered";
  if (replay.word(token) === "[EOS]") return "the episode ends";
  if (replay.word(token) === "[ANS]") return `the thoughts end here, the answer begins; ${where}`;
  return `${role === "output" ? "part of the answer" : "a thought"}, ${where}`;
}

function errorAbout(error) {
  const want = ["Here the right token is ", code(visible(error.want)), "; the model says "];
  if (error.got === null)
    return [...want, make("b", { class: "bad" }, "nothing"), ": it has never seen this context, or it is ambiguous."];
  const margin = error.margin === null ? "" : ` Margin ${error.margin.toFixed(3)}: ${MARGIN_ABOUT}.`;
  return [...want, make("b", { class: "bad" }, visible(error.got)), `.${margin}`];
}
const MARGIN_ABOUT = "the right token's score (logit) minus the best other token's";

/* The legend of the tokens' colours. */
function roleKey(data) {
  const about = {
    prompt: "given",
    thought: "said, remembered",
    command: "said to a tool",
    observation: "a tool's answer",
    output: "the answer, remembered",
    note: "said, not remembered",
  };
  const item = (classes, name, text) => make("li", {}, make("span", { class: `tok ${classes}` }, name), ` ${text}`);
  return make("ul", { class: "key" }, [
    ...data.roles.map((name, i) => item(`r${i}${data.trained[i] ? " trained" : ""}`, name, about[name])),
    item("trained", "underlined", "trained: the model must say it"),
    item("wrong", "wrong", "what the model said instead"),
  ]);
}
