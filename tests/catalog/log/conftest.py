"""Servers for the tests of shared logs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.log.places import Place
from tests.servers import Missing, S3Server
from tests.services.d1 import D1Server, running_worker
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer
from tests.services.redis import RedisServer


@pytest.fixture(scope="session")
def worker(require_server: Missing) -> Iterator[str]:
    """The URL of the Worker of the documentation."""
    with running_worker(require_server) as url:
        yield url


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Makes a place for a log, given its kind: `folder` or the name of a service."""

    def bucket(server: S3Server) -> Place:
        return {"type": "bucket", **server.storage(f"s3://{server.create_bucket()}/log")}

    def redis(server: RedisServer) -> Place:
        return {"type": "redis", "url": server.url(), "prefix": server.create_prefix()}

    def dynamodb(server: DynamoDBServer) -> Place:
        request.getfixturevalue("in_aws")
        return {
            "type": "dynamodb",
            "table": server.new_name(),
            "endpoint_url": server.endpoint_url,
        }

    def firestore(server: FirestoreServer) -> Place:
        request.getfixturevalue("in_firestore")
        return {"type": "firestore", "project": server.create_project()}

    def mongodb(server: MongoDBServer) -> Place:
        return {"type": "mongodb", "url": server.url(server.create_database())}

    def d1(server: D1Server) -> Place:
        return {
            "type": "d1",
            "account_id": server.account_id,
            "database_id": "db0",  # of few
            "prefix": secrets.token_hex(6),
            "endpoint_url": server.endpoint_url,
            "api_token": server.api_token,
        }

    services: dict[str, tuple[str, Callable[[Any], Place]]] = {
        "s3": ("ministack_s3", bucket),
        "redis": ("redis_server", redis),
        "dynamodb": ("dynamodb", dynamodb),
        "firestore": ("firestore", firestore),
        "mongodb": ("mongodb", mongodb),
        "d1": ("d1", d1),
    }

    def make(kind: str) -> Place:
        if kind == "folder":
            return {"type": "bucket", "uri": str(tmp_path / f"log-{secrets.token_hex(4)}")}
        server, place = services[kind]
        return place(request.getfixturevalue(server))

    return make
