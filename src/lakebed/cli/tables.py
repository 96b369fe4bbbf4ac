"""Tables as the shell gives and takes them: Parquet and CSV files, rows on the screen."""

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
from lakebed.cli.rows import cell
from lakebed.errors import ValidationError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 20


@contextmanager
def reading_table(file: Path | None) -> Iterator[pa.Table | pa.RecordBatchReader]:
    """The table of a file, for as long as the block lasts: of Parquet as a stream."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if file is None or not _is_table_file(file):
        raise typer.BadParameter("needs --file NAME.parquet or NAME.csv", param_hint="--table")
    with file.open("rb") as source:
        try:
            if file.suffix.lower() == ".csv":
                yield pa.csv.read_csv(source)
                return
            parquet = pq.ParquetFile(source)
        except pa.ArrowException as error:
            raise ValidationError(f"{file}: {error}") from None
        yield pa.RecordBatchReader.from_batches(parquet.schema_arrow, _batches(file, parquet))


def _batches(file: Path, parquet: pa.parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    try:
        yield from parquet.iter_batches()
    except (pa.ArrowException, OSError) as error:
        raise ValidationError(f"{file}: {error}") from None


def give_table(table: pa.Table, output: Path | None, as_json: bool) -> None:
    """Write a table to a file, or print its rows: a JSON array, on a terminal the first ones."""
    if output is not None:
        if not _is_table_file(output):
            raise typer.BadParameter(
                "a table needs a name that ends in .parquet or .csv", param_hint="--output"
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
