"""What a query wants of the lake: relations, at moments, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lakebed.catalog.scan import Scan
from lakebed.duckdb.conditions import Bounds
from lakebed.duckdb.statement import Call, Node
from lakebed.errors import QueryError
from lakebed.filters import parse as parse_filter
from lakebed.model import Moment

Resolve = Callable[[object], Moment]
"""Finds the moment that a caller names."""

HITS = 10
"""Of a search that does not say how many."""
_ENTRIES = ("entries", "documents")


class Wanted(NamedTuple):
    """A relation as a query wants it: `moments` are those of a view or of a call."""

    relation: str
    moments: tuple[Moment | None, ...]
    bounds: Bounds


def is_renewable(want: Wanted) -> bool:
    """Whether rows that are no longer current can be used on while no object moves: what snapshots
    hold stays as it is, and all entries of the present can be brought up to date."""
    if want.moments == (None,):
        return want.relation in _ENTRIES and want.bounds == Bounds()
    return all(moment is not None and moment.snapshot is not None for moment in want.moments)


def question_of(call: Call) -> tuple[str, int]:
    """What a call of `search` asks, and how many hits it wants."""
    question, wanted = (*call.arguments, HITS)[:2] if call.arguments else (None, HITS)
    if not isinstance(question, str) or len(call.arguments) > 2:
        raise QueryError("search: expected a question, and how many hits (10 if left out)")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise QueryError(f"search: the number of hits must be a whole number, got {wanted!r}")
    return question, wanted


def named(name: str) -> Callable[[Node], bool]:
    return lambda node: node.get("type") == "BASE_TABLE" and str(node["table_name"]).lower() == name


def called(name: str) -> Callable[[Node], bool]:
    return lambda node: (
        node.get("type") == "TABLE_FUNCTION"
        and str(node["function"]["function_name"]).lower() == name
    )


def moments_of(call: Call, resolve: Resolve) -> tuple[Moment | None, ...]:
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
                f"{call.name}: {argument!r} is no moment: expected the name or id of a snapshot, "
                "or a version"
            )
    if call.name == "changes" and len(moments) == 1:
        moments.append(None)
    return tuple(moments)


def scan_of(want: Wanted) -> Scan:
    """What to ask of the catalog."""
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
        want.relation == "documents",
    )
