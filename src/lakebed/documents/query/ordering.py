"""The order of documents: by the values of fields, then by id.

The kinds of values are in this order: missing, null, false, true, numbers, strings, lists, objects.
Numbers are ordered by value and strings by code points. Lists have no order among each other, and
neither have objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lakebed.documents.data import checked
from lakebed.documents.fields import read_path
from lakebed.errors import SerializationError, ValidationError
from lakebed.filters.evaluation import MISSING

Place = tuple[int, Any]
"""The rank of a value's kind, and the value if the kind has an order of its own."""
MISSING_RANK, NULL_RANK, FALSE_RANK, TRUE_RANK, NUMBER_RANK, TEXT_RANK, LIST_RANK, OBJECT_RANK = (
    range(8)
)


class Order(NamedTuple):
    """A field by which documents are ordered."""

    path: tuple[str, ...]
    descending: bool

    def place(self, data: Mapping[str, object]) -> Place:
        """Return the place of a document in the order of this field."""
        return place_of(value_at(data, self.path))


class Start(NamedTuple):
    """The place in the order after which a query starts. If `doc_id` is None, the query starts
    after all documents with these values."""

    places: tuple[Place, ...]
    doc_id: str | None


def read_order(order_by: object) -> tuple[Order, ...]:
    """Return `order_by`, checked. Raises ValidationError if it is malformed."""
    if order_by is None:
        return ()
    if isinstance(order_by, (str, bytes, Mapping)) or not isinstance(order_by, Sequence):
        raise ValidationError(
            "order_by must be a list of (field, 'asc' | 'desc'), got " + type(order_by).__name__
        )
    orders = []
    for index, given in enumerate(order_by):
        where = f"order_by[{index}]"
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ValidationError(f"{where} must be (field, 'asc' | 'desc')")
        field, direction = given
        if direction not in ("asc", "desc"):
            raise ValidationError(
                f"{where}: the direction must be 'asc' or 'desc', got {str(direction)[:100]!r}"
            )
        orders.append(Order(read_path(field, where), direction == "desc"))
    return tuple(orders)


def read_values(start: Mapping[str, object], orders: Sequence[Order]) -> tuple[Place, ...]:
    """Return the places of a `start_after` that has values for fields of `order_by`.

    Raises ValidationError if it is malformed.
    """
    given = {}
    for field, value in start.items():
        try:
            given[read_path(field, "start_after")] = checked(value, f"start_after[{field!r}]")
        except SerializationError as error:
            raise ValidationError(str(error)) from None
    wanted = [order.path for order in orders[: len(given)]]
    if not given or set(given) != set(wanted):
        names = ", ".join(repr(".".join(order.path)) for order in orders) or "no field"
        raise ValidationError(
            "start_after must be a doc_id, a document of an earlier result, or values of the first "
            f"fields of order_by, which has {names}"
        )
    return tuple(place_of(given[path]) for path in wanted)


def place_of(value: object) -> Place:
    """Return the place of a value."""
    if isinstance(value, str):
        return TEXT_RANK, value
    if value is True or value is False:
        return (TRUE_RANK if value else FALSE_RANK), 0
    if isinstance(value, (int, float)):
        return NUMBER_RANK, value
    if value is MISSING:
        return MISSING_RANK, 0
    if value is None:
        return NULL_RANK, 0
    return (LIST_RANK if isinstance(value, list) else OBJECT_RANK), 0


def value_at(data: Mapping[str, object], path: Sequence[str]) -> object:
    """Return the value at a path, or MISSING. A path does not enter lists."""
    value: object = data
    for name in path:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value


def is_after(
    start: Start, orders: Sequence[Order], doc_id: str, data: Mapping[str, object]
) -> bool:
    """Return whether a document comes after a place."""
    for order, there in zip(orders, start.places, strict=False):
        here = order.place(data)
        if here != there:
            return (here < there) if order.descending else (here > there)
    return start.doc_id is not None and doc_id > start.doc_id
