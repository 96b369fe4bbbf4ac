"""Buckets behind a network that fails: what passes is retried, what does not is told in words."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConnectError, LakebedError, RateLimitedError, StorageError
from lakebed.objects.buckets import connection
from lakebed.objects.opening import open_store
from lakebed.objects.store import ObjectStore, Range
from tests.buckets import AZURE_KEY, SCHEMES, AzureServer, BucketServer, Service, through
from tests.http_proxy import Answer, http_proxy
from tests.proxy import FaultyProxy
from tests.servers import PASSWORD, free_port
from tests.waiting import in_time

PATH = "objects/ab/abcd-1.json"
Open = Callable[..., ObjectStore]


@pytest.fixture
def opened(service: Service, proxy: FaultyProxy) -> Iterator[Open]:
    """Opens a store of a new bucket through the proxy."""
    stores = []
    scheme, server = service
    uri = f"{scheme}://{server.create_bucket()}/lake"

    def open_it(**more: Any) -> ObjectStore:
        options = through(server, uri, proxy.port) | more
        stores.append(open_store(str(options.pop("uri")), options))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_service_names_the_time_to_wait(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gcsfs does not pass the header on."""
    server: BucketServer = request.getfixturevalue(kind)
    uri = f"{SCHEMES[kind]}://{server.create_bucket()}/lake"
    waits = list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    retrying = partial(connection.AsyncRetrying, sleep=sleep)
    monkeypatch.setattr(connection, "AsyncRetrying", retrying)
    slow = iter([Answer(503, b"", {"Retry-After": "7"})] * 2)
    with http_proxy(server.port) as proxy:
        options = through(server, uri, proxy.port)
        store = open_store(str(options.pop("uri")), options)
        proxy.refuse = lambda _: next(slow, None)
        store.write(PATH, b"0123456789")
        assert waits == [7, 7]
        assert store.read(PATH) == b"0123456789"
        store.close()
        proxy.refuse = lambda _: Answer(503, b"", {"Retry-After": "9"})
        impatient = open_store(uri, options | {"retry_timeout": 0})
        with pytest.raises(RateLimitedError, match="slow down") as raised:
            impatient.read(PATH)
        assert raised.value.retry_after == 9
        impatient.close()


def test_a_storm_of_refusals_passes(opened: Open, proxy: FaultyProxy) -> None:
    store = opened()
    proxy.refuse = 3
    store.write(PATH, b"0123456789")
    proxy.refuse = 2
    assert store.read(PATH) == b"0123456789"
    proxy.refuse = 2
    assert store.size(PATH) == 10
    proxy.refuse = 2
    assert [file.path for file in store.list("objects")] == [PATH]
    proxy.refuse = 2
    store.delete([PATH])
    with pytest.raises(FileNotFoundError):
        store.read(PATH)


def test_a_storm_that_lasts_is_told(opened: Open, proxy: FaultyProxy) -> None:
    store = opened(retry_timeout=0.5)
    proxy.refuse = 10_000
    with (
        in_time(20),
        pytest.raises(RateLimitedError, match=rf"cannot write .*{PATH}.*slow down.*0 s"),
    ):
        store.write(PATH, b"x")
    (found,) = store.read_many([Range(PATH)])
    assert isinstance(found, RateLimitedError)


def test_answers_that_do_not_arrive(opened: Open, proxy: FaultyProxy) -> None:
    """What was asked for has happened, though nobody heard of it."""
    store = opened()
    for content in (b"0123456789", bytes(range(250)) * 1200):
        proxy.lose = 2
        store.write(PATH, content)
        proxy.lose = 2
        assert store.read(PATH) == content
        proxy.lose = 2
        assert store.read(PATH, 3, 4) == content[3:7]
        proxy.lose = 2
        store.delete([PATH])
        assert list(store.list("objects")) == []


def test_bodies_cut_in_the_middle(opened: Open, proxy: FaultyProxy) -> None:
    store = opened()
    content = bytes(range(250)) * 1200
    store.write(PATH, content)
    for _ in range(3):
        proxy.halve = 2
        assert store.read(PATH) == content
        proxy.halve = 2
        assert store.read(PATH, 7, 100_000) == content[7:100_007]
    paths = [PATH, *(f"objects/cd/{n:02}.json" for n in range(20))]
    for path in paths[1:]:
        store.write(path, b"x")
    for _ in range(3):
        proxy.halve = 2
        assert [file.path for file in store.list("objects")] == paths
        assert proxy.halve == 0


def test_slow_answers(opened: Open, proxy: FaultyProxy) -> None:
    store = opened()
    proxy.delay = 0.3
    store.write(PATH, b"0123456789")
    assert store.read(PATH, 3, 4) == b"3456"
    assert [file.path for file in store.list("objects")] == [PATH]


def test_a_network_that_says_nothing_for_a_while(
    opened: Open, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent connection is given up and the request made again, until somebody answers."""
    for module in SCHEMES:
        monkeypatch.setattr(f"lakebed.objects.buckets.{module}.SILENCE_SECONDS", 0.5)
    store = opened()
    for call in (
        lambda: store.write(PATH, b"0123456789"),
        lambda: store.read(PATH),
        lambda: store.delete([PATH]),
    ):
        proxy.swallow = True
        threading.Timer(1.2, setattr, (proxy, "swallow", False)).start()
        assert call() in (None, b"0123456789")
    with pytest.raises(FileNotFoundError):
        store.read(PATH)


def test_large_files_in_parts(
    opened: Open, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("s3", "gcs", "cloud", "source"):
        monkeypatch.setattr(f"lakebed.objects.buckets.{module}.WHOLE_BYTES", 16 << 20)
    store = opened()
    content = bytes(range(256)) * (36 << 12)  # 36 MiB
    proxy.lose = 2
    with store.open_write(PATH) as file:
        file.write(content)
    assert store.size(PATH) == len(content)
    proxy.halve = 2
    assert store.read(PATH) == content
    assert store.read(PATH, 5 << 20, 20 << 20) == content[5 << 20 : 25 << 20]


READS = """
import json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from lakebed.objects.store import Range
from lakebed.objects.buckets import connection
from lakebed.objects.opening import open_store

def peak():  # not ru_maxrss, which begins with the parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10

def sockets():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found

options, path, count, size = json.loads(sys.argv[1])
store = open_store(options.pop("uri"), {**options, "max_connections": 1})
assert len(store.read(path)) == size
store.close()
begin, others = peak(), sockets()
store, most, done = open_store(store.uri("").rstrip("/"), options), 0, threading.Event()

def watch():
    global most
    while not done.wait(0.002):
        most = max(most, sockets() - others)

start = threading.Barrier(count)

def read(_):
    start.wait()
    return len(store.read(path))

watcher = threading.Thread(target=watch)
watcher.start()
with ThreadPoolExecutor(count) as pool:
    assert set(pool.map(read, range(count))) == {size}
took = peak() - begin
assert set(map(len, store.read_many([Range(path, 1, 100)] * count))) == {100}
done.set()
watcher.join()
store.close()
print(json.dumps([took, most]))
"""


def test_many_reads_in_flight(
    service: Service, record_property: Callable[[str, object], None], soak: bool
) -> None:
    """As many sockets as `max_connections` says, and as much memory: the other reads wait with
    nothing. Reads of 160 MB, or 400, in a process of its own."""
    scheme, server = service
    count, size, connections = 1000 if soak else 400, 400_000, 16
    options = server.storage(f"{scheme}://{server.create_bucket()}/lake")
    given = dict(options)
    store = open_store(str(given.pop("uri")), given)
    store.write(PATH, bytes(size))
    store.close()
    options["max_connections"] = connections
    ran = subprocess.run(
        [sys.executable, "-c", READS, json.dumps([options, PATH, count, size])],
        capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    took, sockets = json.loads(ran.stdout)
    about = f"{took >> 20} MiB, {sockets} sockets"
    record_property(f"{count} reads in flight on {scheme} took", about)
    assert 1 <= sockets <= connections + 2  # one that closes may last a little longer
    assert took < 100 << 20


def test_a_lake_behind_a_bad_network(
    service: Service, proxy: FaultyProxy, tmp_path: Path, soak: bool
) -> None:
    """No acknowledged write is lost, no name dangles, no value is false."""
    scheme, server = service
    storage = through(server, f"{scheme}://{server.create_bucket()}", proxy.port)
    stop = threading.Event()

    def spoil() -> None:
        random = Random(7)
        while not stop.wait(0.05):
            proxy.refuse = proxy.halve = proxy.lose = 0
            proxy.delay = 0.0
            fault = random.choice(("refuse", "halve", "lose", "delay", *[""] * 7))
            if fault:
                setattr(proxy, fault, {"refuse": 4, "delay": 0.1}.get(fault, 1))

    with lakebed.open(
        catalog=f"sqlite:///{tmp_path}/names.db", storage=storage, inline_threshold=10
    ) as lake:
        spoiler = threading.Thread(target=spoil)
        spoiler.start()
        try:
            acknowledged = {}
            for number in range(300 if soak else 20):
                key, value = f"k{number % 7}", f"{number}" * 50
                try:
                    lake.store(key, value)
                    acknowledged[key] = value
                except LakebedError:
                    pass  # what stood before must stand
                assert lake.retrieve(key, None) == acknowledged.get(key)
            lake.store_batch({"key": f"b{n}", "value": f"{n}" * 100} for n in range(50))
            lake.collect(grace=0, orphan_grace=0, orphans=True)
        finally:
            stop.set()
            spoiler.join()
            proxy.refuse = proxy.halve = proxy.lose = 0
            proxy.delay = 0.0
        batch = {f"b{n}": f"{n}" * 100 for n in range(50)}
        assert dict(lake.items()) == acknowledged | batch
        assert not lake.verify().problems


def test_what_is_wrong_is_told(service: Service) -> None:
    scheme, server = service
    options = server.storage(f"{scheme}://no-such-bucket/lake")
    store = open_store(str(options.pop("uri")), options)
    for act in (
        lambda: store.write(PATH, b"x"),
        lambda: store.read(PATH),
        lambda: list(store.list("objects")),
    ):
        with pytest.raises(StorageError, match=r"no bucket 'no-such-bucket'"):
            act()
    store.close()


def test_an_endpoint_that_does_not_answer(service: Service) -> None:
    scheme, server = service
    options = through(server, f"{scheme}://bucket/lake", free_port()) | {"retry_timeout": 0.3}
    store = open_store(str(options.pop("uri")), options)
    with pytest.raises(ConnectError, match="does not answer") as caught:
        store.write(PATH, b"x")
    assert PASSWORD not in str(caught.value)
    assert AZURE_KEY not in str(caught.value)
    store.close()


def test_a_wrong_key_for_azure(azure: AzureServer) -> None:
    """Azurite checks signatures; moto and fake-gcs-server let everybody in."""
    uri = f"az://{azure.create_bucket()}/lake"
    wrong = "d3Jvbmc="
    store = open_store(uri, {"connection_string": azure.connection_string(key=wrong)})
    with pytest.raises(ConnectError, match="account key or token is wrong") as caught:
        store.write(PATH, b"x")
    assert caught.value.error_type == "auth_failed"
    assert wrong not in str(caught.value)
    store.close()
