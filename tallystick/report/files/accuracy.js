"use strict";
/* Accuracy against length: a chart and a table for each task, and every measurement. */

const KINDS = [
  { name: "Random problems", has: (row) => row.mode === "verify" && !row.worst_cases },
  { name: "Worst cases", has: (row) => row.mode === "verify" && row.worst_cases },
  { name: "Random problems, free running", has: (row) => row.mode === "generate" && !row.worst_cases },
  { name: "Worst cases, free running", has: (row) => row.mode === "generate" && row.worst_cases },
];
const rowsOfKind = (run, kind) => rowsOf(run).filter(kind.has).sort((a, b) => a.length - b.length);

function accuracy() {
  const host = sectionBody("accuracy");
  const kinds = KINDS.filter((kind) => data.runs.some((run) => rowsOfKind(run, kind).length));
  if (!kinds.length) {
    host.append(remark("None of these runs has been measured yet."));
    return;
  }
  host.append(
    paragraph(
      "An episode is exact if every token that the model says is the program's. Bars: the 95 % interval of one run's ",
      "share, or the range over the seeds. Marks that would hide one another stand side by side.",
    ),
  );
  const view = make("div");
  const show = (kind) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(kinds[i] === kind)));
    view.replaceChildren(...panels().flatMap((panel) => accuracyPanel(panel, kind)));
  };
  const buttons = kinds.map((kind) => make("button", { type: "button", onclick: () => show(kind) }, kind.name));
  host.append(make("div", { class: "chooser", role: "group", "aria-label": "which problems" }, buttons), view);
  host.append(everyMeasurement());
  show(kinds[0]);
}

function accuracyPanel(panel, kind) {
  const series = panel.groups.flatMap((group, look) => accuracySeries(group, look, kind));
  if (!series.length) return [];
  const lengths = series.flatMap((s) => s.points.map((p) => p.x));
  const chart = {
    about: `Share of exact episodes of ${panel.task} against problem length; the table below has the numbers`,
    spread: true,
    series,
    shade: trainingShade(panel),
    x: lengthAxis(panel, lengths),
    y: shareAxis("episodes exact in every token"),
  };
  return [heading(panel.title), figure(chart), accuracyTable(panel, kind)];
}

/* A run's line with its intervals; for several runs thin lines, and their median with its range. */
function accuracySeries(group, look, kind) {
  const runs = runsOf(group).filter((run) => rowsOfKind(run, kind).length);
  if (!runs.length) return [];
  const name = `${group.label}, ${seedsOf(runs)}`;
  const lines = runs.map((run) => rowsOfKind(run, kind).map((row) => accuracyPoint(run, row)));
  if (runs.length === 1) return [{ look, name, points: lines[0] }];
  const thin = lines.map((points) => ({ look, thin: true, bare: true, points: points.map(withoutInterval) }));
  const lengths = ascending(distinct(lines.flat().map((point) => point.x)));
  const points = lengths.map((x) => medianPoint(group, x, lines.flat().filter((point) => point.x === x)));
  return [...thin, { look, name: `${name}: median, range`, points }];
}

function accuracyPoint(run, row) {
  const [low, high] = row.ci95;
  const interval = `95 % interval ${percent(low)} to ${percent(high)}`;
  const tip = `${run.name}, length ${count(row.length)}: ${row.exact} of ${row.samples} exact (${interval})`;
  return { x: row.length, y: row.exact / row.samples, low, high, tip };
}

const withoutInterval = ({ x, y, tip }) => ({ x, y, tip });

function medianPoint(group, x, points) {
  const shares = points.map((point) => point.y);
  const [low, high] = [Math.min(...shares), Math.max(...shares)];
  const range = `${percent(low)} to ${percent(high)}`;
  const middle = median(shares);
  const tip = `${group.label}, length ${count(x)}: median ${percent(middle)} of ${shares.length} seeds (${range})`;
  return { x, y: middle, low, high, tip };
}

function accuracyTable(panel, kind) {
  const groups = panel.groups.filter((group) => runsOf(group).some((run) => rowsOfKind(run, kind).length));
  const rows = groups.flatMap(runsOf).flatMap((run) => rowsOfKind(run, kind));
  const lengths = ascending(distinct(rows.map((row) => row.length)));
  const certified = groups.flatMap(runsOf).some((run) => run.certified);
  return table(
    [
      "Share exact (median of the seeds)",
      ...lengths.map((n) => `length ${count(n)}`),
      ...(certified ? ["every length"] : []),
    ],
    groups.map((group) => [
      groupCell(group, runsOf(group).filter((run) => rowsOfKind(run, kind).length)),
      ...lengths.map((length) => accuracyCell(group, kind, length)),
      ...(certified ? [certifiedCell(runsOf(group))] : []),
    ]),
  );
}

function accuracyCell(group, kind, length) {
  const rows = runsOf(group).flatMap((run) => rowsOfKind(run, kind).filter((row) => row.length === length));
  if (!rows.length) return "not measured";
  const shares = rows.map((row) => row.exact / row.samples);
  const [low, high] = [Math.min(...shares), Math.max(...shares)];
  const range = low < high ? `, ${percent(low)} to ${percent(high)}` : "";
  const samples = distinct(rows.map((row) => row.samples)).join(" or ");
  const one = `${rows[0].exact} of ${rows[0].samples}`;
  const small = rows.length > 1 ? `${rows.length} seeds × ${samples}${range}` : one;
  return { text: percent(median(shares)), small, cls: rows.every((row) => row.all_exact) ? "good" : "" };
}

const freeRunning = data.runs.some((run) => rowsOf(run).some((row) => row.mode === "generate"));

function everyMeasurement() {
  const columns = [
    "Run",
    "Length",
    "Exact",
    "95 % interval",
    ...(freeRunning ? ["Right answers"] : []),
    "Tokens said",
    "Errors a token, at most",
    "Smallest margin",
    "Low margins",
    "Seen in training",
    "Seconds",
  ];
  const rows = data.runs.flatMap((run) => [
    ...rowsOf(run).map((row) => measurement(run, row)),
    ...(run.certified ? [certificateRow(run)] : []),
  ]);
  const caption =
    `Errors a token: 95 % upper bound. Margin: ${MARGIN_ABOUT}; negative where the model is wrong. ` +
    "Low margins: tokens whose margin is within rounding. Seen in training: problems that training produced, too." +
    (freeRunning ? " Right answers: of free-running episodes alone." : "");
  return folded(`Every measurement (${rows.length} rows)`, table(columns, rows, caption));
}

/* Right answers, however they were found, and the task's further facts; known of free-running episodes alone. */
function rightCell(row) {
  if (row.mode !== "generate") return null;
  const facts = Object.entries(row.facts || {}).map(([name, fact]) => {
    return `${name.replaceAll("_", " ")}: ${fact.true} of ${fact.known}`;
  });
  return { text: `${Math.round(row.answer * row.samples)} of ${row.samples}`, small: facts.join(", ") };
}

function certificateRow(run) {
  const unmeasured = (number) => Array(number).fill(null);
  const margin = scientific(run.certified.min_margin);
  return [runCell(run), "every length", "certified", ...unmeasured(freeRunning ? 4 : 3), margin, ...unmeasured(3)];
}

function measurement(run, row) {
  return [
    runCell(run),
    { text: count(row.length), small: problemKind(row) },
    `${row.exact} of ${row.samples}`,
    row.ci95.map(percent).join(" to "),
    ...(freeRunning ? [rightCell(row)] : []),
    count(row.model_tokens),
    row.error_bound === null ? null : scientific(row.error_bound),
    row.min_margin === null ? null : row.min_margin.toFixed(2),
    count(row.low_margin_tokens),
    percent(row.train_overlap),
    String(row.seconds),
  ];
}
