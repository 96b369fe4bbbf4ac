"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakebed.cli.opening import complete_key
from lakebed.cli.reading.rows import Format

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", autocompletion=complete_key)]
TTL = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long until the entry expires: 90, 90s, 1h30m, 30d."),
]
ExpiresAt = Annotated[
    str | None, typer.Option(help="When the entry expires: ISO 8601 with a zone.")
]
RowsFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The file. `-` reads standard input.")
]
RowsFormat = Annotated[
    Format | None,
    typer.Option(
        help="The format of the file, if its name does not tell. Standard input is NDJSON."
    ),
]
