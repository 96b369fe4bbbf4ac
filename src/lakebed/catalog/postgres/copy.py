"""Reads rows of Postgres as Arrow, by a binary COPY in which NumPy finds the columns.

This makes no Python object for a field, and needs no second connection.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakebed.catalog.statements.executor import Params

if TYPE_CHECKING:
    from psycopg import Connection, Copy

_BATCH_BYTES = 8 << 20
_HEADER_BYTES = 19  # a signature, flags, and the length of an extension, which is always absent
_TRAILER_BYTES = 2  # every row is longer
_COUNT_BYTES, _LENGTH_BYTES = 2, 4  # before the fields of a row; before each field

Numbers = np.ndarray[Any, np.dtype[Any]]


def copy_batches(
    connection: Connection[Any], sql: str, params: Params, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query in batches of bounded size.

    `sql` has the driver's parameters. Its columns are text, bytea and bigint, as in `schema`. A
    timestamp is a bigint.
    """
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT binary)", params) as copy,
    ):
        data, sizes = connection.wait(_read(copy))
        data, sizes[0] = data[_HEADER_BYTES:], sizes[0] - _HEADER_BYTES
        while sizes:
            if len(data) > _TRAILER_BYTES:
                lengths = np.array(sizes, np.int64)
                yield _parse(data, lengths[lengths > 0], schema)
            data, sizes = connection.wait(_read(copy))


def _read(copy: Copy) -> Generator[Any, Any, tuple[bytes, list[int]]]:
    """Return the bytes of many rows, and the size of each row.

    They are read in one wait, because a wait for each row would take most of the time. The server
    sends a message for each row, one that ends them, and a header with or before the first row.
    """
    data, sizes, size = io.BytesIO(), list[int](), 0
    while size < _BATCH_BYTES and (row := (yield from copy._read_gen())):
        length = len(row)
        if length > _TRAILER_BYTES:
            data.write(row)
            sizes.append(length)
            size += length
    return data.getvalue(), sizes


def _parse(data: bytes, sizes: Numbers, schema: pa.Schema) -> pa.RecordBatch:
    ends = np.cumsum(sizes)
    places = ends - sizes + _COUNT_BYTES
    columns = []
    for field in schema:
        lengths = _numbers(data, places, ">i4")
        starts = places + _LENGTH_BYTES
        places = starts + np.maximum(lengths, 0)
        columns.append(_column(data, starts, places, lengths < 0, field.type))
    assert np.array_equal(places, ends), "the columns are others than the schema has"
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(
    data: bytes, starts: Numbers, ends: Numbers, missing: Numbers, kind: pa.DataType
) -> pa.Array:
    """Return the column whose values are at these places in the data."""
    if missing.all():
        return pa.nulls(len(starts), kind)
    mask = missing if missing.any() else None
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        # An array of the values and the gaps between them, from which every second element is
        # taken.
        offsets = np.empty(2 * len(starts), np.int32)
        offsets[0::2], offsets[1::2] = starts, ends
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        pieces = pa.Array.from_buffers(kind, len(offsets) - 1, buffers)
        return pieces.take(pa.array(np.arange(0, len(offsets), 2), mask=mask))
    numbers = _numbers(data, np.where(missing, 0, starts), ">i8")
    return pa.array(numbers.astype(np.int64), kind, mask=mask)


def _numbers(data: bytes, places: Numbers, form: str) -> Numbers:
    """Return the numbers at these places in the data."""
    kind = np.dtype(form)
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))[places]
