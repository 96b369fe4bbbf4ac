"""Tables: written to Parquet and CSV files, or their rows on the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from lakebed.cli.printing.cells import cell
from lakebed.cli.printing.grid import print_grid
from lakebed.cli.printing.output import print_json, print_json_array, writing
from lakebed.errors import ValidationError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 20


def is_table_file(path: Path) -> bool:
    """Return whether the ending of a file's name is that of a table."""
    return path.suffix.lower() in (".parquet", ".csv")


def give_table(table: pa.Table, output: Path | None, as_json: bool) -> None:
    """Write a table to a file, or print its rows: as a JSON array, or the first ones on a
    terminal."""
    if output is not None:
        if not is_table_file(output):
            raise typer.BadParameter(
                "the file of a table must end in .parquet or .csv", param_hint="--output"
            )
        with writing(output) as file:
            _write(table, file, output)
        if as_json:
            print_json({"output": str(output), "byte_size": output.stat().st_size})
    elif as_json or not sys.stdout.isatty():
        print_json_array(_rows(table))
    else:
        _show(table)


def _write(table: pa.Table, file: BinaryIO, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".csv":
            pa.csv.write_csv(table, file)
        else:
            pq.write_table(table, file, compression="zstd")
    except pa.ArrowException as error:
        raise ValidationError(f"{path}: {error}") from None


def _rows(table: pa.Table) -> Iterator[dict[str, object]]:
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            yield {name: cell(item) for name, item in row.items()}


def _show(table: pa.Table) -> None:
    rows = [list(row.values()) for row in islice(_rows(table), _ROWS_SHOWN)]
    print_grid(table.column_names, rows)
    told = f"{table.num_rows:,} rows of {table.num_columns} columns"
    more = table.num_rows > _ROWS_SHOWN
    print(f"the first {_ROWS_SHOWN} of {told}; all with --output FILE.parquet" if more else told)
