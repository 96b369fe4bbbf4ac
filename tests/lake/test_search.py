"""The text index of a SQLite lake: catching up, what it cannot read, rebuilding, company."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import lakebed
from lakebed.catalog import text_index
from lakebed.catalog.executors.base import Row
from lakebed.errors import LockTimeoutError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, FaultyStore, open_lake
from tests.lake.processes import run_alone, run_together


def reach(folder: Path) -> dict[str, int]:
    """What the catalog says of its text index, and how many entries wait to be read."""
    with sqlite3.connect(folder / "catalog.db") as db:
        rows = db.execute("SELECT name, value FROM lakebed_meta WHERE name LIKE 'text_%'")
        found = {name.removeprefix("text_"): value for name, value in rows}
        ((found["unread"],),) = db.execute("SELECT count(*) FROM text_unread")
        ((documents,),) = db.execute("SELECT count(*) FROM entry_text_docsize")
        assert documents == found["rows"]
        db.execute("INSERT INTO entry_text (entry_text) VALUES ('integrity-check')")
        ((integrity,),) = db.execute("PRAGMA integrity_check")
        assert integrity == "ok"
    db.close()
    return found


def fill(lake: Lake, count: int, text: str = "some words") -> None:
    lake.store_batch({"key": f"{n:05}", "value": f"{text} number{n}"} for n in range(count))


def keys(lake: Lake, query: str) -> list[str]:
    return [hit.key for hit in lake.search(query, limit=10_000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def test_a_short_tail_is_evaluated_a_long_one_indexed(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, text_index.MAX_TAIL)
        assert lake.search("number3").total == 1
        assert reach(folder)["rows"] == 0
        lake.store("one more", "number3")
        assert lake.search("number3").total == 2
        assert reach(folder)["rows"] == text_index.MAX_TAIL + 1
        lake.store("and another", "number3")
        assert lake.search("number3").total == 3
        assert reach(folder)["rows"] == text_index.MAX_TAIL + 1


def test_stores_leave_the_index_alone(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 100)
        lake.search("words")
        before = reach(folder)
        fill(lake, 100, "other words")
        lake.store("key", "value")
        lake.delete("00001")
        assert reach(folder) == before


def test_index_and_evaluation_rank_alike(tmp_path: Path) -> None:
    texts = [f"{'apple ' * (n % 4)}{'pear ' * (n % 3)}{'padding ' * (n % 11)}" for n in range(60)]
    lakes = [lakebed.open(tmp_path / name) for name in ("index", "evaluation")]
    for lake in lakes:
        for number, text in enumerate(texts):
            lake.store(f"{number:02}", text)
    lakes[0].maintain()
    with sqlite3.connect(tmp_path / "evaluation" / "catalog.db") as writer:
        writer.execute("BEGIN IMMEDIATE")  # the index cannot catch up
        found = [list(lake.search("apple pears", limit=100)) for lake in lakes]
    writer.close()
    assert [hit.key for hit in found[0]] == [hit.key for hit in found[1]]
    assert [hit.score for hit in found[0]] == pytest.approx([hit.score for hit in found[1]])
    assert reach(tmp_path / "index")["rows"] == 60
    assert reach(tmp_path / "evaluation")["rows"] == 0
    for lake in lakes:
        lake.close()


def test_another_writer_makes_no_search_fail(folder: Path) -> None:
    with lakebed.open(folder, lock_timeout=0.1) as lake:
        fill(lake, 500)
        with sqlite3.connect(folder / "catalog.db", isolation_level=None) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert keys(lake, "number77") == ["00077"]
            assert lake.search("words").total == 500
            with pytest.raises(LockTimeoutError):
                lake.store("key", "value")
            writer.execute("ROLLBACK")
        writer.close()
        assert reach(folder)["rows"] == 0
        assert lake.search("words").total == 500
        assert reach(folder)["rows"] == 500


def test_a_catalog_that_cannot_be_written_is_searched(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=10) as lake:
        fill(lake, 50)
    code = """
import sqlite3, lakebed
from lakebed.catalog.executors.sqlite import SQLiteExecutor
lake = lakebed.open(folder + "/lake")
lake._catalog._executor.connection().execute("PRAGMA query_only = 1")
assert lake.search("words", limit=0).total == 50
assert lake.search("number7")[0].value == "some words number7"
lake.close()
"""
    run_alone(code, folder.parent)
    assert reach(folder)["rows"] == 0


def test_large_values_are_found_by_their_text(folder: Path) -> None:
    with lakebed.open(folder, inline_threshold=100) as lake:
        lake.store("object", {"pages": ["padding " * 1000, "needle"]})
        lake.store_batch(
            {"key": f"packed/{n}", "value": "padding " * 50 + f"haystack{n}"} for n in range(9)
        )
        lake.store("bytes", b"needle " * 100)
        lake.store("too much text", ["padding " * (256 * 1024 // 8), "needle"], {"about": "hay"})
        lake.store("too large", ["needle", "padding " * 600_000])
        lake.store("described", "padding " * 600_000, {"about": "a needle"})
        assert sorted(keys(lake, "needle")) == ["described", "object"]
        assert keys(lake, "haystack3") == ["packed/3"]
        assert keys(lake, "hay") == ["too much text"]
        assert lake.search("padding").total == 11
        assert not lake.search("needle")[0].entry.inlined
        assert "padding" not in repr(lake.search("needle"))
    assert reach(folder)["rows"] == 14


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
        assert reach(folder) == {"indexed": 5, "rows": 4, "tokens": 16, "unread": 1}
        lake.maintain()
        assert keys(lake, "words") == ["0", "1", "2", "4"]
        path.write_bytes(whole)
        assert keys(lake, "words") == ["0", "1", "2", "3", "4"]
        assert reach(folder) == {"indexed": 5, "rows": 5, "tokens": 20, "unread": 0}
        path.write_bytes(b"damaged again")
        assert lake.search("words").total == 5
        lake.delete("3")
        assert keys(lake, "note3") == []


def test_what_is_unread_and_gone_is_forgotten(folder: Path) -> None:
    store = FaultyStore(LocalStore(folder))
    with open_lake(folder, objects=store, inline_threshold=10) as lake:
        lake.store("a", "some words that are stored")
        store.plan(dict.fromkeys(range(9), "truncate"))
        lake.search("words")
        assert reach(folder)["unread"] == 1
        lake.store("a", "short")
        lake.maintain()
        assert reach(folder) == {"indexed": 2, "rows": 1, "tokens": 1, "unread": 0}


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
        assert reach(folder)["rows"] == 80


def test_maintenance_rebuilds_an_index_that_is_mostly_stale(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        fill(lake, 1500)
        assert lake.search("words").total == 1500
        fill(lake, 1500, "new words")
        lake.create_snapshot("s")
        assert lake.search("new words").total == 1500
        lake.maintain()
        assert reach(folder)["rows"] == 3000
        fill(lake, 1400, "newest words")
        before = [(hit.key, hit.value) for hit in lake.search("newest number1450", limit=2000)]
        assert len(before) == 1401
        assert reach(folder)["rows"] == 4400
        lake.maintain()
        assert reach(folder)["rows"] == 1500
        after = [(hit.key, hit.value) for hit in lake.search("newest number1450", limit=2000)]
        assert sorted(after) == sorted(before)
        assert lake.at("s").search("new").total == 1500
        assert lake.search("some").total == 0


def test_pages_are_bounded_in_rows_and_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_index, "_PAGE_ROWS", 7)
    monkeypatch.setattr(text_index, "_PAGE_BYTES", 100)
    with lakebed.open(folder, inline_threshold=150) as lake:
        for number in range(50):
            lake.store(f"{number:02}", f"words number{number} " + "padding " * (number % 30))
        for query in ("number13 number29", "words"):
            found = lake.search(query, limit=100)
            expected = 50 if query == "words" else 2
            assert found.total == len(found) == expected
        assert reach(folder)["rows"] == 50
        lake.create_snapshot("s")
        for number in range(50):
            lake.delete(f"{number:02}")
        assert lake.at("s").search("words").total == 50
        assert lake.search("words").total == 0


@pytest.mark.parametrize("overwritten", [1, 99, 100])
def test_a_page_that_is_overwritten_while_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, overwritten: int
) -> None:
    sizes = text_index.TextIndex._sizes
    overwrites = [overwritten]

    def then_overwrite(index: text_index.TextIndex, *args: Any) -> Sequence[Row]:
        found = sizes(index, *args)
        if overwrites:
            fill(lake, overwrites.pop(), "other words")
        return found

    with lakebed.open(folder) as lake:
        fill(lake, 100)
        monkeypatch.setattr(text_index.TextIndex, "_sizes", then_overwrite)
        lake.maintain()
        assert not overwrites
        assert reach(folder)["rows"] == 100
        assert lake.search("other", limit=1).total == overwritten
        assert lake.search("words", limit=1).total == 100


def test_expired_entries_count_nowhere(folder: Path) -> None:
    clock = FakeClock()
    with open_lake(folder, clock=clock) as lake:
        for number in range(30):
            lake.store(f"{number:02}", "words", ttl=number + 1)
        for passed in range(31):
            for options in ({}, {"metadata_filter": {"n": {"$exists": False}}}, {"limit": 0}):
                assert lake.search("words", **options).total == 30 - passed
            clock.advance(1)


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
    found = reach(folder)
    assert found["unread"] == 0


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
    assert reach(folder) | {"tokens": 0} == {
        "indexed": 4000, "rows": 4000, "tokens": 0, "unread": 0,
    }  # fmt: skip


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


def test_killed_while_it_catches_up(folder: Path) -> None:
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
    assert reach(folder)["rows"] == 6000
