"""append: rows from a file to a stored table."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from typing import Annotated, BinaryIO

import typer

from lakebed.cli.arguments import Key, RowsFile, RowsFormat
from lakebed.cli.opening import open_lake
from lakebed.cli.printing.output import Json, print_json, printable
from lakebed.cli.reading.rows import format_of
from lakebed.cli.reading.tables import table_of
from lakebed.cli.reading.values import STDIN


def append(
    ctx: typer.Context,
    key: Key,
    file: RowsFile,
    format: RowsFormat = None,
    widen: Annotated[
        bool,
        typer.Option("--widen", help="Allow rows with new or missing columns, or wider types."),
    ] = False,
    partition_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Split the rows by the values of this column. Can be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Append rows to a stored table. If the key does not exist, store them as a table.

    The file is CSV, Parquet, NDJSON, or JSON with an array of objects. Its columns must be those of
    the table, in any order, unless you give --widen.

    Examples:

    \b
    lakebed append flights february.parquet
    tail -n 100 events.ndjson | lakebed append events -
    lakebed append readings today.csv --widen
    lakebed append flights march.parquet --partition-by origin
    """
    kind = format or ("ndjson" if str(file) == STDIN else format_of(file))
    source: BinaryIO
    with ExitStack() as stack:
        if str(file) == STDIN:  # read it all, because reading Parquet begins at the end
            source, name = io.BytesIO(sys.stdin.buffer.read()), "standard input"
        else:
            source, name = stack.enter_context(file.open("rb")), str(file)
        table = table_of(source, kind, name)
        lake = stack.enter_context(open_lake(ctx, create=True))
        entry = lake.append(key, table, widen=widen, partition_by=partition_by or None)
        rows = entry.rows
    if as_json:
        print_json({"key": entry.key, "version": entry.version, "rows": rows})
    else:
        print(f"{printable(key)} has {rows:,} rows")
