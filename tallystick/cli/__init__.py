"""The command line, one file per command; `options.main` turns errors into exit codes."""

# each registers its commands
from tallystick.cli import check, collect, data, evaluate, listings, prove, report  # noqa: F401
from tallystick.cli import reproduce, show, solve, theory, train  # noqa: F401
from tallystick.cli.options import app, as_main, main

__all__ = ["app", "as_main", "main"]
