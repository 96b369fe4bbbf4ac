"""MongoDB, as SecantusDB speaks it: a storage of WiredTiger's behind MongoDB's wire protocol."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PASSWORD, Missing, server_folder
from tests.services.process import ServerProcess


class MongoDBServer:
    """A server that speaks MongoDB's wire; with `--sync-on-commit` its data outlive a kill."""

    def __init__(self, folder: Path, program: Path, *flags: str) -> None:
        self._flags = [*flags]
        self.process = ServerProcess(
            folder,
            lambda port: [
                program, "--host", "127.0.0.1", "--port", str(port), "--log-level", "WARNING",
                "--storage-path", folder / "data", "--cache-size", "128M", *self._flags,
            ],
        )  # fmt: skip
        self.port = self.process.port

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process.start()

    def require_passwords(self, user: str = "writer") -> None:
        """From now on only this user gets in, with the password of the tests."""
        with self.client() as client:
            roles = [{"role": "root", "db": "admin"}]
            client.admin.command("createUser", user, pwd=PASSWORD, roles=roles)
        self.process.kill()
        self._flags.append("--auth")
        self.process.start()

    def client(self) -> Any:
        """A client of pymongo, which the caller closes."""
        import pymongo

        return pymongo.MongoClient(self.url(), serverSelectionTimeoutMS=10_000)

    def url(self, database: str = "", *, user: str = "", password: str = PASSWORD) -> str:
        """The address of a database."""
        who = f"{user}:{password}@" if user else ""
        source = "&authSource=admin" if user else ""
        return f"mongodb://{who}127.0.0.1:{self.port}/{database}?directConnection=true{source}"

    def create_database(self) -> str:
        """The name of a database that nobody uses; the first write makes it."""
        return f"t_{secrets.token_hex(6)}"


@contextmanager
def running_mongodb(require_server: Missing, *flags: str) -> Iterator[MongoDBServer]:
    """A server that runs meanwhile."""
    program = Path(sys.prefix, "bin", "secantusd-py")
    if not program.exists():
        require_server("MongoDB", "the package secantusdb is not installed")
    with server_folder() as folder:
        server = MongoDBServer(folder, program, *flags)
        server.start()
        try:
            yield server
        finally:
            server.process.stop()


@pytest.fixture(scope="session")
def mongodb(require_server: Missing) -> Iterator[MongoDBServer]:
    """MongoDB."""
    with running_mongodb(require_server) as server:
        yield server


@pytest.fixture
def private_mongodb(require_server: Missing) -> Iterator[MongoDBServer]:
    """A server of the test's own, to be killed, paused, or given passwords."""
    with running_mongodb(require_server, "--sync-on-commit") as server:
        yield server


@pytest.fixture
def mongodb_with_faults(require_server: Missing) -> Iterator[MongoDBServer]:
    """A server of the test's own, which takes `configureFailPoint`."""
    with running_mongodb(require_server, "--enable-test-commands") as server:
        yield server
