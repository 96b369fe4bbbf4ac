"""Tables as Parquet: the same rows give the same bytes, in bounded memory.

How rows are split into row groups does not depend on their chunks, and the file holds nothing about
the time or place of writing. It does hold versions: that of pyarrow, and in the metadata of a
DataFrame, that of pandas.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.errors import CorruptionError, SerializationError, StorageError
from lakebed.values.encoded import Encoded, EncodedFile

GROUP_ROWS = 1 << 20
"""The most rows in a row group."""

GROUP_BYTES = 16 << 20
"""The most bytes in a row group, as Arrow holds them. A single row may take more."""

MEMORY_BYTES = 4 << 20
"""A larger file is written to disk. A smaller one stays in memory."""

REFUSALS = (pa.ArrowException, ValueError, TypeError, OverflowError)
"""The errors that pyarrow raises for rows that it cannot write."""

_FEW = 1024  # batches to collect before they are joined; each takes a kilobyte besides its rows


def write_table(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Encoded | EncodedFile:
    """Encode the rows of `batches`, which all have `schema`.

    Uses the memory of a few row groups and of the largest batch. Raises SerializationError, naming
    the column, for data that Parquet cannot hold, and StorageError if the temporary file cannot be
    written. Errors of the iterable pass through.
    """
    _check_names(schema)
    # The file has no name, so that nothing is left of it, even if the process is killed.
    file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - may be returned
    try:
        sink = _HashingSink(file)
        _write(schema, batches, sink)
        content_hash = sink.sha256.digest()
        if sink.byte_size > MEMORY_BYTES:
            return EncodedFile("parquet", file, sink.byte_size, content_hash)
        file.seek(0)
        data = file.read()
    except BaseException:
        file.close()
        raise
    file.close()
    return Encoded("parquet", data, content_hash)


def read_table(data: bytes) -> pa.Table:
    """Return the table of stored bytes, if possible with the types that it was stored with.

    Raises CorruptionError if the bytes are not a Parquet file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        # pyarrow's threads can abort the interpreter at its exit (arrow issues 34314, 50482).
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptionError(f"stored bytes are not a Parquet file: {error}") from None
    stored = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if stored is None:
        return table
    return _with_types(table, pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored))))


def refusal(
    names: Iterable[str], attempt: Callable[[str], object], error: Exception
) -> SerializationError:
    """Return the error for a refused table. It names the first column whose `attempt` fails."""
    for name in names:
        try:
            attempt(name)
        except REFUSALS as reason:
            return SerializationError(f"the column {name!r} cannot be stored: {_text(reason)}")
    return SerializationError(f"the table cannot be stored: {_text(error)}")


def _text(error: Exception) -> str:
    """Return the message of an error. Some of pyarrow's have more than one."""
    return str(error.args[0]) if error.args else str(error)


class _HashingSink(io.RawIOBase):
    """Writes to a file, and hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.sha256 = sha256()
        self.byte_size = 0
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # pyarrow writes nothing else
        self.sha256.update(data)
        self.byte_size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            raise StorageError(
                f"cannot write a temporary file in {tempfile.gettempdir()}: "
                f"{error.strerror or error}"
            ) from error


def _check_names(schema: pa.Schema) -> None:
    seen = set[str]()
    for name in schema.names:
        if name in seen:
            raise SerializationError(f"the column name {name!r} occurs twice")
        seen.add(name)


def _write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: _HashingSink) -> None:
    try:
        writer = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            use_compliant_nested_type=False,  # keeps the field names inside lists
        )
    except REFUSALS as error:
        raise refusal(schema.names, partial(_try_schema, schema), error) from None
    with writer:
        for group in _row_groups(schema, batches):
            try:
                writer.write_table(group, row_group_size=GROUP_ROWS)
            except REFUSALS as error:
                raise _refusal_of(group, error) from None


def _try_schema(schema: pa.Schema, name: str) -> None:
    pq.ParquetWriter(pa.MockOutputStream(), pa.schema([schema.field(name)])).close()


def _refusal_of(table: pa.Table, error: Exception) -> SerializationError:
    def attempt(name: str) -> None:
        pq.write_table(table.select([name]), pa.MockOutputStream())

    return refusal(table.schema.names, attempt, error)


def _row_groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Split rows into row groups. Where they are split depends on the rows, not on the batches."""
    waiting: list[pa.RecordBatch] = []
    few: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        few.append(batch)
        rows += batch.num_rows
        size += _size(batch)
        if len(few) == _FEW:
            for table in _compact(pa.Table.from_batches(few, schema)):
                waiting += table.to_batches()
            few = []
        if rows >= GROUP_ROWS or size > GROUP_BYTES:
            rest = _table(schema, [*waiting, *few])
            while rest.num_rows >= GROUP_ROWS or _table_size(rest) > GROUP_BYTES:
                fitting = _fitting(rest)
                yield from _compact(rest.slice(0, fitting))
                rest = rest.slice(fitting)
            waiting, few = rest.to_batches(), []
            rows, size = rest.num_rows, _table_size(rest)
    if rows:
        yield from _compact(_table(schema, [*waiting, *few]))


def _table(schema: pa.Schema, batches: list[pa.RecordBatch]) -> pa.Table:
    try:
        return pa.Table.from_batches(batches, schema)
    except pa.ArrowInvalid as error:
        raise SerializationError(
            f"the schema of a batch differs from that of its reader: {error}"
        ) from None


def _fitting(table: pa.Table) -> int:
    """Return how many of the first rows fit into a row group, as a power of two."""
    rows = GROUP_ROWS
    while rows > 1 and (rows > table.num_rows or _table_size(table.slice(0, rows)) > GROUP_BYTES):
        rows //= 2
    return rows


def _table_size(table: pa.Table) -> int:
    return sum(map(_size, table.to_batches()))


def _size(batch: pa.RecordBatch) -> int:
    """Return the bytes of the rows without the dictionaries, which even an empty slice has."""
    return int(batch.nbytes - batch.slice(0, 0).nbytes)


def _compact(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the table as one chunk, because chunks would change the file."""
    try:
        yield table.combine_chunks()
    except pa.ArrowInvalid:
        # Together, the dictionaries of the chunks have more values than their index type can count.
        for batch in table.to_batches():
            yield pa.Table.from_batches([batch])


def _with_types(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the types of the schema that it was stored with."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    columns = [_cast(*pair) for pair in zip(table.columns, schema.types, strict=True)]
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, schema.metadata))


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    try:
        cast = column.cast(wanted)
        cast.validate()  # some casts of nested nulls are wrong (pyarrow 26)
    except pa.ArrowException:  # for example a dictionary of numbers, which comes back as numbers
        return column
    return cast
