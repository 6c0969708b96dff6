"use strict";
/* The section with the viewer, and the table of first errors, which links to it. */

let viewer = null;
const ABOUT_TOKENS =
  "Each step is one token. The program, and a model that learned it, sees the problem only through its pointers, " +
  "which it moves over the memory: the problem, then whatever it has thought and answered.";
const ABOUT_TURNS =
  "Each step is what the agent says, the command that it runs, and what it reads as the shell's answer. It never sees " +
  "the files but by its commands; what these change is shown below the answer.";

function trajectory() {
  const host = sectionBody("trajectory");
  if (!data.episodes.length) {
    host.append(remark("No episode could be run again: see the notes above."));
    return;
  }
  host.append(
    paragraph(data.episodes.some((episode) => episode.stretch) ? ABOUT_TOKENS : ABOUT_TURNS),
  );
  viewer = new Viewer(data, host);
}

const MOST_ERRORS = 12;

function errors() {
  const host = sectionBody("errors");
  const rows = data.runs.flatMap((run) =>
    rowsOf(run).flatMap((row, i) => (row.first_errors.length ? [errorRow(run, row, i)] : [])),
  );
  if (!rows.length) {
    const measured = data.runs.some((run) => run.rows);
    host.append(paragraph(measured ? "No wrong token in any episode measured." : "Nothing has been measured yet."));
    return;
  }
  const columns = [
    "Run",
    "Length",
    { text: "Right token", left: true },
    { text: "Model says", left: true },
    "Token",
    { text: "After these tokens", left: true },
    "Margin",
    "",
  ];
  host.append(
    paragraph(
      `One episode of each measurement that was not all exact. Margin: ${MARGIN_ABOUT}. “Nothing”: a lookup table `,
      "that has not seen the context, or finds it ambiguous.",
    ),
    table(columns, rows.slice(0, MOST_ERRORS)),
  );
  const rest = rows.slice(MOST_ERRORS);
  if (rest.length) host.append(folded(`${rest.length} more`, table(columns, rest)));
}

function errorRow(run, row, number) {
  const error = row.first_errors[0];
  const mono = (text) => make("span", { class: "mono" }, text);
  const nothing = error.got === null;
  return [
    runCell(run),
    { text: count(row.length), small: problemKind(row) },
    mono(visible(error.want)),
    { text: nothing ? "nothing" : mono(visible(error.got)), cls: "bad" },
    count(error.position),
    { text: mono(visibleLine(error.context.slice(-5))), cls: "wrap" },
    nothing || error.margin === null ? null : error.margin.toFixed(3),
    viewButton(run, number),
  ];
}

/* A button that opens the viewer on a row's first error, if the report has its episode. */
function viewButton(run, number) {
  const episode = data.episodes.findIndex((e) => e.run === run.id && e.row === number);
  if (episode < 0) return "";
  const open = () => {
    viewer.open(episode);
    document.getElementById("trajectory").scrollIntoView();
    viewer.node.focus({ preventScroll: true });
  };
  return make("button", { type: "button", class: "look", onclick: open }, "View");
}
