"""The suite for stores of a shared log: `LogStoreConformance`."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Protocol

import pytest

from lakebed.catalog.log.store import LogStore

_LARGE = 4 << 20  # bytes of the largest item that the suite puts
_RACERS = 6
_RACES = 12


class OpenStore(Protocol):
    """A function that opens a store of the test's own items. Each prefix has its own items."""

    def __call__(self, prefix: str = "a") -> LogStore: ...


class LogStoreConformance(ABC):
    """The tests of a log store. Subclass it, and define how your store is opened.

        class TestMyStore(LogStoreConformance):
            def open_store(self, folder, prefix):
                return MyStore(folder / "items", prefix=prefix)

    Test a catalog over the store with `CatalogConformance`.
    """

    @abstractmethod
    def open_store(self, folder: Path, prefix: str) -> LogStore:
        """Open a store that keeps its items under `prefix`.

        `folder` exists and belongs to the test. `prefix` consists of letters and digits, and is new
        for each test. Opening the same prefix twice must give two clients of the same items.
        """

    @pytest.fixture
    def opening(self, tmp_path: Path) -> Iterator[OpenStore]:
        """A function that opens the test's store. Every store is closed at the end."""
        own = f"t{secrets.token_hex(8)}"
        opened: list[LogStore] = []

        def open_store(prefix: str = "a") -> LogStore:
            store = self.open_store(tmp_path, own + prefix)
            opened.append(store)
            return store

        yield open_store
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, opening: OpenStore) -> LogStore:
        """An empty store."""
        return opening()

    def test_a_missing_item_is_none(self, store: LogStore) -> None:
        assert store.get("log/1") is None

    def test_an_item_comes_back_as_it_was_put(self, store: LogStore) -> None:
        data = bytes(range(256)) * 5
        assert store.put_new("log/1", data) is True
        assert store.get("log/1") == data

    def test_a_name_is_given_once(self, store: LogStore) -> None:
        assert store.put_new("log/1", b"first") is True
        assert store.put_new("log/1", b"second") is False
        assert store.put_new("log/1", b"first") is False
        assert store.get("log/1") == b"first"

    def test_names_are_told_apart(self, store: LogStore) -> None:
        names = ["log/1", "log/10", "log/11", "base/1-a", "base/1-b", "part/a-1", "base/newest"]
        for name in names:
            assert store.put_new(name, name.encode())
        assert [store.get(name) for name in names] == [name.encode() for name in names]
        assert store.get("log/100") is None

    def test_a_long_name(self, store: LogStore) -> None:
        name = f"part/{'a1-' * 31}00"
        assert len(name) == 100
        assert store.put_new(name, b"x")
        assert store.get(name) == b"x"

    def test_put_replaces(self, store: LogStore) -> None:
        store.put("base/newest", b"a new one")
        assert store.get("base/newest") == b"a new one"
        assert store.put_new("base/newest", b"no") is False
        for data in (b"a much longer one" * 100, b"short"):
            store.put("base/newest", data)
            assert store.get("base/newest") == data

    def test_delete(self, store: LogStore) -> None:
        store.put_new("base/1-a", b"x")
        store.delete("base/1-a")
        assert store.get("base/1-a") is None
        store.delete("base/1-a")
        store.delete("base/2-b")

    def test_an_item_as_large_as_it_may_be(self, store: LogStore) -> None:
        assert store.item_bytes >= 1 << 16
        size = min(store.item_bytes, _LARGE)
        first, second = secrets.token_bytes(size), secrets.token_bytes(size)
        assert store.put_new("log/1", first)
        assert store.get("log/1") == first
        store.put("log/1", second)
        assert store.get("log/1") == second

    def test_clients_see_each_others_items_at_once(self, opening: OpenStore) -> None:
        one, other = opening(), opening()
        for number in range(10):
            name = f"log/{number}"
            assert other.get(name) is None
            assert one.put_new(name, b"one") is True
            assert other.put_new(name, b"other") is False
            assert other.get(name) == b"one"
            other.put(name, b"replaced")
            assert one.get(name) == b"replaced"

    def test_prefixes_do_not_meet(self, opening: OpenStore) -> None:
        stores = [opening(prefix) for prefix in ("a", "b", "ab", "a0")]
        for number, store in enumerate(stores):
            assert store.put_new("log/1", bytes([number])) is True
        stores[0].delete("log/1")
        assert [store.get("log/1") for store in stores] == [None, b"\1", b"\2", b"\3"]

    def test_one_winner_among_threads(self, opening: OpenStore) -> None:
        stores = [opening() for _ in range(_RACERS)]
        start = Barrier(_RACERS)

        def race(number: int) -> list[bool]:
            won = []
            for race in range(_RACES):
                start.wait(60)
                won.append(stores[number].put_new(f"log/{race}", bytes([number]) * 1000))
            return won

        with ThreadPoolExecutor(_RACERS) as pool:
            results = list(pool.map(race, range(_RACERS)))
        for number in range(_RACES):
            winners = [racer for racer, won in enumerate(results) if won[number]]
            assert len(winners) == 1, winners
            assert stores[0].get(f"log/{number}") == bytes(winners) * 1000

    def test_threads_share_a_client(self, store: LogStore) -> None:
        def work(thread: int) -> bool:
            names = [f"part/{thread}-{number}" for number in range(5)]
            put = all(store.put_new(name, name.encode()) for name in names)
            return put and all(store.get(name) == name.encode() for name in names)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))

    def test_a_store_says_nothing_of_its_secrets(self, store: LogStore) -> None:
        assert not re.search(r"s3cret|password=", repr(store))
