"""The command line, one file per command; `options.main` turns errors into exit codes."""
# ruff: noqa: F401 (each module registers its commands)

from tallystick.cli import (
    bench,
    certify,
    check,
    collect,
    data,
    evaluate,
    listings,
    prove,
    report,
    reproduce,
    show,
    solve,
    theory,
    train,
)
from tallystick.cli.options import app, as_main, main

__all__ = ["app", "as_main", "main"]
