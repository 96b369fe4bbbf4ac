"""Converts values and metadata to stored bytes and back."""

from __future__ import annotations

from typing import Any

from lakebed.errors import CorruptionError, SerializationError, ValidationError
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.hash import digest
from lakebed.values.json import decode as decode_json
from lakebed.values.json import encode as encode_json
from lakebed.values.tables import encode_table, is_table

METADATA_MAX_DEPTH = 30
"""How many levels metadata may have. The metadata object itself is the first."""


def encode_value(value: Any) -> Encoded | EncodedFile:
    """Return a value as it is stored. Raises SerializationError if it cannot be stored exactly."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return Encoded("bytes", data, digest(data))
    try:
        data = encode_json(value)
    except SerializationError:  # checked second, because most values are not tables
        if not is_table(value):
            raise
    else:
        return Encoded("json", data, digest(data))
    return encode_table(value)


def decode_value(format: str, data: bytes) -> Any:
    """Return the value of stored bytes. Raises CorruptionError if they do not match the format."""
    if format == "json":
        return decode_json(data)
    if format == "bytes":
        return data
    if format == "parquet":
        from lakebed.values.parquet import read_table

        return read_table(data)
    raise CorruptionError(
        f"the catalog names the format {format!r}, which this version cannot read"
    )


def encode_metadata(metadata: object) -> str:
    """Return the canonical text of metadata. None gives `{}`. Raises ValidationError unless it is a
    dict that JSON can hold, with at most 30 levels and without NUL characters."""
    if not metadata and (metadata is None or metadata == {}):
        return "{}"
    if not isinstance(metadata, dict):
        raise ValidationError(f"metadata must be a dict, got {type(metadata).__name__}")
    try:
        text = encode_json(metadata, max_depth=METADATA_MAX_DEPTH).decode()
    except SerializationError as error:
        raise ValidationError(f"metadata: {error}") from None
    # A NUL is always escaped, but after a backslash the same six characters are plain text.
    if "\\u0000" in text and _holds_nul(metadata):
        raise ValidationError("metadata must not contain a NUL character (\\u0000)")
    return text


def _holds_nul(item: object) -> bool:
    if isinstance(item, str):
        return "\0" in item
    if isinstance(item, dict):
        return any(_holds_nul(key) or _holds_nul(member) for key, member in item.items())
    return isinstance(item, (list, tuple)) and any(map(_holds_nul, item))
