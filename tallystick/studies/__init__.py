"""Studies: every table and figure of results, each made by one command.

`framework/` declares, measures, stores and shows studies; `definitions/` has the studies themselves; `theory/` computes
the bounds of the paper's two theorems.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.studies.framework.study import Study

MODULES = {
    "headline": "targets",
    "targets": "targets",
    "targets-fresh": "targets",
    "far": "far",
    "figure1": "coding",
    "figure2": "paper",
    "table1": "paper",
    "table2": "paper",
    "figure5": "paper",
    "figure6": "paper",
    "figure7": "mixtures",
    "figure8": "mixtures",
    "figure9": "mixtures",
    "ablations": "paper",
    "hybrid": "paper",
    "remedies": "targets",
    "annotate": "annotate",
    "locality": "locality",
    "certified": "certified",
    "chomsky": "chomsky",
    "theory-bound": "theorems",
    "theory-universal": "theorems",
}
"""Module of `definitions` that defines each study, imported only when the study is loaded."""


def load(name: str) -> Study:
    """Return the `Study` of this name. Raises ValueError, listing all names, if there is none."""
    if name not in MODULES:
        raise ValueError(f"unknown study {name!r}; there are: {', '.join(MODULES)}")
    module = import_module(f"tallystick.studies.definitions.{MODULES[name]}")
    return {study.name: study for study in module.STUDIES}[name]
