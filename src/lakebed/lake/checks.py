"""Checks of what callers pass in, before anything is read or written."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakebed.clock import from_micros, to_micros
from lakebed.errors import ValidationError
from lakebed.model import LAST_KEY

if TYPE_CHECKING:
    from lakebed.filters import Filter

MAX_KEY_BYTES = 1024
_SHORT = MAX_KEY_BYTES // 4  # characters that fit whatever they are
TTL = float | str | timedelta
"""How long an entry lives: seconds, a timedelta, or text such as `"90s"`, `"1h30m"`, `"30d"`."""
_LONGEST_TTL = 100 * 366 * 86400  # seconds; keeps every expiry a valid datetime


def check_key(key: object, field: str = "key") -> str:
    """The key, if it is one."""
    if not isinstance(key, str):
        raise ValidationError(f"{field} is of type {type(key).__name__}: expected str")
    if not key:
        raise ValidationError(f"{field} is empty: expected at least one character")
    _check_text(field, key)
    return key


def check_flag(field: str, value: object) -> bool:
    """True or False: the text "no" is neither."""
    if not isinstance(value, bool):
        raise ValidationError(f"{field} is of type {type(value).__name__}: expected bool")
    return value


def check_prefix(prefix: object) -> tuple[str, str]:
    """The half-open range of keys that begin with a prefix."""
    if prefix == "":
        return "", LAST_KEY
    if not isinstance(prefix, str):
        raise ValidationError(f"prefix is of type {type(prefix).__name__}: expected str")
    _check_text("prefix", prefix)
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return prefix, LAST_KEY
    following = ord(stem[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates are no characters
        following = 0xE000
    return prefix, stem[:-1] + chr(following)


def _check_text(field: str, text: str) -> None:
    if len(text) > _SHORT or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValidationError(
                f"{field} {text!r} holds a lone surrogate: not valid Unicode text"
            ) from None
        if size > MAX_KEY_BYTES:
            raise ValidationError(
                f"{field} takes {size} bytes in UTF-8: expected at most {MAX_KEY_BYTES}"
            )
    if "\0" in text:
        raise ValidationError(f"{field} {text!r} holds a NUL character: not allowed")


def check_expiry(ttl: TTL | None, expires_at: datetime | None) -> tuple[int | None, int | None]:
    """`ttl` and `expires_at` in microseconds."""
    if ttl is None and expires_at is None:
        return None, None
    if ttl is not None and expires_at is not None:
        raise ValidationError("ttl and expires_at are both given: expected one of them")
    if expires_at is not None:
        if not isinstance(expires_at, datetime):
            raise ValidationError(
                f"expires_at is of type {type(expires_at).__name__}: expected a datetime"
            )
        if expires_at.utcoffset() is None:
            raise ValidationError(
                "expires_at has no time zone: expected an aware datetime, such as "
                "datetime.now(timezone.utc) + timedelta(hours=1)"
            )
        micros = to_micros(expires_at)
        try:
            from_micros(micros)
        except OverflowError:
            raise ValidationError(
                f"expires_at is {expires_at.isoformat()}: in UTC that is no year from 1 to 9999"
            ) from None
        return None, micros
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, str):
        from lakebed.values.duration import parse_duration  # not for a first store

        seconds = parse_duration(seconds)
        if seconds is None:
            raise ValidationError(
                f"ttl is {ttl!r}: expected text such as '90s', '15m', '1h30m', '30d' or '2w'"
            )
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValidationError(
            f"ttl must be seconds, a timedelta, or text such as '1h30m', got {type(ttl).__name__}"
        )
    if not 0 < seconds <= _LONGEST_TTL:
        raise ValidationError(
            f"ttl is {seconds!r} seconds: expected more than 0 and at most 100 years"
        )
    return max(1, round(seconds * 1_000_000)), None


def check_iterable(field: str, items: object) -> None:
    """Something to iterate over, and no text, whose letters nobody means."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ValidationError(f"{field} is of type {type(items).__name__}: expected an iterable")


def check_filter(metadata_filter: Mapping[str, object] | None) -> Filter | None:
    """The filter, compiled."""
    if metadata_filter is None:
        return None
    from lakebed.filters import parse  # not for a first store

    return parse(metadata_filter)


def check_count(field: str, number: object, *, least: int = 0) -> int:
    """A whole number, `least` or more."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValidationError(f"{field} is of type {type(number).__name__}: expected int")
    if number < least:
        raise ValidationError(f"{field} is {number}: expected {least} or more")
    return number


def check_grace(field: str, seconds: float | timedelta) -> int:
    """A waiting time of 0 or more, in microseconds."""
    number = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValidationError(
            f"{field} is of type {type(seconds).__name__}: expected seconds or a timedelta"
        )
    if not 0 <= number <= _LONGEST_TTL:
        raise ValidationError(f"{field} is {number!r} seconds: expected 0 to 100 years")
    return round(number * 1_000_000)


class Deadline:
    """When a run is to end: `max_seconds` after it began; None for no limit."""

    def __init__(self, max_seconds: float | timedelta | None = None) -> None:
        self._end = math.inf
        if max_seconds is not None:
            self._end = time.monotonic() + check_grace("max_seconds", max_seconds) / 1_000_000

    def passed(self) -> bool:
        """Whether it is time to end."""
        return time.monotonic() >= self._end
