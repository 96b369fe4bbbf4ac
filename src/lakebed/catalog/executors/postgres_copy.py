"""Rows of Postgres as Arrow: COPY gives text, which pyarrow reads without Python objects."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv

from lakebed.catalog.executors.base import Params

if TYPE_CHECKING:
    from psycopg import Connection, Copy

_BATCH_BYTES = 4 << 20
_HEX_MARK = b"\\x"


def copy_batches(
    connection: Connection[Any], sql: str, params: Params, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of a query, in batches of bounded size. `sql` has the driver's parameters."""
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT csv)", params) as copy,
    ):
        while text := connection.wait(_read(copy)):
            yield from _parse(text, schema)


def _read(copy: Copy) -> Generator[Any, Any, bytes]:
    """Many rows in one wait: one for each, as iterating has it, takes most of the time."""
    rows, size = list[bytes | bytearray | memoryview](), 0
    while size < _BATCH_BYTES:
        row = yield from copy._read_gen()
        if not row:
            break
        rows.append(row)
        size += len(row)
    return b"".join(rows)


def _parse(text: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What COPY wrote: a null is nothing, an empty text a pair of quotes."""
    read = {field.name: _read_as(field.type) for field in schema}
    table = pyarrow.csv.read_csv(
        pa.py_buffer(text),
        read_options=pyarrow.csv.ReadOptions(
            column_names=schema.names, block_size=len(text) + 1, use_threads=False
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=read,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    columns = [
        _convert(column, field.type) for column, field in zip(table.columns, schema, strict=True)
    ]
    yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def _read_as(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.string() if pa.types.is_binary(kind) else kind


def _convert(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    array = column.combine_chunks()
    if pa.types.is_binary(kind):
        return _unhex(array)
    return array.view(kind) if pa.types.is_timestamp(kind) else array


def _unhex(array: pa.StringArray) -> pa.BinaryArray:
    """The bytes of texts such as `\\x00ff`, which is how Postgres writes them."""
    import numpy as np

    nulls, offsets, text = array.buffers()
    if text is None:
        return array.cast(pa.binary())
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    data = bytes.fromhex(
        text[int(ends[0]) : int(ends[-1])].to_pybytes().replace(_HEX_MARK, b"").decode()
    )
    lengths = np.diff(ends)
    starts = np.zeros(len(array) + 1, np.int32)
    np.cumsum(np.where(lengths > 0, (lengths - len(_HEX_MARK)) // 2, 0), out=starts[1:])
    assert array.offset == 0 or nulls is None
    return pa.Array.from_buffers(
        pa.binary(), len(array), [nulls, pa.py_buffer(starts), pa.py_buffer(data)]
    )
