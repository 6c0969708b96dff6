"""Free-running generation with live tools."""

from tallystick.engine.generation import generate

__all__ = ["generate"]
