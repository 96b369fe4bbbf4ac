"""A lock in a table of DynamoDB, as one item."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from lakebed.clock import Clock, system_clock
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    StorageError,
)
from lakebed.locks.base import Lock

_CONNECT_SECONDS, _ANSWER_SECONDS, _TRIES = 5, 10, 4
_KEY = "name"
_PREFIX = "lock/"
_MINE = "#owner = :owner AND #token = :token AND #until > :now"
_THROTTLED = {
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException",
}  # fmt: skip
_REFUSED = {
    "AccessDeniedException", "ExpiredTokenException", "IncompleteSignature",
    "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken",
    "UnrecognizedClientException",
}  # fmt: skip


class DynamoDBLock(Lock):
    """A lock that is an item of a DynamoDB table, changed by conditional updates.

    `table`: the table. Its key is the string `name`. If it does not exist, it is created, with
    billing per request.
    `region`, `endpoint_url`: as in boto3, which also finds the credentials.

    The clocks of the competing machines decide when a time to live has passed, so they must agree
    within a fraction of it.

    Raises DependencyMissingError, with the pip command, if boto3 is not installed, and
    ConfigurationError for an invalid option.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        table: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        try:
            import boto3
            from botocore import exceptions
            from botocore.config import Config
        except ImportError as error:
            raise DependencyMissingError(
                "locks in DynamoDB need the boto3 package: pip install 'lakebed[dynamodb]'"
            ) from error
        if not isinstance(table, str) or not table:
            raise ConfigurationError(f"table must be the name of a table, got {table!r}")
        self._table = table
        self._failed = (exceptions.BotoCoreError, exceptions.ClientError)
        try:
            self._client: Any = boto3.client(
                "dynamodb",
                region_name=region,
                endpoint_url=endpoint_url,
                config=Config(
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_ANSWER_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": _TRIES},
                ),
            )
        except (ValueError, exceptions.BotoCoreError) as error:
            raise ConfigurationError(f"the lock in DynamoDB: {error}") from None

    def _take(self, owner: str) -> int | None:
        found = self._update(
            "SET #owner = :owner, #until = :end ADD #token :one",
            "attribute_not_exists(#owner) OR #owner = :owner OR #until <= :now",
            owner, now=True, end=True, one=1,
        )  # fmt: skip
        return None if found is None else int(found["token"]["N"])

    def _extend(self, owner: str, token: int) -> bool:
        change = "SET #until = :end"
        return self._update(change, _MINE, owner, token, now=True, end=True) is not None

    def _free(self, owner: str, token: int) -> bool:
        # Also true if the lock was freed before, because the answer may have been lost.
        free = "#token = :token AND (attribute_not_exists(#owner) OR #owner = :owner)"
        return self._update("REMOVE #owner", free, owner, token) is not None

    def close(self) -> None:
        self._client.close()

    def _update(
        self, change: str, condition: str, owner: str, token: int | None = None, *,
        now: bool = False, end: bool = False, one: int | None = None,
    ) -> dict[str, Any] | None:  # fmt: skip
        """Return the changed item, or None if the condition does not hold."""
        time = self._clock()
        numbers = {
            ":token": token, ":now": time if now else None, ":one": one,
            ":end": time + self._micros if end else None,
        }  # fmt: skip
        values: dict[str, Any] = {":owner": {"S": owner}}
        values |= {name: {"N": str(n)} for name, n in numbers.items() if n is not None}
        words = {"owner", "token", "until"}
        text = change + condition

        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = self._client.update_item(
                TableName=self._table,
                Key={_KEY: {"S": f"{_PREFIX}{self.name}"}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{word}": word for word in words if f"#{word}" in text},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
            return answer

        try:
            found: dict[str, Any] = self._with_table(ask)["Attributes"]
        except self._failed as error:
            if _code(error) == "ConditionalCheckFailedException":
                return None
            raise _explain(error, f"the table {self._table!r} of the lock {self.name!r}") from error
        return found

    def _with_table(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the answer of `ask`, and create the table first if it does not exist."""
        try:
            return ask()
        except self._client.exceptions.ResourceNotFoundException:
            with suppress(self._client.exceptions.ResourceInUseException):  # another client did
                self._client.create_table(
                    TableName=self._table,
                    KeySchema=[{"AttributeName": _KEY, "KeyType": "HASH"}],
                    AttributeDefinitions=[{"AttributeName": _KEY, "AttributeType": "S"}],
                    BillingMode="PAY_PER_REQUEST",
                )
            self._client.get_waiter("table_exists").wait(
                TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
            return ask()


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _explain(error: Exception, where: str) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of boto3."""
    from botocore import exceptions

    code = _code(error)
    if code in _THROTTLED:
        return RateLimitedError(f"{where}: the service asks to slow down: {error}")
    if code in _REFUSED or isinstance(
        error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
    ):
        return ConnectError(f"{where}: the credentials are refused: {error}", "auth_failed")
    if isinstance(error, (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)):
        return ConnectError(f"{where}: the service does not answer: {error}", "connection_timeout")
    if isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError)):
        return ConnectError(f"{where}: no connection to the service: {error}")
    return StorageError(f"{where}: the service refuses: {error}")
