"""config.json: the task, the model and the settings of a run."""

from __future__ import annotations

from pathlib import Path

from tallystick.config import RunConfig
from tallystick.runs.reading import RunError, read_json
from tallystick.storage import write_json

FORMAT_VERSION = 2


def read_config(path: Path) -> RunConfig:
    """Read config.json. Raises RunError if the folder is missing or is not of this format."""
    if not path.is_dir():
        raise RunError(f"no run folder {path}")
    file = path / "config.json"
    if not file.exists():
        raise RunError(f"{path} is not a tallystick run folder: it has no config.json")
    document = read_json(file)
    if not isinstance(document, dict) or "format" not in document:
        raise RunError(f"{path} is not a tallystick run folder: its config.json names no format")
    if (version := document.pop("format")) != FORMAT_VERSION:
        raise RunError(f"{path} has format {version}, this version reads {FORMAT_VERSION}")
    try:
        return RunConfig.from_json(document)
    except ValueError as error:
        raise RunError(f"{file} cannot be used: {error}") from error


def write_config(path: Path, config: RunConfig) -> None:
    """Write config.json."""
    write_json(path / "config.json", {"format": FORMAT_VERSION, **config.to_json()})
