"""Recurrences: `reference` is the specification, the others are fast and tested against it."""
