"""The calls of the demo. The demo prints the body of each function before it runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lakebed
from lakebed import Entry, Lake
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.listing import Listing
from lakebed.lake.entries.stats import Stats
from lakebed.lake.history.diff import Diff, Restored
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.searching import Hits
from lakebed.lake.upkeep.maintenance import CleanupReport

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from lakebed.duckdb.result import QueryResult

Memories = Iterable[Mapping[str, Any]]


def open_lake(folder: Path) -> Lake:
    lake = lakebed.open(folder)
    return lake  # noqa: RET504 - the name is shown


def store_all(lake: Lake, memories: Memories) -> BatchReport:
    return lake.store_batch(memories)


def list_classes(lake: Lake) -> Listing:
    return lake.list("asyncio.", metadata_filter={"kind": "class", "public": True}, limit=6)


def retrieve_one(lake: Lake) -> Any:
    return lake.retrieve("json.loads")


def search(lake: Lake) -> Hits:
    return lake.search("parse a date string", metadata_filter={"package": "email"}, limit=4)


def store_tables(lake: Lake, months: Memories) -> BatchReport:
    return lake.store_batch(months)


def delays(lake: Lake) -> pa.Table:
    july = lake.retrieve("flights/2013-07")
    return july.group_by("carrier").aggregate([("flight", "count"), ("dep_delay", "mean")])


def take_snapshot(lake: Lake) -> Snapshot:
    return lake.create_snapshot("before", message="as Python documents itself")


def change_memories(lake: Lake) -> Entry:
    entry = lake.entry("json.loads")
    assert entry is not None
    note = {**entry.value, "note": "orjson is faster, but reads 10**30 as a float"}
    entry = lake.store("json.loads", note, {**entry.metadata, "reviewed": True})
    with lake.transaction() as tx:
        tx.store("lessons/1", "Ask before deleting.", {"kind": "lesson"})
        tx.delete("textwrap.dedent")
        tx.delete("textwrap.fill")
    return entry


def compare(lake: Lake) -> Diff:
    return lake.diff("before")


def go_back(lake: Lake) -> Restored:
    return lake.restore("before")


def remember_briefly(lake: Lake) -> Entry:
    return lake.store("scratch/1", "the user is in a hurry", ttl=0.5)


def clean_up(lake: Lake) -> CleanupReport:
    return lake.cleanup_expired()


def second_agent(lake: Lake) -> BatchReport:
    return lake.store_batch(
        {"key": f"agents/ada/{entry.key}", "value": entry.value, "metadata": entry.metadata}
        for entry in lake.list("asyncio.")
    )


def ask(lake: Lake) -> QueryResult:
    return lake.sql("""
        SELECT metadata->>'package' AS package, count(*) AS functions,
               count(*) FILTER (value->>'doc' LIKE '%>>>%') AS with_example
        FROM documents WHERE metadata->>'kind' = 'function' AND key NOT LIKE 'agents/%'
        GROUP BY ALL ORDER BY with_example DESC, package LIMIT 4
    """)


def all_flights(lake: Lake) -> ir.Table:
    flights = lake.tables("flights/")
    return flights.group_by("origin").agg(
        flights=flights.count(), mean_delay=flights.dep_delay.mean()
    )


def count(lake: Lake) -> Stats:
    return lake.stats()
