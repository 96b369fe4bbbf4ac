"""Redis, as Debian has it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import PASSWORD, Missing, server_folder
from tests.services.process import ServerProcess


class RedisServer:
    """A server that writes each command to its log before it answers: its data outlive a kill."""

    def __init__(self, folder: Path, program: str, *flags: str) -> None:
        self.process = ServerProcess(
            folder,
            lambda port: [
                program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder,
                # Processes die here, machines do not.
                "--save", "", "--appendonly", "yes", "--appendfsync", "no", *flags,
            ],
            ready=self._has_loaded,
        )  # fmt: skip
        self.port = self.process.port
        self._password = PASSWORD if "--requirepass" in flags else ""

    def _has_loaded(self, port: int) -> bool:
        import redis

        with redis.Redis(port=port, password=self._password or None) as client:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                return False

    def url(self, *, password: str | None = None) -> str:
        """Its address."""
        known = self._password if password is None else password
        return f"redis://{f':{known}@' if known else ''}127.0.0.1:{self.port}/0"

    def create_prefix(self) -> str:
        """A prefix for keys that nobody uses."""
        return f"t-{secrets.token_hex(6)}"


@contextmanager
def running_redis(require_server: Missing, *flags: str) -> Iterator[RedisServer]:
    """A server that runs meanwhile; `--requirepass` with the password of the tests closes it."""
    program = shutil.which("redis-server")
    if program is None:
        require_server("Redis", "apt-get install redis-server")
    with server_folder() as folder:
        server = RedisServer(folder, program, *flags)
        server.process.start()
        try:
            yield server
        finally:
            server.process.stop()


@pytest.fixture(scope="session")
def redis_server(require_server: Missing) -> Iterator[RedisServer]:
    """Redis."""
    with running_redis(require_server) as server:
        yield server


@pytest.fixture
def private_redis(require_server: Missing) -> Iterator[RedisServer]:
    """A server of the test's own, to be killed or paused."""
    with running_redis(require_server) as server:
        yield server


@pytest.fixture
def guarded_redis(require_server: Missing) -> Iterator[RedisServer]:
    """A server that asks for the password of the tests."""
    with running_redis(require_server, "--requirepass", PASSWORD) as server:
        yield server
