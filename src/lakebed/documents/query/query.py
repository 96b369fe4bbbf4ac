"""A checked query, and the documents that it selects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from lakebed.documents.data import Data
from lakebed.documents.fields import read_path
from lakebed.documents.query.conditions import Condition, read_filters
from lakebed.documents.query.ordering import Order, Start, is_after, read_order, value_at
from lakebed.errors import ValidationError
from lakebed.filters.evaluation import MISSING


class Stored(NamedTuple):
    """A document as it was read. `version`: the store compares it to see whether somebody has
    changed the document since."""

    doc_id: str
    data: Data
    version: object = None


@dataclass(frozen=True)
class Query:
    """A checked query of one collection. If `limit` is None, it selects all matches."""

    collection: str
    conditions: tuple[Condition, ...] = ()
    orders: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    start: Start | None = None

    @property
    def last(self) -> int | None:
        """How many of the first matches the answer needs. None means all."""
        return None if self.limit is None else self.offset + self.limit

    def every(self) -> Query:
        """Return this query without order, start and limit, so that it selects all matches."""
        return replace(self, orders=(), limit=None, offset=0, start=None)

    def matches(self, data: Mapping[str, object]) -> bool:
        """Return whether a document matches."""
        return all(condition.matches(data) for condition in self.conditions)

    def answer(self, candidates: Iterable[Stored], *, sorted_by_id: bool = False) -> list[Stored]:
        """Return the documents that the query selects from candidates.

        `sorted_by_id`: the candidates are in the order of ids, so reading stops as early as it can.
        """
        wanted: Iterator[Stored] = (found for found in candidates if self.wants(found))
        if self.orders or not sorted_by_id:
            wanted = iter(self._sorted(list(wanted)))
        return list(islice(wanted, self.offset, self.last))

    def wants(self, found: Stored) -> bool:
        """Return whether a document matches and comes after the start of the query."""
        return self.matches(found.data) and (
            self.start is None or is_after(self.start, self.orders, found.doc_id, found.data)
        )

    def _sorted(self, found: list[Stored]) -> list[Stored]:
        found.sort(key=lambda document: document.doc_id)
        for order in reversed(self.orders):  # sorting is stable
            found.sort(key=lambda one: order.place(one.data), reverse=order.descending)
        return found


def read_query(
    collection: str, filters: object, order_by: object, limit: object, offset: object
) -> Query:
    """Return a query, checked. Raises ValidationError if a part is malformed."""
    return Query(
        collection,
        read_filters(filters),
        read_order(order_by),
        None if limit is None else check_number("limit", limit),
        check_number("offset", offset),
    )


def check_number(name: str, value: object) -> int:
    """Return a whole number that must be 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        shown = value if isinstance(value, int) else type(value).__name__
        raise ValidationError(f"{name} must be a whole number, 0 or more, got {shown}")
    return int(value)


def read_select(select: object) -> tuple[tuple[str, ...], ...] | None:
    """Return the paths to return of each document, or None for whole documents."""
    if select is None:
        return None
    if isinstance(select, (str, bytes, Mapping)) or not isinstance(select, Sequence):
        raise ValidationError(f"select must be a list of fields, got {type(select).__name__}")
    paths = {read_path(field, f"select[{i}]") for i, field in enumerate(select)}
    # Leave out a path inside another one, which is returned anyway.
    return tuple(path for path in paths if not any(path[:n] in paths for n in range(1, len(path))))


def selected(data: Data, paths: Sequence[tuple[str, ...]] | None) -> Data:
    """Return the parts of a document at these paths. A missing part is left out."""
    if paths is None:
        return data
    result: dict[str, Any] = {}
    for path in paths:
        value = value_at(data, path)
        if value is not MISSING:
            holder = result
            for name in path[:-1]:
                holder = holder.setdefault(name, {})
            holder[path[-1]] = value
    return result
