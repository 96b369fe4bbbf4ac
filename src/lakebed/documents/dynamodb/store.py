"""Documents in DynamoDB. Reads of one document are consistent. Queries use an index that lags
behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

from lakebed.catalog.log.stores.dynamodb import THROTTLED, code_of, explained
from lakebed.catalog.log.stores.failures import Failures
from lakebed.documents import options
from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.backend import Backend, OvertakenError, Seen, Write
from lakebed.documents.data import Content, Data
from lakebed.documents.dynamodb.items import INDEX, condition, item_of, key_of, stored
from lakebed.documents.dynamodb.narrowing import Request
from lakebed.documents.dynamodb.numbers import check_numbers
from lakebed.documents.dynamodb.table import make_ready
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.store import MetadataStore
from lakebed.documents.threads import ThreadedBackend
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    ValidationError,
)

_MOST = 100  # items in a transaction
_AT_ONCE = 25  # items in a batch
_OVERTAKEN = {
    "ConditionalCheckFailedException",
    "ConditionalCheckFailed",
    "TransactionConflictException",
    "TransactionConflict",
    "TransactionInProgressException",
}


class DynamoDBBackend(Backend):
    """The documents in one table. `client`: a function that makes boto3's client."""

    most_writes = _MOST

    def __init__(
        self, client: Callable[[], Any], table: str, *, auto_migrate: bool, timeout: float
    ) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        self.timeout = timeout
        self._make = client
        self._made: Any = None
        self._table = table
        self._auto_migrate = auto_migrate
        self._lock = Lock()
        self._closed = False
        self._failures = Failures((BotoCoreError, ClientError), _explained, str)

    @property
    def name(self) -> str:
        return f"dynamodb:{self._table}"

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        key = key_of((collection, doc_id))
        found = self._ask("get_item", Key=key, ConsistentRead=True).get("Item")
        return None if found is None else stored(found)

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        item = item_of((collection, doc_id), content)
        return not self._ask("put_item", Item=item, ReturnValues="ALL_OLD").get("Attributes")

    async def delete(self, collection: str, doc_id: str) -> bool:
        key = key_of((collection, doc_id))
        return bool(self._ask("delete_item", Key=key, ReturnValues="ALL_OLD").get("Attributes"))

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        # A transaction even for one document: boto3 repeats a request whose answer is lost, and
        # DynamoDB recognises a repeated transaction.
        written = {write.key for write in writes}
        actions = [_action(write, seen) for write in writes]
        actions += [
            ("ConditionCheck", {"Key": key_of(key), **condition(found)})
            for key, found in seen.items()
            if key not in written
        ]
        if len(actions) > _MOST:
            raise ValidationError(
                f"a transaction of DynamoDB may read and write at most {_MOST} documents, got "
                f"{len(actions)}"
            )
        self._ask_client(
            "transact_write_items",
            TransactItems=[
                {kind: {"TableName": self._table, **arguments}} for kind, arguments in actions
            ],
        )

    async def write(self, writes: Sequence[Write]) -> None:
        requests = [
            {"DeleteRequest": {"Key": key_of(key)}}
            if content is None
            else {"PutRequest": {"Item": item_of(key, content)}}
            for key, content in writes
        ]
        for first in range(0, len(requests), _AT_ONCE):
            left = {self._table: requests[first : first + _AT_ONCE]}
            while left:
                left = self._ask_client("batch_write_item", RequestItems=left)["UnprocessedItems"]
                if left:
                    await self.sleep(0.05)

    async def query(self, query: Query) -> list[Stored]:
        return query.answer(self._candidates(query), sorted_by_id=True)

    def _candidates(self, query: Query) -> Iterator[Stored]:
        arguments = Request(query).arguments
        while True:
            page = self._ask("query", **arguments)
            yield from map(stored, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def collections(self) -> list[str]:
        names: set[str] = set()
        arguments: dict[str, Any] = {
            "IndexName": INDEX,
            "ProjectionExpression": "#c",
            "ExpressionAttributeNames": {"#c": "collection"},
        }
        while True:
            page = self._ask("scan", **arguments)
            names.update(item["collection"]["S"] for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return sorted(names)
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def check(self, collection: str, doc_id: str | None = None, data: Data | None = None) -> None:
        del collection, doc_id
        check_numbers(data)

    def is_repeatable(self, error: LakebedError) -> bool:
        return isinstance(error, (OvertakenError, RateLimitedError))

    async def close(self) -> None:
        self._closed = True
        if self._made is not None:
            self._made.close()

    def _ask(self, call: str, **arguments: Any) -> Any:
        return self._ask_client(call, TableName=self._table, **arguments)

    def _ask_client(self, call: str, **arguments: Any) -> Any:
        with self._failures.ours():
            return getattr(self._client(), call)(**arguments)

    def _client(self) -> Any:
        if self._closed:
            raise CatalogError("the store is closed")
        with self._lock:
            if self._made is None:
                client = self._make()
                make_ready(client, self._table, allowed=self._auto_migrate)
                self._made = client
            return self._made


def _action(write: Write, seen: Seen) -> tuple[str, dict[str, Any]]:
    """Return the kind of action for a write, and the action with its condition."""
    if write.content is None:
        kind, what = "Delete", {"Key": key_of(write.key)}
    else:
        kind, what = "Put", {"Item": item_of(write.key, write.content)}
    return kind, what | (condition(seen[write.key]) if write.key in seen else {})


def _explained(error: Exception) -> LakebedError:
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return explained(error)
    code = code_of(error)
    reasons = {
        str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())
    } | {code}
    if reasons & _OVERTAKEN:
        return OvertakenError("DynamoDB: another program has written the same documents")
    if any(one in THROTTLED or f"{one}Exception" in THROTTLED for one in reasons):
        return RateLimitedError(f"DynamoDB asks to slow down: {error}")
    if "ValidationException" in reasons and "size" in str(error):
        return ValidationError(
            "data must have at most 400 kB in DynamoDB, including the names of its fields"
        )
    return explained(error)


def _backend(
    table: object,
    region: object,
    endpoint_url: object,
    access_key: object,
    secret_key: object,
    auto_migrate: object,
    timeout: object,
) -> DynamoDBBackend:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise DependencyMissingError(
            "a store in DynamoDB needs the boto3 package: pip install 'lakebed[dynamodb]'"
        ) from error
    holder, wait = options.text("table", table), options.seconds("timeout", timeout)
    if (access_key is None) != (secret_key is None):
        raise ConfigurationError("access_key and secret_key belong together: give both or none")
    arguments = {
        "region_name": options.optional_text("region", region),
        "endpoint_url": options.optional_text("endpoint_url", endpoint_url),
        "aws_access_key_id": options.optional_text("access_key", access_key),
        "aws_secret_access_key": options.optional_text("secret_key", secret_key),
    }

    def client() -> Any:
        config = Config(
            connect_timeout=wait, read_timeout=wait, retries={"mode": "standard"},
            max_pool_connections=32,
        )  # fmt: skip
        return boto3.session.Session().client("dynamodb", config=config, **arguments)

    migrate = options.flag("auto_migrate", auto_migrate)
    return DynamoDBBackend(client, holder, auto_migrate=migrate, timeout=wait)


class DynamoDBMetadataStore(MetadataStore):
    """Documents in a table of Amazon DynamoDB, with an index by collection.

    `table`: its name. `auto_migrate`: create the table if it does not exist. `region`, `access_key`
    and `secret_key` come from the environment if left out, as usual in AWS. `endpoint_url`: the
    address of another service with the protocol of DynamoDB. `timeout`: seconds for one call.

    `query`, `count` and `search` read the index, which lags behind the table by a second or so. A
    document has at most 400 kB. A transaction or an atomic batch has at most 100 documents.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `dynamodb`.
    """

    def __init__(
        self,
        table: str = "lakebed_metadata",
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        auto_migrate: bool = True,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(
            _backend(table, region, endpoint_url, access_key, secret_key, auto_migrate, timeout)
        )


class AsyncDynamoDBMetadataStore(AsyncMetadataStore):
    """Documents in DynamoDB, for coroutines. Threads do the work.

    The options are those of `DynamoDBMetadataStore`.
    """

    def __init__(
        self,
        table: str = "lakebed_metadata",
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        auto_migrate: bool = True,
        timeout: float = 30.0,
    ) -> None:
        backend = _backend(
            table, region, endpoint_url, access_key, secret_key, auto_migrate, timeout
        )
        super().__init__(ThreadedBackend(backend))
