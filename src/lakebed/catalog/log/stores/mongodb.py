"""A log in a collection of MongoDB. Each item is a document."""

from __future__ import annotations

import re
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from lakebed.catalog.log.opening import COMMON, open_log
from lakebed.catalog.log.stores.failures import Failures, refused, throttled, unreachable
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import seconds, text
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakebed.catalog.statements.hiding import Mask

_SERVICE = "MongoDB"
DATABASE = "lakebed"
"""The database to use if the URL does not name one."""
_REFUSED = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, Atlas's for both
_THROTTLED = {462, 16500}  # IngressRequestRateLimitExceeded, Cosmos DB's
_DETAILS = re.compile(r", full error: | \(configured timeouts: |, Timeout: ")
_CODE = re.compile(r"'code': (\d+)")
_PAUSE = re.compile(r"RetryAfterMs=(\d+)")


class MongoDBLogStore:
    """The items of a log in one collection.

    A put returns once a majority of the servers has the item. A read asks the primary, which first
    confirms that it still is the primary (`linearizable`). `timeout`: seconds that a request may
    take, including the search for a server.
    """

    item_bytes = 12_000_000  # a document may have 16 MiB

    def __init__(
        self, url: str, *, collection: str = "lakebed", timeout: float = 10.0, mask: Mask = str
    ) -> None:
        try:
            from pymongo import MongoClient, ReadPreference, WriteConcern
            from pymongo.errors import ConfigurationError as DriversConfigurationError
            from pymongo.errors import DuplicateKeyError, InvalidURI, PyMongoError
            from pymongo.read_concern import ReadConcern
        except ImportError as error:
            raise DependencyMissingError(
                "this catalog needs the pymongo package: pip install 'lakebed[mongodb]'"
            ) from error
        self._failures = Failures((PyMongoError,), explained, mask)
        self._exists: type[Any] = DuplicateKeyError
        try:
            self._client: Any = MongoClient(
                url,
                timeoutMS=int(timeout * 1000),
                serverSelectionTimeoutMS=int(timeout * 1000),
                connect=False,
                appname="lakebed",
            )
            database = self._client.get_default_database(DATABASE)
        except (DriversConfigurationError, InvalidURI, ValueError, TypeError) as error:
            # The error's text may contain the password.
            raise ConfigurationError(
                f"catalog.url: {type(error).__name__}: expected mongodb://host/database"
            ) from None
        self._items = database.get_collection(
            collection,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("linearizable"),
            write_concern=WriteConcern("majority", j=True),
        )

    def put_new(self, name: str, data: bytes) -> bool:
        with self._failures.ours():
            try:
                self._items.insert_one({"_id": name, "data": data})
            except self._exists:
                return False
            return True

    def get(self, name: str) -> bytes | None:
        with self._failures.ours():
            found = self._items.find_one({"_id": name})
        return None if found is None else bytes(found["data"])

    def put(self, name: str, data: bytes) -> None:
        with self._failures.ours():
            self._items.replace_one({"_id": name}, {"_id": name, "data": data}, upsert=True)

    def delete(self, name: str) -> None:
        with self._failures.ours():
            self._items.delete_one({"_id": name})

    def now(self) -> float:
        """Return the server's time."""
        with self._failures.ours():
            told = self._client.admin.command("hello")["localTime"]
        return float(told.replace(tzinfo=UTC).timestamp())

    def close(self) -> None:
        self._client.close()


def open_mongodb(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "mongodb", "url": "mongodb://host/database"}`."""
    refuse_unknown(given, ("url", "collection", "timeout", *COMMON))
    url, collection = text(given, "url"), text(given, "collection", "lakebed")
    connect = partial(
        MongoDBLogStore,
        url,
        collection=collection,
        timeout=seconds(given, "timeout", 10.0),
        mask=options.mask,
    )
    scheme, _, rest = url.partition("://")
    address = rest.rpartition("@")[2].partition("?")[0]  # without password and options
    name = f"{scheme}://{address.rstrip('/')}"
    return open_log(connect, name, given, options, place=f"{name} {collection}")


def explained(error: Exception) -> LakebedError:
    from pymongo import errors as mongo

    told = _DETAILS.split(str(error), maxsplit=1)[0]
    code = error.code if isinstance(error, mongo.OperationFailure) else _quoted_code(error)
    if code in _THROTTLED:
        named = _PAUSE.search(str(error))
        return throttled(_SERVICE, told, int(named[1]) / 1000 if named else None)
    if code in _REFUSED:
        return refused(_SERVICE, told)
    if isinstance(error, mongo.PyMongoError) and error.timeout:
        # The search for a server fails after the same time, whatever the reason.
        late = "refused" not in told or "timed out" in told
        return unreachable(_SERVICE, told, timeout=late)
    if isinstance(error, mongo.ConnectionFailure):
        return unreachable(_SERVICE, told, timeout=False)
    return CatalogError(f"{_SERVICE}: {told}")


def _quoted_code(error: Exception) -> int | None:
    """Return the code that the text of an error quotes, or None.

    The driver does not ask a server again that has refused a password. Its error then only says
    that no server was found in time.
    """
    quoted = _CODE.search(str(error))
    return int(quoted[1]) if quoted else None
