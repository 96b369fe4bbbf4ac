"""The stores of services without SQL keep a log as the suite for them says."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path

import pytest

from lakebed.catalog.log.stores.d1 import D1LogStore, rest_address
from lakebed.catalog.log.stores.dynamodb import DynamoDBLogStore
from lakebed.catalog.log.stores.firestore import FirestoreLogStore
from lakebed.catalog.log.stores.mongodb import MongoDBLogStore
from lakebed.errors import ConnectError
from lakebed.testing.log_stores import LogStoreConformance
from tests.servers import PASSWORD
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer


@pytest.mark.usefixtures("in_aws")
class TestDynamoDB(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, dynamodb: DynamoDBServer) -> None:
        self.server, self.table = dynamodb, dynamodb.new_name()

    def open_store(self, _: Path, prefix: str) -> DynamoDBLogStore:
        return DynamoDBLogStore(self.table, prefix=prefix, endpoint_url=self.server.endpoint_url)


@pytest.mark.usefixtures("in_firestore")
class TestFirestore(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, firestore: FirestoreServer) -> None:
        self.project = firestore.create_project()

    def open_store(self, _: Path, prefix: str) -> FirestoreLogStore:
        return FirestoreLogStore(prefix, project=self.project)


class TestMongoDB(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongoDBServer) -> None:
        self.url = mongodb.url(mongodb.create_database())

    def open_store(self, _: Path, prefix: str) -> MongoDBLogStore:
        return MongoDBLogStore(self.url, collection=prefix)


class TestD1(LogStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, d1: D1Server) -> None:
        self.server = d1
        self.address = rest_address(d1.account_id, d1.create_database(), d1.endpoint_url)

    def open_store(self, _: Path, prefix: str) -> D1LogStore:
        return D1LogStore(self.address, self.server.api_token, prefix=prefix)


class TestD1ByWorker(LogStoreConformance):
    """Through the Worker of the documentation, as it stands there."""

    @pytest.fixture(autouse=True)
    def _server(self, worker: str) -> None:
        self.address = worker

    def open_store(self, _: Path, prefix: str) -> D1LogStore:
        return D1LogStore(self.address, PASSWORD, prefix=prefix)

    def test_the_token_is_asked_for(self) -> None:
        with (
            closing(D1LogStore(self.address, secrets.token_hex())) as store,
            pytest.raises(ConnectError, match="Authentication") as found,
        ):
            store.get("log/1")
        assert found.value.error_type == "auth_failed"
