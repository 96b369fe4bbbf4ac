"""Queries as SQL. Field names and values are parameters, and never part of the text.

A path is a chain of `->` with text on the right side. Like our paths, it does not enter lists. The
SQL decides exactly as the oracle does: JSONB compares numbers by exact value, text is compared by
code points (COLLATE "C"), and large numbers are written exactly (`jsonb.written`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lakebed.documents.postgres.jsonb import written
from lakebed.documents.query.conditions import Condition
from lakebed.documents.query.ordering import (
    NUMBER_RANK,
    TEXT_RANK,
    Order,
    Place,
    Start,
)
from lakebed.documents.query.query import Query

_RANK = """CASE jsonb_typeof({x}) WHEN 'null' THEN 1 WHEN 'boolean' THEN
 CASE WHEN {x} = 'false'::jsonb THEN 2 ELSE 3 END
 WHEN 'number' THEN 4 WHEN 'string' THEN 5 WHEN 'array' THEN 6 WHEN 'object' THEN 7 ELSE 0 END"""
_NUMBER = "CASE jsonb_typeof({x}) WHEN 'number' THEN ({x})::numeric END"
_TEXT = """CASE jsonb_typeof({x}) WHEN 'string' THEN ({x}) #>> '{{}}' END COLLATE "C" """


class Text(NamedTuple):
    """A part of a statement and its parameters."""

    sql: str
    params: tuple[Any, ...] = ()


def where(query: Query) -> Text:
    """Return the SQL condition of a query."""
    parts = [Text('"collection" = %s', (query.collection,))]
    parts += map(_condition, query.conditions)
    if query.start is not None:
        parts.append(_after(query.start, query.orders))
    return _joined(" AND ", parts)


def order(orders: Sequence[Order]) -> Text:
    """Return the ORDER BY of a query."""
    parts = []
    for one in orders:
        x = _path(one.path)
        direction = "DESC" if one.descending else "ASC"
        for expression in (_RANK, _NUMBER, _TEXT):
            times = expression.count("{x}")
            parts.append(
                Text(f"{expression.format(x=x.sql)} {direction} NULLS LAST", x.params * times)
            )
    return _joined(", ", [*parts, Text('"doc_id"')])


def _path(path: Sequence[str]) -> Text:
    return Text('"data"' + " -> %s::text" * len(path), tuple(path))


def _condition(condition: Condition) -> Text:
    path, operator, value = condition.path, condition.operator, condition.value
    x = _path(path)
    if operator == "==":
        # The first condition finds candidates in the index, the second decides.
        return _joined(" AND ", [_contains(path, value), _equals(x, value)])
    if operator in ("!=", "not-in"):
        values = [value] if operator == "!=" else value
        differs = [Text(f"({x.sql}) <> %s::jsonb", (*x.params, written(one))) for one in values]
        there = Text(f"({x.sql}) <> 'null'::jsonb", x.params)
        return _joined(" AND ", [there, *differs])
    if operator == "in":
        each = [_condition(condition._replace(operator="==", value=one)) for one in value]
        return _any(each)
    if operator == "array-contains":
        return _has_element(path, x, value)
    if operator == "array-contains-any":
        return _any([_has_element(path, x, one) for one in value])
    if isinstance(value, str):
        compared = _TEXT.format(x=x.sql)
        return Text(f"{compared} {operator} %s", (*x.params * _TEXT.count("{x}"), value))
    compared = _NUMBER.format(x=x.sql)
    times = _NUMBER.count("{x}")
    return Text(f"{compared} {operator} %s::jsonb::numeric", (*x.params * times, written(value)))


def _equals(x: Text, value: object) -> Text:
    return Text(f"({x.sql}) = %s::jsonb", (*x.params, written(value)))


def _contains(path: Sequence[str], value: object) -> Text:
    for name in reversed(path):
        value = {name: value}
    return Text('"data" @> %s::jsonb', (written(value),))


def _has_element(path: Sequence[str], x: Text, value: object) -> Text:
    """Return the condition that a list has an element.

    `@>` alone would also find an element that only contains the value.
    """
    elements = (
        f"CASE jsonb_typeof({x.sql}) WHEN 'array' THEN EXISTS (SELECT FROM"
        f" jsonb_array_elements({x.sql}) AS e(v) WHERE e.v = %s::jsonb) END"
    )
    exact = Text(elements, (*x.params, *x.params, written(value)))
    return _joined(" AND ", [_contains(path, [value]), exact])


def _after(start: Start, orders: Sequence[Order]) -> Text:
    """Return the condition that a document comes after a place.

    That means a later value in one field of the order, and the same values in the fields before it.
    """
    steps = [
        step
        for one, place in zip(orders, start.places, strict=False)
        for step in _steps(one, place)
    ]
    if start.doc_id is not None:
        steps.append((Text('"doc_id"'), ">", start.doc_id, "%s"))
    ways = []
    for number, (x, sign, value, holder) in enumerate(steps):
        same = [
            Text(f"({y.sql}) = {held}", (*y.params, equal)) for y, _, equal, held in steps[:number]
        ]
        later = Text(f"({x.sql}) {sign} {holder}", (*x.params, value))
        ways.append(_joined(" AND ", [*same, later]))
    return _any(ways)


def _steps(one: Order, place: Place) -> list[tuple[Text, str, Any, str]]:
    """Return the expressions that order by a field. For a kind of value without an order of its
    own, that is only the rank of the kind."""
    x = _path(one.path)
    sign = "<" if one.descending else ">"
    rank, value = place

    def expression(form: str) -> Text:
        return Text(form.format(x=x.sql), x.params * form.count("{x}"))

    steps: list[tuple[Text, str, Any, str]] = [(expression(_RANK), sign, rank, "%s")]
    if rank == NUMBER_RANK:
        steps.append((expression(_NUMBER), sign, written(value), "%s::jsonb::numeric"))
    elif rank == TEXT_RANK:
        steps.append((expression(_TEXT), sign, value, "%s"))
    return steps


def _any(parts: Sequence[Text]) -> Text:
    return _joined(" OR ", parts) if parts else Text("false")


def _joined(separator: str, parts: Sequence[Text]) -> Text:
    sql = separator.join(part.sql if separator == ", " else f"({part.sql})" for part in parts)
    return Text(sql, tuple(value for part in parts for value in part.params))
