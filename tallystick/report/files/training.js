"use strict";
/* Training: loss and held-out problems against steps, and the progress of each run. */

function training() {
  const host = sectionBody("training");
  for (const panel of panels()) {
    const loss = bareSeries(panel, lossPoint);
    if (loss.length) host.append(heading(panel.title), trainingFigures(panel, loss));
  }
  const caption = "Where each run's training stands. A lookup table is counted, not trained: it has no loss.";
  const columns = [
    "Run",
    "Steps",
    "Tokens read",
    "Time",
    "Speed",
    "Last loss",
    "Held-out exact",
    "Ended exact, with the margin",
  ];
  host.append(table(columns, data.runs.map(trainingRow), caption));
}

function bareSeries(panel, point) {
  const points = (run) => run.metrics.filter((m) => m.loss !== null).map((m) => point(run, m));
  const series = panel.groups.flatMap((group, look) => runSeries(group, look, points));
  return series.map((s) => ({ ...s, bare: true }));
}

function lossPoint(run, m) {
  const tip = `${run.name}, step ${count(m.step)}: loss ${scientific(m.loss)}`;
  return { x: m.step, y: Math.max(m.loss, 1e-9), tip };
}

function heldOutPoint(run, m) {
  const { exact, samples } = m.held_out;
  const tip = `${run.name}, step ${count(m.step)}: ${exact} of ${samples} held-out problems exact`;
  return { x: m.step, y: exact / samples, tip };
}

function trainingFigures(panel, loss) {
  const points = loss.flatMap((s) => s.points);
  const losses = points.map((p) => p.y);
  const domain = [0, Math.max(...points.map((p) => p.x)) * 1.02];
  const x = { domain, label: "training step", format: count };
  const lossFigure = figure({
    about: `Training loss on ${panel.task} against step`,
    series: loss,
    x,
    y: {
      log: true,
      domain: [Math.min(...losses) / 1.5, Math.max(...losses) * 1.5],
      label: "loss (nats a trained token, log scale)",
      format: scientific,
    },
  });
  const heldOut = {
    about: `Held-out problems of ${panel.task} of the training length exact, against step`,
    series: bareSeries(panel, heldOutPoint),
    x,
    y: shareAxis("held-out problems of the training length exact"),
  };
  const caption = "Only these held-out problems decide when training ends; longer ones decide nothing.";
  return make("div", { class: "pair" }, lossFigure, figure(heldOut, caption));
}

function trainingRow(run) {
  const last = run.metrics.at(-1);
  if (!last) return [runCell(run), null, null, null, null, null, null, "nothing was trained"];
  return [
    runCell(run),
    count(last.step),
    count(last.tokens),
    `${last.seconds.toFixed(1)} s`,
    `${count(last.tokens_per_second)} tokens/s`,
    last.loss === null ? "no loss" : scientific(last.loss),
    `${last.held_out.exact} of ${last.held_out.samples}`,
    { text: last.passed ? "yes" : "no", cls: last.passed ? "good" : "bad" },
  ];
}
