"""JSON that JSONB returns unchanged.

JSONB turns `1e22` into the integer 10000000000000000000000. So a float that would have an exponent
is written in full, as `10000000000000000000000.0`, and comes back as a float. The text is the exact
value, so it also compares with integers as in Python.
"""

from __future__ import annotations

import json
import re

import orjson

_EXPONENT = re.compile(rb"\de\+?\d").search


def written(value: object) -> str:
    """Return checked JSON data as text for a parameter of type JSONB."""
    return text_of(value, orjson.dumps(value))


def text_of(value: object, encoded: bytes) -> str:
    """Return what `written` returns, for data whose JSON is known already."""
    return _in_full(value) if _EXPONENT(encoded) else encoded.decode()


def _in_full(value: object) -> str:
    if isinstance(value, float):
        return f"{int(value)}.0" if abs(value) >= 2**53 else repr(value)
    if isinstance(value, dict):
        fields = (f"{json.dumps(name)}:{_in_full(item)}" for name, item in value.items())
        return f"{{{','.join(fields)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_in_full, value))}]"
    return json.dumps(value)
