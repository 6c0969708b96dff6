"use strict";
/* The predictions of `check`, and whether they hold. The verdicts are computed in Python and stand in the data. */

/* The prediction for a model at a length. */
const PREDICTED = {
  exact: "exact",
  fails: "not exact",
  open: "open",
  undecided: "undecided",
  none: "nothing",
};

/* The prediction for a program beyond the training length. */
const PREDICTION_ABOUT = {
  exact: "A model of fixed state that learns it is predicted to be exact at every length.",
  fails: "Failure is predicted beyond the training length",
  open: "Open: a model must generalise to contents that training does not have.",
  undecided: "Undecided, so nothing is predicted",
  none: "Nothing is predicted.",
};

function prediction() {
  const host = sectionBody("predicted");
  host.append(
    paragraph(
      "Before any training, ",
      code("tallystick check"),
      " looks at the program's episodes. A task is ",
      make("i", {}, "local"),
      " if the same number k of last tokens decides every next token at all lengths, and ",
      make("i", {}, "covered"),
      " if all these contexts occur at the training length.",
    ),
    make("div", { class: "pair" }, data.programs.map(checkOf)),
  );
  const rows = data.runs.flatMap((run) => rowsOf(run).map((row) => ({ run, row })));
  if (!rows.length) {
    host.append(remark("Nothing has been measured yet to compare with."));
    return;
  }
  const that = (comparison) => rows.filter(({ row }) => row.comparison === comparison);
  const differing = that("differs");
  const compared = differing.length + that("agrees").length;
  const held = compared ? "Every prediction held." : "There is nothing to compare.";
  host.append(
    heading(`Exceptions: ${differing.length} of ${plural(compared, "prediction")}`),
    differing.length ? comparisonTable(differing) : paragraph(held),
  );
  const more = (title, list) => list.length && host.append(folded(`${title} (${list.length})`, comparisonTable(list)));
  more("As predicted", that("agrees"));
  more("Not learned: not exact within the training length, so there is nothing to compare", that("not learned"));
  more("Nothing predicted: undecided or open, a state that grows, or lengths of training", that("no prediction"));
}

function comparisonTable(rows) {
  return table(
    ["Run", "Length", "Predicted", "Measured exact"],
    rows.map(({ run, row }) => [
      runCell(run),
      { text: count(row.length), small: problemKind(row) },
      PREDICTED[row.predicted],
      { text: percent(row.exact / row.samples), small: `${row.exact} of ${row.samples}` },
    ]),
  );
}

/* The results of `check` on a program. */
function checkOf(program) {
  const { check } = program;
  if (!check) return remark(`${programName(program)}: check could not be run, so nothing is predicted.`);
  const word = (value) => ({ true: "yes", false: "no", null: "undecided" })[value];
  const cls = { exact: "good", fails: "bad" }[program.predicted] || "unsure";
  const verdict = `local: ${word(check.local)}; covered at length ${check.train_length}: ${word(check.covered)}.`;
  const about = PREDICTION_ABOUT[program.predicted];
  const reason = check.reason ? `${about}: ${check.reason}.` : about;
  const columns = ["Problems up to length", "Random problems", "Worst cases", "k", "Contexts", "Covered"];
  const rows = check.rows.map((row) => [
    count(row.length),
    count(row.problems),
    count(row.worst_cases),
    row.k < 0 ? "none" : count(row.k),
    count(row.contexts),
    exactPercent(row.coverage),
  ]);
  const worst = check.own_worst_cases ? "" : " The task names no worst cases: generic ones were looked at.";
  return make(
    "div",
    {},
    heading(programName(program)),
    make("p", {}, make("span", { class: cls }, verdict), ` ${reason}`, worst),
    table(columns, rows),
    contexts("Contexts that need more tokens than the shortest problems do", check.ambiguous),
    contexts("Contexts that training does not have", check.missing),
  );
}

/* Contexts named by `check`, with the tokens that follow each. */
function contexts(title, list) {
  if (!list.length) return null;
  const columns = [{ text: "After these tokens", left: true }, { text: "comes", left: true }];
  const mono = (text) => make("span", { class: "mono" }, text);
  const rows = list.map(({ context, next }) => [
    { text: mono(visibleLine(context)), cls: "wrap" },
    { text: mono(next.map(visible).join(" or ")) },
  ]);
  return folded(`${title} (${list.length} named)`, table(columns, rows));
}
