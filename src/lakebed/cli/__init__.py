"""The command `lakebed`."""

from __future__ import annotations

import logging
import os
import sys


def main() -> None:
    """Run the command line with the arguments of the process."""
    # Azure's client logs each credential that it does not find; the error says it in one line.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    sys.set_int_max_str_digits(0)  # integers of any size are values
    try:
        from lakebed.cli.app import app

        app(prog_name="lakebed")
    except KeyboardInterrupt:  # before or after a command: during one, the command line handles it
        _exit(130)
    except SystemExit as end:
        _exit(end.code)


def _exit(code: str | int | None) -> None:
    if "pyarrow" not in sys.modules:
        sys.exit(code)
    # If Arrow still starts its threads when the process ends, the process aborts: this happened
    # to 1 in 50 that read a small table. The lake is closed by now, and nothing else has to be.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
