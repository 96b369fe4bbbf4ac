"""Values of rows as JSON can represent them."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID


def json_like(item: object) -> object:
    """Return dates, times and decimals as strings, because JSON does not have these types."""
    if isinstance(item, (datetime, date, time)):
        return item.isoformat()
    if isinstance(item, Decimal):
        return str(item)
    if isinstance(item, list):
        return [json_like(member) for member in item]
    if isinstance(item, dict):
        return {name: json_like(member) for name, member in item.items()}
    return item


def cell(item: object) -> object:
    """Return a value that JSON does not have as a string, and NaN and infinities as null."""
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if isinstance(item, (timedelta, UUID)):
        return str(item)
    if isinstance(item, (list, tuple)):
        return [cell(member) for member in item]
    if isinstance(item, dict):
        return {name: cell(member) for name, member in item.items()}
    return json_like(item)
