"""Values and metadata between Python and stored bytes."""

from __future__ import annotations

from typing import Any

from lakebed.errors import CorruptionError, SerializationError, ValidationError
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.hash import digest
from lakebed.values.json import decode as decode_json
from lakebed.values.json import encode as encode_json
from lakebed.values.tables import encode_table, is_table

METADATA_MAX_DEPTH = 30
"""How deep metadata may nest, itself included."""


def encode_value(value: Any) -> Encoded | EncodedFile:
    """Encode a value of any supported type; SerializationError for the others."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return Encoded("bytes", data, digest(data))
    try:
        data = encode_json(value)
    except SerializationError:  # asked second: most values are no tables
        if not is_table(value):
            raise
    else:
        return Encoded("json", data, digest(data))
    return encode_table(value)


def decode_value(format: str, data: bytes) -> Any:
    """The value of stored bytes. CorruptionError if they do not fit their format."""
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
    """The canonical text of metadata (None is `{}`). ValidationError if it is not a JSON object
    of depth at most 30 without NUL characters."""
    if not metadata and (metadata is None or metadata == {}):
        return "{}"
    if not isinstance(metadata, dict):
        raise ValidationError(f"metadata is of type {type(metadata).__name__}: expected a dict")
    try:
        text = encode_json(metadata, max_depth=METADATA_MAX_DEPTH).decode()
    except SerializationError as error:
        raise ValidationError(f"metadata: {error}") from None
    # A NUL is always escaped; the six characters may also be text, behind a backslash.
    if "\\u0000" in text and _holds_nul(metadata):
        raise ValidationError("metadata holds a NUL character (\\u0000): not allowed in metadata")
    return text


def _holds_nul(item: object) -> bool:
    if isinstance(item, str):
        return "\0" in item
    if isinstance(item, dict):
        return any(_holds_nul(key) or _holds_nul(member) for key, member in item.items())
    return isinstance(item, (list, tuple)) and any(map(_holds_nul, item))
