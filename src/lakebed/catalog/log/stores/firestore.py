"""A log in a collection of Google's Firestore. Each item is a document."""

from __future__ import annotations

import os
from functools import partial
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

_SERVICE = "Firestore"
_DATA = "data"


class FirestoreLogStore:
    """The items of a log in one collection.

    `project` and the credentials come from the environment if they are left out, as everywhere in
    Google Cloud. FIRESTORE_EMULATOR_HOST names an emulator. `timeout`: seconds to wait for the
    answer to a request.
    """

    item_bytes = 1_000_000  # a document may have 1 MiB, including the names of its fields

    def __init__(
        self,
        collection: str,
        *,
        project: str | None = None,
        database: str | None = None,
        timeout: float = 10.0,
        mask: Mask = str,
    ) -> None:
        try:
            from google.api_core.exceptions import AlreadyExists, GoogleAPIError
            from google.auth.exceptions import GoogleAuthError
            from google.cloud.firestore import Client
        except ImportError as error:
            raise DependencyMissingError(
                "this catalog needs the google-cloud-firestore package: "
                "pip install 'lakebed[firestore]'"
            ) from error
        # The client raises OSError if it finds no project.
        self._failures = Failures((GoogleAPIError, GoogleAuthError, OSError), explained, mask)
        self._exists: type[Any] = AlreadyExists
        # The log itself repeats what failed.
        self._call = {"retry": None, "timeout": timeout}
        with self._failures.ours():
            self._client: Any = Client(project=project, database=database)
            self._items: Any = self._client.collection(collection)

    def put_new(self, name: str, data: bytes) -> bool:
        with self._failures.ours():
            try:
                self._document(name).create({_DATA: data}, **self._call)
            except self._exists:
                return False
            return True

    def get(self, name: str) -> bytes | None:
        with self._failures.ours():
            found = self._document(name).get(**self._call)
        return bytes(found.get(_DATA)) if found.exists else None

    def put(self, name: str, data: bytes) -> None:
        with self._failures.ours():
            self._document(name).set({_DATA: data}, **self._call)

    def delete(self, name: str) -> None:
        with self._failures.ours():
            self._document(name).delete(**self._call)

    def now(self) -> float:
        """Return the service's time."""
        with self._failures.ours():
            found = self._document("base/newest").get(**self._call)
        return float(found.read_time.timestamp())

    def close(self) -> None:
        self._client.close()

    def _document(self, name: str) -> Any:
        # A slash would separate the name of a collection from that of a document.
        return self._items.document(name.replace("/", "."))


def open_firestore(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "firestore", "collection": …}` or
    `firestore://project/collection`."""
    given = in_url(given, "project", "collection")
    refuse_unknown(given, ("project", "collection", "database", "timeout", *COMMON))
    collection = text(given, "collection", "agent_memory")
    project, database = maybe_text(given, "project"), maybe_text(given, "database")
    connect = partial(
        FirestoreLogStore,
        collection,
        project=project,
        database=database,
        timeout=seconds(given, "timeout", 10.0),
        mask=options.mask,
    )
    name = f"firestore://{project or 'default'}/{collection}"
    host = os.environ.get("FIRESTORE_EMULATOR_HOST")
    return open_log(connect, name, given, options, place=f"{name} {database} {host}")


def explained(error: Exception) -> LakebedError:
    from google.api_core import exceptions as google
    from google.auth.exceptions import GoogleAuthError, TransportError

    if isinstance(error, TransportError):
        return unreachable(_SERVICE, error, timeout=False)
    if isinstance(error, (google.Unauthenticated, google.PermissionDenied, GoogleAuthError)):
        return refused(_SERVICE, error)
    if isinstance(error, google.ResourceExhausted):
        return throttled(_SERVICE, error, _named_pause(error))
    if isinstance(error, (google.DeadlineExceeded, google.RetryError)):
        return unreachable(_SERVICE, error, timeout=True)
    if isinstance(error, google.ServerError):
        return unreachable(_SERVICE, error, timeout=False)
    if isinstance(error, google.Aborted):
        return throttled(_SERVICE, error)  # too many writers at one document
    if isinstance(error, (google.NotFound, google.FailedPrecondition, OSError)):
        return ConfigurationError(f"{_SERVICE}: {error}")  # no such database or project
    return CatalogError(f"{_SERVICE}: {error}")


def _named_pause(error: Any) -> float | None:
    """Return the seconds in the answer's RetryInfo, if it has one."""
    for detail in error.details:
        if hasattr(detail, "retry_delay"):
            return float(detail.retry_delay.ToTimedelta().total_seconds())
    return None
