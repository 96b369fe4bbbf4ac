"""Decides filters by the text of metadata, without parsing it.

Metadata is stored as canonical JSON, so `{"kind":"note","n":1}` contains the text `"kind":"note"`.
Metadata is *plain* if it has no inner objects and no backslash. Then every quote begins or ends a
string, and such a text can only be a field with that value. A database finds the text many times
faster than it can return the metadata to be parsed.
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
    """Texts that decide a condition. If plain metadata contains one of `holds`, the condition
    holds. If it contains one of `fails`, the condition fails."""

    holds: frozenset[str] = _NONE
    fails: frozenset[str] = _NONE

    def negated(self) -> Marks:
        return Marks(self.fails, self.holds)


def has_value(path: str, operand: Json) -> Marks:
    """Return the marks of equality with the operand at the path."""
    # A number has many spellings, and its text may be the beginning of another number's.
    if not _SIMPLE.match(path) or not (isinstance(operand, (str, bool)) or operand is None):
        return Marks()
    text = encode(operand).decode()
    return Marks(_NONE if "\\" in text else frozenset((f'"{path}":{text}',)))


def has_field(path: str) -> Marks:
    """Return the marks of the presence of a field."""
    return Marks(frozenset((f'"{path}":',))) if _SIMPLE.match(path) else Marks()


def both(marks: Sequence[Marks]) -> Marks:
    """Return the marks of the condition that all of several conditions hold."""
    if not marks:
        return Marks()
    return reduce(lambda a, b: Marks(a.holds & b.holds, a.fails | b.fails), marks)


def either(marks: Sequence[Marks]) -> Marks:
    """Return the marks of the condition that any of several conditions holds."""
    if not marks:
        return Marks()
    return reduce(lambda a, b: Marks(a.holds | b.holds, a.fails & b.fails), marks)
