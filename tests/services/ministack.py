"""Services of AWS, as ministack speaks them: races are right in it, as they are not in moto."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from tests.servers import Missing, S3Server, server_folder
from tests.services.process import ServerProcess


@contextmanager
def running_ministack(require_server: Missing, service: str) -> Iterator[ServerProcess]:
    """A server of one service that runs meanwhile, and keeps everything in memory."""
    if find_spec("ministack") is None:
        require_server(service, "the package ministack is not installed")
    with server_folder() as folder:
        process = ServerProcess(
            folder,
            lambda _: [sys.executable, "-c", "from ministack.app import main; main()"],
            lambda port: {
                "GATEWAY_PORT": str(port),
                "BIND_HOST": "127.0.0.1",
                "SERVICES": service,
                "LOG_LEVEL": "WARNING",
            },
        )
        try:
            process.start()
        except (OSError, AssertionError) as error:
            require_server(service, str(error))
        try:
            yield process
        finally:
            process.stop()


@pytest.fixture(scope="session")
def ministack_s3(require_server: Missing) -> Iterator[S3Server]:
    """S3 as ministack speaks it: between a condition and a write of one request nothing happens, as
    it may in moto, and files can be archived and restored."""
    with running_ministack(require_server, "s3") as process:
        yield S3Server(process.port)
