"""DynamoDB, as ministack speaks it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.servers import Missing
from tests.services.ministack import running_ministack
from tests.services.process import ServerProcess

REGION = "eu-central-1"


class DynamoDBServer:
    """A server that speaks DynamoDB, and lets everybody in."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.port = process.port
        self.endpoint_url = f"http://127.0.0.1:{self.port}"

    def options(self) -> dict[str, str]:
        """The options of boto3 that reach it."""
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": REGION,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }

    def client(self) -> Any:
        """A client of boto3, which the caller closes."""
        import boto3

        return boto3.client("dynamodb", **self.options())

    def new_name(self) -> str:
        """The name of a table that is not there."""
        return f"t-{secrets.token_hex(6)}"

    def create_table(self, key: str = "name") -> str:
        """A new table with one text as its key; the table's name."""
        name = self.new_name()
        with closing(self.client()) as client:
            client.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        return name


@contextmanager
def running_dynamodb(require_server: Missing) -> Iterator[DynamoDBServer]:
    """A server that runs meanwhile, and keeps its tables in memory."""
    with running_ministack(require_server, "dynamodb") as process:
        yield DynamoDBServer(process)


@pytest.fixture(scope="session")
def dynamodb(require_server: Missing) -> Iterator[DynamoDBServer]:
    """DynamoDB."""
    with running_dynamodb(require_server) as server:
        yield server


@pytest.fixture
def private_dynamodb(require_server: Missing) -> Iterator[DynamoDBServer]:
    """A server of the test's own, to be killed or paused."""
    with running_dynamodb(require_server) as server:
        yield server
