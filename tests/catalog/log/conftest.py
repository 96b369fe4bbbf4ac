"""Servers for the tests of shared logs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.buckets import s3
from tests.catalog.log.places import Place
from tests.servers import Missing
from tests.services.d1 import d1, private_d1, running_worker
from tests.services.dynamodb import dynamodb, private_dynamodb
from tests.services.environments import in_aws, in_firestore
from tests.services.firestore import firestore, private_firestore
from tests.services.ministack import ministack_s3
from tests.services.mongodb import mongodb, mongodb_with_faults, private_mongodb
from tests.services.redis import guarded_redis, private_redis, redis_server

__all__ = [
    "d1",
    "dynamodb",
    "firestore",
    "guarded_redis",
    "in_aws",
    "in_firestore",
    "ministack_s3",
    "mongodb",
    "mongodb_with_faults",
    "private_d1",
    "private_dynamodb",
    "private_firestore",
    "private_mongodb",
    "private_redis",
    "redis_server",
    "s3",
]  # fmt: skip


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
