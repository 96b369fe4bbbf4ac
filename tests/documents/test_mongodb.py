"""What only MongoDB has: documents of other programs, logins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from lakebed.documents import create_metadata_store
from lakebed.errors import ConfigurationError
from lakebed.testing.documents import blocking
from lakebed.testing.documents.base import failed
from tests.servers import PASSWORD
from tests.services.mongodb import MongoDBServer


@pytest.fixture(params=["mongodb", "mongodb_async"])
def store(mongodb: MongoDBServer, request: pytest.FixtureRequest) -> Iterator[Any]:
    url = mongodb.url(mongodb.create_database())
    with blocking(create_metadata_store(request.param, url=url)) as store:
        yield store


def _native(store: Any, mongodb: MongoDBServer) -> Any:
    return mongodb.client()[repr(store).rstrip(">").rpartition("/")[2]]


def test_documents_are_as_they_are(store: Any, mongodb: MongoDBServer) -> None:
    store.set_document("users", "ada", {"name": "Ada", "deep": {"n": 1, "a.b": 2.0}})
    database = _native(store, mongodb)
    assert database["users"].find_one() == {
        "_id": "ada", "name": "Ada", "deep": {"n": 1, "a.b": 2.0},
    }  # fmt: skip
    database.client.close()


def test_documents_of_others_keep_their_types(store: Any, mongodb: MongoDBServer) -> None:
    database = _native(store, mongodb)
    at, other = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), ObjectId()
    database["c"].insert_one({"_id": "a", "at": at, "by": other, "n": 1})
    database["c"].insert_one({"_id": other, "n": 1})
    found = store.get_document("c", "a")["data"]
    assert found == {"at": "2026-01-02T03:04:05.678000+00:00", "by": str(other), "n": 1}
    assert store.query("c", filters=[("n", "==", 1)])["count"] == 1  # an id is text
    assert store.update_document("c", "a", {"n": store.increment(1)})["success"]
    raw = database["c"].find_one({"_id": "a"})
    assert (raw["at"].replace(tzinfo=UTC), raw["by"], raw["n"]) == (at, other, 2)
    # What they change counts in transactions.
    runs: list[int] = []

    def work(tx: Any) -> None:
        runs.append(tx.get_document("c", "a")["data"]["n"])
        if len(runs) == 1:
            database["c"].update_one({"_id": "a"}, {"$set": {"n": 10}})
        tx.update_document("c", "a", {"n": runs[-1] + 1})

    assert store.run_transaction(work)["success"]
    assert runs == [2, 10]
    assert database["c"].find_one({"_id": "a"})["n"] == 11
    database.client.close()


@pytest.mark.parametrize("kind", ["mongodb", "mongodb_async"])
def test_no_secret_is_shown(
    kind: str, private_mongodb: MongoDBServer, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "c4n4ry-p4ssw0rd"
    private_mongodb.require_passwords()
    url = private_mongodb.url("db", user="writer", password=canary)
    with blocking(create_metadata_store(kind, url=url, timeout=5.0)) as store:
        result = store.get_document("c", "a")
        failed(result, "auth_failed")
        shown = [json.dumps(result), repr(store)]
    good = private_mongodb.url("db", user="writer", password=PASSWORD)
    with blocking(create_metadata_store(kind, url=good)) as store:
        assert store.set_document("c", "a", {})["success"]
        shown.append(repr(store))
    with pytest.raises(ConfigurationError) as wrong:
        create_metadata_store(kind, url=f"mongodb://u:{canary}@x@h:port/db")
    shown += [str(wrong.value), repr(wrong.value), caplog.text]
    assert not [text for text in shown if canary in text or PASSWORD in text]


@pytest.mark.parametrize(
    "options", [{"url": ""}, {"url": None}, {"pool_size": 0}, {"timeout": "1"}, {"database": 5}],
    ids=repr,
)  # fmt: skip
def test_malformed_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_metadata_store("mongodb", **({"url": "mongodb://h/db"} | options))
