"""Splits rows by the values of columns. Each part of a partitioned table has one value of each.

Values are kept as text (None for null), so that a list of parts stays valid if the type of a column
becomes wider.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import pyarrow as pa

from lakebed.errors import ValidationError
from lakebed.values.parts import Partition

MOST = 1000
"""The most partitions of a table. The limit exists because each append writes the whole list of
parts."""

_TOGETHER = 64 << 20  # bytes of rows to split at a time, as Arrow holds them
_VALUE_BYTES = 1024
_SIMPLE = re.compile(r"[A-Za-z0-9_]+")
_SQL_TYPES = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
    "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT",
    "bool": "BOOLEAN", "date32[day]": "DATE",
}  # fmt: skip


def check_columns(schema: pa.Schema, names: Sequence[str], key: str) -> None:
    """Raise ValidationError unless a table with this schema can be partitioned by these columns."""
    for name in names:
        if schema.get_field_index(name) < 0:
            raise ValidationError(f"the table {key!r} has no column {name!r} to be partitioned by")
        kind = schema.field(name).type
        if not _is_exact(_plain(kind)):
            raise ValidationError(
                f"the column {name!r} is {kind}: a table can be partitioned only by columns of "
                "text, whole numbers, booleans or dates"
            )


def split(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, names: Sequence[str]
) -> Iterator[tuple[Partition, pa.Table]]:
    """Yield the rows of each partition, in their order. A large partition is yielded in parts."""
    waiting, size = list[pa.RecordBatch](), 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size > _TOGETHER:
            yield from _split(pa.Table.from_batches(waiting, schema), names)
            waiting, size = [], 0
    yield from _split(pa.Table.from_batches(waiting, schema), names)


def _split(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Partition, pa.Table]]:
    columns = [_values(table, name) for name in names]
    numbered = pa.table(
        [*columns, pa.array(range(table.num_rows), pa.int64())],
        [*(f"value{n}" for n in range(len(names))), "row"],
    )
    # With threads, the rows would be in any order.
    groups = numbered.group_by(numbered.column_names[:-1], use_threads=False)
    for found in groups.aggregate([("row", "list")]).to_pylist():
        rows = found.pop("row_list")
        partition = tuple(found.values())
        for name, text in zip(names, partition, strict=True):
            _check_value(table, name, text)
        yield partition, table.take(pa.array(rows, pa.int64()))


def _values(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as text, which SQL casts back to the same values."""
    index = table.schema.get_field_index(name)
    if index < 0:  # the rows may lack the column, because of `widen`
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    column = table.column(index)
    return column.cast(_plain(column.type)).cast(pa.string())


def _check_value(table: pa.Table, name: str, text: str | None) -> None:
    if text is None:
        return
    if len(text.encode()) > _VALUE_BYTES:
        raise ValidationError(
            f"a value to partition by must have at most {_VALUE_BYTES:,} bytes, but the column "
            f"{name!r} has a longer one: {text[:40]!r}…"
        )
    if pa.types.is_date32(table.schema.field(name).type) and len(text) != len("2000-01-01"):
        raise ValidationError(
            f"the column {name!r} has the date {text}: the year must be 0 to 9999"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_exact(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind)
        or types.is_boolean(kind) or types.is_date32(kind)
    )  # fmt: skip


def check_count(partitions: Iterable[Partition], key: str) -> None:
    """Raise ValidationError if a table would have too many partitions."""
    count = len({*partitions})
    if count > MOST:
        raise ValidationError(
            f"the table {key!r} would have {count:,} partitions, but at most {MOST:,} are allowed: "
            "name a column with fewer values"
        )


def sql_types(schema: pa.Schema, names: Sequence[str]) -> dict[str, str] | None:
    """Return the SQL types of the partition columns, by name. Return None if the names of files
    cannot tell DuckDB the values of these columns."""
    folded = [name.lower() for name in schema.names]
    if len({*folded}) < len(folded) or not all(map(_SIMPLE.fullmatch, names)):
        return None
    return {name: _SQL_TYPES.get(str(schema.field(name).type), "VARCHAR") for name in names}


def schema_key(schema: pa.Schema) -> str:
    """Return a short key that is the same for all parts with this schema."""
    return sha256(schema.remove_metadata().serialize()).hexdigest()[:16]
