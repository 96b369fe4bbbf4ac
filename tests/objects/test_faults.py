"""Buckets behind a network that fails: what passes is retried, what does not is told in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConnectError, LakebedError, RateLimitedError, StorageError
from lakebed.objects.store import ObjectStore, Range, open_store
from tests.buckets import AZURE_KEY, AzureServer, BucketServer
from tests.proxy import FaultyProxy, faulty_proxy
from tests.servers import PASSWORD, free_port

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
PATH = "objects/ab/abcd-1.json"
Open = Callable[..., ObjectStore]


@pytest.fixture(params=SCHEMES)
def service(request: pytest.FixtureRequest) -> tuple[str, BucketServer]:
    return SCHEMES[request.param], request.getfixturevalue(request.param)


def through(server: BucketServer, uri: str, port: int) -> dict[str, Any]:
    """The storage by way of another port."""
    options = server.storage(uri)
    if isinstance(server, AzureServer):
        return options | {"connection_string": server.connection_string(port)}
    return options | {"endpoint_url": f"http://127.0.0.1:{port}"}


@pytest.fixture
def proxy(service: tuple[str, BucketServer]) -> Iterator[FaultyProxy]:
    with faulty_proxy(service[1].port) as proxy:
        yield proxy


@pytest.fixture
def opened(service: tuple[str, BucketServer], proxy: FaultyProxy) -> Iterator[Open]:
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
    begin = time.monotonic()
    with pytest.raises(RateLimitedError, match=rf"cannot write .*{PATH}.*slow down.*0 s"):
        store.write(PATH, b"x")
    assert time.monotonic() - begin < 20
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


def test_large_files_in_parts(
    opened: Open, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("s3", "gcs"):
        monkeypatch.setattr(f"lakebed.objects.{module}.WHOLE_BYTES", 16 << 20)
    store = opened()
    content = bytes(range(256)) * (36 << 12)  # 36 MiB
    proxy.lose = 2
    with store.open_write(PATH) as file:
        file.write(content)
    assert store.size(PATH) == len(content)
    proxy.halve = 2
    assert store.read(PATH) == content
    assert store.read(PATH, 5 << 20, 20 << 20) == content[5 << 20 : 25 << 20]


def test_many_reads_use_few_sockets(opened: Open, proxy: FaultyProxy, soak: bool) -> None:
    store = opened(max_connections=8)
    store.write(PATH, b"0123456789" * 100)
    proxy.most_sockets = 0
    count = 1000 if soak else 200
    with ThreadPoolExecutor(count // 2) as pool:
        found = list(pool.map(lambda _: store.read(PATH, 3, 4), range(count // 2)))
    assert found == [b"3456"] * (count // 2)
    assert store.read_many([Range(PATH, 3, 4)] * count) == found * 2
    assert 1 <= proxy.most_sockets <= 12  # the proxy still counts some that are closing


def test_a_lake_behind_a_bad_network(
    service: tuple[str, BucketServer], proxy: FaultyProxy, tmp_path: Path, soak: bool
) -> None:
    """No acknowledged write is lost, no name dangles, no value is false."""
    scheme, server = service
    storage = through(server, f"{scheme}://{server.create_bucket()}", proxy.port)
    stop = threading.Event()

    def spoil() -> None:
        random = Random(7)
        while not stop.wait(0.05):
            proxy.refuse = proxy.halve = proxy.lose = 0
            if random.random() < 0.3:
                setattr(proxy, random.choice(("refuse", "halve", "lose")), 1)

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
        batch = {f"b{n}": f"{n}" * 100 for n in range(50)}
        assert dict(lake.items()) == acknowledged | batch
        assert not lake.verify().problems


def test_what_is_wrong_is_told(service: tuple[str, BucketServer]) -> None:
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


def test_an_endpoint_that_does_not_answer(service: tuple[str, BucketServer]) -> None:
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
