"""Turns conditions into ranges of index terms, so that a catalog reads few entries that do not
match.

A `Range` includes both ends. An `Alternative` is a union of ranges: every matching entry has a term
in one of them, or the term `OVERFLOW`. A `Narrowing` has several alternatives. Each is enough by
itself, and the first is probably the narrowest. An empty narrowing excludes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from lakebed.filters.evaluation import Json
from lakebed.filters.terms import (
    ELEMENTS,
    HIGHEST,
    LOWEST,
    MANY,
    NUMBER_HIGHEST,
    NUMBER_LOWEST,
    TEXT_HIGHEST,
    TEXT_LOWEST,
    element_path,
    encode,
    stored_path,
    value_terms,
)


class Range(NamedTuple):
    """Index terms with this path and a value from `low` to `high` (bytes, both included)."""

    path: str
    low: bytes
    high: bytes


Alternative = tuple[Range, ...]
Narrowing = tuple[Alternative, ...]

MAX_ALTERNATIVES: Final = 8
MAX_RANGES: Final = 100

_ENDS: Final = {
    LOWEST, HIGHEST, NUMBER_LOWEST, NUMBER_HIGHEST, TEXT_LOWEST, TEXT_HIGHEST,
}  # fmt: skip


def exactly(path: str, operand: Json) -> Narrowing:
    """Return the narrowing of equality at the path, which is not shortened here. Every match has
    all terms of the operand."""
    return _best((Range(at, value, value),) for at, value in value_terms(path, operand))


def one_of(path: str, operands: Sequence[Json]) -> Narrowing:
    return either([exactly(path, operand) for operand in operands])


def ordered(path: str, name: str, operand: str | int | float) -> Narrowing:
    text = isinstance(operand, str)
    # $gt and $lt include both ends too: a value that was cut or clamped may have the same bytes.
    if name in ("$gt", "$gte"):
        low, high = encode(operand), TEXT_HIGHEST if text else NUMBER_HIGHEST
    else:
        low, high = TEXT_LOWEST if text else NUMBER_LOWEST, encode(operand)
    return ((Range(stored_path(path), low, high),),)


def present(path: str) -> Narrowing:
    return ((Range(stored_path(path), LOWEST, HIGHEST),),)


def containing(path: str, operand: Json) -> Narrowing:
    elements, value = element_path(path), encode(operand)
    ranges = [Range(elements, value, value), Range(elements, MANY, MANY)]
    if isinstance(operand, str):
        ranges.append(Range(stored_path(path), TEXT_LOWEST, TEXT_HIGHEST))
    return (tuple(ranges),)


def both(narrowings: Iterable[Narrowing]) -> Narrowing:
    """Return the narrowing of the condition that all of several conditions hold. It combines all
    that they exclude."""
    fields: dict[str, Range] = {}
    others: list[Alternative] = []
    for alternative in chain.from_iterable(narrowings):
        if len(alternative) != 1 or alternative[0].path.endswith(ELEMENTS):
            others.append(alternative)
            continue
        # Outside of lists an entry has one term at a path, which must be in all of its ranges.
        path, low, high = alternative[0]
        known = fields.get(path, alternative[0])
        fields[path] = Range(path, max(low, known.low), min(high, known.high))
    met: Iterable[Alternative] = ((r,) if r.low <= r.high else () for r in fields.values())
    return _best(chain(others, met))


def either(narrowings: Sequence[Narrowing]) -> Narrowing:
    """Return the narrowing of the condition that any of several conditions holds. It is the union
    of the best alternatives of each, and empty unless each has one."""
    if not all(narrowings):
        return ()
    ranges = tuple(dict.fromkeys(chain.from_iterable(n[0] for n in narrowings)))
    if len(ranges) > MAX_RANGES:
        ranges = _covers(ranges)
    return (ranges,) if len(ranges) <= MAX_RANGES else ()


def _covers(ranges: Iterable[Range]) -> Alternative:
    """Return one range for each path, from the lowest end of its ranges to the highest."""
    covers: dict[str, Range] = {}
    for new in ranges:
        old = covers.get(new.path, new)
        covers[new.path] = Range(new.path, min(new.low, old.low), max(new.high, old.high))
    return tuple(covers.values())


def _best(alternatives: Iterable[Alternative]) -> Narrowing:
    """Return the few alternatives that look narrowest, in that order."""
    return tuple(sorted(dict.fromkeys(alternatives), key=_cost)[:MAX_ALTERNATIVES])


def _cost(alternative: Alternative) -> int:
    return sum(map(_range_cost, alternative))


def _range_cost(candidate: Range) -> int:
    """Guess how many entries a range finds, without knowing the data."""
    low, high = candidate.low, candidate.high
    if low == high:
        return 1 if NUMBER_LOWEST <= low <= TEXT_HIGHEST else 10  # null, true, [] are common
    return (100, 1000, 10000)[(low in _ENDS) + (high in _ENDS)]
