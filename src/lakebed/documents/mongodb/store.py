"""The stores of documents in MongoDB."""

from __future__ import annotations

from typing import Any

from lakebed.documents import options
from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.mongodb.backend import MongoDBBackend
from lakebed.documents.store import MetadataStore
from lakebed.errors import ConfigurationError, DependencyMissingError


def _backend(
    url: object, database: object, pool_size: object, timeout: object, *, blocking: bool
) -> MongoDBBackend:
    try:
        from pymongo import AsyncMongoClient, MongoClient
        from pymongo.errors import ConfigurationError as DriversConfigurationError
        from pymongo.errors import InvalidURI
        from pymongo.uri_parser import parse_uri
    except ImportError as error:
        raise DependencyMissingError(
            "a store in MongoDB needs the pymongo package: pip install 'lakebed[mongodb]'"
        ) from error
    address = options.text("url", url)
    most, wait = options.count("pool_size", pool_size), options.seconds("timeout", timeout)
    try:
        if not address.startswith("mongodb+srv:"):  # parsing such a URL would ask the DNS
            parse_uri(address)
    except (DriversConfigurationError, InvalidURI, ValueError, TypeError):
        # The driver's text may quote a password.
        raise ConfigurationError("url: expected mongodb://host/database") from None
    hosts, _, path = address.rpartition("@")[2].removeprefix("mongodb://").partition("/")
    named = path.partition("?")[0]
    holder = options.optional_text("database", database) or named or "lakebed"
    kind: Any = MongoClient if blocking else AsyncMongoClient

    def client() -> Any:
        return kind(
            address,
            maxPoolSize=most,
            serverSelectionTimeoutMS=int(wait * 1000),
            timeoutMS=int(wait * 1000),
            connect=False,
            appname="lakebed",
            w="majority",
        )

    shown = f"mongodb://{hosts}/{holder}"
    return MongoDBBackend(client, holder, shown, blocking=blocking, timeout=wait)


class MongoDBMetadataStore(MetadataStore):
    """Documents in MongoDB, stored unchanged in the collections of a database.

    `url`: `mongodb://host/database`, with options of pymongo. `database`: the database, instead of
    the one in the URL; `lakebed` if neither names one. `pool_size`: the most connections.
    `timeout`: seconds for one call.

    Transactions over several documents and atomic batches need a replica set. Every hosted MongoDB
    is one. Raises ConfigurationError for an invalid option, and DependencyMissingError without the
    extra `mongodb`.
    """

    def __init__(
        self,
        url: str,
        *,
        database: str | None = None,
        pool_size: int = 10,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(_backend(url, database, pool_size, timeout, blocking=True))


class AsyncMongoDBMetadataStore(AsyncMetadataStore):
    """Documents in MongoDB, for the coroutines of one event loop. It uses pymongo's async client.

    The options are those of `MongoDBMetadataStore`.
    """

    def __init__(
        self,
        url: str,
        *,
        database: str | None = None,
        pool_size: int = 10,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(_backend(url, database, pool_size, timeout, blocking=False))
