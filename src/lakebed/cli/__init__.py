"""The command `lakebed`."""

from __future__ import annotations

import logging
import os
import sys


def main() -> None:
    """Run the command line with the arguments of the process."""
    # Azure's client logs each credential that it does not find. The error says it in one line.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    sys.set_int_max_str_digits(0)  # a value can be an integer of any size
    try:
        from lakebed.cli.app import app

        app(prog_name="lakebed")
    except KeyboardInterrupt:  # before or after a command; typer handles it during one
        _exit(130)
    except SystemExit as end:
        _exit(end.code)


def _exit(code: str | int | None) -> None:
    if "pyarrow" not in sys.modules:
        sys.exit(code)
    # If the process ends while Arrow is starting its threads, it aborts. That happened to 1 in 50
    # processes that read a small table. The lake is closed by now, and nothing else needs closing.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
