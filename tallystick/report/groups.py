"""Group a report's runs, and label programs and groups by their differences."""

from __future__ import annotations

import json
import math

from tallystick.report.data import Group, Program, RunData

NOT_COMPARED = ("seed", "device", "threads")
"""Settings in which the runs of one group may differ."""


def label_programs(programs: list[Program]) -> None:
    """Label programs by task if there are several, and by variant and training length where one task has several."""
    for program in programs:
        same_task = [other for other in programs if other.task == program.task]
        parts = [program.task] if len(same_task) < len(programs) else []
        if len({other.variant for other in same_task}) > 1:
            parts.append(f"{program.variant} program")
        if len({other.train_length for other in same_task}) > 1:
            parts.append(f"trained to length {program.train_length}")
        program.label = ", ".join(parts)


def group_runs(folders: list[RunData], programs: list[Program]) -> list[Group]:
    """Group the runs that differ only in the seed."""
    members: dict[str, list[RunData]] = {}
    for run in folders:
        settings = {name: value for name, value in run.settings.items() if name not in NOT_COMPARED}
        members.setdefault(json.dumps([run.program, run.model, settings], sort_keys=True), []).append(run)
    groups = [_group(together) for together in members.values()]
    for group in groups:
        group.label = ", ".join(filter(None, [programs[group.program].label, group.model]))
    for group in groups:
        same = [other for other in groups if other.label == group.label]
        if len(same) > 1:
            _label_by_settings(same, folders)
    return groups


def _group(together: list[RunData]) -> Group:
    rows = [row for run in together for row in run.rows or []]
    failed = min((row["length"] for row in rows if not row["all_exact"]), default=math.inf)
    reach = max((row["length"] for row in rows if row["length"] < failed), default=None)
    return Group(
        program=together[0].program,
        model=together[0].model,
        runs=[run.id for run in together],
        reach=reach,
        all_exact=bool(rows) and failed == math.inf,
    )


def _label_by_settings(groups: list[Group], folders: list[RunData]) -> None:
    """Add the settings in which groups differ to their labels."""
    settings = [folders[group.runs[0]].settings for group in groups]
    names = sorted({name for each in settings for name in each} - {*NOT_COMPARED})
    differing = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    for group, each in zip(groups, settings, strict=True):
        values = (f"{name.removeprefix('model: ')}={each.get(name)}" for name in differing)
        group.label = ", ".join([group.label, *values])
