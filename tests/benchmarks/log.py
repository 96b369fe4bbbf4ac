"""A catalog as a shared log: requests and bytes of each call, at a distance of 10 ms each way.

The place is a folder behind a wrapper that sleeps as long as the network would take.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import lakebed
from lakebed.catalog.log.log import Log
from lakebed.catalog.log.opening import open_log
from lakebed.catalog.log.store import LogStore
from lakebed.catalog.log.stores.bucket import BucketLogStore
from lakebed.catalog.opened import CatalogOptions
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import open_lake
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

WAY = 0.010  # seconds, each way
MEGABYTE = 1e6
PACKET = 1 << 16


class FarStore:
    """A store at a distance, which counts requests and bytes."""

    def __init__(self, inner: LogStore, way: float, rate: float = 0) -> None:
        self._inner = inner
        self._way = way
        self._rate = rate  # bytes a second, of all requests together; 0 for any
        self._link = threading.Lock()
        self._free = 0.0  # when the link has passed on what it was given
        self.item_bytes = inner.item_bytes
        self.requests: list[str] = []
        self.sent = self.received = 0

    def _go(self, name: str, data: bytes = b"") -> None:
        self.requests.append(name)
        self.sent += len(data)
        self._pass(data)
        time.sleep(2 * self._way)

    def _pass(self, data: bytes) -> None:
        """Wait as long as the data takes, of which packets of several requests take turns."""
        if not self._rate:
            return
        end = time.perf_counter()
        for start in range(0, len(data), PACKET):
            with self._link:
                end = max(end, self._free) + len(data[start : start + PACKET]) / self._rate
                self._free = end
            time.sleep(max(0.0, end - time.perf_counter()))

    def put_new(self, name: str, data: bytes) -> bool:
        self._go(f"put_new {name}", data)
        return self._inner.put_new(name, data)

    def get(self, name: str) -> bytes | None:
        found = self._inner.get(name)
        self._go(f"get {name}")
        if found is not None:
            self._pass(found)
            self.received += len(found)
        return found

    def put(self, name: str, data: bytes) -> None:
        self._go(f"put {name}", data)
        self._inner.put(name, data)

    def delete(self, name: str) -> None:
        self._go(f"delete {name}")
        self._inner.delete(name)

    def close(self) -> None:
        self._inner.close()


def _opened(store: LogStore, folder: Path, cache: str, **given: Any) -> Lake:
    options = CatalogOptions(cache=str(folder / cache))
    return open_lake(catalog=open_log(lambda: store, f"bench://{folder}", given, options))


@contextmanager
def _far(folder: Path, cache: str = "cache", **given: Any) -> Iterator[tuple[Lake, FarStore]]:
    store = FarStore(BucketLogStore(LocalStore(folder / "log")), WAY)
    with _opened(store, folder, cache, **given) as lake:
        yield lake, store


def _documents(number: int) -> list[object]:
    return [value for _, value in documents(number)]


def _puts(store: FarStore) -> int:
    """Puts of commits and their parts so far."""
    return sum(name.startswith(("put_new log/", "put_new part/")) for name in store.requests)


def _commits(store: FarStore) -> int:
    """Requests so far, without those for bases, which a thread makes."""
    kinds = ("put_new log/", "get log/", "put_new part/")
    return sum(name.startswith(kinds) for name in store.requests)


@benchmark
def log(room: Room) -> Iterator[Contest]:
    """A shared log at a distance of 10 ms each way."""
    yield from _store(room)
    yield from _retrieve(room)
    yield from _batch(room)
    yield from _cold(room)
    yield from _cold_beside_commits(room)


def _store(room: Room) -> Iterator[Contest]:
    docs = _documents(room.count(60))
    numbers = count()
    with _far(room.folder / "store") as (lake, store):
        lake.store_batch({"key": f"old/{n}", "value": doc} for n, doc in enumerate(docs * 10))

        def requests(_: int) -> float:
            before = _commits(store)
            for doc in docs[:10]:
                lake.store(f"new/{next(numbers)}", doc)
            return float(_commits(store) - before)

        def sent(_: int) -> float:
            before = len(list((room.folder / "store" / "log" / "log").glob("[0-9]*")))
            lake.store(f"new/{next(numbers)}", docs[0])
            return float((room.folder / "store" / "log" / "log" / f"{before + 1}").stat().st_size)

        yield Contest(
            "requests of a store", {OURS: requests, "at most": lambda _: 20.0}, {"at most": 1},
            operations=10, unit="requests", rounds=5,
        )  # fmt: skip
        yield Contest(
            "bytes of a small store", {OURS: sent, "at most": lambda _: 4096.0}, {"at most": 1},
            unit="bytes", rounds=5,
        )  # fmt: skip


def _retrieve(room: Room) -> Iterator[Contest]:
    docs = _documents(room.count(1000))
    keys = [f"k/{n}" for n in range(len(docs))]
    with (
        _far(room.folder / "retrieve", max_staleness=3600.0) as (lake, _),
        lakebed.open(room.folder / "sqlite") as local,
    ):
        for one in (lake, local):
            one.store_batch({"key": k, "value": d} for k, d in zip(keys, docs, strict=True))

        def read(one: Lake) -> None:
            for key in keys:
                one.retrieve(key)

        yield Contest(
            "a warm retrieve with max_staleness",
            {OURS: lambda _: read(lake), "SQLite": lambda _: read(local)}, {"SQLite": 1},
            operations=len(keys),
        )  # fmt: skip


def _batch(room: Room) -> Iterator[Contest]:
    docs = _documents(room.count(10_000))
    numbers = count()
    with _far(room.folder / "batch") as (lake, store):

        def requests(_: int) -> float:
            before, at = _puts(store), next(numbers)
            lake.store_batch({"key": f"{at}/{n}", "value": d} for n, d in enumerate(docs))
            return float(_puts(store) - before)

        yield Contest(
            f"puts of a batch of {len(docs):,}", {OURS: requests, "at most": lambda _: 4.0},
            {"at most": 1}, unit="puts", rounds=3,
        )  # fmt: skip


def _cold(room: Room) -> Iterator[Contest]:
    folder, docs = room.folder / "cold", _documents(room.count(100_000))
    inner = BucketLogStore(LocalStore(folder / "log"))
    with _opened(inner, folder, "writer") as lake:
        lake.store_batch({"key": f"k/{n}", "value": doc} for n, doc in enumerate(docs))
        size = (folder / "writer").rglob("*.db")
        for n in range(20):  # what has come since the base
            lake.store(f"since/{n}", docs[n])
    megabytes = sum(path.stat().st_size for path in size) / MEGABYTE
    numbers = count()

    def far() -> FarStore:
        return FarStore(inner, WAY, 50 * MEGABYTE)

    def cold(_: int) -> float:
        begin = time.perf_counter()
        with _opened(far(), folder, f"cold-{next(numbers)}") as lake:
            assert lake.retrieve("since/19") is not None
            return time.perf_counter() - begin

    def download(_: int) -> None:
        _read_base(far())

    def multiple(number: int) -> float:
        begin = time.perf_counter()
        download(number)
        took = time.perf_counter() - begin
        return cold(number) / took

    def read(_: int) -> float:
        store = far()
        with _opened(store, folder, f"cold-{next(numbers)}") as lake:
            assert lake.retrieve("since/19") is not None
        return store.received / MEGABYTE

    yield Contest(
        f"cold open of {megabytes:.0f} MB, at 50 MB a second",
        {OURS: cold, "download of its base": download},
        unit="ms", rounds=3,
    )  # fmt: skip
    base_bytes = _read_base(FarStore(inner, 0))
    yield Contest(
        "what a cold open reads, MB",
        {OURS: read, "twice the base": lambda _: 2 * base_bytes / MEGABYTE},
        {"twice the base": 1}, unit="MB", rounds=1,
    )  # fmt: skip
    with _opened(inner, folder, "writer") as lake:
        executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
        executor.make_base(forced=True)
        for n in range(20):
            lake.store(f"since/{n}", docs[n])
    yield Contest(
        "a cold open soon after a base, as a multiple of the download of that",
        {OURS: multiple, "at most": lambda _: 1.5}, {"at most": 1}, unit="times", rounds=5,
    )  # fmt: skip


def _read_base(store: LogStore) -> int:
    there = Log(store, 1.0)
    newest = there.newest()
    assert newest is not None
    return there.base(newest, lambda pieces: sum(map(len, pieces)))[1]


class WithoutBundles(FarStore):
    """The store of a log in which nobody has made bundles."""

    def get(self, name: str) -> bytes | None:
        return None if name.startswith("bundle/") else super().get(name)


def _cold_beside_commits(room: Room) -> Iterator[Contest]:
    folder, docs, last = room.folder / "beside", _documents(room.count(50_000)), ""
    inner = BucketLogStore(LocalStore(folder / "log"))
    sent = FarStore(inner, 0)
    with _opened(sent, folder, "writer") as lake:
        executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
        lake.store_batch({"key": f"k/{n}", "value": doc} for n, doc in enumerate(docs))
        executor._maker.join()
        executor.make_base(forced=True)
        before, commits = sent.sent, count()
        executor._look_at = math.inf  # for the next base
        while not executor._is_due():  # as many as a log may gather
            last = f"since/{next(commits)}"
            lake.store(last, docs[0])
    many = next(commits)
    each = (sent.sent - before) / many
    numbers = count()

    def multiple(kind: type[FarStore]) -> float:
        begin = time.perf_counter()
        _read_base(kind(inner, WAY, 50 * MEGABYTE))
        took, begin = time.perf_counter() - begin, time.perf_counter()
        store = kind(inner, WAY, 50 * MEGABYTE)
        with _opened(store, folder, f"cold-{next(numbers)}") as lake:
            assert last in lake
            return (time.perf_counter() - begin) / took

    yield Contest(
        f"a cold open beside {many:,} commits, as a multiple of the download of its base",
        {
            OURS: lambda _: multiple(FarStore),
            "without bundles": lambda _: multiple(WithoutBundles),
            "at most": lambda _: 1.5,
        },
        {"at most": 1}, unit="times", rounds=5,
    )  # fmt: skip
    yield Contest(
        "bytes that a small store sends, with its part of bundles",
        {OURS: lambda _: each, "at most": lambda _: 4096.0}, {"at most": 1},
        unit="bytes", rounds=1,
    )  # fmt: skip
