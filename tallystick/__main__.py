"""Entry point of `tallystick` and `python -m tallystick`: from the start, Ctrl-C gives one line and exit code 130."""

import os
import signal
import sys

_interrupted = False


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        from tallystick.cli import main as command_line

        if _interrupted:  # an extension swallowed the interrupt while it was being imported
            raise KeyboardInterrupt
        command_line()
    except BaseException as end:  # an import may turn the interrupt into an error of its own
        code = end.code if isinstance(end, SystemExit) else None
        if not _interrupted and code != 130:
            raise
        if code != 130:
            print("tallystick: interrupted", file=sys.stderr)
        _leave()


def _interrupt(signum: int, frame: object) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def _leave() -> None:
    """Exit with code 130, also where an extension's code would make Python end by SIGINT."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
