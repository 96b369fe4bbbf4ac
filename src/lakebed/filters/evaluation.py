"""The meaning of the operators: tests of one metadata value, with JSON's semantics.

Each function takes an operand and returns a closure. `grammar` has already checked the operand and
converted it to exact JSON types. The closure gets the value at the field's path, or `MISSING`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
ValueTest = Callable[[object], bool]
MetadataTest = Callable[[Mapping[str, object]], bool]

MISSING: Final = object()
_COMPARISONS: Final[dict[str, Callable[..., bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def same(a: object, b: object) -> bool:
    """Return whether two JSON values are equal. Numbers are compared by exact value, lists and
    objects deeply. True and false differ from all numbers."""
    if isinstance(a, dict):
        if not isinstance(b, dict) or len(a) != len(b):
            return False
        return all(key in b and same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


def equals(operand: Json) -> ValueTest:
    if isinstance(operand, str):
        return lambda value: value == operand
    if operand is None or isinstance(operand, bool):
        return lambda value: value is operand
    if isinstance(operand, (int, float)):
        return lambda value: value == operand and value is not True and value is not False
    return lambda value: same(operand, value)


def is_one_of(operands: Sequence[Json]) -> ValueTest:
    # A set cannot tell 1 from true, so only strings and numbers go there.
    plain = frozenset(o for o in operands if type(o) in (str, int, float))
    others = [equals(o) for o in operands if type(o) not in (str, int, float)]

    def test(value: object) -> bool:
        if isinstance(value, (str, int, float)) and value is not True and value is not False:
            return value in plain
        return any(other(value) for other in others)

    return test


def compares(name: str, operand: str | int | float) -> ValueTest:
    """Return an order comparison. It is false unless both values are numbers, or both are strings,
    which are compared by code points."""
    compare = _COMPARISONS[name]
    if isinstance(operand, str):
        return lambda value: isinstance(value, str) and compare(value, operand)

    def test(value: object) -> bool:
        return (
            isinstance(value, (int, float))
            and value is not True
            and value is not False
            and compare(value, operand)
        )

    return test


def contains(operand: Json) -> ValueTest:
    """Return a test whether a list has this element or, if the operand is a string, a string has
    this part."""
    if isinstance(operand, str):
        return lambda value: isinstance(value, (str, list, tuple)) and operand in value
    element = equals(operand)
    return lambda value: isinstance(value, (list, tuple)) and any(map(element, value))


def exists(wanted: bool) -> ValueTest:
    return lambda value: (value is not MISSING) is wanted


def at_path(segments: Sequence[str], test: ValueTest) -> MetadataTest:
    """Return a test of metadata, which applies `test` to the value at the path. A path does not
    enter lists."""
    first, *rest = segments
    if not rest:
        return lambda metadata: test(metadata.get(first, MISSING))

    def nested(metadata: Mapping[str, object]) -> bool:
        value = metadata.get(first, MISSING)
        for segment in rest:
            if not isinstance(value, dict):
                return test(MISSING)
            value = value.get(segment, MISSING)
        return test(value)

    return nested
