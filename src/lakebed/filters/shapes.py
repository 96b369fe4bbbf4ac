"""The shapes of metadata. With them, an index finds entries that *lack* a field.

A shape is the set of an entry's field paths, as the index has them. Each entry has one more term,
the hash of its shape. The index also defines the common shapes: a row has the hash and the paths.

A definition is true for ever, whoever reads it and whenever. So an entry lacks a field unless a
definition says that its shape has the field. If a definition is not there, not yet or no longer, or
was never made, the entries of the shape are candidates that the evaluator rejects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from lakebed.filters.narrowing import Alternative, Range
from lakebed.filters.terms import (
    ABSENT,
    ELEMENTS,
    HIGHEST,
    LOWEST,
    OVERFLOW,
    Term,
    after,
    before,
)

# A backslash in the path of a field is followed by a dot or another backslash.
SHAPES: Final = "\\="
"""The path of the terms with the hash of an entry's shape."""
DEFINITIONS: Final = "\\:"
"""The path of the definitions."""

_HASH_BYTES: Final = 16
_MAX_BYTES: Final = 2000  # a row of an index in Postgres takes 2,700
_SEPARATOR: Final = "\0"  # metadata cannot hold it

Fields = tuple[str, ...]


def shape(terms: Sequence[Term]) -> Fields | None:
    """Return the shape of an entry with these terms, or None if it has none."""
    if not terms or terms[0] == OVERFLOW:
        return None
    return _shape(tuple([path for path, _ in terms]))


@lru_cache(maxsize=1000)
def _shape(paths: tuple[str, ...]) -> Fields:
    return tuple(sorted({path for path in paths if not path.endswith(ELEMENTS)}))


@lru_cache(maxsize=1000)
def shape_term(fields: Fields) -> Term:
    """Return the term of the entries of a shape."""
    digest = hashlib.sha256(_SEPARATOR.join(fields).encode()).digest()
    return SHAPES, digest[:_HASH_BYTES]


def definition(fields: Fields) -> bytes | None:
    """Return the value that defines a shape, or None if it would be too long."""
    value = shape_term(fields)[1] + _SEPARATOR.join(fields).encode()
    return value if len(value) <= _MAX_BYTES else None


def definition_range(fields: Fields) -> Range:
    """Return the range of the index with the definition of a shape."""
    digest = shape_term(fields)[1]
    return Range(DEFINITIONS, digest, digest + HIGHEST)


def lacked(alternative: Alternative) -> set[str]:
    """Return the fields that an entry may lack to be in one of the ranges."""
    return {path for path, low, _ in alternative if low == ABSENT}


def by_shape(alternative: Alternative, definitions: Iterable[bytes]) -> Alternative:
    """Return ranges of terms in place of ranges with `ABSENT`.

    Entries without metadata have no term. There are no ranges if the definitions exclude nothing.
    """
    shapes = _lacking(lacked(alternative), definitions)
    if not shapes:
        return ()
    ends = ((path, max(low, LOWEST), high) for path, low, high in alternative)
    return (*(Range(path, low, high) for path, low, high in ends if low <= high), *shapes)


def _lacking(fields: set[str], definitions: Iterable[bytes]) -> Alternative:
    """Return the gaps between the hashes of the shapes that have all of the fields."""
    gaps = []
    low = b""
    for value in sorted(definitions):
        digest, text = value[:_HASH_BYTES], value[_HASH_BYTES:].decode()
        if fields.issubset(text.split(_SEPARATOR)):
            gaps.append(Range(SHAPES, low, before(digest)))
            low = after(digest)
    return (*gaps, Range(SHAPES, low, HIGHEST * (_HASH_BYTES + 1))) if gaps else ()
