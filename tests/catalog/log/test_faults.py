"""Stores that lose answers, answer late, repeat, refuse, or read from an old state: the right error
or the right result, and never two logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lakebed.catalog.log import bases, bundles
from lakebed.catalog.log.executor import LogExecutor
from lakebed.catalog.log.items import entry, from_bytes, to_bytes
from lakebed.catalog.log.opening import open_log
from lakebed.catalog.log.store import LogStore
from lakebed.catalog.opened import CatalogOptions
from lakebed.errors import (
    CatalogError,
    ConflictError,
    ConnectError,
    CorruptionError,
    LakebedError,
    LockTimeoutError,
    RateLimitedError,
)
from lakebed.lake.lake import Lake
from lakebed.testing import open_lake
from lakebed.testing.log_faults import LOG_FAULTS, FaultyLogStore, LogFault, MemoryLogStore
from tests.catalog.log.blocks import check_bundles, small_blocks
from tests.waiting import until, within

CLIENTS = 3
PASSING = (ConnectError, RateLimitedError, CatalogError, LockTimeoutError)


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_blocks():
        yield


def lake_on(store: LogStore, folder: Path, **settings: Any) -> Lake:
    """A lake whose log is in `store`."""
    options = CatalogOptions(
        cache=str(folder / "cache"), lock_timeout=settings.pop("lock_timeout", 30.0)
    )
    return open_lake(catalog=open_log(lambda: store, "test://", settings, options))


def check_log(store: MemoryLogStore) -> int:
    """The log has no gap, and no commit was ever replaced by another; how long it is."""
    n = 0
    while f"log/{n + 1}" in store.items:
        n += 1
        items = [from_bytes(f"log/{n}", data) for data in store.history[f"log/{n}"]]
        assert len({item.token for item in items}) == 1, f"log/{n} has had two commits"
        assert [item.kind for item in items[1:]] == ["tombstone"] * (len(items) - 1)
    check_bundles(store.history)
    others = [name for name in store.items if name.startswith("log/")]
    assert len(others) == n, f"beyond log/{n} there are {sorted(others)[-3:]}"
    return n


class Client(threading.Thread):
    """Counts, and stores what is its own."""

    def __init__(self, lake: Lake, number: int, turns: int) -> None:
        super().__init__()
        self.lake, self.number, self.turns = lake, number, turns
        self.acknowledged = self.unknown = 0
        self.own: dict[str, set[int | None]] = {}
        self.told: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for turn in range(self.turns):
                self.increment()
                self.store(f"own/{self.number}/{turn % 5}", turn)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failure = error

    def increment(self) -> None:
        while True:
            try:
                entry = self.lake.entry("counter")
            except PASSING:
                continue
            assert entry is not None
            try:
                self.lake.store("counter", entry.value + 1, if_match=entry.content_hash)
            except ConflictError:
                continue
            except PASSING as error:
                self.unknown += 1
                self.told.append(str(error))
            else:
                self.acknowledged += 1
            return

    def store(self, key: str, value: int) -> None:
        before = self.own.get(key, {None})
        self.own[key] = before | {value}
        try:
            self.lake.store(key, value)
        except PASSING:
            return
        self.own[key] = {value}


@pytest.mark.parametrize("fault", [*LOG_FAULTS, "all"])
def test_clients_on_a_store_that_fails(tmp_path: Path, fault: LogFault, soak: bool) -> None:
    inner = MemoryLogStore(item_bytes=8192)  # so that large commits and bases come in parts
    rate = 0.04 if fault == "all" else 0.15
    rates: dict[LogFault, float] = dict.fromkeys(LOG_FAULTS if fault == "all" else (fault,), rate)
    lake_on(inner, tmp_path / "first").store("counter", 0)
    stores = [FaultyLogStore(inner, rates, seed) for seed in range(CLIENTS)]
    with patch.object(bases, "_LEAST_BYTES", 40_000), patch.object(bases, "_PAUSE", 0.0):
        lakes = []
        for number, store in enumerate(stores):
            while len(lakes) == number:
                with suppress(*PASSING):
                    lakes.append(lake_on(store, tmp_path, lock_timeout=2.0))
        clients = [Client(lake, n, 200 if soak else 15) for n, lake in enumerate(lakes)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        for lake in lakes:
            lake.close()
    assert [client.failure for client in clients] == [None] * CLIENTS
    for store in stores:
        store.arrive()
    assert all(any(store.counts[one] for store in stores) for one in rates)
    check_log(inner)
    assert check_bundles(inner.history)
    # Two clients, one of which has come through all of it, have the same.
    for cache in (tmp_path, tmp_path / "new"):
        with lake_on(inner, cache) as lake:
            count = lake.retrieve("counter")
            least = sum(client.acknowledged for client in clients)
            assert least <= count <= least + sum(client.unknown for client in clients)
            for client in clients:
                for key, possible in client.own.items():
                    assert lake.retrieve(key, None) in possible | (
                        {None} if len(possible) > 1 else set()
                    )
            assert not lake.verify().problems


class Gate(MemoryLogStore):
    """Puts wait until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.waiting = threading.Event()
        self.opened.set()

    def put_new(self, name: str, data: bytes) -> bool:
        self.waiting.set()
        assert self.opened.wait(30)
        return super().put_new(name, data)


def test_readers_neither_wait_for_a_put_nor_see_it(tmp_path: Path) -> None:
    store = Gate()
    with lake_on(store, tmp_path) as lake:
        lake.store("k", "before")
        store.opened.clear()
        store.waiting.clear()
        writer = threading.Thread(target=lake.store, args=("k", "after"))
        writer.start()
        assert store.waiting.wait(30)
        assert lake.retrieve("k") == "before"
        assert [entry.value for entry in lake.list()] == ["before"]
        store.opened.set()
        writer.join()
        assert lake.retrieve("k") == "after"


def test_threads_share_a_put(tmp_path: Path) -> None:
    store = Gate()
    with lake_on(store, tmp_path) as lake:
        lake.store("k", 0)
        first = check_log(store)
        store.opened.clear()
        store.waiting.clear()
        threads = [threading.Thread(target=lake.store, args=(f"k{n}", n)) for n in range(20)]
        threads[0].start()
        assert store.waiting.wait(30)
        for thread in threads[1:]:
            thread.start()
        until(lambda: within(LogExecutor.transact) == 20)
        store.opened.set()
        for thread in threads:
            thread.join()
        assert len(lake) == 21
        assert check_log(store) - first <= 5


def test_a_commit_that_loses_shows_nothing_of_itself(tmp_path: Path) -> None:
    store = MemoryLogStore()
    with lake_on(store, tmp_path / "a") as one, lake_on(store, tmp_path / "b") as other:
        one.store("k", 1)
        assert other.retrieve("k") == 1
        entry = other.entry("k")
        one.store("k", 2)
        with pytest.raises(ConflictError):
            other.store("k", 3, if_match=entry.content_hash)
        assert other.retrieve("k") == 2
        with pytest.raises(ConflictError):  # and on a state that only seemed to be the present
            one.store("k", 4, if_absent=True)
        check_log(store)


def test_a_commit_that_stays_in_doubt_says_so(tmp_path: Path) -> None:
    inner = MemoryLogStore()
    with lake_on(inner, tmp_path / "a") as lake:
        lake.store("k", 1)
    store = FaultyLogStore(inner, {})
    with lake_on(store, tmp_path / "b", lock_timeout=0.3) as lake:
        assert lake.retrieve("k") == 1
        store._rates = {"fail": 1.0}
        with pytest.raises(LakebedError, match=r"injected.*is unknown whether"):
            lake.store("k", 2)
        store._rates = {}
        assert lake.retrieve("k") == 1
        store._rates = {"late": 1.0}
        with pytest.raises(ConnectError, match="is unknown whether"):
            lake.store("k", 3)
        store._rates = {}
        store.arrive()
        assert lake.retrieve("k") == 3
        lake.store("k", 4)
    check_log(inner)


def test_a_false_after_a_repeated_put_leaves_doubt_too(tmp_path: Path) -> None:
    """A store that repeats calls says False to what its first try has put, and then it is gone."""
    store = MemoryLogStore()
    with lake_on(store, tmp_path, lock_timeout=0.3) as lake:
        lake.store("k", 1)
        get, put_new = store.get, store.put_new

        def put_twice(name: str, data: bytes) -> bool:
            put_new(name, data)
            store.get = no_answer  # type: ignore[method-assign]
            return put_new(name, data)

        def no_answer(name: str) -> bytes | None:
            raise ConnectError(f"injected: no answer for {name}")

        store.put_new = put_twice  # type: ignore[method-assign]
        with pytest.raises(ConnectError, match=r"injected.*is unknown whether"):
            lake.store("k", 2)
        store.get, store.put_new = get, put_new  # type: ignore[method-assign]
        assert lake.retrieve("k") == 2
    check_log(store)


def test_a_client_that_slept_through_ten_bases_catches_up(tmp_path: Path) -> None:
    store = MemoryLogStore()
    with lake_on(store, tmp_path / "a") as awake, lake_on(store, tmp_path / "b") as asleep:
        awake.store("k", 0)
        assert asleep.retrieve("k") == 0
        executor: Any = awake._catalog._executor  # type: ignore[attr-defined]
        with patch.object(bases, "_GRACE", -1):  # and all but the newest are deleted
            for number in range(11):
                awake.store("k", number)
                assert executor.make_base(forced=True)
        assert len([name for name in store.items if name.startswith("base/")]) <= 3
        assert asleep.retrieve("k") == 10
        asleep.store("k", 11)
        assert awake.retrieve("k") == 11
        assert not asleep.verify().problems
        del store.items["base/newest"]  # a hint that is lost, or never came
        with lake_on(store, tmp_path / "c") as new:
            assert new.retrieve("k") == 11
    check_log(store)


def test_a_log_whose_bases_are_gone_says_so(tmp_path: Path) -> None:
    store = MemoryLogStore()
    with (
        lake_on(store, tmp_path / "a") as awake,
        lake_on(store, tmp_path / "b", lock_timeout=0.5) as asleep,
    ):
        awake.store("k", 0)
        assert asleep.retrieve("k") == 0
        awake.store("k", 1)
        executor: Any = awake._catalog._executor  # type: ignore[attr-defined]
        executor.make_base(forced=True)
        for name in list(store.items):
            if name.startswith("base/"):
                del store.items[name]
        with pytest.raises(CorruptionError, match=r"its base base/\S+ is missing"):
            asleep.retrieve("k")
        assert awake.retrieve("k") == 1


def test_a_purge_leaves_nothing_in_the_log(tmp_path: Path) -> None:
    store = MemoryLogStore()
    word = "what-nobody-must-find"
    with lake_on(store, tmp_path) as lake, lake_on(store, tmp_path) as other:
        lake.store("k", {"it": word})
        lake.create_snapshot("s")
        for number in range(30):
            lake.store(f"other/{number}", number)
        executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
        executor.make_base(forced=True)
        assert other.retrieve("k") == {"it": word}
        report = lake.purge("k")
        assert any("base" in words for words in report.remains)
        assert not [n for n in store.items if n.startswith("log/") and len(store.items[n]) > 2000]
        with patch.object(bases, "_GRACE", -1):
            lake.maintain()
        for name, data in store.items.items():
            assert word not in plain(name, data), name
        assert other.retrieve("k", None) is None
        assert len(other) == 30
        assert not other.verify().problems
    assert word.encode() not in b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )


def plain(name: str, data: bytes) -> str:
    """What an item holds, unpacked."""
    from lakebed.catalog.log.items import zstd

    item = from_bytes(name, data)
    if item.kind == "bundle":
        commits = bundles.unpack(int(name.partition("/")[2]), item)
        return "".join(plain(entry(n), to_bytes(commit)) for n, commit in commits.items())
    return (zstd.decompress(item.body) if item.body else b"").decode("latin-1")
