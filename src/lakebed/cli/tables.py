"""Tables in the shell: Parquet and CSV files, and rows on the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from lakebed.cli.grid import print_grid
from lakebed.cli.output import print_json, print_json_array, writing
from lakebed.cli.rows import Format, cell, read_rows
from lakebed.errors import ValidationError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 20


@contextmanager
def reading_table(file: Path | None) -> Iterator[pa.Table | pa.RecordBatchReader]:
    """Open the table in a file for the length of the block. Parquet is read as a stream."""
    if file is None or not _is_table_file(file):
        raise typer.BadParameter("needs --file NAME.parquet or NAME.csv", param_hint="--table")
    with file.open("rb") as source:
        yield table_of(source, "csv" if file.suffix.lower() == ".csv" else "parquet", str(file))


def table_of(source: BinaryIO, format: Format, name: str) -> pa.Table | pa.RecordBatchReader:
    """Return the table in an open file, as a stream if it is Parquet.

    Raises a ValidationError with the file's name if the file has no table.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet as pq

    try:
        if format == "csv":
            return pa.csv.read_csv(source)
        if format == "ndjson":
            return pa.json.read_json(source)
        if format == "json":
            return _array(source, name)
        parquet = pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise ValidationError(f"{name}: {error}") from None
    return pa.RecordBatchReader.from_batches(parquet.schema_arrow, _batches(name, parquet))


def _array(source: BinaryIO, name: str) -> pa.Table:
    import pyarrow as pa

    rows = list(read_rows(source, "json"))
    for row in rows:
        if row.fields is None:
            raise ValidationError(f"{name}: {row.place}: {row.error}")
    columns = dict.fromkeys(column for row in rows for column in row.fields or ())
    return pa.table({c: [(row.fields or {}).get(c) for row in rows] for c in columns})


def _batches(name: str, parquet: pa.parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    try:
        yield from parquet.iter_batches()
    except (pa.ArrowException, OSError) as error:
        raise ValidationError(f"{name}: {error}") from None


def give_table(table: pa.Table, output: Path | None, as_json: bool) -> None:
    """Write a table to a file, or print its rows: as a JSON array, or the first ones on a
    terminal."""
    if output is not None:
        if not _is_table_file(output):
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


def _is_table_file(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".csv")


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
