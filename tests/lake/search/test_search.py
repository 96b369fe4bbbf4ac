"""The segments of a SQLite lake: when they are built, what they cannot read, merging, company."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

import lakebed
from lakebed.errors import LockTimeoutError
from lakebed.lake.entries import batches
from lakebed.lake.lake import Lake
from lakebed.lake.search import building as search_building
from lakebed.lake.search.indexed_text import TextReader
from lakebed.lake.search.tail import Tail
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, FaultyStore, open_lake
from lakebed.values.json import MAX_DEPTH
from tests.lake.processes import run_alone, run_together


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


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
        fill(lake, 4_000)
        assert reach(folder) == (4_000, 0, 0)
        assert lake.search("number77").total == 1


def test_batches_leave_large_segments_to_maintenance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging them costs a load a tenth of its time, and their number stays bounded without."""
    monkeypatch.setattr(batches, "_WAITING", 10)
    with lakebed.open(folder) as lake:
        monkeypatch.setattr(lake._searcher()._building, "_limit", 64)
        for number in range(20):
            lake.store_batch({"key": f"{number}/{n:02}", "value": "word"} for n in range(20))
        assert [row.documents for row in lake._catalog.segments()] == [20] * 20
        for number in range(20):
            lake.store_batch({"key": f"{number}/{n:02}x", "value": "word"} for n in range(10))
        assert len(lake._catalog.segments()) < 28
        assert lake.search("word").total == 600
        lake.maintain()
        assert len(lake._catalog.segments()) < 16
        assert lake.search("word").total == 600


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


@pytest.mark.parametrize("built", [False, True])
def test_large_values_are_found_by_their_text(folder: Path, built: bool) -> None:
    with lakebed.open(folder, inline_threshold=100) as lake:
        lake.store("object", {"pages": ["padding " * 1000, "needle"]})
        lake.store_batch(
            {"key": f"packed/{n}", "value": "padding " * 50 + f"haystack{n}"} for n in range(9)
        )
        lake.store("bytes", b"needle " * 100)
        lake.store("a conversation", ["padding " * (5 << 17), "the last line has a needle"])
        lake.store("described", "padding " * 600, {"about": "a needle"})
        if built:
            build(lake)
        assert sorted(keys(lake, "needle")) == ["a conversation", "described", "object"]
        assert keys(lake, "haystack3") == ["packed/3"]
        assert lake.search("padding").total == 12
        assert not lake.search("needle")[0].entry.inlined
        assert "padding" not in repr(lake.search("needle"))
    assert reach(folder) == ((13, 0, 0) if built else (0, 0, 13))


def test_entries_without_text(folder: Path) -> None:
    values: list[Any] = [None, 1, 2**70, [], {}, b"", "", "...", {"n": [1, 2.5, None, True]}]
    with lakebed.open(folder) as lake:
        for number, value in enumerate(values):
            lake.store(f"{number}", value)
        lake.store("word", "word", {f"field{n}": n for n in range(10_000)} | {"large": 2**70})
        for _ in range(2):
            assert keys(lake, "word") == ["word"]
            found = lake.search("word", metadata_filter={"large": {"$gt": 2**69}})
            assert found.total == 1
            assert lake.search("1 true none").total == 0
            build(lake)
        assert reach(folder) == (10, 0, 0)


def test_keys_of_any_letters(folder: Path) -> None:
    some = ["\U0010ffff", "\ud7ff", "\uffff", "a\x01", "a", "a/", "a/\x7f", "é", "e\u0301", " "]
    with lakebed.open(folder) as lake:
        for key in some:
            lake.store(key, "word")
        for _ in range(2):
            assert keys(lake, "word") == sorted(some, key=str.encode)
            shown = [hit.key for hit in lake.search("word", prefix="a/", thread=True)]
            assert shown == ["a/\x7f", "a/"]  # the one before counts more than the next
            assert lake.search("word", prefix="\U0010ffff").total == 1
            build(lake)


def test_tables_are_found_by_their_metadata(folder: Path) -> None:
    import pyarrow as pa

    with lakebed.open(folder) as lake:
        lake.store("table", pa.table({"needle": ["needle"]}), {"about": "flights"})
        lake.maintain()
        assert keys(lake, "needle") == []
        assert keys(lake, "flight") == ["table"]


def test_a_damaged_object_costs_its_own_text_only(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=10) as lake:
        for number in range(5):
            lake.store(f"{number}", f"some words number{number}", {"note": f"note{number}"})
        entry = lake.entry("3")
        assert entry is not None
        assert entry.storage_uri is not None
        path = Path(entry.storage_uri.removeprefix("file://"))
        whole = path.read_bytes()
        path.write_bytes(b"damaged")
        found = lake.search("words")
        assert ([hit.key for hit in found], found.unread) == (["0", "1", "2", "4"], 1)
        found = lake.search("note3")  # its metadata are there
        assert ([hit.key for hit in found], found.unread) == (["3"], 1)
        assert "1 values could not be read" in repr(found)
        lake.maintain()
        assert reach(folder) == (4, 0, 1)
        found = lake.search("words")
        assert ([hit.key for hit in found], found.unread) == (["0", "1", "2", "4"], 1)
        path.write_bytes(whole)
        assert keys(lake, "words") == ["0", "1", "2", "3", "4"]
        lake.maintain()
        assert reach(folder) == (5, 0, 0)
        path.write_bytes(b"damaged again")
        assert lake.search("words").total == 5
        lake.delete("3")
        assert keys(lake, "note3") == []


def test_what_is_unread_and_gone_is_forgotten(folder: Path) -> None:
    store = FaultyStore(LocalStore(folder))
    with open_lake(folder, objects=store, inline_threshold=10) as lake:
        lake.store("a", "some words that are stored")
        store.plan(dict.fromkeys([0], "truncate"))
        lake._searcher().build(TextReader(lake.read_contents), patient=True)
        assert reach(folder) == (0, 0, 1)
        lake.store("a", "short")
        lake.maintain()
        assert reach(folder) == (1, 0, 0)
        assert keys(lake, "words") == []


def test_a_storage_that_is_down_is_not_asked_for_ever(folder: Path) -> None:
    store = FaultyStore(LocalStore(folder))
    with open_lake(folder, objects=store, inline_threshold=15) as lake:
        for number in range(40):
            lake.store(f"stored/{number}", f"some words number{number}")
            lake.store(f"inline/{number}", f"n{number}")
        store.plan(dict.fromkeys(range(10_000), "fail"))
        found = lake.search("words n7")
        assert ([hit.key for hit in found], found.total) == (["inline/7"], 1)
        assert found.unread == 40
        assert len(store.calls) < 10
        assert [hit.key for hit in lake.search("n8")] == ["inline/8"]
        store.plan()
        found = lake.search("words n7")
        assert (found.total, found.unread) == (41, 0)
        build(lake)
        assert reach(folder) == (80, 0, 0)


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


def test_pages_are_bounded_in_rows_and_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_building, "_PAGE_ROWS", 7)
    monkeypatch.setattr(search_building, "_PAGE_BYTES", 100)
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


@pytest.mark.parametrize("overwritten", [1, 99, 100])
def test_values_that_are_overwritten_while_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, overwritten: int
) -> None:
    overwrites = [overwritten]
    take_in = search_building.SegmentBuilding._take_in

    def then_overwrite(building: Any, *args: Any) -> Any:
        found = take_in(building, *args)
        if overwrites:
            fill(lake, overwrites.pop(), "other words")
        return found

    with lakebed.open(folder) as lake:
        fill(lake, 100)
        monkeypatch.setattr(search_building.SegmentBuilding, "_take_in", then_overwrite)
        lake.maintain()
        assert not overwrites
        assert reach(folder).waiting == 0
        assert lake.search("other", limit=1).total == overwritten
        assert lake.search("words", limit=1).total == 100


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


def test_values_that_a_fast_reader_of_json_cannot_take(folder: Path) -> None:
    """Numbers beyond 64 bits, and what nests as deep as values may."""
    deep: object = "needle"
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    with lakebed.open(folder) as lake:
        lake.store("big", {"n": 10**400, "text": "needle"})
        lake.store("negative", {"n": -(2**80), "x": 1e300, "text": "needle"})
        lake.store("deep", deep)
        build(lake)
        assert lake.search("needle").total == 3
        assert lake.retrieve("big")["n"] == 10**400
