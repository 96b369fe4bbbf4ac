"""The segments of a SQLite lake: when they are built, merging, and company."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Thread

import pytest

import lakebed
from lakebed.errors import LockTimeoutError
from lakebed.lake.search import building as search_building
from lakebed.lake.search.indexed_text import TextReader
from lakebed.lake.search.tail import Tail
from lakebed.testing import FakeClock, open_lake
from tests.lake.processes import run_alone, run_together
from tests.lake.search.segments import build, fill, keys, reach


def test_a_short_tail_is_evaluated_a_long_one_indexed(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, Tail.LIMIT)
        assert lake.search("number3").total == 1
        assert reach(folder) == (0, 0, Tail.LIMIT)
        lake.store("one more", "number3")
        assert lake.search("number3").total == 2
        assert reach(folder) == (Tail.LIMIT + 1, 0, 0)
        lake.store("and another", "number3")
        assert lake.search("number3").total == 3
        assert reach(folder) == (Tail.LIMIT + 1, 0, 1)


def test_a_large_batch_builds_its_segment(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 10_001)
        assert reach(folder) == (10_001, 0, 0)
        assert lake.search("number77").total == 1


def test_stores_leave_the_segments_alone(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 100)
        build(lake)
        before = lake._catalog.segments()
        fill(lake, 50, "other words")
        lake.store("key", "value")
        lake.delete("00001")
        assert lake._catalog.segments() == before
        assert reach(folder) == (100, 50, 50)  # the end of 00001 in the segment, then of its row
        assert lake.search("words", limit=1000).total == 99


def test_segments_and_evaluation_rank_alike(tmp_path: Path) -> None:
    texts = [f"{'apple ' * (n % 4)}{'pear ' * (n % 3)}{'padding ' * (n % 11)}" for n in range(60)]
    found = []
    for name in ("one segment", "many segments", "none"):
        with lakebed.open(tmp_path / name) as lake:
            for number, text in enumerate(texts):
                lake.store(f"{number:02}", text)
                if name == "many segments" and number % 7 == 0:
                    lake._searcher().build(TextReader(lake.read_contents), patient=True)
            if name == "one segment":
                lake.maintain()
            found.append([(h.key, h.score) for h in lake.search("apple pears", limit=100)])
    assert found[0] == found[1] == found[2]


def test_another_writer_makes_no_search_fail(folder: Path) -> None:
    with lakebed.open(folder, lock_timeout=0.1) as lake:
        fill(lake, 1000)
        with sqlite3.connect(folder / "catalog.db", isolation_level=None) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert keys(lake, "number77") == ["00077"]
            assert lake.search("words").total == 1000
            with pytest.raises(LockTimeoutError):
                lake.store("key", "value")
            writer.execute("ROLLBACK")
        writer.close()
        assert reach(folder) == (0, 0, 1000)
        assert lake.search("words").total == 1000
        assert reach(folder) == (1000, 0, 0)


def test_a_catalog_that_cannot_be_written_is_searched(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=10) as lake:
        fill(lake, 1000)
        lake.store("x", "in a segment")
        build(lake)
        fill(lake, 700, "other words")
    code = """
import sqlite3, lakebed
from lakebed.catalog.sqlite.executor import SQLiteExecutor
lake = lakebed.open(folder + "/lake")
lake._catalog._executor.connection().execute("PRAGMA query_only = 1")
for _ in range(2):
    assert lake.search("words", limit=0).total == 1000
    assert lake.search("segment", limit=0).total == 1
    assert lake.search("number7")[0].value == "other words number7"
    assert lake.search("number777")[0].value == "some words number777"
lake.close()
"""
    run_alone(code, folder.parent)
    assert reach(folder) == (1001, 700, 700)


def test_maintenance_writes_segments_anew_that_are_mostly_stale(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 1500)
        assert lake.search("words").total == 1500
        fill(lake, 1500, "new words")
        lake.create_snapshot("s")
        assert lake.search("new words").total == 1500
        lake.maintain()
        fill(lake, 1400, "newest words")
        before = [(hit.key, hit.score) for hit in lake.search("newest number1450", limit=2000)]
        assert len(before) == 1401
        lake.maintain()
        assert reach(folder).documents <= 3000
        assert [(h.key, h.score) for h in lake.search("newest number1450", limit=2000)] == before
        assert lake.at("s").search("new").total == 1500
        assert lake.search("some").total == 0
        lake.drop_snapshot("s")
        fill(lake, 1300, "last words")
        lake.maintain()
        lake.maintain()
        assert reach(folder).documents < 3000
        assert lake.search("words").total == 1500


@pytest.mark.parametrize("page_bytes", [100, 10_000])
def test_pages_are_bounded_in_rows_and_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    monkeypatch.setattr(search_building, "_PAGE_ROWS", 7)
    monkeypatch.setattr(search_building, "_STORED_ROWS", 11)
    monkeypatch.setattr(search_building, "_PAGE_BYTES", page_bytes)
    with lakebed.open(folder, inline_threshold=150) as lake:
        for number in range(50):
            lake.store(f"{number:02}", f"words number{number} " + "padding " * (number % 30))
        build(lake)
        for query in ("number13 number29", "words"):
            found = lake.search(query, limit=100)
            expected = 50 if query == "words" else 2
            assert found.total == len(found) == expected
        assert reach(folder) == (50, 0, 0)
        lake.create_snapshot("s")
        for number in range(50):
            lake.delete(f"{number:02}")
        assert lake.at("s").search("words").total == 50
        assert lake.search("words").total == 0


@pytest.mark.parametrize("built", [False, True])
def test_all_that_a_segment_holds_expires(folder: Path, built: bool) -> None:
    clock = FakeClock()
    with open_lake(folder, clock=clock) as lake:
        for number in range(30):
            lake.store(f"{number:02}", "words", ttl=number + 1)
        lake.create_snapshot("s")
        if built:
            build(lake)
        for passed in range(31):
            for options in ({}, {"metadata_filter": {"n": {"$exists": False}}}, {"limit": 0}):
                assert lake.search("words", **options).total == 30 - passed
            assert lake.at("s").search("words").total == 30
            clock.advance(1)
        lake.maintain()
        assert lake.search("words").total == 0
        assert lake.at("s").search("words").total == 30


def test_every_version_of_a_lake_that_keeps_them_is_searched(folder: Path) -> None:
    with open_lake(folder, history="all") as lake:
        versions = []
        for number in range(40):
            versions.append((lake.store("k", f"word{number} word").version, number))
            if number % 9 == 4:
                build(lake)
        lake.delete("k")
        build(lake)
        assert lake.search("word").total == 0
        for version, number in versions:
            view = lake.at(version)
            assert [hit.value for hit in view.search("word")] == [f"word{number} word"]
            assert view.search(f"word{number + 1}").total == 0


def test_threads_search_what_others_store(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=40) as lake:
        failures: list[object] = []

        def writer(name: str) -> None:
            for number in range(60):
                lake.store(f"{name}/{number}", f"words {name} " + "padding " * (number % 9))

        def searcher() -> None:
            least = 0
            for _ in range(60):
                found = lake.search("words", limit=1000)
                if not (least <= found.total == len(found) and found.unread == 0):
                    failures.append((least, found))
                least = found.total

        threads = [Thread(target=writer, args=(name,)) for name in "abc"]
        threads += [Thread(target=searcher) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert lake.search("words").total == 180
    reach(folder)


def test_an_entry_that_is_replaced_all_the_time_is_always_found(folder: Path) -> None:
    code = """
import lakebed
lake = lakebed.open(folder + "/lake")
for n in range(300):
    if number == 0:
        lake.store("moving", f"words {n} " + "padding " * 20)
        lake.store(f"other/{n}", "padding")
    else:
        found = lake.search("words", limit=5)
        assert [hit.key for hit in found] == ["moving"], found
        assert found.total == 1
"""
    with lakebed.open(folder) as lake:
        lake.store("moving", "words")
    run_together(code, folder.parent, 3)
    reach(folder)


def test_processes_that_catch_up_together_index_each_entry_once(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=100) as lake:
        lake.store_batch(
            {"key": f"{n}", "value": f"words number{n} " + "padding " * (n % 20)}
            for n in range(4000)
        )
    code = """
import lakebed
lake = lakebed.open(folder + "/lake")
assert lake.search("words", limit=0).total == 4000
"""
    run_together(code, folder.parent, 3)
    with lakebed.open(folder) as lake:
        assert lake.search("words", limit=0).total == 4000
        assert keys(lake, "number3999") == ["3999"]
    assert reach(folder) == (4000, 0, 0)


def test_a_child_searches_on(folder: Path) -> None:
    code = """
import os, signal, warnings
import lakebed
warnings.simplefilter("ignore", DeprecationWarning)
with lakebed.open(folder + "/lake") as lake:
    for n in range(30):
        lake.store(f"{n}", "words")
    assert lake.search("words").total == 30
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        for n in range(30):
            lake.store(f"child/{n}", "words")
            assert lake.search("words").total >= 31 + n
        os._exit(0)
    for n in range(30):
        lake.store(f"parent/{n}", "words")
        assert lake.search("words").total >= 31 + n
    assert os.waitpid(pid, 0)[1] == 0
    assert lake.search("words").total == 90
"""
    run_alone(code, folder.parent)
    reach(folder)


def test_killed_while_it_builds(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 6000)
    code = """
import os, threading, time
import lakebed
lake = lakebed.open(folder + "/lake")
threading.Timer({delay}, os._exit, (0,)).start()
while True:
    lake.search("words", limit=0)
    time.sleep(0.001)
"""
    for delay in (0.05, 0.1, 0.15, 0.2):
        run_alone(code.replace("{delay}", str(delay)), folder.parent)
        reach(folder)
    with lakebed.open(folder) as lake:
        assert lake.search("words", limit=0).total == 6000
    assert reach(folder) == (6000, 0, 0)
