"use strict";
/* The other sections of the report, and the page around them. */

const PREDICTED = { exact: "100 %", fails: "below 100 %", open: "open", none: "nothing" };

function predicted() {
  const host = body("predicted");
  host.append(
    say(
      "Before any training, ",
      make("code", {}, "tallystick check"),
      " looks at the program's episodes: if the last k tokens always decide the next one (",
      make("i", {}, "local"),
      ") and all deciding contexts occur at the training length (",
      make("i", {}, "covered"),
      "), a model of fixed state that learned them is predicted to be exact at any length.",
    ),
  );
  host.append(
    make(
      "div",
      { class: "pair" },
      tasksOf().map(([, task]) => checkTable(task)),
    ),
  );
  const judged = data.predictions.filter((p) => p.agrees !== null),
    odd = judged.filter((p) => !p.agrees);
  const same = judged.filter((p) => p.agrees),
    rest = data.predictions.filter((p) => p.agrees === null);
  const line = (p) => {
    const run = data.runs[p.run];
    return [
      { text: run.name, small: `${run.variant} program` },
      { text: count(p.length), small: problems(p) },
      PREDICTED[p.predicted],
      { text: share(p.exact, p.samples), small: `${p.exact} of ${p.samples}` },
    ];
  };
  const columns = [{ text: "Run" }, "Length", "Predicted exact", "Measured exact"];
  if (!data.predictions.length) {
    host.append(make("p", { class: "note" }, "Nothing was measured yet to compare with."));
    return;
  }
  host.append(
    make("h3", {}, `Exceptions: ${odd.length} of ${judged.length} predictions`),
    odd.length ? table(columns, odd.map(line)) : say("Every prediction held."),
  );
  const more = (title, list) =>
    list.length &&
    host.append(make("details", {}, make("summary", {}, `${title} (${list.length})`), table(columns, list.map(line))));
  more("As predicted", same);
  more("Nothing predicted: a state that grows with length, lengths of training, or contents to generalise over", rest);
}

function checkTable(task) {
  const name = `${task.task}, ${task.variant} program`;
  if (!task.check) return make("p", { class: "note" }, `${name}: no prediction could be made.`);
  const { local, covered, rows, train_length: trained } = task.check;
  const verdict =
    local && covered
      ? ["local and covered: exactness is predicted at every length"]
      : local
        ? [`local, not covered at length ${trained}: a table fails, a model must generalise over contents`]
        : local === null
          ? ["not decided"]
          : ["not local: failure is predicted beyond the training length"];
  const columns = [
    "Problems up to length",
    "Tokens back that decide (k)",
    "Contexts",
    "Covered at the training length",
  ];
  return make(
    "div",
    {},
    make("h3", {}, `${name}: `, make("span", { class: local && covered ? "good" : "bad" }, verdict)),
    table(
      columns,
      rows.map((r) => [
        count(r.length),
        { text: r.k < 0 ? "undecided" : count(r.k) },
        count(r.contexts),
        percent5(r.coverage),
      ]),
    ),
  );
}
const percent5 = (p) => (p === 1 ? "100 %" : `${(Math.floor(1e5 * p) / 1e3).toFixed(3)} %`);

let viewer = null;
function trajectory() {
  const host = body("trajectory");
  if (!data.episodes.length) {
    host.append(make("p", { class: "note" }, "No episode could be run again: see the notes above."));
    return;
  }
  host.append(
    say(
      "Each step is one token. The program, and a model that learned it, sees the problem only through its pointers, which it moves over the memory: the problem, then whatever it has thought and said.",
    ),
  );
  viewer = new Viewer(data, host);
}

/* A row's first error; `look` leads to its episode where the report has it. */
function errorRow(run, row, i) {
  const error = row.first_errors[0],
    at = data.episodes.findIndex((episode) => episode.run === run.id && episode.row === i);
  const look = make(
    "button",
    {
      type: "button",
      class: "look",
      onclick: () => {
        viewer.open(at);
        document.getElementById("trajectory").scrollIntoView();
        viewer.node.focus({ preventScroll: true });
      },
    },
    "View",
  );
  const mono = (text) => make("span", { class: "mono" }, text),
    nothing = error.got === null;
  return [
    { text: run.name, small: at < 0 ? undefined : look },
    { text: count(row.length), small: problems(row) },
    mono(visible(error.want)),
    { text: nothing ? "nothing" : mono(visible(error.got)), cls: "bad" },
    count(error.position),
    { text: mono(error.context.slice(-5).map(visible).join(" ")), cls: "wrap" },
    nothing || error.margin === null ? "—" : error.margin.toFixed(3),
  ];
}

function errors() {
  const host = body("errors"),
    columns = [
      { text: "Run" },
      "Length",
      { text: "Right token", left: true },
      { text: "Model says", left: true },
      "Token",
      { text: "After these tokens", left: true },
      "Margin",
    ];
  const rows = data.runs.flatMap((run) =>
    (run.rows || []).flatMap((row, i) => (row.first_errors.length ? [errorRow(run, row, i)] : [])),
  );
  if (!rows.length) {
    host.append(
      say(data.runs.some((run) => run.rows) ? "No wrong token in any episode measured." : "Nothing was measured yet."),
    );
    return;
  }
  host.append(
    say(
      "One episode of each measurement that was not all exact. Margin: the right token's score (logit) less the best other's. “Nothing”: a lookup table that has not seen the context, or finds it ambiguous.",
    ),
  );
  host.append(table(columns, rows.slice(0, 12)));
  if (rows.length > 12)
    host.append(make("details", {}, make("summary", {}, `${rows.length - 12} more`), table(columns, rows.slice(12))));
}

function state() {
  const host = body("state"),
    tasks = [...new Set(data.runs.map((run) => run.task))];
  host.append(
    say(
      "What a model carries from token to token, in bytes. A fixed state stays as it is; a Transformer keeps every token, so its cache grows. A hollow point: the row ended at a first error, and the state is that of the tokens read until then.",
    ),
  );
  for (const task of tasks) {
    const point = (run) => (row) => ({
      x: row.length,
      y: row.state_bytes,
      hollow: row.exact < row.samples,
      tip: `${run.name}, length ${count(row.length)}: ${bytes(row.state_bytes)}`,
    });
    const series = data.groups.flatMap((group, look) =>
      data.tasks[group.task].task === task
        ? seriesOf(group, look, (run) => dedupe(run.rows || []).map(point(run)), false)
        : [],
    );
    if (!series.length) {
      host.append(make("p", { class: "note" }, `${task}: not measured yet.`));
      continue;
    }
    const counts = Object.assign(
      {},
      ...tasksOf()
        .filter(([, t]) => t.task === task)
        .map(([, t]) => t.tokens)
        .reverse(),
    );
    const cache = Object.entries(counts)
      .map(([n, c]) => ({
        x: +n,
        y: c.cache,
        tip: `cache of ${data.cache} after ${count(c.tokens)} tokens (length ${count(+n)}): ${bytes(c.cache)}`,
      }))
      .sort((a, b) => a.x - b.x);
    if (cache.length)
      series.push({
        look: -1,
        dashed: true,
        bare: true,
        name: `a Transformer's cache (${data.cache}), computed for whole episodes`,
        points: cache,
      });
    const all = series.flatMap((s) => s.points),
      values = all.map((p) => p.y).filter((v) => v > 0);
    host.append(
      figure({
        dodge: true,
        about: `State in bytes against the length of ${task}`,
        series: series.map((s) => ({ ...s, points: s.points.filter((p) => p.y > 0) })),
        legend: named(series),
        shades: shades(),
        x: {
          log: true,
          domain: lengthDomain(all.map((p) => p.x)),
          label: `problem length of ${task} (log scale)`,
          format: count,
        },
        y: {
          log: true,
          domain: [Math.min(...values) / 2, Math.max(...values) * 2],
          label: "bytes of state (log scale)",
          format: bytes,
        },
      }),
    );
  }
}

/* One row a length: the random problems', else whatever there is. */
function dedupe(rows) {
  const by = new Map();
  for (const row of rows) if (!by.has(row.length) || (!row.worst_cases && row.mode === "verify")) by.set(row.length, row);
  return [...by.values()].sort((a, b) => a.length - b.length);
}

function training() {
  const host = body("training");
  const of = (read) =>
    data.groups
      .flatMap((group, look) =>
        seriesOf(group, look, (run) => run.metrics.filter((m) => m.loss !== null).map((m) => read(run, m)), false),
      )
      .map((s) => ({ ...s, bare: true }));
  const loss = of((run, m) => ({
    x: m.step,
    y: m.loss,
    tip: `${run.name}, step ${count(m.step)}: loss ${power(m.loss)}`,
  }));
  const held = of((run, m) => ({
    x: m.step,
    y: m.held_out.exact / m.held_out.samples,
    tip: `${run.name}, step ${count(m.step)}: ${m.held_out.exact} of ${m.held_out.samples} held-out problems exact`,
  }));
  if (loss.length) {
    const points = loss.flatMap((s) => s.points),
      top = Math.max(...points.map((p) => p.x)),
      values = points.map((p) => Math.max(p.y, 1e-9));
    const x = { domain: [0, top * 1.02], label: "training step", format: count };
    host.append(
      figure({
        about: "Training loss against step",
        series: loss,
        legend: named(loss),
        x,
        y: {
          log: true,
          domain: [Math.min(...values) / 1.5, Math.max(...values) * 1.5],
          label: "loss (nats a trained token, log scale)",
          format: power,
        },
      }),
    );
    host.append(
      figure(
        {
          about: "Held-out problems of the training length exact, against step",
          series: held,
          legend: named(held),
          x,
          y: {
            domain: [-0.04, 1.04],
            ticks: [0, 0.25, 0.5, 0.75, 1],
            label: "held-out problems of the training length exact",
            format: (v) => `${100 * v} %`,
          },
        },
        "Only these held-out problems decide when training ends; longer ones decide nothing.",
      ),
    );
  }
  const rows = data.runs.map((run) => {
    const m = run.metrics.at(-1);
    return [
      run.name,
      m ? count(m.step) : "—",
      m ? count(m.tokens) : "—",
      m ? `${m.seconds.toFixed(1)} s` : "—",
      m ? `${count(m.tokens_per_second)} a second` : "—",
      m && m.loss !== null ? power(m.loss) : "no loss",
      m ? `${m.held_out.exact} of ${m.held_out.samples}` : "—",
      m ? { text: m.passed ? "yes" : "no", cls: m.passed ? "good" : "bad" } : "no check yet",
    ];
  });
  host.append(
    table(
      [
        { text: "Run" },
        "Steps",
        "Tokens read",
        "Time",
        "Speed",
        "Last loss",
        "Held-out exact",
        "Ended exact, with the margin",
      ],
      rows,
      "Where each run's training stands. A lookup table is counted, not trained: it has no loss.",
    ),
  );
}

function configuration() {
  const host = body("configuration"),
    names = [...new Set(data.runs.flatMap((run) => Object.keys(run.config)))];
  const value = (run, name) => (name in run.config ? String(run.config[name]) : "—");
  const same = names.filter((n) => new Set(data.runs.map((run) => value(run, n))).size === 1),
    differs = names.filter((n) => !same.includes(n));
  const heads = data.runs.map((run) => run.name);
  if (differs.length)
    host.append(
      table(
        [{ text: "What differs" }, ...heads],
        [
          ["model", ...data.runs.map((r) => r.model)],
          ["program", ...data.runs.map((r) => r.variant)],
          ...differs.map((n) => [n, ...data.runs.map((run) => value(run, n))]),
        ],
      ),
    );
  host.append(
    make(
      "details",
      { class: "narrow", open: !differs.length },
      make("summary", {}, data.runs.length > 1 ? "What all runs have in common" : "Settings"),
      table(
        [{ text: "Setting" }, "Value"],
        [
          ...(differs.length
            ? []
            : [
                ["model", data.runs[0].model],
                ["program", data.runs[0].variant],
              ]),
          ...same.map((n) => [n, value(data.runs[0], n)]),
        ],
      ),
    ),
  );
  for (const run of data.runs) host.append(environment(run));
}

function environment(run) {
  const { versions = {}, dirty, command, ...rest } = run.environment,
    quoted = (command || []).map((w) => (/\s/.test(w) ? JSON.stringify(w) : w)).join(" ");
  const rows = [
    ["folder", run.path],
    ["made by", quoted ? `tallystick ${quoted}` : "—"],
    ...Object.entries(versions),
    ...Object.entries(rest).map(([n, v]) => [n, v === null ? "none" : String(v)]),
  ];
  const unknown = Object.keys(run.environment).length <= 1;
  return make(
    "details",
    {},
    make("summary", {}, `Environment of ${run.name}`),
    unknown
      ? say("environment.json is missing.")
      : table(
          [{ text: "What" }, { text: "Value", left: true }],
          rows.map(([n, v]) => [n, { text: make("code", {}, v), cls: "wrap" }]),
        ),
    dirty
      ? make(
          "details",
          {},
          make("summary", {}, "What was not committed when it was trained"),
          make("pre", { tabindex: 0 }, dirty),
        )
      : null,
  );
}

function theme() {
  const button = document.getElementById("theme"),
    order = ["system", "light", "dark"];
  const set = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    try {
      localStorage.setItem("tallystick-theme", name);
    } catch {
      /* a page from disk may not store anything */
    }
  };
  let stored = null;
  try {
    stored = localStorage.getItem("tallystick-theme");
  } catch {
    /* the same */
  }
  set(order.includes(stored) ? stored : "system");
  button.onclick = () => set(order[(order.indexOf(button.textContent.slice(7)) + 1) % 3]);
}

function contents() {
  document
    .querySelector("nav")
    .append(
      ...[...document.querySelectorAll("section")].map((s) =>
        make("a", { href: `#${s.id}` }, s.querySelector("h2").textContent),
      ),
    );
  document.getElementById("footer").textContent =
    `Made ${data.made} by tallystick ${data.version} from ${data.runs.map((run) => run.path).join(", ")}. This file needs no network.`;
}

theme();
for (const section of [contents, lead, glance, accuracy, predicted, trajectory, errors, state, training, configuration])
  section();
document.documentElement.dataset.ready = "yes";
