"""Read NDJSON, JSON, CSV and Parquet row by row, with the place of each row."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from lakebed.cli.printing.cells import json_like
from lakebed.cli.reading.values import parse_json
from lakebed.errors import ValidationError
from lakebed.suggestions import suggestion

Format = Literal["ndjson", "json", "csv", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}


class Row(NamedTuple):
    """One row of a file: its place (`line 3`), and its fields or why it could not be read."""

    place: str
    fields: dict[str, object] | None
    error: str = ""


def format_of(path: Path) -> Format:
    """Return the format for the ending of a file's name. Raises ValidationError if it is
    unknown."""
    try:
        return _SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ValidationError(
            f"{path}: cannot tell the format from the name: add --format ndjson, json, csv or "
            "parquet"
        ) from None


def read_rows(file: BinaryIO, format: Format, column: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file.

    Raises ValidationError if the file is not valid in this format. `column`: a column that a CSV or
    Parquet file must have, else ValidationError.
    """
    if format == "csv":
        return _csv(file, column)
    if format == "parquet":
        return _parquet(file, column)
    return _ndjson(file) if format == "ndjson" else _json(file)


def _check_column(column: str | None, columns: Sequence[str]) -> None:
    if column is not None and columns and column not in columns:
        raise ValidationError(f"the file has no column {column!r}: {suggestion(column, columns)}")


def _ndjson(file: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.isspace():
            continue
        try:
            yield _row(
                f"line {number}", parse_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            )
        except ValueError as error:
            yield Row(f"line {number}", None, f"not JSON: {error}")


def _json(file: BinaryIO) -> Iterator[Row]:
    try:
        rows = parse_json(file.read().decode("utf-8-sig"))
    except ValueError as error:
        raise ValidationError(f"not a JSON file: {error}") from None
    if not isinstance(rows, list):
        raise ValidationError("the JSON file must hold an array of objects")
    for number, fields in enumerate(rows, 1):
        yield _row(f"item {number}", fields)


def _row(place: str, fields: object) -> Row:
    if isinstance(fields, dict):
        return Row(place, fields)
    return Row(place, None, "not a JSON object")


def _csv(file: BinaryIO, column: str | None) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a cell can be a large document
    reader = csv.reader(codecs.iterdecode(file, "utf-8-sig"), strict=True)
    try:
        columns = next(reader, [])
        if len(set(columns)) < len(columns):
            raise ValidationError("the first line of the CSV file names a column twice")
        _check_column(column, columns)
        for cells in reader:
            place = f"line {reader.line_num}"
            if len(cells) == len(columns):
                yield Row(place, dict(zip(columns, cells, strict=True)))
            elif cells:
                yield Row(
                    place,
                    None,
                    f"expected {len(columns)} cells, one per column, got {len(cells)}",
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValidationError(f"not a CSV file in UTF-8: line {reader.line_num}: {error}") from None


def _parquet(file: BinaryIO, column: str | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        _check_column(column, table.schema_arrow.names)
        number = 0
        for batch in table.iter_batches(batch_size=1000):
            for fields in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", {name: json_like(item) for name, item in fields.items()})
    except pa.ArrowException as error:
        raise ValidationError(f"not a Parquet file: {error}") from None
