"""The command `lakebed demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakebed.cli.output import Json


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to make the lake of the demo.")
    ] = Path("lakebed-demo"),
    as_json: Json = False,
) -> None:
    """Show the main job on real data: the documentation of Python's standard library as memories.

    Makes a lake of its own, which stays for you to try things on; running it again makes it anew.

    Examples:

    \b
    lakebed demo
    lakebed demo /tmp/demo
    """
    # What makes the demo good to look at is loaded for it alone.
    from lakebed.cli.demo.run import run

    run(folder, as_json=as_json)
