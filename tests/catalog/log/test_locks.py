"""The lock of blob-sqlite spares lost races, and is never what makes the log right."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.log.opening import open_log
from lakebed.catalog.opened import CatalogOptions
from lakebed.errors import ConfigurationError, ConflictError, ConnectError
from lakebed.lake.lake import Lake
from lakebed.locks import Lock
from lakebed.ltm import create_ltm_backend
from lakebed.testing import open_lake
from lakebed.testing.log_faults import MemoryLogStore
from tests.catalog.log.test_faults import check_log
from tests.servers import PASSWORD, free_port
from tests.services.redis import RedisServer


class LyingLock(Lock):
    """Says to everybody that he has it."""

    def _take(self, owner: str) -> int | None:
        return len(owner)

    def _extend(self, owner: str, token: int) -> bool:
        return bool(owner) or bool(token)

    def _free(self, owner: str, token: int) -> bool:
        return bool(owner) or bool(token)


class DeadLock(LyingLock):
    """Cannot be reached."""

    def _take(self, owner: str) -> int | None:
        raise ConnectError(f"injected: nobody is there for {owner}")


class TakenLock(LyingLock):
    """Another one has it, for ever."""

    def _take(self, owner: str) -> int | None:
        return None if owner else 1


def count(lake: Lake, times: int) -> None:
    for _ in range(times):
        while True:
            entry = lake.entry("counter")
            assert entry is not None
            try:
                lake.store("counter", entry.value + 1, if_match=entry.content_hash)
                break
            except ConflictError:
                pass


@pytest.mark.parametrize("kind", [LyingLock, DeadLock])
def test_a_lock_that_lies_loses_nothing(tmp_path: Path, kind: type[Lock]) -> None:
    store, clients, times = MemoryLogStore(), 4, 15
    lakes = []
    for _ in range(clients):
        options = CatalogOptions(cache=str(tmp_path))
        opened = open_log(lambda: store, "test://", {}, options, lock=lambda: kind("name", 5))
        lakes.append(open_lake(catalog=opened))
    lakes[0].store("counter", 0)
    threads = [threading.Thread(target=count, args=(lake, times)) for lake in lakes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lake.retrieve("counter") for lake in lakes] == [clients * times] * clients
    for lake in lakes:
        lake.close()
    check_log(store)


def test_a_lock_that_others_keep_only_makes_slow(tmp_path: Path) -> None:
    store, options = MemoryLogStore(), CatalogOptions(cache=str(tmp_path), lock_timeout=5)
    opened = open_log(lambda: store, "test://", {}, options, lock=lambda: TakenLock("name", 0.01))
    with open_lake(catalog=opened) as lake:
        lake.store("k", 1)
        assert lake.retrieve("k") == 1


def test_with_a_lock_in_redis(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given: dict[str, Any] = {
        "blob_uri": str(tmp_path / "names"),
        "lock_backend": "redis",
        "lock_ttl": 5,
        "lock_options": {"url": redis_server.url()},
    }
    with lakebed.open(catalog={"type": "blob-sqlite", **given}) as lake:
        lake.store("counter", 0)
        with create_ltm_backend("blob-sqlite", **given) as memory:
            threads = [
                threading.Thread(target=count, args=(one, 10)) for one in (lake, memory.lake)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert memory.retrieve("counter")["value"] == 20


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"lock_backend": "zookeeper"}, "lock_backend is 'zookeeper': expected none, redis"),
        ({"lock_backend": "redis"}, "url"),
        ({"lock_options": {"url": "redis://h"}}, "catalog.lock_options: expected"),
        ({"lock_ttl": -1}, "catalog.lock_ttl is -1"),
    ],
)
def test_wrong_options(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    catalog = {"type": "blob-sqlite", "blob_uri": str(tmp_path / "names"), **more}
    with pytest.raises(ConfigurationError, match=told):
        lakebed.open(catalog=catalog)
    with pytest.raises(ConfigurationError, match=r"catalog\.blob_uri is missing"):
        lakebed.open(catalog={"type": "blob-sqlite"})


def test_redis_by_every_name(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, prefix = redis_server.url(), redis_server.create_prefix()
    with lakebed.open(catalog={"type": "redis", "url": url, "prefix": prefix}) as lake:
        lake.store("k", 1)
    with lakebed.open(catalog=f"{url}?prefix={prefix}") as lake:
        assert lake.retrieve("k") == 1
    with lakebed.open(catalog={"type": "redis", "url": url, "prefix": f"{prefix}2"}) as lake:
        assert list(lake) == []
    with lakebed.open({"backend": "redis", "url": url, "prefix": prefix}) as lake:
        assert lake.retrieve("k") == 1
    with create_ltm_backend("redis", url=url, prefix=prefix) as memory:
        assert memory.retrieve("k")["value"] == 1
    with pytest.raises(ConfigurationError, match=r"catalog\.url: expected redis://"):
        lakebed.open(catalog={"type": "redis", "url": "http://nowhere"})


def test_redis_that_is_not_there(tmp_path: Path) -> None:
    address = f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}/0"
    with pytest.raises(ConnectError) as error:
        lakebed.open(catalog={"type": "redis", "url": address}, cache=tmp_path, lock_timeout=0.2)
    assert PASSWORD not in str(error.value)
    with create_ltm_backend("redis", url=address, lazy=True, lock_timeout=0.2) as memory:
        told = memory.retrieve("k")
    assert told["error_type"] == "connection_error"
    assert PASSWORD not in str(told)
