"use strict";
/* The report's data, the names that all sections use, and the first section: the runs at a glance. */

const data = JSON.parse(document.getElementById("data").textContent);
const sectionBody = (id) => document.querySelector(`#${id} .body`);

const programOf = (runOrGroup) => data.programs[runOrGroup.program];
const programName = (program) => `${program.task}, ${program.variant} program`;
const runsOf = (group) => group.runs.map((id) => data.runs[id]);
const rowsOf = (run) => run.rows || [];
const seedsOf = (runs) => `${runs.length === 1 ? "seed" : "seeds"} ${runs.map((run) => run.seed).join(", ")}`;

/* Table cells that name a group or a run, and its program where there are several. */
const severalPrograms = data.programs.length > 1;
const groupCell = (group, runs) => ({
  text: group.label,
  small: severalPrograms ? seedsOf(runs) : `${programName(programOf(group))}, ${seedsOf(runs)}`,
});
const runCell = (run) => ({ text: run.name, small: severalPrograms ? programName(programOf(run)) : undefined });

/* How many of these runs are certified, as a table's cell; null if none is. */
function certifiedCell(runs) {
  const certified = runs.filter((run) => run.certified);
  if (!certified.length) return null;
  const margin = Math.min(...certified.map((run) => run.certified.min_margin));
  const small = `${certified.length} of ${plural(runs.length, "run")}, margins at least ${scientific(margin)}`;
  return { text: "certified", small, cls: certified.length === runs.length ? "good" : "" };
}

/* The problems on which a row was measured, as text. */
const problemKind = (row) =>
  `${row.worst_cases ? "worst cases" : "random"}${row.mode === "generate" ? ", free running" : ""}`;

/* Charts are drawn in panels: programs of one task and one training length together. */
function panels() {
  const keys = distinct(data.programs.map((program) => `${program.train_length} ${program.task}`));
  return keys.map((key) => {
    const programs = data.programs.filter((program) => `${program.train_length} ${program.task}` === key);
    const { task, train_length: trainLength } = programs[0];
    const groups = data.groups.filter((group) => programs.includes(programOf(group)));
    return { task, trainLength, programs, groups, title: `${task}, trained on lengths up to ${count(trainLength)}` };
  });
}

const trainingShade = (panel) => ({ to: panel.trainLength, label: `trained: length ≤ ${count(panel.trainLength)}` });

/* The logarithmic axis of a panel's lengths. */
function lengthAxis(panel, lengths) {
  const all = [...lengths, panel.trainLength];
  const domain = [Math.max(1, Math.min(...all) * 0.7), Math.max(...all) * 1.45];
  return { log: true, domain, label: `problem length of ${panel.task} (log scale)`, format: count };
}

const shareAxis = (label) => ({
  domain: [-0.04, 1.04],
  ticks: [0, 0.25, 0.5, 0.75, 1],
  label,
  format: (share) => `${100 * share} %`,
});

/* One line for each run of a group; `points` gives a run's points. */
function runSeries(group, look, points) {
  const runs = runsOf(group).filter((run) => points(run).length);
  const name = `${group.label}, ${seedsOf(runs)}`;
  return runs.map((run, i) => ({ look, name: i ? undefined : name, points: points(run) }));
}

function lead() {
  const text = document.getElementById("lead");
  text.textContent = data.groups.length === 1 ? leadOfOne(data.groups[0]) : leadOfMany();
}

function leadOfOne(group) {
  const program = programOf(group);
  const trained = `Trained on lengths up to ${count(program.train_length)}, ${group.model}`;
  if (runsOf(group).every((run) => run.certified)) return `${trained} is certified exact at every length.`;
  if (!runsOf(group).some((run) => run.rows)) return `${trained} has not been measured yet.`;
  if (group.reach === null) return `${trained} is exact at none of the lengths measured.`;
  const tokens = program.sizes[group.reach] ? `, ${count(program.sizes[group.reach].tokens)} tokens an episode` : "";
  const episodes = episodesAt(group, group.reach);
  const reach = `up to length ${count(group.reach)}${tokens} (${episodes} there)`;
  return `${trained} is exact in every episode measured ${reach}.`;
}

function leadOfMany() {
  const measured = data.groups.filter((group) => runsOf(group).some((run) => run.rows));
  const exact = measured.filter((group) => group.all_exact).length;
  const missing = data.groups.length - measured.length;
  const parts = [`${exact} of ${measured.length} measured are exact in every episode, at all lengths`];
  if (missing) parts.push(`${missing} ${missing === 1 ? "has" : "have"} not been measured`);
  const configurations = plural(data.groups.length, "configuration");
  return `${plural(data.runs.length, "run")} of ${configurations} (all seeds together): ${parts.join("; ")}.`;
}

/* The number of episodes on which a statement about one length of a group is based. */
function episodesAt(group, length) {
  const rows = runsOf(group).flatMap(rowsOf).filter((row) => row.length === length);
  const total = (worst) => rows.filter((r) => r.worst_cases === worst).reduce((sum, r) => sum + r.samples, 0);
  const parts = [];
  if (total(false)) parts.push(`${count(total(false))} random`);
  if (total(true)) parts.push(plural(total(true), "worst case"));
  return parts.join(", ");
}

const CERTIFIED_ABOUT =
  "Certified: the model is proved to say exactly the program's tokens on every problem of the task's shape, of any " +
  "length, in single precision on a CPU. The certificate is of these weights, this task and its program as it is now.";
const anyCertified = data.runs.some((run) => run.certified);

function glance() {
  const host = sectionBody("glance");
  const columns = [
    "Configuration",
    "Trained on lengths up to",
    "Every episode exact up to length",
    ...(anyCertified ? ["Every length"] : []),
    "Tokens of an episode there",
    "State there",
    "Parameters",
    "Runs measured",
  ];
  host.append(table(columns, data.groups.map(glanceRow)));
  const described = data.programs.filter((p, i, all) => p.about && all.findIndex((o) => o.task === p.task) === i);
  const about = described.map((p) => make("p", { class: "soft" }, make("b", {}, `${p.task}. `), withCode(p.about)));
  if (anyCertified) host.append(paragraph(CERTIFIED_ABOUT));
  if (about.length) host.append(folded(about.length === 1 ? "What the task is" : "What the tasks are", ...about));
  for (const run of data.runs) {
    if (!run.rows) host.append(notMeasured(run));
    for (const note of run.notes) host.append(remark(`${run.name}: ${note}`));
  }
}

function glanceRow(group) {
  const runs = runsOf(group);
  const measured = runs.filter((run) => run.rows);
  const there = measured.flatMap(rowsOf).filter((row) => row.length === group.reach);
  const size = programOf(group).sizes[group.reach];
  return [
    groupCell(group, runs),
    count(programOf(group).train_length),
    reachCell(group, measured),
    ...(anyCertified ? [certifiedCell(runs)] : []),
    size ? count(size.tokens) : null,
    there.length ? bytes(Math.max(...there.map((row) => row.state_bytes))) : null,
    runs[0].parameters === 0 ? "a table" : runs[0].parameters === null ? null : count(runs[0].parameters),
    `${measured.length} of ${runs.length}`,
  ];
}

function reachCell(group, measured) {
  if (!measured.length) return "not measured";
  if (group.reach === null) return { text: "at no length", cls: "bad" };
  return { text: count(group.reach), small: episodesAt(group, group.reach) };
}

function notMeasured(run) {
  const note = remark(`${run.name} has not been measured. Measure it with `, code(run.command));
  note.classList.add("missing");
  return note;
}
