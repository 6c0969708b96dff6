"""Recipes: a table or a figure each, made by one command; beside every number of ours stands the paper's."""

from __future__ import annotations

from importlib import import_module

from tallystick.studies.base import Recipe

RECIPES = (
    *("figure2", "table1", "table2", "figure5", "figure6", "figure7", "figure8", "figure9", "ablations", "hybrid"),
    *("chomsky", "locality", "far"),
)
"""Their names, each that of a module here."""


def load(name: str) -> Recipe:
    """The recipe called `name`. Raises ValueError if there is none."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return import_module(f"tallystick.studies.{name}").RECIPE
