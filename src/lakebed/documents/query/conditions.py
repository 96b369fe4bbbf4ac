"""Filters: what each operator means. This evaluator is the oracle of every store.

    [("age", ">=", 18), ("tags", "array-contains", "tea"), ("address.city", "in", ["Ulm", "Bonn"])]

| operator | true if the field |
| --- | --- |
| `==` | equals the value |
| `!=` | exists, is not null, and differs from the value |
| `<` `<=` `>` `>=` | compares so with the value: both numbers, or both strings (by code points) |
| `in` | equals an element of the given list |
| `not-in` | exists, is not null, and equals no element of the given list |
| `array-contains` | is a list with this element |
| `array-contains-any` | is a list that has an element of the given list |

All filters must be true. A missing field matches no filter, as in Firestore. Values compare as
JSON: 1 equals 1.0, true is not 1, objects and lists compare deeply. A dotted path leads through
objects and does not enter lists; `\\.` is a dot inside a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lakebed.documents.data import checked
from lakebed.documents.fields import read_path
from lakebed.errors import SerializationError, ValidationError
from lakebed.filters.evaluation import MISSING, at_path, compares, equals, is_one_of
from lakebed.suggestions import suggestion

Test = Callable[[object], bool]
_ORDER: Final = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


class Condition(NamedTuple):
    """A checked filter: the field's path, the operator, the value, and a function that tests a
    document."""

    path: tuple[str, ...]
    operator: str
    value: Any
    matches: Callable[[Mapping[str, object]], bool]


def read_filters(filters: object) -> tuple[Condition, ...]:
    """Return the filters, checked. If one is malformed, raise a ValidationError that names it."""
    if filters is None:
        return ()
    if isinstance(filters, (str, bytes, Mapping)) or not isinstance(filters, Sequence):
        raise ValidationError(
            f"filters must be a list of (field, operator, value), got {type(filters).__name__}"
        )
    return tuple(_read(given, f"filters[{i}]") for i, given in enumerate(filters))


def _read(given: object, where: str) -> Condition:
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise ValidationError(f"{where} must be (field, operator, value)")
    field, operator, operand = given
    path = read_path(field, where)
    make = OPERATORS.get(operator) if isinstance(operator, str) else None
    if make is None:
        said = suggestion(str(operator), OPERATORS)
        raise ValidationError(f"{where}: unknown operator {str(operator)[:100]!r}: {said}")
    try:
        value = checked(operand, "the value")
    except SerializationError as error:
        raise ValidationError(f"{where}: {error}") from None
    return Condition(path, operator, value, at_path(path, make(value, f"{where}: {operator}")))


def _is(value: Any, where: str) -> Test:
    del where
    return equals(value)


def _is_not(value: Any, where: str) -> Test:
    del where
    test = equals(value)
    return lambda found: found is not MISSING and found is not None and not test(found)


def _compares(operator: str) -> Callable[[Any, str], Test]:
    def make(value: Any, where: str) -> Test:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValidationError(f"{where} takes a number or a string, got {_described(value)}")
        return compares(_ORDER[operator], value)

    return make


def _in(value: Any, where: str) -> Test:
    return is_one_of(_list(value, where))


def _not_in(value: Any, where: str) -> Test:
    test = is_one_of(_list(value, where))
    return lambda found: found is not MISSING and found is not None and not test(found)


def _array_contains(value: Any, where: str) -> Test:
    del where
    test = equals(value)
    return lambda found: isinstance(found, list) and any(map(test, found))


def _array_contains_any(value: Any, where: str) -> Test:
    test = is_one_of(_list(value, where))
    return lambda found: isinstance(found, list) and any(map(test, found))


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValidationError(f"{where} takes a list of values, got {_described(value)}")
    return value


def _described(value: object) -> str:
    return "None" if value is None else type(value).__name__


OPERATORS: Final[dict[str, Callable[[Any, str], Test]]] = {
    "==": _is,
    "!=": _is_not,
    **{operator: _compares(operator) for operator in _ORDER},
    "in": _in,
    "not-in": _not_in,
    "array-contains": _array_contains,
    "array-contains-any": _array_contains_any,
}
