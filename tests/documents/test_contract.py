"""The suite of all stores, on each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakebed.documents import create_metadata_store
from lakebed.testing import MetadataStoreConformance
from lakebed.testing.documents import Connect
from tests.servers import PostgresServer
from tests.services.dynamodb import REGION, DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer


class TestLake(MetadataStoreConformance):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return create_metadata_store, "lake", {"path": str(tmp_path / "lake")}


class TestAsyncLake(MetadataStoreConformance):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return create_metadata_store, "lake_async", {"path": str(tmp_path / "lake")}


class TestPostgres(MetadataStoreConformance):
    @pytest.fixture
    def connect(self, postgres_18: PostgresServer) -> Connect:
        return create_metadata_store, "postgres", {"url": postgres_18.url(), "schema": "documents"}


class TestAsyncPostgres(MetadataStoreConformance):
    @pytest.fixture
    def connect(self, postgres_18: PostgresServer) -> Connect:
        return create_metadata_store, "postgres_async", {"url": postgres_18.url()}


class MongoDB(MetadataStoreConformance):
    def refuses(self, kind: str, name: str) -> bool:
        if kind == "collection":
            return "$" in name or name.startswith("system.") or not all(name.split("."))
        return kind == "field" and (name == "_id" or name.startswith("$"))


class TestMongoDB(MongoDB):
    @pytest.fixture
    def connect(self, mongodb: MongoDBServer) -> Connect:
        return create_metadata_store, "mongodb", {"url": mongodb.url("documents")}


class TestAsyncMongoDB(MongoDB):
    @pytest.fixture
    def connect(self, mongodb: MongoDBServer) -> Connect:
        return create_metadata_store, "mongodb_async", {"url": mongodb.url(), "database": "other"}


class DynamoDB(MetadataStoreConformance):
    kind = "dynamodb"

    @pytest.fixture
    def connect(self, dynamodb: DynamoDBServer) -> Connect:
        return (
            create_metadata_store,
            self.kind,
            {
                "table": "lakebed_metadata",
                "region": REGION,
                "endpoint_url": dynamodb.endpoint_url,
                "access_key": "testing",
                "secret_key": "testing",
            },
        )


class TestDynamoDB(DynamoDB):
    pass


class TestAsyncDynamoDB(DynamoDB):
    kind = "dynamodb_async"


class Firestore(MetadataStoreConformance):
    kind = "firestore"
    slow = True
    nested_lists = False

    @pytest.fixture
    def connect(self, firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.host)
        return create_metadata_store, self.kind, {"project": "lakebed-tests"}

    def refuses(self, kind: str, name: str) -> bool:
        reserved = name.startswith("__") and name.endswith("__") and len(name) >= 4
        if kind == "field":
            return reserved or "\r" in name
        return reserved or "/" in name or name in (".", "..")


class TestFirestore(Firestore):
    pass


class TestAsyncFirestore(Firestore):
    kind = "firestore_async"
