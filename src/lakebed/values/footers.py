"""Reads the footer of a Parquet file: the number of rows and the schema of a stored table."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.errors import CorruptionError

TAIL_BYTES = 64 << 10
"""The bytes to read from the end of a file. They hold the whole footer of most tables."""


def read_footer(end: bytes, size: int, read: Callable[[int, int], bytes]) -> pq.FileMetaData:
    """Return the footer of a file of `size` bytes.

    `end`: the last bytes of the file. `read`: returns other bytes of it, by offset and length.

    Raises CorruptionError if it is not a Parquet file.
    """
    length = int.from_bytes(end[-8:-4], "little") + 8
    if length > size:
        raise CorruptionError("it has no footer")
    if length > len(end):
        end = read(size - length, length)
    try:
        return pq.read_metadata(pa.BufferReader(b"PAR1" + end[-length:]))
    except (pa.ArrowException, OSError) as error:
        raise CorruptionError(str(error)) from None


def schema_of(footer: pq.FileMetaData) -> pa.Schema:
    """Return the Arrow schema of a stored table. Raises CorruptionError if the footer has none."""
    stored = (footer.metadata or {}).get(b"ARROW:schema")
    if stored is None:
        raise CorruptionError("its footer has no Arrow schema")
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored)))
    except (pa.ArrowException, ValueError) as error:
        raise CorruptionError(str(error)) from None
