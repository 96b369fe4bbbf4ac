"""Reads a metadata filter, checks all of it, and compiles it to closures and ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from lakebed.filters import evaluation, marks, narrowing
from lakebed.filters.evaluation import Json
from lakebed.filters.marks import Marks
from lakebed.filters.narrowing import Narrowing
from lakebed.filters.operands import (
    check_depth,
    describe,
    invalid,
    literal,
    name,
    number,
    refuse_operators,
    text,
)
from lakebed.filters.paths import join_path, split_path

T = TypeVar("T")


class Condition(NamedTuple, Generic[T]):
    """A condition on a field's value or on whole metadata: its test, the ranges of the index that
    hold all that passes the test, those that hold all that fails it, and what the text of the
    metadata says about it."""

    test: Callable[[T], bool]
    narrowing: Narrowing
    negation: Narrowing
    marks: Marks = Marks()


class FieldPlace(NamedTuple):
    """The parser's place in the filter: the field's path in the index, the place as errors show it,
    and the depth."""

    path: str
    where: str
    depth: int


FieldOperator = Callable[[object, FieldPlace], Condition[object]]
MetadataCondition = Condition[Mapping[str, object]]


def read_filter(source: object, where: str = "", depth: int = 1) -> MetadataCondition:
    """Read a whole filter, at the top or inside `$and`, `$or`, `$not`. Raises ValidationError if it
    is malformed."""
    if not isinstance(source, Mapping):
        raise invalid(where, f"expected an object of conditions, not {describe(source)}")
    check_depth(depth, where)
    conditions: list[MetadataCondition] = []
    for raw, operand in source.items():
        key = name(raw, where)
        inside = f"{where}.{key}" if where else key
        if not key.startswith("$"):
            conditions.append(_read_field(key, operand, inside, depth))
        elif key in ("$and", "$or"):
            branches = _read_branches(key, operand, inside, depth + 1)
            conditions.append((_all if key == "$and" else _any)(branches))
        elif key == "$not":
            conditions.append(_negated(read_filter(operand, inside, depth + 1)))
        elif key in FIELD_OPERATORS:
            raise invalid(inside, f'{key} needs a field, as in {{"field": {{"{key}": …}}}}')
        else:
            raise _unknown(key, inside)
    return _all(conditions)


def _read_branches(key: str, operand: object, where: str, depth: int) -> list[MetadataCondition]:
    if not isinstance(operand, (list, tuple)) or not operand:
        found = "an empty one" if isinstance(operand, (list, tuple)) else describe(operand)
        raise invalid(where, f"{key} takes a non-empty list of filters, not {found}")
    check_depth(depth, where)
    return [read_filter(o, f"{where}[{i}]", depth + 1) for i, o in enumerate(operand)]


def _read_field(key: str, operand: object, where: str, depth: int) -> MetadataCondition:
    segments = split_path(key)
    if segments is None:
        raise invalid(where, r"in a path, a dot, a backslash or a $ must follow a backslash")
    place = FieldPlace(join_path(segments), where, depth + 1)
    if isinstance(operand, Mapping) and _has_operators(operand):
        condition = _read_operators(operand, place)
    else:
        value = literal(operand, where, depth + 1)
        refuse_operators(value, where)
        condition = _equality(value, place)
    test = evaluation.at_path(segments, condition.test)
    return Condition(test, condition.narrowing, condition.negation, condition.marks)


def _has_operators(operand: Mapping[object, object]) -> bool:
    return any(isinstance(key, str) and key.startswith("$") for key in operand)


def _read_operators(operators: Mapping[object, object], place: FieldPlace) -> Condition[object]:
    check_depth(place.depth, place.where)
    conditions = []
    for raw, operand in operators.items():
        key = name(raw, place.where)
        where = f"{place.where}.{key}"
        if not key.startswith("$"):
            raise invalid(where, "operators and plain fields cannot be in the same object")
        if key in ("$and", "$or"):
            raise invalid(where, f"{key} takes whole filters, so it cannot be inside a field")
        if key not in FIELD_OPERATORS:
            raise _unknown(key, where)
        conditions.append(
            FIELD_OPERATORS[key](operand, FieldPlace(place.path, where, place.depth + 1))
        )
    return _all(conditions)


def _unknown(key: str, where: str) -> Exception:
    known = ", ".join([*FIELD_OPERATORS, "$and", "$or"])
    return invalid(
        where,
        f'unknown operator "{key}": expected one of {known} '
        f'(write "\\{key}" for a field of that name)',
    )


# Combinations of conditions


def _all(conditions: Sequence[Condition[T]]) -> Condition[T]:
    if len(conditions) == 1:
        return conditions[0]
    narrowed = narrowing.both(condition.narrowing for condition in conditions)
    negation = narrowing.either([condition.negation for condition in conditions])
    marked = marks.both([condition.marks for condition in conditions])
    if len(conditions) == 2:  # the commonest conjunction, a third faster without the loop
        first, second = (condition.test for condition in conditions)
        return Condition(lambda value: first(value) and second(value), narrowed, negation, marked)
    tests = tuple(condition.test for condition in conditions)

    def test(value: T) -> bool:
        for passes in tests:  # noqa: SIM110 - all() over a generator takes twice as long
            if not passes(value):
                return False
        return True

    return Condition(test, narrowed, negation, marked)


def _any(conditions: Sequence[Condition[T]]) -> Condition[T]:
    tests = tuple(condition.test for condition in conditions)
    return Condition(
        lambda value: any(passes(value) for passes in tests),
        narrowing.either([condition.narrowing for condition in conditions]),
        narrowing.both(condition.negation for condition in conditions),
        marks.either([condition.marks for condition in conditions]),
    )


def _negated(condition: Condition[T]) -> Condition[T]:
    test, narrowed, negation, marked = condition
    return Condition(lambda value: not test(value), negation, narrowed, marked.negated())


# The operators of a field


def _equality(operand: Json, place: FieldPlace) -> Condition[object]:
    return Condition(
        evaluation.equals(operand),
        narrowing.exactly(place.path, operand),
        narrowing.differing(place.path, operand),
        marks.has_value(place.path, operand),
    )


def _eq(operand: object, place: FieldPlace) -> Condition[object]:
    return _equality(literal(operand, place.where, place.depth), place)


def _ne(operand: object, place: FieldPlace) -> Condition[object]:
    return _negated(_eq(operand, place))


def _comparison(key: str) -> FieldOperator:
    def read(operand: object, place: FieldPlace) -> Condition[object]:
        if isinstance(operand, bool) or not isinstance(operand, (int, float, str)):
            found = describe(operand)
            raise invalid(place.where, f"{key} takes a number or a string, not {found}")
        value: str | int | float
        if isinstance(operand, str):
            value = text(operand, place.where)
        else:
            value = number(operand, place.where)
        return Condition(
            evaluation.compares(key, value),
            narrowing.ordered(place.path, key, value),
            narrowing.not_ordered(place.path, key, value),
        )

    return read


def _literals(key: str, operand: object, place: FieldPlace) -> list[Json]:
    if not isinstance(operand, (list, tuple)):
        raise invalid(place.where, f"{key} takes a list of values, not {describe(operand)}")
    check_depth(place.depth, place.where)
    return [literal(o, f"{place.where}[{i}]", place.depth + 1) for i, o in enumerate(operand)]


def _in(operand: object, place: FieldPlace) -> Condition[object]:
    values = _literals("$in", operand, place)
    return _one_of(values, place)


def _nin(operand: object, place: FieldPlace) -> Condition[object]:
    return _negated(_one_of(_literals("$nin", operand, place), place))


def _one_of(values: Sequence[Json], place: FieldPlace) -> Condition[object]:
    return Condition(
        evaluation.is_one_of(values),
        narrowing.one_of(place.path, values),
        narrowing.none_of(place.path, values),
        marks.either([marks.has_value(place.path, value) for value in values]),
    )


def _exists(operand: object, place: FieldPlace) -> Condition[object]:
    if not isinstance(operand, bool):
        raise invalid(place.where, f"$exists takes true or false, not {describe(operand)}")
    there = Condition(
        evaluation.exists(True),
        narrowing.present(place.path),
        narrowing.missing(place.path),
        marks.has_field(place.path),
    )
    return there if operand else _negated(there)


def _contains(operand: object, place: FieldPlace) -> Condition[object]:
    value = literal(operand, place.where, place.depth)
    return Condition(evaluation.contains(value), narrowing.containing(place.path, value), ())


def _not(operand: object, place: FieldPlace) -> Condition[object]:
    if not isinstance(operand, Mapping) or not _has_operators(operand):
        found = "a plain object" if isinstance(operand, Mapping) else describe(operand)
        raise invalid(
            place.where, f'$not under a field takes an object of operators, not {found}; see "$ne"'
        )
    return _negated(_read_operators(operand, place))


FIELD_OPERATORS: Final[dict[str, FieldOperator]] = {
    "$eq": _eq,
    "$ne": _ne,
    **{key: _comparison(key) for key in ("$gt", "$gte", "$lt", "$lte")},
    "$in": _in,
    "$nin": _nin,
    "$exists": _exists,
    "$contains": _contains,
    "$not": _not,
}
