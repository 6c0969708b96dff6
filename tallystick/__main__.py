"""python -m tallystick, and the console script: Ctrl-C is one line and exit code 130 from the first moment on."""

import os
import signal
import sys

_interrupted = False


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        from tallystick.cli import main as command_line

        if _interrupted:  # an extension that was being imported has swallowed it
            raise KeyboardInterrupt
        command_line()
    except BaseException as end:  # an import turns an interrupt into an error of its own
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
    """Exit with 130. Python itself would end by SIGINT if the interrupt had passed through an extension's code."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
