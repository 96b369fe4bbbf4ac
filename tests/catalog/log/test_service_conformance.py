"""The conformance suite of catalogs, over logs in services without SQL: a part of it on each."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer


class OnService(CatalogConformance):
    """A lake whose catalog is what `spec` says."""

    spec: dict[str, Any]

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        options = CatalogOptions(
            lock_timeout=settings.get("lock_timeout", 60.0), clock=clock, cache=str(folder / "c")
        )
        catalog = open_catalog(self.spec, options)
        return open_lake(folder / "lake", catalog=catalog, **settings)


@pytest.mark.usefixtures("in_aws")
class TestDynamoDBLog(OnService):
    @pytest.fixture(autouse=True)
    def _server(self, dynamodb: DynamoDBServer) -> None:
        table = dynamodb.new_name()
        self.spec = {"type": "dynamodb", "table": table, "endpoint_url": dynamodb.endpoint_url}


@pytest.mark.usefixtures("in_firestore")
class TestFirestoreLog(OnService):
    @pytest.fixture(autouse=True)
    def _server(self, firestore: FirestoreServer) -> None:
        self.spec = {"type": "firestore", "project": firestore.create_project()}


class TestMongoDBLog(OnService):
    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongoDBServer) -> None:
        self.spec = {"type": "mongodb", "url": mongodb.url(mongodb.create_database())}


class TestD1Log(OnService):
    @pytest.fixture(autouse=True)
    def _server(self, d1: D1Server) -> None:
        self.spec = {
            "type": "d1",
            "account_id": d1.account_id,
            "database_id": "db0",  # of few
            "prefix": secrets.token_hex(6),
            "endpoint_url": d1.endpoint_url,
            "api_token": d1.api_token,
        }


del OnService  # it is no suite of its own
