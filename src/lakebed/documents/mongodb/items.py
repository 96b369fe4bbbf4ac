"""Documents as MongoDB stores them, and the filters that find them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lakebed.documents.data import Data, identical
from lakebed.documents.query.conditions import Condition
from lakebed.documents.query.query import Stored


def stored(raw: Mapping[str, Any]) -> Stored:
    return Stored(raw["_id"], {k: _plain(v) for k, v in raw.items() if k != "_id"}, raw)


def _plain(value: Any) -> Any:
    """Return a value as JSON. Other programs can have stored times, ids and other types."""
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="microseconds")
    return str(value)


def exactly(found: Stored) -> dict[str, Any]:
    """Return a filter that matches only an unchanged document."""
    return {"_id": found.doc_id, "$expr": {"$eq": ["$$ROOT", {"$literal": found.version}]}}


def changed(found: Stored, data: Data) -> dict[str, Any]:
    """Return the fields to write. Unchanged fields keep their MongoDB types."""
    raw = found.version
    assert isinstance(raw, Mapping)
    kept = found.data
    return {
        name: raw[name] if name in kept and identical(kept[name], value) else value
        for name, value in data.items()
    }


def narrowing(condition: Condition) -> dict[str, Any] | None:
    """Return a filter of MongoDB that finds at least all matches of a condition, or None if there
    is none."""
    path, operator, value = condition.path, condition.operator, condition.value
    if any("." in name or name.startswith("$") for name in path):
        return None
    field = ".".join(path)
    values = value if isinstance(value, list) and operator in _LISTS else [value]
    if operator in ("!=", "not-in") or any(map(_has_object, values)):
        return {field: {"$exists": True}}
    if operator in _COMPARISONS:
        return {field: {_COMPARISONS[operator]: value}}
    return {field: {"$in": values}}


_COMPARISONS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_LISTS = ("in", "not-in", "array-contains-any")


def _has_object(value: object) -> bool:
    """Return whether an equality would compare objects. In MongoDB the order of their fields
    counts."""
    if isinstance(value, list):
        return any(map(_has_object, value))
    return isinstance(value, dict)
