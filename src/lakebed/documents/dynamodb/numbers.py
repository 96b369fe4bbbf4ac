"""Documents in the types of DynamoDB.

DynamoDB knows only one kind of number, so 1.0 comes back as 1. If a document has floats that are
whole numbers, its item lists their paths in the attribute `floats`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from lakebed.errors import ValidationError

Value = dict[str, Any]
_HIGHEST: Final = 9.99e125
_LOWEST: Final = 1e-130
_DIGITS: Final = 1e38
_EXACT: Final = 2.0**53


def marshalled(value: Any) -> Value:
    """Return JSON data as an attribute."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, float):
        return {"N": _number(value)}
    if isinstance(value, list):
        return {"L": [marshalled(item) for item in value]}
    return {"M": {name: marshalled(item) for name, item in value.items()}}


def _number(value: float) -> str:
    # Large numbers are written exactly, so that they compare correctly with integers.
    return str(int(value)) if _EXACT <= abs(value) < _DIGITS else repr(value)


def check_numbers(value: Any) -> None:
    """Raise ValidationError for a number that DynamoDB cannot hold."""
    if isinstance(value, float) and value and not _LOWEST <= abs(value) <= _HIGHEST:
        raise ValidationError(
            f"data has the number {value!r}: DynamoDB holds numbers from 1e-130 to 9.99e125"
        )
    if isinstance(value, dict):
        for item in value.values():
            check_numbers(item)
    elif isinstance(value, list):
        for item in value:
            check_numbers(item)


def whole_floats(value: Any) -> list[list[str | int]]:
    """Return the paths of the floats that are whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return [[]]
    if isinstance(value, dict):
        inside: Any = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    else:
        return []
    return [[name, *path] for name, item in inside for path in whole_floats(item)]


def unmarshalled(value: Mapping[str, Any]) -> Any:
    """Return an attribute as JSON data. Sets become lists, bytes become base64."""
    ((kind, held),) = value.items()
    if kind == "NULL":
        return None
    if kind == "N":
        return _read_number(held)
    if kind == "L":
        return [unmarshalled(item) for item in held]
    if kind == "M":
        return {name: unmarshalled(item) for name, item in held.items()}
    if kind == "NS":
        return [_read_number(item) for item in held]
    if kind in ("B", "BS"):
        texts = [base64.b64encode(item).decode() for item in ([held] if kind == "B" else held)]
        return texts[0] if kind == "B" else texts
    return held if isinstance(held, (str, bool)) else list(held)


def _read_number(text: str) -> int | float:
    return float(text) if any(sign in text for sign in ".eE") else int(text)


def restore_floats(data: dict[str, Any], paths: str) -> None:
    """Make the whole numbers at these paths floats again."""
    for path in json.loads(paths):
        holder: Any = data
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = float(holder[path[-1]])
