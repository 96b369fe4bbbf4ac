"""Cloudflare D1: miniflare, which runs Cloudflare's own engine, behind its REST interface."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.servers import PASSWORD, Missing, server_folder
from tests.services.process import ServerProcess, node

ACCOUNT = "account-of-tests"


class D1Server:
    """A server that takes statements as api.cloudflare.com does."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.port = process.port
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self.account_id = ACCOUNT
        self.api_token = PASSWORD
        self._names = (f"db{number}" for number in range(1, 200))

    def create_database(self) -> str:
        """An empty database; its id. There are 199 of them, and `db0`, which all share."""
        return next(self._names)

    def answer(
        self, status: int, *, retry_after: str = "", message: str = "told to", count: int = 1
    ) -> None:
        """What the next requests get instead, since no real server can be made to."""
        told = {"status": status, "retry_after": retry_after, "message": message, "count": count}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/answer", json.dumps(told))
            assert connection.getresponse().status == 200


def _engine(modules: Path, folder: Path) -> Path:
    """The program that miniflare starts, wrapped so that it dies with miniflare."""
    engine = next(modules.glob("@cloudflare/workerd-*/bin/workerd"))
    wrapped = folder / "workerd"
    wrapped.write_text(f'#!/bin/sh\nexec setpriv --pdeathsig KILL {engine} "$@"\n')
    wrapped.chmod(0o755)
    return wrapped


WORKER = Path(__file__).parents[2] / "docs" / "deploy" / "d1-worker.mjs"


@contextmanager
def _miniflare(
    require_server: Missing, script: str, *arguments: str | Path
) -> Iterator[ServerProcess]:
    program = node()
    modules = Path(sys.prefix, "miniflare", "node_modules")
    if program is None or not modules.is_dir():
        require_server(
            "Cloudflare D1", f"Node.js and npm install --prefix {sys.prefix}/miniflare miniflare"
        )
    path = Path(__file__).with_name(script)
    with server_folder() as folder:
        process = ServerProcess(
            folder,
            lambda port: [
                program,
                path,
                modules,
                str(port),
                PASSWORD,
                *(arguments or [folder / "d"]),
            ],
            lambda _: {"MINIFLARE_WORKERD_PATH": str(_engine(modules, folder))},
        )
        process.start()
        try:
            yield process
        finally:
            process.stop()


@contextmanager
def running_d1(require_server: Missing) -> Iterator[D1Server]:
    """A server that runs meanwhile."""
    with _miniflare(require_server, "d1.mjs") as process:
        yield D1Server(process)


@contextmanager
def running_worker(require_server: Missing) -> Iterator[str]:
    """The URL of the Worker of the documentation, before a database of its own."""
    with _miniflare(require_server, "d1_worker.mjs", WORKER) as process:
        yield f"http://127.0.0.1:{process.port}"


@pytest.fixture(scope="session")
def d1(require_server: Missing) -> Iterator[D1Server]:
    """Cloudflare D1."""
    with running_d1(require_server) as server:
        yield server


@pytest.fixture
def private_d1(require_server: Missing) -> Iterator[D1Server]:
    """A server of the test's own, to be killed or paused."""
    with running_d1(require_server) as server:
        yield server
