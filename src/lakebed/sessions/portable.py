"""Entries as JSON, for readable files and for moving sessions between lakes."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lakebed.errors import ValidationError
from lakebed.model import EntryRow

_FORMS = ("value", "text_of_bytes", "base64", "parquet_base64")


def as_json(row: EntryRow, value: Any) -> dict[str, Any]:
    """Return the key, metadata and value of an entry as JSON.

    A JSON value stays as it is. Bytes become base64, unless they are UTF-8 text that begins with a
    brace, as entries of the queue do. A table becomes Parquet in base64.
    """
    told: dict[str, Any] = {"key": row.key, "metadata": row.metadata_dict()}
    if row.expires_at is not None:
        from lakebed.clock import from_micros

        told["expires_at"] = from_micros(row.expires_at).isoformat()
    if row.format == "json":
        return told | {"value": value}
    if row.format == "bytes":
        if value[:1] == b"{":
            try:
                return told | {"text_of_bytes": value.decode()}
            except UnicodeDecodeError:
                pass
        return told | {"base64": base64.b64encode(value).decode()}
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(value, sink, compression="zstd")
    return told | {"parquet_base64": base64.b64encode(sink.getvalue()).decode()}


def from_json(told: object, where: str) -> dict[str, Any]:
    """Return the entry in JSON that `as_json` made, as `Lake.store_batch` takes it.

    Raises ValidationError if the JSON is malformed. `where`: how the error names the entry.
    """
    if not isinstance(told, Mapping) or not isinstance(told.get("key"), str):
        raise ValidationError(f"{where}: expected a JSON object whose 'key' is a string")
    unknown = told.keys() - {"key", "metadata", "expires_at", *_FORMS}
    if unknown:
        raise ValidationError(f"{where}: unknown field {min(unknown)!r}")
    forms = [name for name in _FORMS if name in told]
    if len(forms) != 1:
        raise ValidationError(f"{where}: expected one of {', '.join(_FORMS)}")
    metadata = told.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise ValidationError(f"{where}: metadata must be a JSON object")
    entry = {"key": told["key"], "metadata": dict(metadata)}
    if told.get("expires_at") is not None:
        try:
            entry["expires_at"] = datetime.fromisoformat(told["expires_at"])
        except (TypeError, ValueError):
            raise ValidationError(f"{where}: expires_at must be ISO 8601") from None
    return entry | {"value": _value(told, forms[0], where)}


def _value(told: Mapping[str, Any], form: str, where: str) -> Any:
    raw = told[form]
    if form == "value":
        return raw
    if not isinstance(raw, str):
        raise ValidationError(f"{where}: {form} must be a string, got {type(raw).__name__}")
    if form == "text_of_bytes":
        return raw.encode()
    try:
        data = base64.b64decode(raw, validate=True)
    except binascii.Error:
        raise ValidationError(f"{where}: {form} is not base64") from None
    if form == "base64":
        return data
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError):
        raise ValidationError(f"{where}: parquet_base64 is not a Parquet file") from None
