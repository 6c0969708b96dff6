"""Markdown of results: tables and whole pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tallystick.studies.framework.cells import MISSING, Cell, Line, Place, error_bound, panels
from tallystick.studies.framework.experiment import Declared, Experiment
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import Environment

REACHES = 5.0
"""Percentage of exact problems from which a length counts as reached, as in the paper's "n -> m (p %)"."""
COMMANDS = 2
"""Maximum number of commands named for a commit and machine; of more, only the first is named."""
READ = (
    "A cell: % of the problems that are exact, median over seeds (range over seeds) [95 % interval of all problems "
    f"together]; {MISSING}: not measured. *Reach*: the largest length measured at which the median is at least "
    f"{REACHES:g} %. *Errors a token*: 95 % upper bound of their rate at the largest length measured, where a problem "
    "counts up to its first error."
)
COUNTS = (
    "Exact problems of all seeds together, and the range over seeds where they differ. A problem is exact if every "
    f"token that the model has to say is right; {MISSING}: not measured."
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; head: the names of its columns."""
    lines = [_row(head), f"|{'---|' * len(head)}", *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def document(*parts: str) -> str:
    """Join paragraphs, headings and tables with blank lines between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def sections(declared: Sequence[Declared], results: Results) -> str:
    """Return the tables of most studies: a section per panel, a row per line, a column per place."""
    parts = [READ]
    for panel, lines in panels(declared, results).items():
        parts += [f"## {panel}", f"Trained on lengths up to {_trained(lines)}.", _section(lines)]
    return document(*parts)


def _trained(lines: Sequence[Line]) -> str:
    return " or ".join(map(str, sorted({line.first.train_length for line in lines})))


def _section(lines: Sequence[Line]) -> str:
    planned = {place for line in lines for experiment in line.experiments for place in _planned(experiment)}
    places = sorted(planned.union(*(line.cells for line in lines)))
    certified = ["every length"] if any("certified" in run for line in lines for run in line.runs) else []
    head = ["", "seeds", *map(str, places), *certified, "errors a token <", "reach", "the paper's best"]
    return table(head, [_line(line, places, bool(certified)) for line in lines])


def _planned(experiment: Experiment) -> list[Place]:
    """List the places of random problems; worst cases get a column only once they are measured."""
    return [Place(n, mode=at.mode) for at in experiment.at if at.problems for n in at.lengths]


def _line(line: Line, places: Sequence[Place], certified: bool) -> list[str]:
    shown = [str(line.cells.get(place, MISSING)) for place in places]
    shown += [_certified(line)] if certified else []
    random = {place: cell for place, cell in line.cells.items() if not place.worst_cases}
    bound = error_bound(list(random.values())[-1:])
    return [line.first.line, seeds(line.seeds), *shown, bound, _reach(random, bool(line.runs)), paper(line.first.paper)]


def _certified(line: Line) -> str:
    """Say how many seeds are certified exact at every length."""
    count = sum("certified" in run for run in line.runs)
    return f"certified: {count} of {len(line.runs)} seeds" if count else MISSING


def _reach(random: dict[Place, Cell], measured: bool) -> str:
    reached = [(place.length, cell.median) for place, cell in random.items() if cell.median >= REACHES]
    return paper(reached[-1]) if reached else "none" if measured else MISSING


def seeds(numbers: Sequence[int]) -> str:
    """Format ascending seeds, such as "0-4, 2000-2004"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(_span(span) for span in spans) or MISSING


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 2 else ", ".join(map(str, numbers))


def paper(value: tuple[int, float] | str | None) -> str:
    """Format a result of the paper, such as "1,000 (100 %)"."""
    if isinstance(value, tuple):
        return f"{value[0]:,} ({value[1]:.0f} %)"
    return value or ""


def footing(command: str, declared: Sequence[Declared], results: Results) -> str:
    """Return the page's footer: its command, the commits and machines of its runs, and their held-out rule."""
    used = sorted({run["environment"] for each in declared for run in results.of(each)})
    if not used:
        return f"Made by `{command}`. Nothing was measured yet."
    environments = [results.environments[number] for number in used]
    lines = [f"- {line}" for line in _places(environments)]
    return document(f"Made by `{command}`. Measured with:", "\n".join(lines), _rule(environments)).rstrip()


def _places(environments: Sequence[Environment]) -> list[str]:
    """Return one line per commit, machine and date."""
    commands: dict[tuple[str, str], list[str]] = {}
    for where in environments:
        mine = commands.setdefault((_place(where), where["date"] or ""), [])
        mine += [f"`{where['command']}`"] if where["command"] else []
    return [", ".join(filter(None, (_commands(mine), place, date))) for (place, date), mine in commands.items()]


def _commands(commands: Sequence[str]) -> str:
    if len(commands) <= COMMANDS:
        return ", ".join(commands)
    return f"{commands[0]} and {len(commands) - 1} more like it"


def _place(where: Environment) -> str:
    commit = f"commit {(where['commit'] or 'unknown')[:7]}{' and changes' if where['dirty'] else ''}"
    versions = f"torch {where['versions']['torch']}" if "torch" in where["versions"] else ""
    processors = f"{where['processors']} processors {where['machine']}" if where["processors"] else ""
    return ", ".join(filter(None, (commit, versions, where["gpu"], processors)))


def _rule(environments: Sequence[Environment]) -> str:
    former = {where["held_out_rule"] for where in environments if "held_out_rule" in where}
    if not former:
        return ""
    which = "These runs were" if all("held_out_rule" in where for where in environments) else "Some of these runs were"
    return (
        f"{which} made under the former rule for the held-out problems that end training: {', '.join(sorted(former))}; "
        "now all worst cases of the training length are always among them."
    )
