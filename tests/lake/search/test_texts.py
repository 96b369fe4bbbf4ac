"""The text of entries: which values are searched, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.search import building as search_building
from lakebed.lake.search.indexed_text import TextReader
from lakebed.objects.local import LocalStore
from lakebed.testing import FaultyStore, open_lake
from lakebed.values.json import MAX_DEPTH
from tests.lake.search.segments import build, fill, keys, reach


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
