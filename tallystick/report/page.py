"""Render a report's data as its HTML page."""

from __future__ import annotations

import json
import math
from dataclasses import is_dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from tallystick.report.data import Report

SCRIPTS = (
    "elements.js",
    "chart.js",
    "replay.js",
    "tape.js",
    "captions.js",
    "tokens.js",
    "turns.js",
    "viewer.js",
    "report.js",
    "accuracy.js",
    "prediction.js",
    "errors.js",
    "state.js",
    "training.js",
    "configuration.js",
    "main.js",
)
"""The page's scripts in the order in which they run; each may use names of the previous ones."""


def render(report: Report) -> str:
    """Return the page as HTML. The data's <, > and & are escaped, so that it cannot end its script or become markup."""
    parts = files("tallystick") / "report" / "files"
    data = json.dumps(_json(report), separators=(",", ":"), allow_nan=False)
    for symbol in "<>&":
        data = data.replace(symbol, f"\\u{ord(symbol):04x}")
    style, *scripts = [Markup((parts / name).read_text("utf-8")) for name in ("report.css", *SCRIPTS)]
    page = Environment(autoescape=True).from_string((parts / "page.html.jinja").read_text("utf-8"))
    return page.render(data=Markup(data), title=title(report), style=style, scripts=scripts)


def title(report: Report) -> str:
    """Return the page's title: its tasks and its number of runs."""
    tasks = ", ".join(dict.fromkeys(run.task for run in report.runs))
    return f"{tasks}: {len(report.runs)} {'run' if len(report.runs) == 1 else 'runs'}"


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses become objects, NaN and infinities become null."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
