"use strict";
/* What was measured: the runs at a glance, and accuracy against length. */

const data = JSON.parse(document.getElementById("data").textContent);
const body = (id) => document.querySelector(`#${id} .body`);
const say = (...parts) => make("p", {}, ...parts);
const tasksOf = () => Object.entries(data.tasks);
const groupRuns = (group) => group.runs.map((i) => data.runs[i]);
const seeds = (runs) => `${runs.length === 1 ? "seed" : "seeds"} ${runs.map((r) => r.seed).join(", ")}`;
const problems = (row) => `${row.worst_cases ? "worst case" : "random"}${row.mode === "generate" ? ", free running" : ""}`;
const groupName = (group) =>
  `${group.model}${tasksOf().length > 1 ? `, ${data.tasks[group.task].task === group.task.split(" ")[0] ? group.variant : group.task} program` : ""}`;
const median = (values) => {
  const s = [...values].sort((a, b) => a - b),
    m = s.length >> 1;
  return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2;
};
const kind = (row) => `${row.mode} ${row.worst_cases ? "worst cases" : "random"}`;
const KINDS = {
  "verify random": "Random problems",
  "verify worst cases": "Worst cases",
  "generate random": "Random problems, free running",
  "generate worst cases": "Worst cases, free running",
};
const rowsOf = (run, wanted) =>
  (run.rows || []).filter((row) => kind(row) === wanted).sort((a, b) => a.length - b.length);
const kinds = () => Object.keys(KINDS).filter((k) => data.runs.some((run) => rowsOf(run, k).length));

/* The longest length to which every episode of every seed was exact, at it and at all shorter ones measured. */
function reach(group) {
  const rows = groupRuns(group).flatMap((run) => (run.rows || []).map((row) => ({ ...row })));
  const failed = Math.min(...rows.filter((row) => row.exact < row.samples).map((row) => row.length));
  const held = rows.filter((row) => row.length < failed).map((row) => row.length);
  return held.length ? Math.max(...held) : null;
}

/* On how many episodes a claim about one length stands. */
function evidence(rows) {
  const of = (worst) => rows.filter((row) => row.worst_cases === worst).reduce((sum, row) => sum + row.samples, 0);
  const parts = [of(false) ? `${count(of(false))} random` : "", of(true) ? `${count(of(true))} worst cases` : ""];
  return parts.filter(Boolean).join(", ");
}

function glanceRow(group) {
  const runs = groupRuns(group),
    measured = runs.filter((run) => run.rows),
    to = reach(group);
  const there = measured.flatMap((run) => run.rows.filter((row) => row.length === to)),
    size = to !== null && data.tasks[group.task].tokens[to];
  const exact = !measured.length
    ? "not measured"
    : to === null
      ? { text: "at no length", cls: "bad" }
      : { text: count(to), small: evidence(there) };
  const parameters =
    runs[0].parameters === 0 ? "a table" : runs[0].parameters === null ? "—" : count(runs[0].parameters);
  return [
    { text: group.model, small: `${data.tasks[group.task].task}, ${group.variant}` },
    count(runs[0].train_length),
    exact,
    size ? count(size.tokens) : "—",
    there.length ? bytes(Math.max(...there.map((row) => row.state_bytes))) : "—",
    parameters,
    measured.length < runs.length ? `${measured.length} of ${runs.length} measured` : count(runs.length),
  ];
}

function glance() {
  const columns = [
    { text: "Model, task, program" },
    "Trained on lengths up to",
    "Every episode exact up to length",
    "Tokens of an episode there",
    "State there",
    "Parameters",
    "Seeds",
  ];
  const rows = data.groups.map(glanceRow);
  body("glance").append(table(columns, rows));
  for (const [, task] of tasksOf().filter(([, t], i, all) => all.findIndex(([, o]) => o.task === t.task) === i))
    if (task.about)
      body("glance").append(make("p", { class: "soft" }, make("b", {}, `${task.task}. `), marked(task.about)));
  for (const run of data.runs) {
    if (!run.rows)
      body("glance").append(
        make(
          "p",
          { class: "note missing" },
          `${run.name} has not been measured. Measure it with `,
          make("code", {}, run.command),
        ),
      );
    for (const note of run.notes) body("glance").append(make("p", { class: "note" }, `${run.name}: ${note}`));
  }
}

/* Text with `code` in it. */
const marked = (text) => text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));

function lead() {
  const best = data.groups
    .map((group) => ({ group, to: reach(group) }))
    .filter((g) => g.to !== null)
    .sort((a, b) => b.to - a.to)[0];
  const text = document.getElementById("lead");
  if (!best || best.to <= groupRuns(best.group)[0].train_length) {
    text.textContent = "What was trained, how far it holds, and where it first goes wrong.";
    return;
  }
  const { group, to } = best,
    runs = groupRuns(group),
    tokens = data.tasks[group.task].tokens[to];
  const rows = runs.flatMap((run) => (run.rows || []).filter((row) => row.length === to));
  const long = tokens ? `, ${count(tokens.tokens)} tokens an episode` : "";
  text.textContent = `Trained on lengths up to ${count(runs[0].train_length)}, ${group.model} is exact in every episode measured up to length ${count(to)}${long} (${evidence(rows)} there).`;
}

/* Charts take one series a seed, thin, and the group's median where there are several seeds. */
function seriesOf(group, look, points, merge) {
  const runs = groupRuns(group)
    .map((run) => ({ run, points: points(run) }))
    .filter((r) => r.points.length);
  if (!runs.length) return [];
  const name = `${groupName(group)}, ${seeds(runs.map((r) => r.run))}`;
  if (runs.length === 1) return [{ look, name, points: runs[0].points }];
  const thin = runs.map(({ points: p }) => ({
    look,
    thin: merge,
    bare: merge,
    points: p.map(({ low, high, ...rest }) => rest),
  }));
  if (!merge) return thin.map((s, i) => (i ? s : { ...s, name }));
  const xs = [...new Set(runs.flatMap((r) => r.points.map((p) => p.x)))].sort((a, b) => a - b);
  const middle = xs.map((x) => {
    const here = runs.flatMap((r) => r.points.filter((p) => p.x === x)),
      ys = here.map((p) => p.y);
    const tip = `${groupName(group)}, length ${count(x)}: median ${percent(median(ys))} of ${here.length} seeds (${percent(Math.min(...ys))} to ${percent(Math.max(...ys))})`;
    return { x, y: median(ys), low: Math.min(...ys), high: Math.max(...ys), tip };
  });
  return [...thin, { look, name: `${name}: median, range`, points: middle }];
}

const named = (series) => series.filter((s) => s.name);
const lengthDomain = (values) => {
  const all = values.filter((v) => v > 0);
  return [Math.max(1, Math.min(...all) * 0.7), Math.max(...all) * 1.45];
};
const shades = () =>
  [...new Set(data.runs.map((run) => run.train_length))]
    .sort((a, b) => b - a)
    .map((n) => ({ to: n, label: `trained: length ≤ ${n}` }));

function accuracyFigure(key, wanted) {
  const point = (run) => (row) => ({
    x: row.length,
    y: row.exact / row.samples,
    low: row.ci95[0],
    high: row.ci95[1],
    tip: `${run.name}, length ${count(row.length)}: ${row.exact} of ${row.samples} exact (95 % interval ${percent(row.ci95[0])} to ${percent(row.ci95[1])})`,
  });
  const series = data.groups.flatMap((group, look) =>
    data.tasks[group.task].task === key
      ? seriesOf(group, look, (run) => rowsOf(run, wanted).map(point(run)), true)
      : [],
  );
  if (!series.length) return null;
  const lengths = series
    .flatMap((s) => s.points.map((p) => p.x))
    .concat(data.runs.filter((r) => r.task === key).map((r) => r.train_length));
  return figure({
    about: `Share of exact episodes of ${key} against problem length; the table below has the numbers`,
    dodge: true,
    series,
    legend: named(series),
    shades: shades(),
    x: { log: true, domain: lengthDomain(lengths), label: `problem length of ${key} (log scale)`, format: count },
    y: {
      domain: [-0.04, 1.04],
      ticks: [0, 0.25, 0.5, 0.75, 1],
      label: "episodes exact in every token",
      format: (v) => `${100 * v} %`,
    },
  });
}

function accuracyTable(wanted) {
  const lengths = [...new Set(data.runs.flatMap((run) => rowsOf(run, wanted).map((row) => row.length)))].sort(
    (a, b) => a - b,
  );
  const rows = data.groups
    .filter((g) => groupRuns(g).some((run) => rowsOf(run, wanted).length))
    .map((group) => [
      { text: groupName(group), small: seeds(groupRuns(group).filter((run) => rowsOf(run, wanted).length)) },
      ...lengths.map((n) => summaryCell(group, wanted, n)),
    ]);
  return table(["Share exact (median of the seeds)", ...lengths.map((n) => `length ${count(n)}`)], rows);
}

function summaryCell(group, wanted, length) {
  const rows = groupRuns(group).flatMap((run) => rowsOf(run, wanted).filter((row) => row.length === length));
  if (!rows.length) return "not measured";
  const shares = rows.map((row) => row.exact / row.samples),
    low = Math.min(...shares),
    high = Math.max(...shares);
  const range =
    rows.length > 1
      ? `${rows.length} seeds × ${rows[0].samples}${low < high ? `, ${percent(low)} to ${percent(high)}` : ""}`
      : `${rows[0].exact} of ${rows[0].samples}`;
  return { text: percent(median(shares)), small: range, cls: low < 1 ? "" : "good" };
}

function everyRow() {
  const columns = [
    { text: "Run" },
    "Length",
    "Exact",
    "95 % interval",
    "Tokens said",
    "Errors a token, at most",
    "Smallest margin",
    "Near ties",
    "Seen in training",
    "Seconds",
  ];
  const rows = data.runs.flatMap((run) =>
    (run.rows || []).map((r) => [
      run.name,
      { text: count(r.length), small: problems(r) },
      `${r.exact} of ${r.samples}`,
      `${percent(r.ci95[0])} to ${percent(r.ci95[1])}`,
      count(r.model_tokens),
      power(r.error_bound),
      r.min_margin === null ? "—" : r.min_margin.toFixed(2),
      count(r.low_margin_tokens),
      percent(r.train_overlap),
      String(r.seconds),
    ]),
  );
  const caption =
    "Errors a token: 95 % upper bound. Margin: logit of the right token less the best other's; negative where the model is wrong. Near ties: margins within rounding.";
  return make(
    "details",
    {},
    make("summary", {}, `Every measurement (${rows.length} rows)`),
    table(columns, rows, caption),
  );
}

function accuracy() {
  const host = body("accuracy"),
    found = kinds();
  if (!found.length) {
    host.append(make("p", { class: "note" }, "None of these runs has been measured yet."));
    return;
  }
  host.append(
    say(
      "An episode is exact if every token that the model says is the program's. Bars: the 95 % interval of one run's share, or the range over seeds. Equal points are drawn a little apart.",
    ),
  );
  const view = make("div", {}),
    buttons = found.map((k) =>
      make("button", { type: "button", "aria-pressed": "false", onclick: () => show(k) }, KINDS[k]),
    );
  const show = (k) => {
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(found[i] === k)));
    const figures = [...new Set(data.runs.map((run) => run.task))]
      .map((task) => accuracyFigure(task, k))
      .filter(Boolean);
    view.replaceChildren(...figures, accuracyTable(k));
  };
  host.append(
    make("div", { class: "chooser", role: "group", "aria-label": "which problems" }, buttons),
    view,
    everyRow(),
  );
  show(found[0]);
}
