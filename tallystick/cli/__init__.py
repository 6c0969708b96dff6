"""The command line. Results go to stdout, everything else to stderr; a user's mistake is one line and exit code 2."""

from tallystick.cli import look, learn, study  # noqa: I001 - each registers its commands, in the order of --help
from tallystick.cli.options import app, as_main, main

__all__ = ["app", "as_main", "learn", "look", "main", "study"]
