r"""Metadata filters: one grammar, with the same answers on every catalog.

    {"kind": "note"}                                  equal, deep for lists and objects
    {"price": {"$gte": 10, "$lt": 20}}                all operators of a field must hold
    {"author.name": "Ada", "tags": {"$contains": "x"}}   all fields must match
    {"$or": [{"a": 1}, {"$not": {"b": {"$exists": True}}}]}

| operator | matches if the field |
| --- | --- |
| a bare value, `$eq` | equals the operand; `$eq` takes any value literally |
| `$ne` | differs from the operand, or is missing |
| `$in` | equals an element of the list; an empty list matches nothing |
| `$nin` | differs from all elements of the list, or is missing |
| `$gt` `$gte` `$lt` `$lte` | is greater or less; numbers with numbers, strings by code points |
| `$exists` | is present, even if null (true), or is missing (false) |
| `$contains` | is a list with this element, or a string with this part |
| `$not` | does not match the operators in the object, or is missing |

`$and` and `$or` take non-empty lists of filters. `$not` in place of a field takes a filter. They
can be combined with fields. All of them must match. `{}` matches everything.

Values compare as JSON: 1 equals 1.0, true is not 1, "1" is not 1, null is not missing, and integers
and floats compare exactly at any size. A path leads through objects and does not enter lists. In a
path, `\.` is a dot inside a key, `\\` a backslash, and `\$` a dollar sign (which needs the
backslash only at the beginning of the path). An empty segment is the empty key. A bare object or
list that contains a `$` key is refused. Use `$eq` to compare with it.

The evaluator decides which entries match. With `narrow` and `index_terms`, a catalog needs to look
only at entries that may match: an inverted index holds the terms of each entry, and each
alternative of a filter is a union of ranges of terms (see `narrowing` and `terms`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from lakebed.errors import SerializationError
from lakebed.filters.grammar import read_filter
from lakebed.filters.narrowing import Alternative, Narrowing, Range
from lakebed.filters.paths import split_path
from lakebed.filters.shapes import (
    DEFINITIONS,
    SHAPES,
    Fields,
    by_shape,
    definition,
    definition_range,
    lacked,
    shape,
    shape_term,
)
from lakebed.filters.terms import ABSENT, OVERFLOW, Term, index_terms
from lakebed.values.json import decode_text, encode

__all__ = [
    "ABSENT",
    "DEFINITIONS",
    "OVERFLOW",
    "SHAPES",
    "Alternative",
    "Fields",
    "Filter",
    "Range",
    "Term",
    "by_shape",
    "definition",
    "definition_range",
    "index_terms",
    "lacked",
    "parse",
    "shape",
    "shape_term",
]

_REMEMBERED = 1000
_SHORT = 1000
_MARKS = 8


class Filter:
    """A checked and compiled metadata filter, from `parse`. It is immutable."""

    __slots__ = ("_known", "_narrowing", "_test", "fails", "fields", "text")

    fails: tuple[str, ...]
    """The filter does not match plain metadata (without inner objects and backslashes) whose text
    contains one of these texts; see `marks`."""
    fields: frozenset[str]
    """The top-level fields of the metadata that the filter depends on."""
    text: str
    """The filter as text. Equal texts mean equal filters."""

    def __init__(self, source: Mapping[str, object]) -> None:
        condition = read_filter(source)
        self._test = condition.test
        self._narrowing: Narrowing = condition.narrowing
        self.fails = tuple(sorted(condition.marks.fails)[:_MARKS])
        self._known: dict[str, bool] = {}
        self.fields = frozenset(_fields(source))
        try:
            self.text = encode(source).decode()
        except SerializationError:  # enumerations, which a filter accepts
            self.text = repr(source)

    def matches(self, metadata: Mapping[str, object]) -> bool:
        """Return whether the filter matches this metadata, which must be valid JSON data."""
        return self._test(metadata)

    def keeps(self, text: str) -> bool:
        """Return whether the filter matches metadata given as JSON text. Results are cached,
        because many entries of a lake often have the same metadata."""
        known = self._known.get(text)
        if known is None:
            known = self._test(decode_text(text))
            if len(text) <= _SHORT:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[text] = known
        return known

    def narrow(self) -> tuple[Alternative, ...]:
        """Return the alternatives for looking up candidates. The first is probably the narrowest.

        Each alternative is enough by itself: every matching entry has a term in one of its ranges,
        or the term `OVERFLOW`, or lacks the field of a range that begins with `ABSENT`. So
        `OVERFLOW` must always be looked up too. If an alternative has no ranges, only entries with
        `OVERFLOW` can match. There are at most 8 alternatives with at most 100 ranges each. There
        are none if the index cannot help.
        """
        return self._narrowing


def _fields(source: Mapping[str, object]) -> Iterator[str]:
    """Yield the first keys of the paths in a checked filter."""
    for key, operand in source.items():
        if key == "$not":
            yield from _fields(cast("Mapping[str, object]", operand))
        elif key.startswith("$"):
            for branch in cast("Sequence[Mapping[str, object]]", operand):
                yield from _fields(branch)
        else:
            yield (split_path(key) or ("",))[0]


def parse(metadata_filter: Mapping[str, object] | None) -> Filter | None:
    """Check and compile a filter. None means no filter, and stays None.

    The filter is copied, so later changes to the mapping have no effect.

    Raises ValidationError, naming the place and what was expected there, for an unknown operator,
    an operand of the wrong kind, anything that JSON or metadata cannot hold (NaN, datetimes, NUL),
    and objects and lists nested deeper than 64.
    """
    return None if metadata_filter is None else Filter(metadata_filter)
