"""Every table and figure of results, each a study made by one command.

`framework/` is how studies are declared, measured, kept and shown; `definitions/` is what each of them measures;
`theory/` is the paper's two theorems in numbers.
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
    "chomsky": "chomsky",
    "theory-bound": "theorems",
    "theory-universal": "theorems",
}
"""The module of `definitions` that each study is in. Nothing is imported before a study is asked for."""


def load(name: str) -> Study:
    """Return the `Study` of this name. Raises ValueError, with all names, if there is none."""
    if name not in MODULES:
        raise ValueError(f"unknown study {name!r}; there are: {', '.join(MODULES)}")
    module = import_module(f"tallystick.studies.definitions.{MODULES[name]}")
    return {study.name: study for study in module.STUDIES}[name]
