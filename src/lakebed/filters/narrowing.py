"""Turns conditions into ranges of index terms, so that a catalog reads few entries that do not
match.

A `Range` includes both ends. A range that begins with `ABSENT` also holds the entries that lack
the field. An `Alternative` is a union of ranges: every matching entry is in one of them, or has the
term `OVERFLOW`. A `Narrowing` has several alternatives. Each is enough by itself, and the first is
probably the narrowest. An empty narrowing excludes nothing.

The narrowing of a negated condition is no complement, because a narrowing may hold too much. So
each condition has two of them: one for what matches, and one for what does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from lakebed.filters.evaluation import Json
from lakebed.filters.terms import (
    ABSENT,
    ELEMENTS,
    HIGHEST,
    LOWEST,
    MANY,
    NUMBER_HIGHEST,
    NUMBER_LOWEST,
    TEXT_HIGHEST,
    TEXT_LOWEST,
    after,
    before,
    element_path,
    encode,
    is_exact,
    stored_path,
    value_terms,
)


class Range(NamedTuple):
    """Index terms with this path and a value from `low` to `high` (bytes, both included). If `low`
    is `ABSENT`, also the entries without a term at this path."""

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


def differing(path: str, operand: Json) -> Narrowing:
    """Return the narrowing of inequality. It is empty if values that differ have equal terms."""
    if not is_exact(operand):
        return ()
    at, value = stored_path(path), encode(operand)
    return ((Range(at, ABSENT, before(value)), Range(at, after(value), HIGHEST)),)


def one_of(path: str, operands: Sequence[Json]) -> Narrowing:
    return either([exactly(path, operand) for operand in operands])


def none_of(path: str, operands: Sequence[Json]) -> Narrowing:
    # So many values leave as many ranges as there may be. Any of them may be left out.
    return both(differing(path, operand) for operand in operands[: MAX_RANGES - 1])


def ordered(path: str, name: str, operand: str | int | float) -> Narrowing:
    text = isinstance(operand, str)
    # $gt and $lt include both ends too: a value that was cut or clamped may have the same bytes.
    if name in ("$gt", "$gte"):
        low, high = encode(operand), TEXT_HIGHEST if text else NUMBER_HIGHEST
    else:
        low, high = TEXT_LOWEST if text else NUMBER_LOWEST, encode(operand)
    return ((Range(stored_path(path), low, high),),)


def not_ordered(path: str, name: str, operand: str | int | float) -> Narrowing:
    """Return the narrowing of what is not in the order, is of another type, or is missing."""
    text = isinstance(operand, str)
    at, value = stored_path(path), encode(operand)
    # Here, too, the ends are included.
    if name in ("$gt", "$gte"):
        other = TEXT_HIGHEST if text else NUMBER_HIGHEST
        return ((Range(at, ABSENT, value), Range(at, other, HIGHEST)),)
    other = TEXT_LOWEST if text else NUMBER_LOWEST
    return ((Range(at, ABSENT, other), Range(at, value, HIGHEST)),)


def present(path: str) -> Narrowing:
    return ((Range(stored_path(path), LOWEST, HIGHEST),),)


def missing(path: str) -> Narrowing:
    return ((Range(stored_path(path), ABSENT, ABSENT),),)


def containing(path: str, operand: Json) -> Narrowing:
    elements, value = element_path(path), encode(operand)
    ranges = [Range(elements, value, value), Range(elements, MANY, MANY)]
    if isinstance(operand, str):
        ranges.append(Range(stored_path(path), TEXT_LOWEST, TEXT_HIGHEST))
    return (tuple(ranges),)


def both(narrowings: Iterable[Narrowing]) -> Narrowing:
    """Return the narrowing of the condition that all of several conditions hold. It combines all
    that they exclude."""
    fields: dict[str, Alternative] = {}
    others: list[Alternative] = []
    for alternative in chain.from_iterable(narrowings):
        path = _only_field(alternative)
        if path is None:
            others.append(alternative)
        else:
            # Outside of lists an entry has one term at a path, or none. It must be in all of these.
            fields[path] = _common(fields[path], alternative) if path in fields else alternative
    return _best(chain(others, fields.values()))


def _only_field(alternative: Alternative) -> str | None:
    """Return the path of all ranges, if they have the same and it is not that of elements."""
    paths = {path for path, _, _ in alternative}
    path = paths.pop() if len(paths) == 1 else ELEMENTS
    return None if path.endswith(ELEMENTS) else path


def _common(some: Alternative, others: Alternative) -> Alternative:
    """Return what two unions of ranges at one path have in common. If that is too many ranges,
    return the first union."""
    pairs = ((max(a.low, b.low), min(a.high, b.high)) for a in some for b in others)
    met = tuple(Range(some[0].path, low, high) for low, high in pairs if low <= high)
    return met if len(met) <= MAX_RANGES else some


def either(narrowings: Sequence[Narrowing]) -> Narrowing:
    """Return the narrowing of the condition that any of several conditions holds. It is the union
    of the best alternatives of each, and empty unless each has one."""
    if not all(narrowings):
        return ()
    ranges = _joined(chain.from_iterable(n[0] for n in narrowings))
    if len(ranges) > MAX_RANGES:
        ranges = _covers(ranges)
    return (ranges,) if len(ranges) <= MAX_RANGES else ()


def _joined(ranges: Iterable[Range]) -> Alternative:
    """Return the ranges without overlaps."""
    paths: dict[str, list[Range]] = {}
    for new in ranges:
        paths.setdefault(new.path, []).append(new)
    joined: list[Range] = []
    for found in paths.values():
        found.sort()
        last = found[0]
        for new in found[1:]:
            if new.low <= last.high:
                last = Range(new.path, last.low, max(last.high, new.high))
            else:
                joined.append(last)
                last = new
        joined.append(last)
    return tuple(joined)


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
    if low == ABSENT:
        return 100_000  # and the index may not be able to tell
    if low == high:
        return 1 if NUMBER_LOWEST <= low <= TEXT_HIGHEST else 10  # null, true, [] are common
    return (100, 1000, 10000)[(low in _ENDS) + (high in _ENDS)]
