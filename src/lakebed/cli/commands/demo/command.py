"""The command `lakebed demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakebed.cli.printing.output import Json


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder for the demo's lake.")
    ] = Path("lakebed-demo"),
    as_json: Json = False,
) -> None:
    """Show what Lakebed does on real data: the documentation of Python's standard library.

    The demo creates a lake of its own and keeps it, so that you can try things on it. The next run
    replaces that lake.

    Examples:

    \b
    lakebed demo
    lakebed demo /tmp/demo
    """
    # Only the demo needs what draws its colours and tables.
    from lakebed.cli.commands.demo.run import run

    run(folder, as_json=as_json)
