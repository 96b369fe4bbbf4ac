"""How SQLite goes about the queries: by an index, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.statements.executor import Params, Row
from lakebed.lake.search.options import SearchOptions

COUNT = 3000


class Watched(SQLiteExecutor):
    """Keeps the reads of entries and of the index: their plan, and how many rows they gave."""

    def __init__(self) -> None:
        super().__init__(None)
        self.seen: list[tuple[list[str], int]] = []

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        rows = super().fetch(sql, params)
        if 'e."metadata"' in sql or "count(" in sql:
            plan = super().fetch("EXPLAIN QUERY PLAN " + sql, params)
            self.seen.append(([row[3] for row in plan], len(rows)))
        return rows


@pytest.fixture
def executor() -> Iterator[Watched]:
    executor = Watched()
    yield executor
    executor.close()


@pytest.fixture
def lake(executor: Watched) -> lakebed.Lake:
    lake = lakebed.Lake(
        SQLCatalog(executor), None, name="watched", inline_threshold=100, history="snapshots",
        history_retention=None, lake_id="watched", search=SearchOptions(),
    )  # fmt: skip
    lake._catalog.settings({"lake_id": "1", "history": "snapshots"})
    lake.store_batch(
        {
            "key": f"k/{n:05}",
            "value": n,
            "metadata": {"n": n, "kind": "rare" if n % 300 == 7 else "common"},
        }
        for n in range(COUNT)
    )
    return lake


def listed(lake: lakebed.Lake, executor: Watched, **arguments: Any) -> tuple[list[str], int, int]:
    """The steps of all plans, how many rows were read, and how many entries listed."""
    del executor.seen[:]
    found = len(list(lake.list(**arguments)))
    plans = [step for plan, _ in executor.seen for step in plan]
    return plans, sum(rows for _, rows in executor.seen), found


def test_a_filter_reads_its_candidates_only(lake: lakebed.Lake, executor: Watched) -> None:
    lake.maintain()
    plan, read, found = listed(lake, executor, metadata_filter={"kind": "rare"})
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN" in plan
    assert "SEARCH m USING PRIMARY KEY (path=? AND value>? AND value<?)" in plan
    assert not any(step.startswith(("SCAN e", "SCAN m", "SCAN t")) for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)
    assert found == COUNT // 300
    assert read <= 40 + 1 + 2 * found  # those tried first, a count, candidates and what passes


def test_a_filter_under_a_prefix_reads_no_more(lake: lakebed.Lake, executor: Watched) -> None:
    lake.maintain()
    _, read, found = listed(lake, executor, metadata_filter={"kind": "rare"}, prefix="k/00")
    assert found == 4
    assert read <= 40 + 1 + COUNT // 300 + found


def test_a_range_reads_its_candidates_only(lake: lakebed.Lake, executor: Watched) -> None:
    lake.maintain()
    _, read, found = listed(lake, executor, metadata_filter={"n": {"$gte": COUNT - 5}})
    assert found == 5
    assert read <= 40 + 1 + 2 * found


def test_without_a_filter_keys_are_read_in_order(lake: lakebed.Lake, executor: Watched) -> None:
    plan, read, found = listed(lake, executor, prefix="k/01", limit=10)
    assert "SEARCH e USING INDEX sqlite_autoindex_entry_1 (key>? AND key<?)" in plan
    assert not any("TEMP B-TREE" in step for step in plan)
    assert read == found == 10


def test_retrieve_looks_up_by_number_and_key(lake: lakebed.Lake, executor: Watched) -> None:
    del executor.seen[:]
    assert lake.retrieve("k/00042") == 42
    ((plan, rows),) = executor.seen
    assert rows == 1
    assert not any(step.startswith("SCAN") for step in plan)


def test_a_diff_reads_what_changed(lake: lakebed.Lake, executor: Watched) -> None:
    sql = lake._catalog._queries["changed_keys"]
    names = ("from_version", "to_version", "low", "high", "from_time", "to_time")
    plan = executor.fetch("EXPLAIN QUERY PLAN " + sql, dict.fromkeys(names, 1))
    steps = [row[3] for row in plan if "entry" in row[3]]
    assert any("entry USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in s for s in steps)
    assert any("entry_history_end (end_version>? AND end_version<?)" in s for s in steps)
    assert not any("key>?" in step or step.startswith("SCAN") for step in steps)


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "common"},
        {"kind": {"$ne": "rare"}},
        {"$not": {"kind": "rare"}},
        {"other": {"$exists": False}},
        {"n": {"$nin": [1, 2]}},
        {"n": {"$gte": 5}},
    ],
)
def test_what_passes_often_is_found_in_the_first_entries(
    lake: lakebed.Lake, executor: Watched, condition: dict[str, Any]
) -> None:
    _, read, found = listed(lake, executor, metadata_filter=condition, limit=10)
    assert found == 10
    assert read == 40
    assert len(executor.seen) == 1


def test_a_search_without_a_query_reads_what_a_listing_reads(
    lake: lakebed.Lake, executor: Watched
) -> None:
    del executor.seen[:]
    hits = lake.search(metadata_filter={"kind": "common"}, limit=10, offset=5)
    assert [hit.key for hit in hits] == [f"k/{n:05}" for n in (5, 6, 8, 9, 10, 11, 12, 13, 14, 15)]
    assert sum(rows for _, rows in executor.seen) == 40
    assert hits.total == COUNT - COUNT // 300  # counted now
    few = lake.search(metadata_filter={"kind": "rare"}, limit=5, offset=8)
    assert (len(few), few.total) == (2, COUNT // 300)
    read = len(executor.seen)
    assert few.total == COUNT // 300
    assert len(executor.seen) == read


def test_pages_of_what_passes_often_never_ask_the_index(
    lake: lakebed.Lake, executor: Watched
) -> None:
    _, read, found = listed(lake, executor, metadata_filter={"kind": "common"})
    assert found == COUNT - COUNT // 300
    assert read <= 2 * COUNT + 3000  # keys and metadata, and what passes as a whole
    assert len(executor.seen) <= 20


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": {"$ne": "common"}},
        {"$not": {"kind": "common"}},
        {"kind": {"$nin": ["common", "usual"]}},
        {"kind": {"$not": {"$lt": "d"}}},
        {"$or": [{"kind": "rare"}, {"kind": {"$exists": False}}]},
        {"kind": {"$exists": False}},
    ],
)
def test_a_rare_negation_reads_its_candidates_only(
    lake: lakebed.Lake, executor: Watched, condition: dict[str, Any]
) -> None:
    lake.store_batch({"key": f"m/{n}", "value": n, "metadata": {"m": n}} for n in range(3))
    lake.store("n", "without metadata")
    lake.maintain()
    plan, read, found = listed(lake, executor, metadata_filter=condition)
    rare = 0 if condition == {"kind": {"$exists": False}} else COUNT // 300
    assert found == 4 + rare
    assert read <= 40 + 1 + 2 * (found + 1)
    assert "SEARCH b USING COVERING INDEX entry_bare (metadata=?)" in plan
    assert not any(step.startswith(("SCAN e", "SCAN m", "SCAN t")) for step in plan)


def test_what_the_index_cannot_tell_is_read_in_few_pages(
    lake: lakebed.Lake, executor: Watched
) -> None:
    lake.maintain()
    condition = {"kind": {"$not": {"$contains": "common"}}}
    _, read, found = listed(lake, executor, metadata_filter=condition, limit=10)
    assert found == COUNT // 300
    assert read <= COUNT + found
    assert len(executor.seen) < 10


def test_no_statement_reads_more_than_a_page(lake: lakebed.Lake, executor: Watched) -> None:
    lake.store_batch({"key": f"m/{n:05}", "value": n, "metadata": {"n": n}} for n in range(15_000))
    listed(lake, executor, metadata_filter={"$not": {"n": {"$gte": 0}}})
    assert max(rows for _, rows in executor.seen) <= 10_000


def test_long_metadata_comes_in_smaller_pages(lake: lakebed.Lake, executor: Watched) -> None:
    text = "x" * 100_000
    lake.store_batch(
        {"key": f"m/{n:05}", "value": n, "metadata": {"text": text, "n": n}} for n in range(1000)
    )
    condition = {"n": {"$not": {"$lt": 999}}}
    _, _, found = listed(lake, executor, metadata_filter=condition, prefix="m/", limit=5)
    assert found == 1
    assert max(rows for _, rows in executor.seen) <= 200


def test_a_filter_takes_little_of_what_waits_for_the_index(
    lake: lakebed.Lake, executor: Watched
) -> None:
    def waiting() -> int:
        sql = lake._catalog._index.sql("count_waiting_metadata")
        return int(executor.fetch(sql, {"cap": 2**40})[0][0])

    assert waiting() == COUNT  # too few for the batch to take them in
    for left in (COUNT - 2000, 0):
        _, read, found = listed(lake, executor, metadata_filter={"kind": "rare"}, limit=10)
        assert found == 10
        assert read <= 40 + 160 + 2 + COUNT + found  # no more than all, once
        assert waiting() == left


def test_a_large_batch_fills_the_index(lake: lakebed.Lake, executor: Watched) -> None:
    lake.store_batch({"key": f"m/{n:05}", "value": n, "metadata": {"m": n}} for n in range(20_000))
    _, read, found = listed(lake, executor, metadata_filter={"m": {"$gte": 19_996}})
    assert found == 4
    assert read <= 40 + 1 + 2 * found


def test_rows_of_the_index_that_are_there_already_do_no_harm(
    lake: lakebed.Lake, executor: Watched
) -> None:
    """A database that was restored from a backup may draw a version again."""
    row = {"path": "kind", "value": b"0rare", "version": 8}
    add_term = lake._catalog._queries["add_metadata_term"]
    executor.transact(lambda tx: tx.many(add_term, [row]))
    lake.maintain()
    _, read, found = listed(lake, executor, metadata_filter={"kind": "rare"})
    assert found == COUNT // 300
    assert read <= 40 + 1 + 2 * found


def test_a_look_for_orphans_reads_the_trash_of_one_folder(
    lake: lakebed.Lake, executor: Watched
) -> None:
    sql = lake._catalog._queries["leased_files"]
    plan = executor.fetch("EXPLAIN QUERY PLAN " + sql, {"low": "packs/", "high": "packs0"})
    assert sum("PRIMARY KEY (uri>? AND uri<?)" in row[3] for row in plan) == 2
    trash = [f"objects/{first}/{n}" for first in ("00", "01") for n in range(3)]
    lake._catalog.add_trash(trash)
    assert lake._catalog.unknown([*trash, "objects/00/x"]) == ["objects/00/x"]
