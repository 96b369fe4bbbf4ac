"""Collection on a bucket beside writers, whatever the clocks say and whenever requests arrive."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

import lakebed
from lakebed.clock import system_clock
from lakebed.lake import ownership
from lakebed.lake.lake import Lake
from lakebed.lake.upkeep.collecting import CollectReport
from lakebed.objects.names import object_path
from lakebed.objects.opening import open_store
from lakebed.objects.store import ObjectStore
from lakebed.testing import FaultyStore, open_lake
from tests.buckets import Service, through
from tests.catalog import cleaning_load
from tests.proxy import FaultyProxy

HOUR = 3600
SCALE = 1_000_000


def open_objects(service: Service, prefix: str = "lake") -> ObjectStore:
    scheme, server = service
    options = server.storage(f"{scheme}://{server.create_bucket()}/{prefix}")
    return open_store(str(options.pop("uri")), options)


def files(store: ObjectStore) -> set[str]:
    """The files of contents, without the mark of who owns the storage."""
    found = {file.path for part in ("objects", "packs") for file in store.list(part)}
    return {path for path in found if not path.startswith(f"{ownership.FOLDER}/")}


def test_writers_and_cleaners_that_die(
    service: Service, tmp_path: Path, soak: bool, record_property: Callable[[str, object], None]
) -> None:
    """Threads in processes write, collect, compact and purge together; some processes are killed.

    Every acknowledged value is there, and in the end no file that nothing names.
    """
    scheme, server = service
    lake = {
        "catalog": f"sqlite:///{tmp_path}/names.db",
        "storage": server.storage(f"{scheme}://{server.create_bucket()}/lake"),
        "inline_threshold": 1000,
    }
    lakebed.open(**lake).close()  # type: ignore[arg-type]
    rng, deaths, number = random.Random(), 0, 3
    until = time.time() + (180 if soak else 10)

    def start(n: int) -> cleaning_load.Process:
        spec = {"lake": lake, "until": until, "faults": True, "number": n, "threads": 2}
        return cleaning_load.Process(spec, tmp_path)

    processes = [start(n) for n in range(number)]
    while time.time() < until - 7:
        time.sleep(rng.uniform(2.5, 4.0))
        n = rng.randrange(number)
        processes[n].kill()
        processes[n] = start(n)
        deaths += 1
    for process in processes:
        process.finish(300)
    with lakebed.open(**lake) as opened:  # type: ignore[arg-type]
        done = cleaning_load.check(opened, tmp_path)
        record_property(f"{deaths} deaths on {scheme}, acknowledged changes", done)
        opened.collect(0, 0, orphans=True)
        assert cleaning_load.check(opened, tmp_path) == done
    assert deaths
    assert done


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
def test_a_clock_that_is_off(service: Service, tmp_path: Path, off: int) -> None:
    """The catalog's clock, against the bucket's. It moves the hour at which an orphan goes; what is
    written and not yet committed is spared because it is leased, however old it seems."""
    store, orphan_grace = open_objects(service), HOUR // 2
    with open_lake(
        tmp_path / "lake",
        clock=lambda: system_clock() + off * SCALE,
        objects=store,
        inline_threshold=10,
    ) as lake:
        orphan = object_path(bytes(32), "json")
        store.write(orphan, b"of a writer that died")
        acknowledged: dict[str, str] = {}
        done = threading.Event()

        def write(name: str) -> None:
            for n in range(8):
                key, value = f"{name}/{n % 3}", f"{name} {n} " * 50
                lake.store(key, value)
                acknowledged[key] = value
                batch = {f"{name}/b{m}": f"{name} {n} {m} " * 50 for m in range(3)}
                lake.store_batch({"key": key, "value": value} for key, value in batch.items())
                acknowledged.update(batch)

        def clean() -> None:
            while not done.is_set():
                lake.collect(0, orphan_grace, orphans=True)

        _together([clean], [lambda n=n: write(f"w{n}") for n in range(3)], done)  # type: ignore[misc]
        assert dict(lake.items()) == acknowledged
        lake.collect(0, orphan_grace, orphans=True)
        assert not lake.verify().problems
        assert (orphan in files(store)) is (off < 0)
        lake.collect(0, 0, orphans=True)  # a clock behind takes all that the bucket holds for young
        assert dict(lake.items()) == acknowledged


def _together(
    endless: list[Callable[[], None]], works: list[Callable[[], None]], done: threading.Event
) -> None:
    """Run all in threads; those that are endless until the others are through."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
            raise

    cleaners = [threading.Thread(target=run, args=(work,)) for work in endless]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in [*cleaners, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in cleaners:
        thread.join()
    assert not errors


class Watched(FaultyStore):
    """A store that calls `between` when bytes are in the bucket and no commit has named them."""

    between: Callable[[], object]

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self.between()

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        with super().open_write(path) as file:
            yield file
        self.between()


def test_an_upload_under_way_is_spared_whatever_its_age(service: Service, tmp_path: Path) -> None:
    """A collector comes by whose clock, the catalog's, is ten years ahead of the bucket's."""
    store = Watched(open_objects(service))
    with open_lake(
        tmp_path / "lake",
        clock=lambda: system_clock() + 87_600 * HOUR * SCALE,
        objects=store,
        inline_threshold=10,
    ) as lake:
        reports: list[CollectReport] = []
        store.between = lambda: reports.append(lake.collect(0, orphans=True))
        lake.store("a", "value " * 50)
        lake.store_batch({"key": f"b{n}", "value": f"{n} " * 50} for n in range(3))
        assert [(report.orphans, report.files) for report in reports] == [(0, 0)] * 2
        assert len(files(store)) == 2
        assert len(dict(lake.items())) == 4
        assert not lake.verify().problems


def test_a_put_that_arrives_behind_its_delete(
    service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    """The first try hangs in the network, the second is answered; the object is deleted, its
    content stored again, and then the first try arrives."""
    scheme, server = service
    storage = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy.port)
    with lakebed.open(
        catalog=f"sqlite:///{tmp_path}/names.db", storage=storage, inline_threshold=10
    ) as lake:
        lake["small"] = 1  # with the first write of a lake comes the mark of its storage
        proxy.hold = (b"PUT ", b"POST ")
        lake.store("a", "content " * 50)
        first = _uri(lake, "a")
        del lake["a"]
        lake.collect(grace=0)
        lake.store("b", "content " * 50)
        assert proxy.deliver() == 1
        assert lake["b"] == "content " * 50
        assert _uri(lake, "b") != first
        assert lake._objects is not None
        assert len(files(lake._objects)) == 2
        assert lake.collect(0, 0, orphans=True).orphans == 1
        assert len(files(lake._objects)) == 1
        assert lake["b"] == "content " * 50
        assert not lake.verify().problems


def _uri(lake: Lake, key: str) -> str:
    entry = lake.entry(key)
    assert entry is not None
    assert entry.storage_uri is not None
    return entry.storage_uri
