"""What the text of metadata says about a filter before anybody parses it.

Metadata is kept as canonical JSON, so `{"kind":"note","n":1}` has the text `"kind":"note"` in it.
Where metadata is *plain*, with no object inside it and no backslash, a quote begins or ends a
string; then such a text stands for a field of that value, and for nothing else. A database finds it
many times faster than it hands over what is to be parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

from lakebed.filters.evaluation import Json
from lakebed.values.json import encode

_SIMPLE = re.compile(r"[A-Za-z0-9_-]+\Z")
_NONE = frozenset[str]()


class Marks(NamedTuple):
    """Texts of which any one, in plain metadata, means that a condition holds, or that it fails."""

    holds: frozenset[str] = _NONE
    fails: frozenset[str] = _NONE

    def negated(self) -> Marks:
        return Marks(self.fails, self.holds)


def has_value(path: str, operand: Json) -> Marks:
    """Marks of equality with the operand at the path."""
    # A number has many spellings, and its text may be the beginning of another's.
    if not _SIMPLE.match(path) or not (isinstance(operand, (str, bool)) or operand is None):
        return Marks()
    text = encode(operand).decode()
    return Marks(_NONE if "\\" in text else frozenset((f'"{path}":{text}',)))


def has_field(path: str) -> Marks:
    """Marks of there being a field."""
    return Marks(frozenset((f'"{path}":',))) if _SIMPLE.match(path) else Marks()


def both(marks: Sequence[Marks]) -> Marks:
    """Marks of all conditions together."""
    if not marks:
        return Marks()
    return reduce(lambda a, b: Marks(a.holds & b.holds, a.fails | b.fails), marks)


def either(marks: Sequence[Marks]) -> Marks:
    """Marks of any of the conditions."""
    if not marks:
        return Marks()
    return reduce(lambda a, b: Marks(a.holds | b.holds, a.fails & b.fails), marks)
