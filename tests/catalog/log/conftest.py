"""Servers for the tests of shared logs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.catalog.log.places import Place
from tests.servers import Missing
from tests.services.d1 import running_worker


@pytest.fixture(scope="session")
def worker(require_server: Missing) -> Iterator[str]:
    """The URL of the Worker of the documentation."""
    with running_worker(require_server) as url:
        yield url


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Makes a place for a log, given its kind: `folder`, `redis` or `s3`."""

    def make(kind: str) -> Place:
        if kind == "redis":
            server = request.getfixturevalue("redis_server")
            return {"type": "redis", "url": server.url(), "prefix": server.create_prefix()}
        if kind == "s3":
            server = request.getfixturevalue("ministack_s3")
            return {"type": "bucket", **server.storage(f"s3://{server.create_bucket()}/log")}
        return {"type": "bucket", "uri": str(tmp_path / f"log-{secrets.token_hex(4)}")}

    return make
