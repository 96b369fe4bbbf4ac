"""Checks of arguments, made before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lakebed.clock import to_micros
from lakebed.errors import ValidationError
from lakebed.lake.checks import check_count as check_count

MOST = 10**9 - 1
"""The highest priority; its negative is the lowest."""
NAME_BYTES = 100
_KEY_BYTES = 400
_ID = re.compile(r"[0-9a-z]{6,40}\Z")
_TASK = re.compile(r"[0-9a-z]{6,40}\.[0-9a-z]{6,40}\Z")


def check_text(field: str, text: object, *, most: int | None = None) -> str:
    """Return a string. It must not be empty, nor longer than `most` bytes in UTF-8."""
    if not isinstance(text, str):
        raise ValidationError(f"{field} must be a string, got {type(text).__name__}")
    if not text.strip():
        raise ValidationError(f"{field} must not be empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValidationError(
            f"{field} contains a lone surrogate: it is not valid Unicode text"
        ) from None
    if most is not None and size > most:
        raise ValidationError(f"{field} must have at most {most} bytes in UTF-8, got {size}")
    return text


def check_name(field: str, name: object) -> str:
    """Return a name of at most 100 bytes, without control characters."""
    text = check_text(field, name, most=NAME_BYTES)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValidationError(f"{field} {text!r} must not contain control characters")
    return text


def check_key(field: str, key: object) -> str:
    """Return a name of at most 400 bytes."""
    text = check_text(field, key, most=_KEY_BYTES)
    if "\0" in text:
        raise ValidationError(f"{field} {text!r} must not contain a NUL character")
    return text


def check_session_id(session_id: object) -> str:
    """Return the id of a session."""
    if not isinstance(session_id, str) or not _ID.match(session_id):
        raise ValidationError(f"session_id must be the id of a session, got {session_id!r}")
    return session_id


def check_task_id(task_id: object) -> str:
    """Return the id of a task."""
    if not isinstance(task_id, str) or not _TASK.match(task_id):
        raise ValidationError(f"task_id must be the id of a task, got {task_id!r}")
    return task_id


def check_choice(field: str, value: object, choices: Sequence[str]) -> str:
    """Return a word. It must be one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValidationError(f"{field} must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_names(field: str, names: object) -> list[str]:
    """Return names in their order, without repetitions."""
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ValidationError(f"{field} must be a list of strings, got {type(names).__name__}")
    return list(dict.fromkeys(check_name(f"{field}[{n}]", name) for n, name in enumerate(names)))


def check_object(field: str, value: object) -> dict[str, Any]:
    """Return a JSON object. None becomes an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationError(f"{field} must be a dict, got {type(value).__name__}")
    return dict(value)


def check_seconds(field: str, value: object, *, least: float) -> float:
    """Return a duration in seconds. It is given in seconds or as a timedelta."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValidationError(f"{field} must be seconds or a timedelta, got {type(value).__name__}")
    if not least <= number <= 10 * 366 * 86400:
        raise ValidationError(
            f"{field} must be {least} seconds to ten years, got {number!r} seconds"
        )
    return float(number)


def check_priority(priority: object) -> int:
    """Return a priority: an integer from -MOST to MOST."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise ValidationError(f"priority must be an integer, got {type(priority).__name__}")
    if abs(priority) > MOST:
        raise ValidationError(f"priority must be -{MOST} to {MOST}, got {priority}")
    return priority


def check_moment(field: str, moment: object) -> int:
    """Return an aware datetime as microseconds since 1970."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ValidationError(f"{field} must be an aware datetime, got {moment!r}")
    return to_micros(moment)
