"""What the tests of segments store and look at."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import lakebed
from lakebed.lake.lake import Lake


class Reach(NamedTuple):
    """How many documents the segments of a lake hold, how many of them nobody sees any more as far
    as the catalog notes it, and how many versions wait for a segment."""

    documents: int
    ended: int
    waiting: int


def reach(folder: Path) -> Reach:
    with closing(sqlite3.connect(folder / "catalog.db")) as db:
        ((documents,),) = db.execute("SELECT coalesce(sum(documents), 0) FROM segment")
        ((ended,),) = db.execute("SELECT count(*) FROM segment_ended")
        ((integrity,),) = db.execute("PRAGMA integrity_check")
        assert integrity == "ok"
    with lakebed.open(folder) as lake:
        return Reach(documents, ended, lake._catalog.count_waiting(10**6))


def fill(lake: Lake, count: int, text: str = "some words") -> None:
    lake.store_batch({"key": f"{n:05}", "value": f"{text} number{n}"} for n in range(count))


def build(lake: Lake) -> None:
    """Build a segment of all that waits."""
    lake._searcher().build_waiting()


def keys(lake: Lake, query: str) -> list[str]:
    return [hit.key for hit in lake.search(query, limit=10_000)]
