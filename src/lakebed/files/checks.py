"""Checks of arguments, before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from mimetypes import guess_type
from typing import Any

from lakebed.errors import ValidationError
from lakebed.objects.files.names import HEADER_NAMES, TOKEN
from lakebed.objects.files.store import Condition, Headers, Method, Rule, Transition

MAX_PATH_BYTES = 1024
MAX_METADATA_BYTES = 2048
LONGEST_EXPIRY = 7 * 86_400
RESERVED = ".lakebed"
"""The first name in paths that users cannot have. A local folder keeps its own files there."""

DEFAULT_TYPE = "application/octet-stream"
"""The content type of a file whose name does not show one."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")
_DRIVE = re.compile(r"[A-Za-z]:(?:/|$)")


def check_path(path: object, field: str = "path") -> str:
    """Return a path. Raises ValidationError unless it is a valid relative one such as `a/b.txt`."""
    text = _check_text(path, field)
    if not text:
        raise ValidationError(f"{field} must not be empty")
    if text.endswith("/"):
        raise ValidationError(f"{field} {text!r} must not end with a slash: it names a file")
    return text


def check_prefix(prefix: object, field: str = "prefix") -> str:
    """Return a prefix of paths. It may be empty, and may end inside a name or with a slash."""
    return _check_text(prefix, field)


def _check_text(path: object, field: str) -> str:
    if not isinstance(path, str):
        raise ValidationError(f"{field} must be a string, got {type(path).__name__}")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValidationError(
            f"{field} {path!r} contains a lone surrogate: it is not valid Unicode text"
        ) from None
    if size > MAX_PATH_BYTES:
        raise ValidationError(
            f"{field} must have at most {MAX_PATH_BYTES:,} bytes in UTF-8, got {size:,}"
        )
    if _CONTROL.search(path):
        raise ValidationError(f"{field} {path!r} must not contain a control character")
    if "\\" in path:
        raise ValidationError(f"{field} {path!r} must not contain a backslash: write a slash")
    if path.startswith("/") or _DRIVE.match(path):
        raise ValidationError(
            f"{field} {path!r} must be relative, not absolute: it is a path in the storage, not on "
            "this machine"
        )
    names = path.split("/")
    if {".", ".."}.intersection(names):
        raise ValidationError(f"{field} {path!r} must not contain '.' or '..' as a name")
    if "" in names[:-1]:
        raise ValidationError(f"{field} {path!r} must not contain an empty name between slashes")
    if names[0] == RESERVED:
        raise ValidationError(f"{field} {path!r} must not begin with {RESERVED!r}: it is reserved")
    return path


def check_content(content: object) -> bytes:
    """Return the bytes of a content. A string becomes UTF-8."""
    if isinstance(content, str):
        try:
            return content.encode()
        except UnicodeEncodeError:
            raise ValidationError("content contains a lone surrogate") from None
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    raise ValidationError(f"content must be bytes or a string, got {type(content).__name__}")


def check_headers(path: str, content_type: object, metadata: object) -> Headers:
    """Return the headers of a file. A content type that is not given is guessed from the path."""
    if content_type is None:
        content_type = guess_type(path)[0] or DEFAULT_TYPE
    if not isinstance(content_type, str) or not _PRINTABLE.fullmatch(content_type):
        raise ValidationError(
            f"content_type must be 1 to 255 printable ASCII characters, got {content_type!r}"
        )
    return Headers(content_type, _check_metadata(metadata))


def _check_metadata(metadata: object) -> Mapping[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ValidationError(f"metadata must be a mapping, got {type(metadata).__name__}")
    for name, value in metadata.items():
        if not isinstance(name, str) or not name:
            raise ValidationError(f"metadata: a name must be non-empty text, got {name!r}")
        if name == TOKEN:
            raise ValidationError(f"metadata.{name} is reserved")
        if not isinstance(value, str):
            raise ValidationError(f"metadata.{name} must be a string, got {type(value).__name__}")
        if "\0" in name + value:
            raise ValidationError(f"metadata.{name} must not contain a NUL character")
    try:
        sent = HEADER_NAMES.encode(metadata)
    except UnicodeEncodeError:
        raise ValidationError("metadata contains a lone surrogate") from None
    size = sum(len(name) + len(value) for name, value in sent.items())
    if size > MAX_METADATA_BYTES:
        raise ValidationError(
            f"metadata must have at most {MAX_METADATA_BYTES:,} bytes in all, got {size:,}: "
            "characters that are not ASCII count with their escapes"
        )
    return dict(metadata)


def check_condition(if_absent: object, if_match: object) -> Condition:
    """Return the condition of a write."""
    if not isinstance(if_absent, bool):
        raise ValidationError(f"if_absent must be True or False, got {type(if_absent).__name__}")
    if if_match is not None and (
        not isinstance(if_match, str) or not re.fullmatch(r"[\x21\x23-\x7e]{1,200}", if_match)
    ):
        raise ValidationError(f"if_match must be an etag as `info` returns it, got {if_match!r}")
    if if_absent and if_match is not None:
        raise ValidationError("if_absent and if_match cannot be combined: give one of them")
    return Condition(if_absent, if_match)


def check_whole(field: str, value: object, least: int, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`, both included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError(f"{field} must be an integer, got {type(value).__name__}")
    if value < least or (most is not None and value > most):
        wanted = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        raise ValidationError(f"{field} must be {wanted}, got {value:,}")
    return value


def check_seconds(field: str, value: object, least: float, most: float) -> float:
    """Return a time in seconds, from `least` to `most`, both included."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValidationError(f"{field} must be seconds or a timedelta, got {type(value).__name__}")
    if not least <= seconds <= most:
        raise ValidationError(f"{field} must be {least:,} to {most:,} seconds, got {seconds!r}")
    return seconds


def check_method(method: object) -> Method:
    """Return the method of a presigned URL."""
    if method == "GET":
        return "GET"
    if method == "PUT":
        return "PUT"
    raise ValidationError(f"method must be 'GET' or 'PUT', got {method!r}")


def check_rules(rules: object) -> list[Rule]:
    """Return lifecycle rules. Each is given as a `Rule` or as a mapping of its fields."""
    if isinstance(rules, (str, bytes, Mapping)) or not isinstance(rules, Iterable):
        raise ValidationError(f"rules must be a list of rules, got {type(rules).__name__}")
    found = [_check_rule(f"rules[{number}]", rule) for number, rule in enumerate(rules)]
    ids = [rule.id for rule in found]
    for name in ids:
        if ids.count(name) > 1:
            raise ValidationError(f"rules: the id {name!r} is used twice")
    return found


def _check_rule(field: str, given: object) -> Rule:
    data = _fields(field, given, Rule)
    prefix = check_prefix(data.get("prefix", ""), f"{field}.prefix")
    name = data.get("id", f"under {prefix}" if prefix else "all")
    if not isinstance(name, str) or not _PRINTABLE.fullmatch(name):
        raise ValidationError(f"{field}.id must be 1 to 255 printable characters, got {name!r}")
    enabled = data.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ValidationError(f"{field}.enabled must be True or False, got {enabled!r}")
    transitions = data.get("transitions", ())
    if isinstance(transitions, (str, Mapping)) or not isinstance(transitions, Iterable):
        raise ValidationError(f"{field}.transitions must be a list, got {transitions!r}")
    moves = tuple(
        _check_transition(f"{field}.transitions[{number}]", each)
        for number, each in enumerate(transitions)
    )
    rule = Rule(
        name, prefix, _days(f"{field}.expire_days", data.get("expire_days")), moves,
        _days(f"{field}.abort_days", data.get("abort_days")), enabled,
    )  # fmt: skip
    if rule.expire_days is None and not moves and rule.abort_days is None:
        raise ValidationError(f"{field} must have expire_days, transitions or abort_days")
    return rule


def _check_transition(field: str, given: object) -> Transition:
    data = _fields(field, given, Transition)
    storage_class = data.get("storage_class")
    if not isinstance(storage_class, str) or not storage_class:
        raise ValidationError(f"{field}.storage_class must be text, got {storage_class!r}")
    return Transition(check_whole(f"{field}.days", data.get("days"), 0), storage_class)


def _fields(field: str, given: object, kind: type[Rule | Transition]) -> Mapping[str, Any]:
    if isinstance(given, kind):
        return given._asdict()
    if not isinstance(given, Mapping):
        raise ValidationError(f"{field} must be a mapping, got {type(given).__name__}")
    for name in given:
        if name not in kind._fields:
            raise ValidationError(
                f"{field}.{name} is unknown: expected one of {', '.join(kind._fields)}"
            )
    return given


def _days(field: str, value: object) -> int | None:
    return None if value is None else check_whole(field, value, 1)
