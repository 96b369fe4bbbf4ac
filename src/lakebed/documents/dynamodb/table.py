"""Create and check the table of documents."""

from __future__ import annotations

from typing import Any

from lakebed.catalog.log.stores.dynamodb import code_of
from lakebed.documents.dynamodb.items import INDEX
from lakebed.errors import ConfigurationError

_KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}]
_INDEX_KEYS = [
    {"AttributeName": "collection", "KeyType": "HASH"},
    {"AttributeName": "doc_id", "KeyType": "RANGE"},
]


def make_ready(client: Any, table: str, *, allowed: bool) -> None:
    """Create the table if it does not exist. Several clients can do so at once.

    Raises ConfigurationError if the table does not exist and creating it is not `allowed`, and if
    it was made for something else.
    """
    from botocore.exceptions import ClientError

    try:
        found = client.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        if not allowed:
            raise ConfigurationError(
                f"the table {table!r} does not exist, and auto_migrate is off"
            ) from None
        found = _create(client, table)
    indexes = {
        one["IndexName"]: one["KeySchema"] for one in found.get("GlobalSecondaryIndexes", ())
    }
    if found["KeySchema"] != _KEYS or indexes.get(INDEX) != _INDEX_KEYS:
        raise ConfigurationError(
            f"the table {table!r} was not made for documents: expected the key 'pk' and the index "
            f"{INDEX!r} of 'collection' and 'doc_id'"
        )


def _create(client: Any, table: str) -> Any:
    from botocore.exceptions import ClientError

    try:
        client.create_table(
            TableName=table,
            KeySchema=_KEYS,
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"}
                for name in ("pk", "collection", "doc_id")
            ],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[
                {
                    "IndexName": INDEX,
                    "KeySchema": _INDEX_KEYS,
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
    client.get_waiter("table_exists").wait(
        TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return client.describe_table(TableName=table)["Table"]
