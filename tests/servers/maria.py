"""MariaDB."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.base import (
    PASSWORD,
    PATIENCE,
    Missing,
    as_user,
    copy_data,
    die_with_parent,
    free_port,
    server_folder,
)
from tests.sharing import made_once


class MariaDBServer:
    """One MariaDB server; `start` and `kill` it as often as you like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its data folder."""
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}",
             "--auth-root-authentication-method=normal", "--skip-test-db",
             f"--tmpdir={self.folder}"],
            check=True, capture_output=True, cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.folder)}, **as_user(),
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program or "mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}",
                 f"--socket={self.socket}", f"--pid-file={self.folder / 'pid'}",
                 f"--tmpdir={self.folder}",  # servers that share one delete each other's tables
                 "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve",
                 # Processes die here, machines do not.
                 "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
                 "--max-connections=200"],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent,
                **as_user(),
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it takes connections."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def log(self) -> str:
        """The end of what it has said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """SIGKILL, as when the machine's memory is full."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it; its data are not needed any more, so it may as well be killed."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def url(self, database: str) -> str:
        """The address of a database, which is made if it is not there."""
        self.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
        return f"mysql://root@localhost/{database}?unix_socket={self.socket}"

    def tcp_url(self, database: str, user: str, port: int | None = None) -> str:
        """The same by TCP, for a user with the password of the tests."""
        return f"mysql://{user}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def create_user(self, name: str, rights: str) -> str:
        """A user with these rights (`ALL ON *.*`); its name."""
        self.execute(f"CREATE USER IF NOT EXISTS {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        if rights:
            self.execute(f"GRANT {rights} TO {name}@'127.0.0.1'")
        return name

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as its owner; the rows, if it gives any."""
        import pymysql

        with pymysql.connect(unix_socket=str(self.socket), user="root") as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            connection.commit()
            return list(cursor.fetchall())


@contextmanager
def running_mariadb(
    require_server: Missing, factory: pytest.TempPathFactory | None = None
) -> Iterator[MariaDBServer]:
    """A server that runs meanwhile, on a copy of data that were prepared once if it may be."""
    if shutil.which("mariadb-install-db") is None:
        require_server("MariaDB", "apt-get install mariadb-server")

    def make(prepared: Path) -> None:
        with server_folder() as folder:
            MariaDBServer(folder).create()
            copy_data(folder / "data", prepared / "data")

    with server_folder() as folder:
        server = MariaDBServer(folder)
        if factory is None:
            server.create()
        else:
            copy_data(made_once(factory, "mariadb", make) / "data", folder / "data")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def mariadb(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MariaDBServer]:
    """MariaDB."""
    with running_mariadb(require_server, tmp_path_factory) as server:
        yield server


@pytest.fixture
def private_mariadb(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MariaDBServer]:
    """A MariaDB server of the test's own, to be killed and restarted."""
    with running_mariadb(require_server, tmp_path_factory) as server:
        yield server
