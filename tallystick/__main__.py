"""python -m tallystick, and the console script: Ctrl-C is one line and exit code 130 from the first moment on."""

import os
import sys


def main() -> None:
    """Run the command line."""
    try:
        from tallystick.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        print("tallystick: interrupted", file=sys.stderr)
        _leave()
    except SystemExit as end:
        if end.code == 130:
            _leave()
        raise


def _leave() -> None:
    """Exit with 130. Python itself would end by SIGINT if the interrupt had passed through an extension's code."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
