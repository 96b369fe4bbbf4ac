"""A lake that is only overwritten does not grow, though nobody keeps it clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakebed.lake.lake import Lake
from lakebed.testing import open_lake

KEYS = [f"k{n:03}" for n in range(100)]


def value(key: str, turn: int) -> str:
    return f"{key} {turn} {'x' * 480}"


def in_batches(lake: Lake, turn: int) -> None:
    lake.store_batch({"key": key, "value": value(key, turn)} for key in KEYS)


def one_by_one(lake: Lake, turn: int) -> None:
    for key in KEYS:
        lake.store(key, value(key, turn))


def in_transactions(lake: Lake, turn: int) -> None:
    with lake.transaction() as tx:
        for key in KEYS:
            tx.store(key, value(key, turn))


def anew(lake: Lake, turn: int) -> None:
    for key in KEYS:
        lake.delete(key)
    in_batches(lake, turn)


def used(lake: Lake) -> int:
    """Bytes of the catalog's pages, those that are free included."""
    executor: Any = lake._catalog._executor
    ((size,),) = executor.fetch(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", {}
    )
    return int(size)


@pytest.mark.parametrize("overwrite", [in_batches, one_by_one, in_transactions, anew])
def test_overwriting_takes_no_room(
    tmp_path: Path, overwrite: Callable[[Lake, int], None], record_property: Any
) -> None:
    with open_lake(tmp_path) as lake:
        in_batches(lake, 0)
        live = used(lake)
        for turn in range(1, 201):
            overwrite(lake, turn)
        record_property(f"size after 200 overwrites, {overwrite.__name__}", used(lake) / live)
        assert used(lake) <= 2.5 * live
        assert lake.stats().objects == len(KEYS)
        assert [lake[key] for key in KEYS] == [value(key, 200) for key in KEYS]
        assert lake.verify().problems == []


def test_what_something_refers_to_stays(tmp_path: Path) -> None:
    with open_lake(tmp_path, inline_threshold=100) as lake:
        lake.store("a", "shared")
        lake.store("b", "shared")
        lake.store("seen", "by the snapshot")
        lake.create_snapshot("s")
        lake.store("a", "other")
        assert lake["b"] == "shared"
        lake.store_batch([{"key": "b", "value": 1}, {"key": "c", "value": "other"}])
        lake.delete("seen")
        assert lake.at("s")["a"] == lake.at("s")["b"] == "shared"
        assert lake.at("s")["seen"] == "by the snapshot"
        with lake.transaction() as tx:  # the content goes from one key to another
            tx.store("c", "third")
            tx.delete("a")
            tx.store("d", "other")
        assert (lake["c"], lake["d"]) == ("third", "other")
        lake.drop_snapshot("s")
        lake.maintain()
        assert lake.stats().objects == 3
        assert lake.verify().problems == []


def test_what_lies_in_the_storage_waits_for_a_collection(tmp_path: Path) -> None:
    with open_lake(tmp_path, inline_threshold=10) as lake:
        lake.store_batch({"key": key, "value": value(key, 0)} for key in KEYS)
        lake.store_batch({"key": key, "value": value(key, 1)} for key in KEYS)
        lake.store(KEYS[0], value(KEYS[0], 2))
        assert lake.stats().objects == 2 * len(KEYS) + 1
        assert lake.collect(grace=0).objects == len(KEYS) + 1
