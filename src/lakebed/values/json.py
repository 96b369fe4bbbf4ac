"""Writes JSON values as canonical UTF-8 text, exactly and reversibly, and reads them.

Canonical means: object keys are sorted by code point, there is no white space, nothing is escaped
that JSON does not require, and a float is the shortest decimal that reads back as the same double
(as orjson writes it). orjson alone would turn NaN into null, and datetimes, UUIDs and dataclasses
into text, and it refuses integers beyond 64 bits. So every value is checked first, and orjson gets
only what it keeps exactly.

Loading orjson takes as long as loading all our modules. So at first the standard library writes
small values without floats, to the same bytes. orjson is loaded for the first value that is large
or has floats, after many small ones, or if another package has loaded it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any

from lakebed.errors import CorruptionError, SerializationError

MAX_DEPTH = 100
"""How deep lists and objects may nest in a value; a scalar has depth 0."""

_FINITE = 1.7976931348623157e308
_INT64_LOW, _UINT64_HIGH = -(2**63), 2**64 - 1
_SMALL = 1000  # bytes; orjson writes larger values many times faster
_MANY = 10_000  # after so many small values orjson is loaded, which writes them twice as fast
_ROOM = 4096
"""Bytes of unused buffer behind each text that orjson writes. Shorter texts are copied: if many
were kept, they would take many times their size in memory."""
_LARGE = 4000  # bytes; orjson reads larger values faster, even with the check for rounding
_ENOUGH = 1_000_000  # after so many bytes of large values, orjson is loaded for reading
_UNSURE = 2.0**63
_PLAIN_NAME = r"[A-Za-z_][A-Za-z0-9_]*\Z"
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_write_small = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
_write_any: Callable[[object], bytes] | None = None  # orjson, once it is loaded
_read_any: Callable[[bytes], Any] | None = None
_read_slowly = 0  # bytes of large values that were read without orjson
_written = 0  # values that were written without orjson


class _NeedsCare(Exception):
    """The value may be valid, but orjson cannot write it exactly."""


def encode(value: Any, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Return the canonical bytes of a JSON value.

    Accepts str, int of any size, finite float, bool, None, list, tuple, and dict with str keys, and
    their subclasses except enumerations. Tuples come back as lists, subclasses as their base class.

    Raises SerializationError, naming the path inside the value (`$.items[3].price`), for anything
    else: NaN and infinities, lone surrogates, other types, nesting deeper than `max_depth`.
    """
    global _written
    try:
        has_floats = _check_plain(value, max_depth)
        if _write_any is None and not has_floats:
            data = _write_small(value).encode()
            _written += 1
            if len(data) > _SMALL or _written >= _MANY or "orjson" in sys.modules:
                _load_orjson()  # for the next ones
            return data
        data = (_write_any or _load_orjson())(value)
        return bytes(memoryview(data)) if len(data) < _ROOM else data
    except (_NeedsCare, TypeError, UnicodeEncodeError):
        # The last two errors mean a lone surrogate: the slow path names its place.
        return _encode_with_care(value, "$", max_depth, max_depth)


def _load_orjson() -> Callable[[object], bytes]:
    global _write_any
    import orjson

    dumps, option = orjson.dumps, orjson.OPT_SORT_KEYS
    _write_any = lambda value: dumps(value, option=option)  # noqa: E731 - faster than a partial
    return _write_any


def _check_plain(value: object, depth: int) -> bool:
    """Raise _NeedsCare if orjson might not keep the value exactly.

    Returns whether the value contains floats, which only orjson writes canonically.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return False
    has_floats = False
    if kind is int:
        if not _INT64_LOW <= value <= _UINT64_HIGH:  # type: ignore[operator]
            raise _NeedsCare
    elif kind is float:
        if not -_FINITE <= value <= _FINITE:  # type: ignore[operator]
            raise _NeedsCare
        return True
    elif kind is dict:
        if depth <= 0:
            raise _NeedsCare
        depth -= 1
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise _NeedsCare
            # Most leaves are strings; avoid the call for them.
            if type(item) is not str and _check_plain(item, depth):
                has_floats = True
    elif kind is list or kind is tuple:
        if depth <= 0:
            raise _NeedsCare
        depth -= 1
        for item in value:  # type: ignore[attr-defined]
            if type(item) is not str and _check_plain(item, depth):
                has_floats = True
    else:
        raise _NeedsCare
    return has_floats


def _encode_with_care(value: object, path: str, depth: int, max_depth: int) -> bytes:
    """Encode slowly, with the same result as `encode`. Errors name the path of what is refused."""
    if value is None or value is True or value is False:
        return b"null" if value is None else b"true" if value else b"false"
    if isinstance(value, Enum):
        raise _refuse(value, path, "; store its value instead")
    if isinstance(value, str):
        return _encode_text(value, path)
    if isinstance(value, int):
        return _write_long(int(value)) if abs(value) >= 2**63 else b"%d" % value
    if isinstance(value, float):
        if not -_FINITE <= value <= _FINITE:
            raise SerializationError(
                f"{path} is {float(value)!r}: JSON has no NaN and no infinity; "
                "store None or a string instead"
            )
        return (_write_any or _load_orjson())(float(value))
    if isinstance(value, (dict, list, tuple)) and depth <= 0:
        raise SerializationError(
            f"{path} is nested too deeply: at most {max_depth} levels are allowed"
        )
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or isinstance(key, Enum):
                raise SerializationError(
                    f"{path} has the key {key!r}: object keys must be strings, "
                    f"got {_type_name(key)}"
                )
        members = (
            _encode_text(key, f"{path} (a key)")
            + b":"
            + _encode_with_care(value[key], _member(path, key), depth - 1, max_depth)
            for key in sorted(value)
        )
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, (list, tuple)):
        items = (
            _encode_with_care(item, f"{path}[{index}]", depth - 1, max_depth)
            for index, item in enumerate(value)
        )
        return b"[" + b",".join(items) + b"]"
    raise _refuse(value, path)


def _encode_text(text: str, path: str) -> bytes:
    text = str.__str__(text)  # the content of a subclass, even if it overrides __str__
    try:
        return _write_small(text).encode()
    except UnicodeEncodeError as error:
        place = text.index(error.object[error.start])
        raise SerializationError(
            f"{path} contains a lone surrogate at position {place}: it is not valid Unicode text"
        ) from None


def _member(path: str, key: str) -> str:
    if re.match(_PLAIN_NAME, key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key)}]"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _refuse(value: object, path: str, advice: str = "") -> SerializationError:
    return SerializationError(
        f"{path} must be str, int, float, bool, None, list, tuple or dict, "
        f"got {_type_name(value)}{advice}"
    )


def decode(data: bytes) -> Any:
    """Return the value of canonical bytes. Raises CorruptionError if they are not JSON."""
    if len(data) > _LARGE and (read := _read_any or _load_reader(len(data))):
        # If anything is wrong, `decode_text` below raises the error.
        with suppress(ValueError, RecursionError):
            value = read(data)
            if _is_exact(value) and data == data.strip():
                return value
    try:
        return decode_text(data.decode())
    except UnicodeDecodeError as error:
        raise CorruptionError(f"stored bytes are not valid JSON: {error}") from None


def _load_reader(size: int) -> Callable[[bytes], Any] | None:
    """Return orjson's reader if orjson was loaded for writing or has enough to read, else None."""
    global _read_any, _read_slowly
    _read_slowly += size
    if _write_any is None and _read_slowly < _ENOUGH:
        return None
    import orjson

    _read_any = orjson.loads
    return _read_any


def _is_exact(value: object) -> bool:
    """Return whether orjson has surely not rounded an integer beyond 64 bits to a float."""
    kind = type(value)
    if kind is float:
        return -_UNSURE < value < _UNSURE  # type: ignore[operator]
    if kind is dict:
        return all(map(_is_exact, value.values()))  # type: ignore[attr-defined]
    return kind is not list or all(map(_is_exact, value))  # type: ignore[call-overload]


def decode_text(text: str) -> Any:
    """Return the value of canonical text. Raises CorruptionError if it is not JSON."""
    try:
        try:
            value, end = _scan(text, 0)
        except ValueError as error:
            if isinstance(error, json.JSONDecodeError):
                raise
            # An integer beyond the interpreter's limit on digits. Decimal has no limit.
            value, end = json.JSONDecoder(parse_int=_parse_long).raw_decode(text)
    except (ValueError, RecursionError, StopIteration) as error:
        reason = "no value" if isinstance(error, StopIteration) else error
        raise CorruptionError(f"stored bytes are not valid JSON: {reason}") from None
    if end != len(text):
        raise CorruptionError("stored bytes are not valid JSON: extra data after the value")
    return value


def _parse_long(digits: str) -> int:
    from decimal import Decimal

    return int(Decimal(digits))


def _write_long(number: int) -> bytes:
    """Write an integer beyond the interpreter's limit on digits, with Decimal."""
    from decimal import Decimal

    return str(Decimal(number)).encode()
