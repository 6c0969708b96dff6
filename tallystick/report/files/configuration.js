"use strict";
/* Settings and environments: the differences between runs, then the values that they have in common. */

function configuration() {
  const host = sectionBody("configuration");
  const settingsOf = (run) => ({ task: run.task, program: run.variant, model: run.model, ...run.settings });
  const settings = data.runs.map(settingsOf);
  const names = distinct(settings.flatMap(Object.keys));
  const value = (of, name) => (name in of ? String(of[name]) : "—");
  const differing = names.filter((name) => distinct(settings.map((of) => value(of, name))).length > 1);
  const common = names.filter((name) => !differing.includes(name));
  if (differing.length) {
    const rows = differing.map((name) => [name, ...settings.map((of) => value(of, name))]);
    host.append(table(["What differs", ...data.runs.map((run) => run.name)], rows));
  }
  const rows = common.map((name) => [name, value(settings[0], name)]);
  const title = data.runs.length > 1 ? "What all runs have in common" : "Settings";
  const shared = folded(title, table(["Setting", "Value"], rows));
  shared.classList.add("narrow");
  shared.open = !differing.length;
  host.append(shared, ...data.runs.map(environment));
}

function environment(run) {
  const { versions = {}, dirty, command, ...rest } = run.environment;
  const title = `Environment of ${run.name}`;
  if (!Object.keys(rest).length) return folded(title, paragraph("environment.json is missing."));
  const words = (command || []).map((word) => (/\s/.test(word) ? JSON.stringify(word) : word));
  const rows = [
    ["folder", run.path],
    ["made by", words.length ? `tallystick ${words.join(" ")}` : "—"],
    ...Object.entries(versions),
    ...Object.entries(rest).map(([name, value]) => [name, value === null ? "none" : String(value)]),
  ];
  const cells = rows.map(([name, value]) => [name, { text: code(value), cls: "wrap" }]);
  const changes = "What was not committed when it was trained";
  return folded(
    title,
    table(["What", { text: "Value", left: true }], cells),
    dirty ? folded(changes, make("pre", { tabindex: 0 }, dirty)) : null,
  );
}
