"""Tables in Parquet, CSV and JSON files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from lakebed.cli.printing.tables import is_table_file
from lakebed.cli.reading.rows import Format, read_rows
from lakebed.errors import ValidationError

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def reading_table(file: Path | None) -> Iterator[pa.Table | pa.RecordBatchReader]:
    """Open the table in a file for the length of the block. Parquet is read as a stream."""
    if file is None or not is_table_file(file):
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
