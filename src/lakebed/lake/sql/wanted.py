"""The relations that a query needs from the lake, at which moments and within which bounds."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NamedTuple

from lakebed.catalog.scan import Scan
from lakebed.duckdb.conditions import Bounds
from lakebed.duckdb.relations import loaded_for
from lakebed.duckdb.statement import Call
from lakebed.duckdb.trees import Node
from lakebed.errors import QueryError
from lakebed.filters import parse as parse_filter
from lakebed.model import Moment

Resolve = Callable[[object], Moment]
"""A function that returns the moment that a caller names."""

HITS = 10
"""The number of hits of a search that does not name one."""
_ENTRIES = ("entries", "documents")
_EVERYTHING = Bounds()


_CARRIED = frozenset({"key", "version", "object_id", "expires_at", "updated_at"})
"""The columns that an update of loaded entries needs."""


_CHANGE = frozenset({"change"})


class Wanted(NamedTuple):
    """A relation that a query needs.

    `moments`: the moments of a view or of a call. `columns`: the columns to load, empty if only
    the number of rows matters. `limit`: load only so many rows, the first by key.
    """

    relation: str
    moments: tuple[Moment | None, ...]
    bounds: Bounds
    columns: frozenset[str]
    limit: int | None = None

    def is_served_by(self, other: Wanted) -> bool:
        """Return whether the rows loaded for another one have all that this one needs, under the
        same bounds."""
        return (
            self.relation == other.relation
            and self.moments == other.moments
            and self.bounds == other.bounds
            and other.limit in (None, self.limit)
            and self.columns <= other.columns
        )


def want_of(
    relation: str,
    moments: tuple[Moment | None, ...],
    bounds: Bounds = _EVERYTHING,
    shown: Set[str] | None = None,
    limit: int | None = None,
) -> Wanted:
    """Return what to load for a query. `shown`: the columns that it may read, or None for all."""
    if relation == "changes":
        return Wanted(relation, moments, bounds, loaded_for(relation, shown) or _CHANGE)
    if relation not in _ENTRIES:
        return Wanted(relation, moments, bounds, loaded_for(relation, None))
    if moments != (None,):
        limit = None  # only the present can be read in pages
    columns = loaded_for(relation, shown)
    if columns and moments == (None,):
        columns |= {"expires_at"} if limit is not None or bounds != Bounds() else _CARRIED
    return Wanted(relation, moments, bounds, columns, limit)


def is_renewable(want: Wanted) -> bool:
    """Return whether outdated rows can still be used while no object moves.

    Rows of snapshots do not change. Rows of the present can be updated if all of them are loaded.
    """
    if want.moments == (None,):
        whole = want.bounds == Bounds() and want.limit is None
        return want.relation in _ENTRIES and whole and want.columns >= _CARRIED
    return all(moment is not None and moment.snapshot is not None for moment in want.moments)


def question_of(call: Call) -> tuple[str, int]:
    """Return the question of a call of `search`, and the number of hits that it asks for."""
    question, wanted = (*call.arguments, HITS)[:2] if call.arguments else (None, HITS)
    if not isinstance(question, str) or len(call.arguments) > 2:
        raise QueryError("search: expected a question, and how many hits (10 if left out)")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise QueryError(f"search: the number of hits must be a whole number, got {wanted!r}")
    return question, wanted


def named(name: str) -> Callable[[Node], bool]:
    """Return the test whether a node of a query's tree is the table of that name."""
    return lambda node: node.get("type") == "BASE_TABLE" and str(node["table_name"]).lower() == name


def called(name: str) -> Callable[[Node], bool]:
    """Return the test whether a node of a query's tree calls the table function of that name."""
    return lambda node: (
        node.get("type") == "TABLE_FUNCTION"
        and str(node["function"]["function_name"]).lower() == name
    )


def moments_of(call: Call, resolve: Resolve) -> tuple[Moment | None, ...]:
    """Return the moments that the arguments of a call name. None is the present."""
    takes = {"entries_at": (1,), "changes": (1, 2)}[call.name]
    if len(call.arguments) not in takes:
        raise QueryError(
            f"{call.name} takes {' or '.join(map(str, takes))} arguments: snapshots by name or id, "
            "or versions"
        )
    moments: list[Moment | None] = []
    for place, argument in enumerate(call.arguments):
        if argument is None and place == 1:
            moments.append(None)
        elif isinstance(argument, (str, int)) and not isinstance(argument, bool):
            moments.append(resolve(argument))
        else:
            raise QueryError(
                f"{call.name}: expected the name or id of a snapshot, or a version, got "
                f"{argument!r}"
            )
    if call.name == "changes" and len(moments) == 1:
        moments.append(None)
    return tuple(moments)


def scan_of(want: Wanted) -> Scan:
    """Return the scan of the catalog for what is needed."""
    relation: Any = "entries" if want.relation == "documents" else want.relation
    fields = dict(want.bounds.fields)
    contradictory = len(fields) < len(set(want.bounds.fields))
    metadata_filter = parse_filter(fields) if fields and not contradictory else None
    (moment,) = want.moments
    return Scan(
        relation,
        want.bounds.low,
        want.bounds.high,
        moment,
        metadata_filter,
        scanned(want.columns),
        limit=want.limit,
        format="json" if want.relation == "documents" and want.limit is not None else None,
    )


def scanned(columns: Set[str]) -> frozenset[str]:
    """Return the columns of a scan from which the loaded columns of entries are made."""
    found = {"inline_value" if name == "value" else name for name in columns}
    return frozenset(found | {"pack_id"} if "uri" in found else found)
