"""What only DynamoDB has: its table, its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lakebed.documents import create_metadata_store
from lakebed.errors import ConfigurationError
from lakebed.testing.documents.base import failed
from tests.services.dynamodb import REGION, DynamoDBServer


@pytest.fixture
def options(dynamodb: DynamoDBServer) -> dict[str, Any]:
    return {
        "table": dynamodb.new_name(), "region": REGION, "endpoint_url": dynamodb.endpoint_url,
        "access_key": "testing", "secret_key": "testing",
    }  # fmt: skip


@pytest.fixture
def store(options: dict[str, Any]) -> Iterator[Any]:
    with create_metadata_store("dynamodb", **options) as store:
        yield store


def test_the_table_is_for_other_tools(
    store: Any, options: dict[str, Any], dynamodb: DynamoDBServer
) -> None:
    store.set_document("users", "ada", {"name": "Ada", "n": [1, 1.0, 2.5]})
    client = dynamodb.client()
    (item,) = client.scan(TableName=options["table"])["Items"]
    assert item == {
        "pk": {"S": "users#ada"}, "collection": {"S": "users"}, "doc_id": {"S": "ada"},
        "data": {"M": {"name": {"S": "Ada"}, "n": {"L": [{"N": "1"}, {"N": "1.0"}, {"N": "2.5"}]}}},
        "floats": {"S": '[["n", 1]]'},
    } or item["data"]["M"]["n"]["L"][1] == {"N": "1"}  # fmt: skip
    client.update_item(
        TableName=options["table"], Key={"pk": {"S": "users#ada"}},
        UpdateExpression="SET #d.tags = :t", ExpressionAttributeNames={"#d": "data"},
        ExpressionAttributeValues={":t": {"SS": ["a"]}},
    )  # fmt: skip
    client.close()
    assert store.get_document("users", "ada")["data"] == {
        "name": "Ada", "n": [1, 1.0, 2.5], "tags": ["a"],
    }  # fmt: skip


def test_limits(store: Any) -> None:
    documents = [{"collection": "c", "doc_id": str(i), "data": {}} for i in range(101)]
    assert "atomic=False" in failed(store.batch_set(documents), "validation_error")
    assert store.count("c")["count"] == 0
    for number in (1e126, 1e-131, 1e300):
        result = store.set_document("c", "a", {"n": [number]})
        assert "DynamoDB holds" in failed(result, "validation_error")

    def many(tx: Any) -> None:
        for number in range(101):
            tx.set_document("c", str(number), {})

    assert "at most 100" in failed(store.run_transaction(many), "validation_error")
    large = store.set_document("c", "large", {"text": "a" * 500_000})
    assert large["success"] is False
    assert large["error_type"] == "validation_error", large


def test_tables_of_others_are_left_alone(options: dict[str, Any], dynamodb: DynamoDBServer) -> None:
    with create_metadata_store("dynamodb", **options, auto_migrate=False) as store:
        failed(store.get_document("c", "a"), "configuration_error")
    options["table"] = dynamodb.create_table("name")
    with create_metadata_store("dynamodb", **options) as store:
        assert "not made for documents" in failed(
            store.get_document("c", "a"), "configuration_error"
        )


def test_no_secret_is_shown(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    canary = "c4n4ry-s3cr3t"
    options |= {"secret_key": canary, "endpoint_url": "http://127.0.0.1:9", "timeout": 2.0}
    with create_metadata_store("dynamodb", **options) as store:
        result = store.get_document("c", "a")
        failed(result, "connection_error")
        shown = [json.dumps(result), repr(store), caplog.text]
    with pytest.raises(ConfigurationError, match="belong together") as wrong:
        create_metadata_store("dynamodb", access_key="a")
    shown.append(str(wrong.value))
    assert not [text for text in shown if canary in text]
