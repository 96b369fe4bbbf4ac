"""The file of a segment: a header of JSON, followed by arrays that are read in place.

    8 bytes    the magic number
    4 bytes    the length of the header in bytes, little endian
    header     JSON: `version`, `documents`, `embedder`, and the name, type, shape and offset of
               each array
    arrays     little endian, each at a multiple of 64 bytes from the beginning of the file

`VERSION` increases when older clients could no longer read a file correctly. A client rebuilds a
segment with an unknown version. (Version 1 had no field names.)
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from lakebed.errors import LakebedError

VERSION = 2
"""The version of the format that this release writes and reads."""
_MAGIC = b"LAKESEG\n"
_ALIGNMENT = 64
_LENGTH = struct.Struct("<I")
_TYPES = frozenset({"|u1", "|i1", "<u2", "<u4", "<u8", "<i8", "<f4"})

_MALFORMED = (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError)

Arrays = Mapping[str, NDArray[Any]]


class UnreadableSegmentError(LakebedError):
    """A segment that this client cannot read and must rebuild. The lake catches this error."""

    error_type = "unreadable_segment"


class Header(NamedTuple):
    """The header, apart from the list of arrays.

    `documents`: the number of documents. `embedder`: the name of the embedder that made the
    vectors, or None if there are none.
    """

    documents: int
    embedder: str | None


def write(header: Header, arrays: Arrays) -> bytes:
    """Return the bytes of a segment."""
    offset = 0
    places: dict[str, tuple[str, list[int], int]] = {}
    for name, array in arrays.items():
        kind = array.dtype.newbyteorder("<").str
        places[name] = kind, list(array.shape), offset
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    described = orjson.dumps({"version": VERSION, **header._asdict(), "arrays": places})
    head = _MAGIC + _LENGTH.pack(len(described)) + described
    pieces: list[bytes | memoryview] = [head.ljust(_begin(len(described)), b"\0")]
    for array, (kind, _, _) in zip(arrays.values(), places.values(), strict=True):
        pieces.append(np.ascontiguousarray(array.astype(kind, copy=False)).data)
        pieces.append(bytes(-array.nbytes % _ALIGNMENT))
    return b"".join(pieces)


def read(data: memoryview) -> tuple[Header, dict[str, NDArray[Any]]]:
    """Return the header and the arrays, which are views of `data`.

    Raises UnreadableSegmentError for another format or version and for malformed data.
    """
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise UnreadableSegmentError("not a segment")
    try:
        (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
        start = len(_MAGIC) + _LENGTH.size
        described = orjson.loads(data[start : start + length])
        version = described["version"]
        if version != VERSION:
            raise UnreadableSegmentError(f"its format must be version {VERSION}, got {version}")
        begin = _begin(length)
        arrays = {name: _array(data, begin, *place) for name, place in described["arrays"].items()}
        return Header(described["documents"], described["embedder"]), arrays
    except _MALFORMED as error:
        raise UnreadableSegmentError(f"its header or arrays are malformed: {error}") from error


def _begin(length: int) -> int:
    """Return the offset of the arrays after a header of this length."""
    return -(-(len(_MAGIC) + _LENGTH.size + length) // _ALIGNMENT) * _ALIGNMENT


def _array(data: memoryview, begin: int, kind: str, shape: list[int], offset: int) -> NDArray[Any]:
    if kind not in _TYPES:
        raise ValueError(f"unknown type {kind!r}")
    if offset < 0 or min(shape, default=0) < 0:
        raise ValueError(f"negative place or size: {offset}, {shape}")
    count = math.prod(shape)
    return np.frombuffer(data, dtype=kind, count=count, offset=begin + offset).reshape(shape)
