"""Checks of arguments, made before anything is read or written."""

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
_SHORT = MAX_KEY_BYTES // 4  # so many characters fit into a key, whatever they are
TTL = float | str | timedelta
"""How long an entry lives: seconds, a timedelta, or text such as `"90s"`, `"1h30m"`, `"30d"`."""
_LONGEST_TTL = 100 * 366 * 86400  # seconds; keeps every expiry a valid datetime


def check_key(key: object, field: str = "key") -> str:
    """Return the key. Raises ValidationError if it is not a valid key."""
    if not isinstance(key, str):
        raise ValidationError(f"{field} must be a string, got {type(key).__name__}")
    if not key:
        raise ValidationError(f"{field} must not be empty")
    _check_text(field, key)
    return key


def check_flag(field: str, value: object) -> bool:
    """Return a bool. No other type is accepted, because the text "no" would be true."""
    if not isinstance(value, bool):
        raise ValidationError(f"{field} must be True or False, got {type(value).__name__}")
    return value


def check_prefix(prefix: object) -> tuple[str, str]:
    """Return the half-open range of keys that begin with a prefix."""
    if prefix == "":
        return "", LAST_KEY
    if not isinstance(prefix, str):
        raise ValidationError(f"prefix must be a string, got {type(prefix).__name__}")
    _check_text("prefix", prefix)
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return prefix, LAST_KEY
    following = ord(stem[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates are not characters
        following = 0xE000
    return prefix, stem[:-1] + chr(following)


def _check_text(field: str, text: str) -> None:
    if len(text) > _SHORT or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValidationError(
                f"{field} {text!r} contains a lone surrogate: it is not valid Unicode text"
            ) from None
        if size > MAX_KEY_BYTES:
            raise ValidationError(
                f"{field} must have at most {MAX_KEY_BYTES} bytes in UTF-8, got {size}"
            )
    if "\0" in text:
        raise ValidationError(f"{field} {text!r} must not contain a NUL character")


def check_expiry(ttl: TTL | None, expires_at: datetime | None) -> tuple[int | None, int | None]:
    """Return `ttl` and `expires_at` in microseconds."""
    if ttl is None and expires_at is None:
        return None, None
    if ttl is not None and expires_at is not None:
        raise ValidationError("ttl and expires_at cannot be combined: give one of them")
    if expires_at is not None:
        if not isinstance(expires_at, datetime):
            raise ValidationError(f"expires_at must be a datetime, got {type(expires_at).__name__}")
        if expires_at.utcoffset() is None:
            raise ValidationError(
                "expires_at must have a time zone, such as "
                "datetime.now(timezone.utc) + timedelta(hours=1)"
            )
        micros = to_micros(expires_at)
        try:
            from_micros(micros)
        except OverflowError:
            raise ValidationError(
                f"expires_at must be in the years 1 to 9999 in UTC, got {expires_at.isoformat()}"
            ) from None
        return None, micros
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, str):
        from lakebed.values.duration import parse_duration  # not for a first store

        seconds = parse_duration(seconds)
        if seconds is None:
            raise ValidationError(
                f"ttl must be text such as '90s', '15m', '1h30m', '30d' or '2w', got {ttl!r}"
            )
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValidationError(
            f"ttl must be seconds, a timedelta, or text such as '1h30m', got {type(ttl).__name__}"
        )
    if not 0 < seconds <= _LONGEST_TTL:
        raise ValidationError(
            f"ttl must be more than 0 seconds and at most 100 years, got {seconds!r} seconds"
        )
    return max(1, round(seconds * 1_000_000)), None


def check_iterable(field: str, items: object) -> None:
    """Raise ValidationError unless `items` is an iterable other than str or bytes."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ValidationError(
            f"{field} must be an iterable, such as a list, got {type(items).__name__}"
        )


def check_entries(entries: object) -> None:
    """Raise ValidationError unless `entries` can be the entries of a batch. A mapping cannot,
    because iterating over it would give its keys."""
    if isinstance(entries, Mapping):
        raise ValidationError(
            "entries must be an iterable of mappings, such as [{'key': 'a', 'value': 1}], got a "
            f"single {type(entries).__name__}"
        )
    check_iterable("entries", entries)


def check_filter(metadata_filter: Mapping[str, object] | None) -> Filter | None:
    """Return the compiled filter."""
    if metadata_filter is None:
        return None
    from lakebed.filters import parse  # a first store must not load it

    return parse(metadata_filter)


def check_count(field: str, number: object, *, least: int = 0) -> int:
    """Return a whole number, `least` or more."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValidationError(f"{field} must be an integer, got {type(number).__name__}")
    if number < least:
        raise ValidationError(f"{field} must be {least} or more, got {number}")
    return number


def check_grace(field: str, seconds: float | timedelta) -> int:
    """Return a duration of 0 or more, in microseconds."""
    number = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValidationError(
            f"{field} must be seconds or a timedelta, got {type(seconds).__name__}"
        )
    if not 0 <= number <= _LONGEST_TTL:
        raise ValidationError(f"{field} must be 0 seconds to 100 years, got {number!r} seconds")
    return round(number * 1_000_000)


class Deadline:
    """The time at which a run must stop: `max_seconds` after it began. None means no limit."""

    def __init__(self, max_seconds: float | timedelta | None = None) -> None:
        self._end = math.inf
        if max_seconds is not None:
            self._end = time.monotonic() + check_grace("max_seconds", max_seconds) / 1_000_000

    def passed(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self._end
