"""A log in a table of Amazon DynamoDB. Each item is an item of the table."""

from __future__ import annotations

import os
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from lakebed.catalog.log.opening import COMMON, open_log
from lakebed.catalog.log.stores.address import in_url
from lakebed.catalog.log.stores.failures import Failures, refused, throttled, unreachable
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import maybe_text, seconds, text
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakebed.catalog.statements.hiding import Mask

_SERVICE = "DynamoDB"
_DATA = "data"
_SORT = "lakebed"  # the value of the sort key, if the table has one
THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TooManyRequestsException",
}
_REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


class DynamoDBLogStore:
    """The items of a log in one table. The first put creates the table if it does not exist.

    Other lakes and programs may use the same table. Its key attributes must be strings and may have
    any names. The keys of this log begin with `prefix/`. `region` and the credentials come from the
    environment if they are left out, as everywhere in AWS. `timeout`: seconds to wait for the
    answer to a request.
    """

    item_bytes = 390_000  # an item may have 400 kB, including the names of its attributes

    def __init__(
        self,
        table: str,
        *,
        prefix: str = "lakebed",
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 10.0,
        mask: Mask = str,
    ) -> None:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise DependencyMissingError(
                "this catalog needs the boto3 package: pip install 'lakebed[dynamodb]'"
            ) from error
        self._failures = Failures((ClientError, BotoCoreError), explained, mask)
        self._refusal: type[Any] = ClientError
        self._table = table
        self._prefix = prefix
        self._lock = Lock()
        self._keys: dict[str, bool] = {}  # the table's keys, and whether each is the sort key
        with self._failures.ours():
            self._client: Any = boto3.session.Session().client(
                "dynamodb",
                region_name=region or os.environ.get("AWS_REGION"),  # botocore does not read it
                endpoint_url=endpoint_url,
                # The log itself repeats what failed.
                config=Config(
                    connect_timeout=timeout,
                    read_timeout=timeout,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    max_pool_connections=32,
                ),
            )

    def put_new(self, name: str, data: bytes) -> bool:
        with self._failures.ours():
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=self._item(name, data),
                    ConditionExpression="attribute_not_exists(#data)",
                    ExpressionAttributeNames={"#data": _DATA},
                )
            except self._refusal as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    return False
                raise
            return True

    def get(self, name: str) -> bytes | None:
        with self._failures.ours():
            if not self._find():
                return None
            found = self._client.get_item(
                TableName=self._table, Key=self._key(name), ConsistentRead=True
            ).get("Item")
        return None if found is None else bytes(found[_DATA]["B"])

    def put(self, name: str, data: bytes) -> None:
        with self._failures.ours():
            self._client.put_item(TableName=self._table, Item=self._item(name, data))

    def delete(self, name: str) -> None:
        with self._failures.ours():
            if self._find():
                self._client.delete_item(TableName=self._table, Key=self._key(name))

    def now(self) -> float | None:
        """Return the service's time, or None if the table does not exist yet."""
        with self._failures.ours():
            if not self._find():
                return None
            answer = self._client.describe_table(TableName=self._table)["ResponseMetadata"]
        return parsedate_to_datetime(answer["HTTPHeaders"]["date"]).timestamp()

    def close(self) -> None:
        self._client.close()

    def _item(self, name: str, data: bytes) -> dict[str, Any]:
        if not self._find():
            with self._lock:
                self._create()
            self._find()
        return self._key(name) | {_DATA: {"B": data}}

    def _key(self, name: str) -> dict[str, Any]:
        own = {"S": f"{self._prefix}/{name}"}
        return {key: {"S": _SORT} if sort else own for key, sort in self._keys.items()}

    def _find(self) -> bool:
        """Return whether the table exists. If it does, remember the names of its keys."""
        with self._lock:
            if self._keys:
                return True
            try:
                found = self._client.describe_table(TableName=self._table)["Table"]
            except self._refusal as error:
                if code_of(error) == "ResourceNotFoundException":
                    return False
                raise
            types = {
                one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]
            }
            keys = {one["AttributeName"]: one["KeyType"] == "RANGE" for one in found["KeySchema"]}
            if _DATA in keys or any(types[key] != "S" for key in keys):
                raise ConfigurationError(
                    f"the key of the table {self._table!r} must be of type S (string), and not be "
                    f"named {_DATA!r}"
                )
            self._keys = keys
            return True

    def _create(self) -> None:
        """Create the table. Another client may be doing the same."""
        try:
            self._client.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except self._refusal as error:
            if code_of(error) != "ResourceInUseException":
                raise
        self._client.get_waiter("table_exists").wait(
            TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )


def open_dynamodb(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "dynamodb", "table": …}` or `dynamodb://table/prefix`."""
    known = ("table", "prefix", "region", "endpoint_url", "timeout", *COMMON)
    given = in_url(given, "table", "prefix")
    refuse_unknown(given, known)
    table, prefix = text(given, "table"), text(given, "prefix", "lakebed")
    region, endpoint = maybe_text(given, "region"), maybe_text(given, "endpoint_url")
    connect = partial(
        DynamoDBLogStore,
        table,
        prefix=prefix,
        region=region,
        endpoint_url=endpoint,
        timeout=seconds(given, "timeout", 10.0),
        mask=options.mask,
    )
    name = f"dynamodb://{table}/{prefix}"
    return open_log(connect, name, given, options, place=f"{name} {region} {endpoint}")


def code_of(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def explained(error: Exception) -> LakebedError:
    from botocore import exceptions as botocore

    if not isinstance(error, botocore.ClientError):
        if isinstance(
            error,
            (
                botocore.NoCredentialsError,
                botocore.PartialCredentialsError,
                botocore.CredentialRetrievalError,
                botocore.TokenRetrievalError,
            ),
        ):
            return refused(_SERVICE, error)
        if isinstance(error, (botocore.ConnectionError, botocore.HTTPClientError)):
            late = (botocore.ConnectTimeoutError, botocore.ReadTimeoutError)
            return unreachable(_SERVICE, error, timeout=isinstance(error, late))
        if isinstance(error, botocore.NoRegionError):
            return ConfigurationError("catalog.region is missing: set it, or AWS_REGION")
        return CatalogError(f"{_SERVICE}: {error}")
    code, answer = code_of(error), error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode", 0)
    if code in THROTTLED or status == 429:
        return throttled(_SERVICE, error, answer.get("HTTPHeaders", {}).get("retry-after"))
    if code in _REFUSED or status in (401, 403):
        return refused(_SERVICE, error)
    if status >= 500:
        return unreachable(_SERVICE, error, timeout=False)
    return CatalogError(f"{_SERVICE}: {error}")
