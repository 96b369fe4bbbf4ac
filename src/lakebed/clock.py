"""Time as the lake keeps it: whole microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], int]
"""Returns the present time in microseconds since the epoch. Tests inject their own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def system_clock() -> int:
    """Return the machine's time in microseconds since the epoch."""
    return time.time_ns() // 1000


def to_micros(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since the epoch, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Convert microseconds since the epoch to an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=micros)
