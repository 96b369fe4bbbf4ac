"""Locks in a folder and in buckets, by puts that replace nothing."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConfigurationError, ConnectError, CorruptionError, LockTimeoutError
from lakebed.locks import Lock, create_lock
from lakebed.locks.bucket import BucketLock
from lakebed.testing import FakeClock, LockConformance
from tests.buckets import SCHEMES, Service
from tests.locks.processes import LockProcesses
from tests.servers import S3Server
from tests.waiting import LONG, in_time


class TestFolder(LockConformance, LockProcesses):
    kind = "bucket"

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "locks")

    @pytest.fixture
    def options(self, place: str) -> Mapping[str, object]:
        return {"uri": place}

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("bucket", name, ttl, uri=place, **options)


class TestS3(LockConformance):
    workers, turns = 3, 4
    names = ("a", "a/b", "../a")

    @pytest.fixture
    def place(self, s3: S3Server) -> dict[str, object]:
        return s3.storage(f"s3://{s3.create_bucket()}/locks")

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("bucket", name, ttl, **place, **options)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "s3"])
def test_other_buckets(scheme: str, request: pytest.FixtureRequest) -> None:
    service: Service = SCHEMES[scheme], request.getfixturevalue(scheme)
    protocol, server = service
    storage = server.storage(f"{protocol}://{server.create_bucket()}/locks")
    clock = FakeClock()
    first, second = (create_lock("bucket", "a", 60, clock=clock, **storage) for _ in range(2))
    token = first.acquire(timeout=0)
    with pytest.raises(LockTimeoutError):
        second.acquire(timeout=0)
    first.refresh()
    clock.advance(61)
    assert second.acquire(timeout=0) == token + 1
    assert first.release() is False
    assert second.release() is True
    first.close()
    second.close()


class _Between(BucketLock):
    """A lock that lets something happen just before it writes its file."""

    happens: Any = None

    def _content(self, owner: str) -> bytes:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return super()._content(owner)


def test_a_refresh_while_another_takes_the_next_token(tmp_path: Path) -> None:
    """It saw, by a clock that is ahead, that the owner's time had passed; the owner refreshed."""
    clock, ahead = FakeClock(), FakeClock()
    owner = BucketLock("a", 60, uri=tmp_path, clock=clock)
    other = _Between("a", 60, uri=tmp_path, clock=ahead)
    owner.acquire()
    ahead.advance(61)
    other.happens = owner.refresh
    clock.advance(30)
    with pytest.raises(LockTimeoutError):
        other.acquire(timeout=0)
    assert owner.is_held


def test_a_token_that_was_deleted_is_not_taken_again(tmp_path: Path) -> None:
    """Two others had the lock, and the first of them tidied up, between the look and the write."""
    clock = FakeClock()
    slow = _Between("a", 60, uri=tmp_path, clock=clock)

    def two_owners() -> None:
        for _ in range(3):
            with BucketLock("a", 60, uri=tmp_path, clock=clock):
                pass

    slow.happens = two_owners
    with pytest.raises(LockTimeoutError):
        slow.acquire(timeout=0)
    assert slow.acquire(timeout=0) == 4


def test_few_files_are_left(tmp_path: Path) -> None:
    for _ in range(20):
        with create_lock("bucket", "a", uri=tmp_path):
            pass
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_what_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="memory:// cannot write a file only if"):
        create_lock("bucket", "a", uri="memory://x")
    with pytest.raises(ConfigurationError, match="uri"):
        create_lock("bucket", "a")
    with pytest.raises(ConfigurationError, match="option"):
        create_lock("bucket", "a", uri=tmp_path, endpoint_url="http://x")
    lock = create_lock("bucket", "a", uri=tmp_path)
    lock.acquire()
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(b"nonsense")
    with pytest.raises(CorruptionError, match="is not the file of a lock"):
        create_lock("bucket", "a", uri=tmp_path).acquire()


def test_a_bucket_that_is_silent() -> None:
    """It is asked for as long as requests are repeated, not for as long as a request may take."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent: dict[str, object] = {
            "endpoint_url": f"http://127.0.0.1:{server.getsockname()[1]}",
            "key": "a", "secret": "b", "region": "r-1", "retry_timeout": 1,
            "config_kwargs": {"read_timeout": LONG},
        }  # fmt: skip
        lock = BucketLock("n", uri="s3://b/x", **silent)
        with in_time(), pytest.raises(ConnectError, match=r"no(t)? answer"):
            lock.acquire(timeout=1)
        lock.close()
