r"""The inverted index of metadata: the (path, value) terms of an entry.

The catalog keeps one row for each term of each entry, in `entry_metadata`. A term's value is a tag
byte for the JSON type and an order-preserving payload, so a comparison is a range of bytes:

    null, false, true   the tag
    number              the double, with its bits arranged so that bytes sort as numbers do; an
                        integer beyond the doubles counts as infinity, -0.0 as 0.0
    string              its first 64 bytes of UTF-8, possibly cut inside a character
    list, object        the number of its members, up to 255

A field inside objects has its dotted path, with `\.` and `\\` as in filters. The elements of a list
have the list's path followed by `\[]`, which cannot be the end of a key's path. Lists and objects
among the elements are not entered. Values that are cut, clamped or left out make the index coarser,
but not wrong: the index only narrows, and the evaluator decides.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from lakebed.filters.paths import escape

Term = tuple[str, bytes]

MAX_TERMS: Final = 64
"""The most terms of an entry. An entry with more gets only the term `OVERFLOW`."""
MAX_ELEMENTS: Final = 32
"""The most elements of a list that are indexed. A longer list gets only the element value `MANY`,
so that it leaves room for other fields."""
MAX_PATH_BYTES: Final = 200

OVERFLOW: Final[Term] = ("", b"")
MANY: Final = b""
ELEMENTS: Final = "\\[]"

ABSENT: Final = b"\x00"
"""Stands below all values for the absence of a field. Ranges hold it, terms do not."""
LOWEST: Final = b"\x01"
NULL: Final = b"\x10"
FALSE: Final = b"\x11"
TRUE: Final = b"\x12"
NUMBER_LOWEST: Final = b"\x20"
_NEGATIVE: Final = 0x20
_POSITIVE: Final = 0x21
NUMBER_HIGHEST: Final = b"\x21\xff"
TEXT_LOWEST: Final = b"\x30"
TEXT_HIGHEST: Final = b"\x30\xff"
_LIST: Final = 0x40
_OBJECT: Final = 0x50
HIGHEST: Final = b"\xff"

_TEXT_BYTES: Final = 64
_EXACT_NUMBERS: Final = 2**53  # from here on, several integers have the same double
_PATH_BYTES: Final = MAX_PATH_BYTES - len(ELEMENTS)
_SURELY_SHORT: Final = _PATH_BYTES // 4  # a character takes at most four bytes
_pack_positive = struct.Struct(">Bd").pack
_double = struct.Struct(">d")


def index_terms(metadata: Mapping[str, object]) -> list[Term]:
    """Return the distinct terms of one entry's metadata, which must be valid JSON data.

    A path has at most 200 bytes of UTF-8, a value at most 65 bytes.
    """
    terms: list[Term] = []
    return terms if _add_fields("", metadata, terms) else [OVERFLOW]


def value_terms(path: str, value: object) -> list[Term]:
    """Return the terms that every entry with this value at the path has, unless it overflows. The
    path is not shortened here."""
    terms = [(stored_path(path), encode(value))]
    _add_inside(path, value, terms)  # if there are too many, such an entry has only OVERFLOW
    return terms


def _add_fields(prefix: str, fields: Mapping[str, object], terms: list[Term]) -> bool:
    """Add the terms of an object's fields. Returns False if there are too many."""
    if len(terms) + len(fields) > MAX_TERMS:
        return False
    for key, value in fields.items():
        path, stored = _paths(prefix, key)
        terms.append((stored, encode(value)))
        if isinstance(value, (dict, list, tuple)) and not _add_inside(path, value, terms):
            return False
    return len(terms) <= MAX_TERMS


@lru_cache(maxsize=4096)  # most entries have the same fields
def _paths(prefix: str, key: str) -> tuple[str, str]:
    """Return the path of a field, and the path by which it is stored."""
    path = prefix + escape(key)
    return path, stored_path(path)


def _add_inside(path: str, value: object, terms: list[Term]) -> bool:
    if isinstance(value, dict):
        return _add_fields(path + ".", value, terms)
    if isinstance(value, (list, tuple)):
        elements = element_path(path)
        values = [MANY] if len(value) > MAX_ELEMENTS else dict.fromkeys(map(encode, value))
        terms.extend((elements, element) for element in values)
    return len(terms) <= MAX_TERMS


def stored_path(path: str) -> str:
    """Return the path, or a hash of it if it is too long for an index."""
    if len(path) <= _SURELY_SHORT:
        return path
    data = path.encode()
    return path if len(data) <= _PATH_BYTES else "\\#" + hashlib.sha256(data).hexdigest()


def element_path(path: str) -> str:
    """Return the path under which the elements of a list are indexed. The path of the list is not
    shortened here."""
    return stored_path(path) + ELEMENTS


def encode(value: object) -> bytes:
    """Return the value in the terms of a JSON value. Equal values give equal bytes."""
    if isinstance(value, str):
        # 0x30, the tag of text, is the character "0"
        return ("0" + value[:_TEXT_BYTES]).encode()[: _TEXT_BYTES + 1]
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, (int, float)):
        return _encode_number(value)
    if isinstance(value, dict):
        return bytes((_OBJECT, min(len(value), 255)))
    if isinstance(value, (list, tuple)):
        return bytes((_LIST, min(len(value), 255)))
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def is_exact(value: object) -> bool:
    """Return whether no different JSON value is encoded as this one is."""
    if isinstance(value, str):
        return len(encode(value)) <= _TEXT_BYTES
    if isinstance(value, (int, float)):
        return abs(value) < _EXACT_NUMBERS
    return value is None


def before(value: bytes) -> bytes:
    """Return the last value of the index before this one."""
    if value[-1] == 0:
        return value[:-1]
    return value[:-1] + bytes((value[-1] - 1,)) + b"\xff" * (_TEXT_BYTES + 1 - len(value))


def after(value: bytes) -> bytes:
    """Return the first value of the index after this one."""
    return value + b"\x00"


def _encode_number(value: int | float) -> bytes:
    try:
        number = value + 0.0  # also turns -0.0 into 0.0
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    if number >= 0:
        return _pack_positive(_POSITIVE, number)
    # The bits of a double sort by magnitude. Inverted, they sort negative numbers upwards.
    bits = int.from_bytes(_double.pack(-number), "big") ^ 0xFFFFFFFFFFFFFFFF
    return bytes((_NEGATIVE,)) + bits.to_bytes(8, "big")
