"""Make the results of tools, which must be short. Errors become results only here."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError

from lakebed.errors import LakebedError
from lakebed.model import EntryRow
from lakebed.records import Entry
from lakebed.values.json import encode
from lakebed.values.tables import is_table

P = ParamSpec("P")
T = TypeVar("T")
LONGEST = 50_000
"""The default length of a value in a result, in characters."""
_ROWS = 100
_SHORT = 300


def told(call: Callable[P, T]) -> Callable[P, T]:
    """Wrap a call so that its errors reach the agent as `error_type: message`."""

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except LakebedError as error:
            raise ToolError(f"{error.error_type}: {error}") from None

    return run


def plain(value: object) -> Any:
    """Return a record as JSON. Times become ISO 8601, bytes become base64, and tables become their
    first rows."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if is_table(value):
        table: Any = value
        rows = table.slice(0, _ROWS).to_pylist()
        return {"rows": table.num_rows, "columns": table.column_names, "first_rows": _cells(rows)}
    return value


def _cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: cell(item) for name, item in row.items()} for row in rows]


def cell(value: Any) -> Any:
    """Return a cell of a table as JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value if value == value else None
    if isinstance(value, (list, tuple)):
        return [cell(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): cell(item) for name, item in value.items()}
    return plain(value) if isinstance(value, (bytes, datetime)) else str(value)


def shown(value: object, longest: int = LONGEST) -> dict[str, Any]:
    """Return a value for a result. If it is too long it is cut, and the result says so."""
    told_ = plain(value)
    text = told_ if isinstance(told_, str) else encode(told_).decode()
    if len(text) <= longest:
        return {"value": told_}
    return {"text": text[:longest], "truncated": True, "characters": len(text)}


def brief(value: object) -> Any:
    """Return a value. If it is long, return its beginning as text."""
    found = shown(value, _SHORT)
    return found["value"] if "value" in found else found["text"] + "…"


def about(entry: Entry) -> dict[str, Any]:
    """Return the fields of an entry that a list shows."""
    fields = {
        "key": entry.key,
        "format": entry.format,
        "byte_size": entry.byte_size,
        "content_hash": entry.content_hash,
        "updated_at": entry.updated_at.isoformat(),
    }
    if entry.metadata:
        fields["metadata"] = entry.metadata
    if entry.expires_at is not None:
        fields["expires_at"] = entry.expires_at.isoformat()
    return fields


def about_row(row: EntryRow) -> dict[str, Any]:
    """Return the fields that a result shows of an entry that was read."""
    return {
        "key": row.key,
        "content_hash": row.hash_text(),
        "version": row.version,
        "metadata": row.metadata_dict(),
    }
