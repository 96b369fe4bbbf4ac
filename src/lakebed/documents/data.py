"""What a document can hold. It is the same in every store.

A document is a JSON object. A value that one of the databases would change is refused by all
stores: NUL (Postgres), integers beyond 64 bits (MongoDB, Firestore) and -0.0 (Postgres and DynamoDB
make it 0.0). NaN, infinities and lone surrogates are refused as everywhere in Lakebed. The order of
fields is not kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lakebed.errors import SerializationError, ValidationError

MAX_DEPTH = 20
"""How deep objects and lists can nest, the document included. This is Firestore's limit."""
MAX_BYTES = 1_048_576
"""The most bytes of a document as JSON. This is Firestore's limit."""
MAX_NAME_BYTES = 1_500
MAX_COLLECTION_BYTES = 100
MAX_ID_BYTES = 500

Data = dict[str, Any]
_INT64 = 2**63
_FINITE = 1.7976931348623157e308
_SHORT = 100
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Content(NamedTuple):
    """A checked document, and its JSON."""

    data: Data
    json: bytes


def content_of(data: object) -> Content:
    """Check a document. If it has a forbidden value, raise a SerializationError that names the
    place."""
    import orjson

    if not isinstance(data, Mapping):
        raise ValidationError(f"data must be a dict, got {type(data).__name__}")
    try:
        copied = _copied(data, MAX_DEPTH)
    except _NeedsCareError:
        copied = checked(data)  # raises an error that names the place, or accepts the value
    encoded = orjson.dumps(copied)
    if len(encoded) > MAX_BYTES:
        raise ValidationError(
            f"data must have at most {MAX_BYTES:,} bytes as JSON, got {len(encoded):,}"
        )
    return Content(copied, encoded)


class _NeedsCareError(Exception):
    """The value may have to be refused: check it with `checked`."""


def _copied(value: Any, depth: int) -> Any:
    """Do what `checked` does, but only for usual data. Without paths this takes less than half the
    time."""
    kind = type(value)
    if kind is str:
        if not value.isascii() or "\0" in value:
            raise _NeedsCareError
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -_INT64 <= value < _INT64:
            raise _NeedsCareError
        return value
    if kind is float:
        if not -_FINITE <= value <= _FINITE or value == 0:
            raise _NeedsCareError
        return value
    if depth <= 0:
        raise _NeedsCareError
    if kind is dict:
        for name in value:
            if type(name) is not str or not 0 < len(name) < _SHORT or not name.isascii():
                raise _NeedsCareError
            if "\0" in name:
                raise _NeedsCareError
        return {name: _copied(item, depth - 1) for name, item in value.items()}
    if kind is list:
        return [_copied(item, depth - 1) for item in value]
    raise _NeedsCareError


def checked(value: object, path: str = "$", depth: int = MAX_DEPTH) -> Any:
    """Return a copy of JSON data in exact types. If a value is forbidden, raise a
    SerializationError that names its place."""
    kind = type(value)
    if kind is str:
        return _text(value, path)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return value
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise SerializationError(f"{path} is an integer beyond 64 bits: store it as text")
        return int(value)
    if isinstance(value, float):
        return _float(float(value), path)
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, Mapping):
        _go_deeper(path, depth)
        return {
            _name(name, path): checked(item, _member(path, name), depth - 1)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        _go_deeper(path, depth)
        return [checked(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(value)]
    raise SerializationError(
        f"{path} must be str, int, float, bool, None, list or dict, got {kind.__name__}"
    )


def identical(a: object, b: object) -> bool:
    """Return whether two values are equal and their numbers have the same types."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(identical(value, b[name]) for name, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(identical, a, b))
    return type(a) is type(b) and a == b


def check_collection(collection: object) -> str:
    """Return the name of a collection. Raises ValidationError if it is malformed."""
    return _identifier(collection, "collection", MAX_COLLECTION_BYTES)


def check_doc_id(doc_id: object) -> str:
    """Return the id of a document. Raises ValidationError if it is malformed."""
    return _identifier(doc_id, "doc_id", MAX_ID_BYTES)


def _identifier(name: object, field: str, most: int) -> str:
    if not isinstance(name, str):
        raise ValidationError(f"{field} must be a string, got {type(name).__name__}")
    if not name or "\0" in name:
        raise ValidationError(f"{field} must not be empty or contain a NUL character")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        raise ValidationError(
            f"{field} contains a lone surrogate: it is not valid Unicode text"
        ) from None
    if size > most:
        raise ValidationError(f"{field} must have at most {most} bytes in UTF-8, got {size}")
    return str.__str__(name)


def _go_deeper(path: str, depth: int) -> None:
    if depth <= 0:
        raise SerializationError(
            f"{path[:200]} is nested too deeply: at most {MAX_DEPTH} levels are allowed"
        )


def _float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise SerializationError(f"{path} is {value!r}: JSON has no NaN and no infinity")
    if value == 0 and math.copysign(1, value) < 0:
        raise SerializationError(f"{path} is -0.0, which databases turn into 0.0: store 0.0")
    return value


def _text(text: str, path: str) -> str:
    if "\0" in text:
        raise SerializationError(f"{path} contains a NUL character, which Postgres cannot hold")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise SerializationError(
                f"{path} contains a lone surrogate: it is not valid Unicode text"
            ) from None
    return text


def _name(name: object, path: str) -> str:
    if not isinstance(name, str):
        raise SerializationError(
            f"{path} has a field whose name must be a string, got {type(name).__name__}"
        )
    if not name:
        raise SerializationError(f"{path} has a field with an empty name")
    text = _text(str.__str__(name), f"{path} (a field's name)")
    if len(text) > MAX_NAME_BYTES // 4 and len(text.encode()) > MAX_NAME_BYTES:
        raise SerializationError(
            f"{path} has a field with a name of more than {MAX_NAME_BYTES} bytes"
        )
    return text


def _member(path: str, name: object) -> str:
    plain = isinstance(name, str) and _PLAIN_NAME.match(name)
    return f"{path}.{name}" if plain else f"{path}[{json.dumps(str(name))}]"
