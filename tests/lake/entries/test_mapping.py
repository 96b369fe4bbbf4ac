"""The mapping habits of a lake that others use at the same time."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.entries import listing
from lakebed.lake.lake import Lake


def test_pop() -> None:
    with lakebed.open(":memory:") as lake:
        lake["a"] = None
        assert lake.pop("a") is None
        assert lake.pop("a", "default") == "default"
        with pytest.raises(NotFoundError, match="'a'"):
            lake.pop("a")
        with pytest.raises(ValidationError):
            lake.pop("", None)


def test_popitem() -> None:
    with lakebed.open(":memory:") as lake:
        lake.update({"b": 2, "a": 1})
        assert [lake.popitem(), lake.popitem()] == [("a", 1), ("b", 2)]
        with pytest.raises(NotFoundError, match="empty"):
            lake.popitem()


def test_pop_gives_what_it_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    with lakebed.open(":memory:") as lake:
        lake["a"] = 1
        delete = lakebed.Lake.delete

        def overtaken(self: lakebed.Lake, key: str, *, if_match: str | None = None) -> bool:
            monkeypatch.setattr(lakebed.Lake, "delete", delete)
            self.store(key, 2)
            return self.delete(key, if_match=if_match)

        monkeypatch.setattr(lakebed.Lake, "delete", overtaken)
        assert lake.pop("a") == 2
        assert "a" not in lake


@pytest.mark.parametrize("take", ["pop", "popitem"])
def test_each_value_is_popped_once(tmp_path: Path, take: str) -> None:
    count, start = 60, threading.Barrier(4)
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch({"key": f"k{n:03}", "value": n} for n in range(count))

        def pop_all(_: int) -> list[int]:
            start.wait()
            if take == "pop":
                taken = [lake.pop(f"k{n:03}", None) for n in range(count)]
                return [value for value in taken if value is not None]
            taken = []
            while True:
                try:
                    taken.append(lake.popitem()[1])
                except NotFoundError:
                    return taken

        with ThreadPoolExecutor(4) as pool:
            popped = [value for taken in pool.map(pop_all, range(4)) for value in taken]
        assert sorted(popped) == list(range(count))
        assert len(lake) == 0


@pytest.mark.parametrize("call", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_lake_is_neither_pickled_nor_copied(tmp_path: Path, call: Callable[[Lake], Any]) -> None:
    with (
        lakebed.open(tmp_path / "lake") as lake,
        pytest.raises(TypeError, match="open it again in each process"),
    ):
        call(lake)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 18, 19, 40])  # pages of 2, 8, 8 … keys
def test_keys_come_by_pages(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    monkeypatch.setattr(listing, "_MOST_KEYS", 8)
    keys = [f"s/{n:02}" for n in range(count)]
    with lakebed.open(":memory:") as lake:
        lake.store_batch({"key": key, "value": 0} for key in keys)
        lake.store("t", 0)
        lake.create_snapshot("then")
        lake.store_batch({"key": key, "value": 1} for key in keys[::3])
        lake.store("u", 1)
        lake.delete("t")
        assert list(lake) == [*keys, "u"]
        assert list(lake.at("then")) == [*keys, "t"]
        scope = lake.scope("s")
        assert list(scope) == [key.removeprefix("s/") for key in keys]
