"use strict";
/* The size of the models' state against length. */

function state() {
  const host = sectionBody("state");
  host.append(
    paragraph(
      "What a model carries from token to token, in bytes. A fixed state stays as large as it is; a Transformer keeps ",
      "every token, so its cache grows. A hollow mark: some episode ended at a first error, and the state is that of ",
      "the tokens read until then.",
    ),
  );
  for (const panel of panels()) host.append(heading(panel.title), statePanel(panel));
}

function statePanel(panel) {
  const series = panel.groups.flatMap((group, look) => runSeries(group, look, statePoints));
  if (!series.length) return remark("Not measured yet.");
  const cache = cachePoints(panel);
  const name = `a Transformer's cache (${data.cache_model}), computed for whole episodes`;
  if (cache.length) series.push({ look: -1, dashed: true, bare: true, name, points: cache });
  const sizes = series.flatMap((s) => s.points.map((p) => p.y));
  return figure({
    about: `State in bytes against the length of ${panel.task}`,
    spread: true,
    series,
    shade: trainingShade(panel),
    x: lengthAxis(panel, series.flatMap((s) => s.points.map((p) => p.x))),
    y: {
      log: true,
      domain: [Math.min(...sizes) / 2, Math.max(...sizes) * 2],
      label: "bytes of state (log scale)",
      format: bytes,
    },
  });
}

/* One point per length: of verified random problems, or else of any measured ones. */
function statePoints(run) {
  const chosen = new Map();
  for (const row of rowsOf(run))
    if (!chosen.has(row.length) || (!row.worst_cases && row.mode === "verify")) chosen.set(row.length, row);
  const rows = [...chosen.values()].filter((row) => row.state_bytes > 0).sort((a, b) => a.length - b.length);
  return rows.map((row) => ({
    x: row.length,
    y: row.state_bytes,
    hollow: !row.all_exact,
    tip: `${run.name}, length ${count(row.length)}: ${bytes(row.state_bytes)}`,
  }));
}

/* The cache of a Transformer after whole episodes, as the panel's first program has them. */
function cachePoints(panel) {
  const sizes = Object.assign({}, ...[...panel.programs].reverse().map((program) => program.sizes));
  const lengths = ascending(Object.keys(sizes).map(Number));
  return lengths.map((length) => {
    const { tokens, cache } = sizes[length];
    const after = `after ${count(tokens)} tokens (length ${count(length)})`;
    return { x: length, y: cache, tip: `cache of ${data.cache_model} ${after}: ${bytes(cache)}` };
  });
}
