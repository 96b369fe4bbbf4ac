"""What cleans a lake up counts and does the same on each catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

import lakebed
from lakebed.filters import DEFINITIONS, SHAPES, index_terms
from lakebed.model import EntryRow
from lakebed.objects.names import pack_path
from tests.catalog.test_cleaning_together import lake_on

LARGE = "large " * 400


@pytest.fixture(params=["sqlite", "postgres_18", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a new lake lies."""
    server = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    return lake_on(server, tmp_path)


def test_a_dry_run_counts_what_is_done_then(
    place: dict[str, Any],
) -> None:
    with lakebed.open(**place) as lake:
        lake.store_batch({"key": f"p/{n}", "value": f"{n} {LARGE}"} for n in range(8))
        lake.create_snapshot("s")
        lake.store("p/0", f"again {LARGE}")
        lake.store("q", f"1 {LARGE}")  # the same content as p/1
        planned = lake.purge(prefix="p/", dry_run=True)
        assert (planned.entries, planned.versions, planned.snapshots) == (8, 1, ["s"])
        assert (planned.files, planned.packs_rewritten) == (1, 1)
        done = lake.purge(prefix="p/")
        counted = ("entries", "versions", "bytes", "files", "packs_rewritten", "snapshots")
        # Of the files one is the pack's.
        assert [done[name] for name in counted if name != "files"] == [
            planned[name] for name in counted if name != "files"
        ]
        assert done.files == 2
        for number in range(5):
            lake.store(f"r/{number}", f"r {number} {LARGE}")
            lake.delete(f"r/{number}")
        for number in range(3):
            lake.store(f"i/{number}", f"inline {number} " * 10)
        # A pack that dies whole, one that does not, and an upload that nobody finished.
        for name, dies in (("whole", 4), ("half", 2)):
            lake.store_batch(
                {"key": f"{name}/{n}", "value": f"{name} {n} {LARGE}"} for n in range(4)
            )
            for number in range(dies):
                lake.delete(f"{name}/{number}")
        lake._catalog.lease([pack_path()], 0)
        collected = lake.collect(0, dry_run=True)
        assert (collected.objects, collected.files) == (11, 7)
        assert {**collected, "dry_run": False} == dict(lake.collect(0))
        assert lake.compact(dry_run=True) == lake.compact()
        planned_all, done_all = lake.maintain(dry_run=True), lake.maintain()
        assert planned_all.compacted == done_all.compacted
        assert not lake.verify().problems
        assert lake["q"] == f"1 {LARGE}"


@pytest.mark.parametrize("kind", ["postgres_18", "mariadb"])
def test_no_table_of_a_server_holds_what_was_purged(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    server = request.getfixturevalue(kind)
    place = lake_on(server, tmp_path)
    catalog = place["catalog"]
    schema = catalog.get("schema") or catalog["url"].partition("?")[0].rpartition("/")[2]
    with lakebed.open(**place) as lake:
        lake.store_batch({"key": f"o/{n}", "value": n, "metadata": {"n": n}} for n in range(1100))
        for value in ("first", "second", f"third {LARGE}"):
            lake.store("canary/1", f"canary {value}", {"note": f"canary {value}"})
            assert list(lake.list(metadata_filter={"note": f"canary {value}"}))
            if value == "first":
                lake.create_snapshot("s")
        lake.store("canary/2", 1, {"note": "canary"})
        del lake["canary/2"]
        assert lake.search("canary").total == 1
        receipt = lake.purge(prefix="canary/")
        assert any("VACUUM" in left for left in receipt.remains)  # no word of SQLite's log
        asked = f"FROM information_schema.tables WHERE table_schema = '{schema}'"
        for (table,) in server.execute(f"SELECT table_name {asked}"):
            rows = server.execute(f"SELECT * FROM {schema}.{table}")  # noqa: S608
            assert "canar" not in repr(rows), table


def index_rows(lake: Any) -> list[tuple[Any, ...]]:
    """What the metadata index holds: paths and versions, and values if there are shapes."""
    catalog = lake._catalog
    table = catalog._queries["drop_metadata_term"].split()[2]
    columns = '"path", "version"'
    if "bare_entries" in catalog._queries:
        columns += ', "value"'
    return list(map(tuple, catalog._executor.fetch(f"SELECT {columns} FROM {table}", {})))  # noqa: S608


def count_terms(lake: Any) -> int:
    """How many terms of fields the metadata index holds, if each entry has one of its shape."""
    rows = index_rows(lake)
    fields = [row for row in rows if row[0] not in (SHAPES, DEFINITIONS)]
    if "bare_entries" in lake._catalog._queries:
        shapes = [version for path, version, _ in rows if path == SHAPES]
        assert sorted(shapes) == sorted({version for _, version, _ in fields})
    else:
        assert fields == rows
    return len(fields)


def ended(lake: Any) -> list[str]:
    bounds = {"low": "", "high": "\U0010ffff", "page": 10_000}
    sql = lake._catalog._queries["keys_with_ended"]
    return [key for (key,) in lake._catalog._executor.fetch(sql, bounds)]


def test_terms_of_metadata_that_has_been_replaced_go(place: dict[str, Any]) -> None:
    """Else they count as candidates for ever, and a filter that finds few reads all."""
    with lakebed.open(**place) as lake:
        catalog: Any = lake._catalog
        lake.create_snapshot("s")
        for turn in range(4):
            lake.store_batch(
                {"key": f"k/{n}", "value": n, "metadata": {"turn": turn, "n": n}}
                for n in range(600)
            )
            catalog._index.catch_up(lambda: False)
            assert count_terms(lake) == 1200  # though no upkeep has run
            assert len(list(lake.list(metadata_filter={"turn": turn, "n": {"$lt": 9}}))) == 9
            lake.create_snapshot(f"s{turn}")
        lake.store("k/0", 0, {"turn": 5})
        lake.delete("k/1")
        with lake.transaction() as tx:
            tx.store("k/2", 2)
            tx.delete("k/3")
        lake.cleanup_expired()
        assert ended(lake) == [f"k/{n}" for n in range(4)]
        lake.maintain()
        assert ended(lake) == []
        assert count_terms(lake) == 1200 - 4 * 2 + 1
        assert len(list(lake.list(metadata_filter={"turn": 3, "n": {"$lt": 9}}))) == 5
        assert len(list(lake.at("s2").list(metadata_filter={"turn": 2, "n": {"$lt": 9}}))) == 9


def test_a_purge_leaves_no_terms_of_what_came_before(place: dict[str, Any]) -> None:
    """Of keys that are gone, too, and without a look at the others'."""
    with lakebed.open(**place) as lake:
        catalog: Any = lake._catalog
        for name in ("secret/a", "secret/b", "secret/c", "other", "secretly"):
            lake.store(name, 1, {"earlier": name})
        catalog._index.catch_up(lambda: False)
        for name in ("secret/a", "other", "secretly"):
            lake.store(name, 1, {"now": name})
        lake.delete("secret/b")
        catalog._index._take_in()  # the terms of now, and those of before not yet dropped
        assert count_terms(lake) == 8
        assert len(ended(lake)) == 4
        lake.purge(prefix="secret/")
        assert ended(lake) == ["other", "secretly"]
        assert count_terms(lake) == 4
        lake.maintain()
        assert count_terms(lake) == 2


def test_a_purge_leaves_no_name_of_a_field(place: dict[str, Any]) -> None:
    """A definition of a shape names fields, and stays only while another entry has the shape."""
    with lakebed.open(**place) as lake:
        catalog: Any = lake._catalog

        def named() -> list[str]:
            rows = index_rows(lake)
            return [name for name in ("canary", "shared") if name in repr(rows)]

        for key, metadata in {
            "secret/1": {"canary": 1},
            "secret/2": {"shared": 1},
            "other": {"shared": 2},
        }.items():
            lake.store(key, 1, metadata)
        catalog._index.catch_up(lambda: False)
        assert named() == ["canary", "shared"]
        lake.purge(prefix="secret/")
        assert named() == ["shared"]
        lake.purge("other")
        assert index_rows(lake) == []
        lake.store("other", 1, {"shared": 1})
        catalog._index.catch_up(lambda: False)
        lake.store("other", 2)
        lake.maintain()
        assert index_rows(lake) == []


def test_a_search_that_read_before_a_purge_indexes_nothing_of_it(
    place: dict[str, Any],
) -> None:
    with lakebed.open(**place) as lake, lakebed.open(**place) as other:
        lake.store("k", "zebra")
        lake.store("other", "word")

        index, purges = lake._searcher(), [other.purge]
        read = index._read

        def then_purge(rows: Iterable[EntryRow]) -> Iterator[tuple[EntryRow, Any]]:
            yield from list(read(rows))
            if purges:
                purges.pop()("k")

        index._read = then_purge
        index.build_waiting()
        assert not purges
        assert lake.search("word").total == 1
        index.build_waiting()
        found = [
            segment.key(n) for segment in index.segments.now().segments for n in range(len(segment))
        ]
        assert found == ["other"]


def test_the_metadata_index_holds_what_stands(place: dict[str, Any]) -> None:
    """Whatever several clients do at the same time, and nothing else."""

    def work(seed: int) -> None:
        chance = Random(seed)
        with lakebed.open(**place) as lake:
            for _ in range(100):
                key, metadata = f"k/{chance.randrange(60)}", {"n": chance.randrange(5), "s": [1]}
                match chance.randrange(10):
                    case 0 | 1:
                        lake.delete(key)
                    case 2:
                        lake.purge(key)
                    case 3:
                        keys = {f"k/{chance.randrange(60)}" for _ in range(20)}
                        lake.store_batch(
                            {"key": k, "value": seed, "metadata": {"k": k}} for k in keys
                        )
                    case 4:
                        lake._catalog._index.catch_up(lambda: False)  # type: ignore[attr-defined]
                    case _:
                        lake.store(key, chance.random(), metadata)

    with lakebed.open(**place) as lake:
        lake.create_snapshot("s")
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(work, range(3)))
        lake.maintain()
        assert ended(lake) == []
        assert count_terms(lake) == sum(len(index_terms(entry.metadata)) for entry in lake.list())
        assert lake.verify().problems == []
