"""The stores of a shared log."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakebed.catalog.log.store import LogStore
from lakebed.catalog.log.stores.bucket import BucketLogStore
from lakebed.catalog.log.stores.redis import RedisLogStore
from lakebed.errors import ConfigurationError, ConnectError
from lakebed.objects.opening import open_store
from lakebed.testing import LogStoreConformance
from tests.servers import PASSWORD, S3Server
from tests.services.redis import RedisServer


class TestFolder(LogStoreConformance):
    def open_store(self, folder: Path, prefix: str) -> LogStore:
        return BucketLogStore(open_store(str(folder / prefix)))


class TestS3(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server = s3
        self.bucket = s3.create_bucket()

    def open_store(self, folder: Path, prefix: str) -> LogStore:
        del folder
        place = self.server.storage(f"s3://{self.bucket}/{prefix}")
        return BucketLogStore(open_store(str(place.pop("uri")), place))


class TestRedis(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url()

    def open_store(self, folder: Path, prefix: str) -> LogStore:
        del folder
        return RedisLogStore(self.url, prefix=prefix)


def test_redis_that_refuses(guarded_redis: RedisServer) -> None:
    for password in ("", "wrong-s3cret"):
        store = RedisLogStore(guarded_redis.url(password=password))
        with pytest.raises(ConnectError, match="Redis refuses access") as error:
            store.get("log/1")
        assert error.value.error_type == "auth_failed"
        assert "s3cret" not in str(error.value)
        store.close()
    store = RedisLogStore(guarded_redis.url())
    assert store.put_new("log/1", PASSWORD.encode())
    store.close()


def test_redis_that_does_not_answer(private_redis: RedisServer) -> None:
    store = RedisLogStore(private_redis.url(), timeout=0.3)
    assert store.put_new("log/1", b"x")
    private_redis.process.pause()
    with pytest.raises(ConnectError) as error:
        store.get("log/1")
    assert error.value.error_type == "connection_timeout"
    private_redis.process.resume()
    assert store.get("log/1") == b"x"
    private_redis.process.stop()
    with pytest.raises(ConnectError) as error:
        store.get("log/1")
    assert error.value.error_type == "connection_error"
    store.close()


def test_a_filesystem_without_a_conditional_write_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot write a file only if it is absent"):
        BucketLogStore(open_store("memory://log"))


def test_a_folder_holds_whole_files_only(tmp_path: Path) -> None:
    store = BucketLogStore(open_store(str(tmp_path)))
    assert store.put_new("log/1", b"a")
    assert not store.put_new("log/1", b"b")
    store.put("log/1", b"c")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["1"]
