"""S3, by Moto."""

from __future__ import annotations

import functools
import http.client
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from unittest.mock import patch

import pytest

from tests.servers.base import (
    PASSWORD,
    PATIENCE,
    Missing,
    await_port,
    die_with_parent,
    free_port,
    server_folder,
)


class S3Server:
    """A server that speaks S3, with the keys that it takes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{port}"

    def create_bucket(self) -> str:
        """A new bucket; its name."""
        name = f"t-{secrets.token_hex(6)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request("PUT", f"/{name}")
            assert connection.getresponse().status == 200
        return name

    def storage(self, uri: str) -> dict[str, object]:
        """`storage` as `lakebed.open` takes it."""
        return {
            "uri": uri,
            "endpoint_url": self.endpoint_url,
            "key": "testing",
            "secret": PASSWORD,
            "client_kwargs": {"region_name": "us-east-1"},
        }


@contextmanager
def running_s3(require_server: Missing) -> Iterator[S3Server]:
    """Moto's S3, which keeps its objects in memory."""
    if find_spec("moto") is None:
        require_server("S3", "the package moto[server] is not installed")
    with server_folder() as folder:
        server = S3Server(free_port())
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)],
                stdout=log, stderr=log, cwd=folder, preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            await_port(server.port, process)
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="session")
def s3(require_server: Missing) -> Iterator[S3Server]:
    """Moto's S3, which lets everybody in."""
    import botocore.session

    # Each session of a client reads the same descriptions of services: half of what it costs.
    once = functools.cache(botocore.session.create_loader)
    with (
        running_s3(require_server) as server,
        patch.object(botocore.session, "create_loader", once),
    ):
        yield server
