"""A lock in Firestore, as one document. The service's clock decides."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lakebed.clock import Clock, system_clock, to_micros
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    StorageError,
)
from lakebed.locks.base import Lock

_SECONDS = 20.0  # for one request and its repetitions


class _Found(NamedTuple):
    """A document as it was read.

    `until`, and `now`, the service's time, are in microseconds. `updated` is None if the document
    does not exist.
    """

    token: int
    owner: str
    until: int
    now: int
    updated: datetime | None


class FirestoreLock(Lock):
    """A lock that is a document in a collection of Firestore, written under preconditions.

    `collection`: the collection. It holds a document for each lock.
    `project`, `database`: if left out, Google's library finds them.

    The service's clock decides when a time to live has passed.

    Raises DependencyMissingError, with the pip command, if google-cloud-firestore is not installed,
    and ConfigurationError for an invalid option.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        collection: str = "lakebed_locks",
        project: str | None = None,
        database: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        try:
            from google.cloud import firestore
        except ImportError as error:
            raise DependencyMissingError(
                "locks in Firestore need the google-cloud-firestore package: "
                "pip install 'lakebed[firestore]'"
            ) from error
        if not isinstance(collection, str) or not collection or "/" in collection:
            raise ConfigurationError(f"collection must be a name without '/', got {collection!r}")
        self._place = collection, project, database
        self._make_client: Any = firestore.Client
        self._client: Any = None
        self._pid = 0
        self._id = hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def _take(self, owner: str) -> int | None:
        found = self._read()
        if found.owner not in ("", owner) and found.until > found.now:
            return None
        token, until = found.token + 1, found.now + self._micros
        values = {"lock": self.name, "token": token, "owner": owner, "until": until}
        return token if self._write(found, values) else None

    def _extend(self, owner: str, token: int) -> bool:
        while True:
            found = self._read()
            if (found.owner, found.token) != (owner, token) or found.until <= found.now:
                return False
            if self._write(found, {"until": found.now + self._micros}):
                return True

    def _free(self, owner: str, token: int) -> bool:
        while True:
            found = self._read()
            if found.token != token or found.owner not in (owner, ""):
                return False
            if not found.owner or self._write(found, {"owner": ""}):
                return True

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def _read(self) -> _Found:
        with self._explaining():
            snapshot = self._document().get(**_patience())
            said = snapshot.to_dict() or {}
            return _Found(
                int(said.get("token", 0)),
                str(said.get("owner", "")),
                int(said.get("until", 0)),
                to_micros(snapshot.read_time),
                snapshot.update_time,
            )

    def _write(self, found: _Found, values: dict[str, object]) -> bool:
        """Write the document, unless it has changed since it was read. Return whether it was
        written."""
        from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound

        with self._explaining():
            document = self._document()
            try:
                if found.updated is None:
                    document.create(values, **_patience())
                else:
                    unchanged = self._client.write_option(last_update_time=found.updated)
                    document.update(values, option=unchanged, **_patience())
            except (AlreadyExists, FailedPrecondition, NotFound):
                return False
            return True

    def _document(self) -> Any:
        collection, project, database = self._place
        if self._client is None or self._pid != os.getpid():  # gRPC does not survive a fork
            self._client = self._make_client(project=project, database=database)
            self._pid = os.getpid()
        return self._client.collection(collection).document(self._id)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise _explain(error, f"Firestore, for the lock {self.name!r}") from error


def _patience() -> dict[str, Any]:
    """Return how long a request may take, and how it is repeated."""
    from google.api_core.retry import Retry

    return {"timeout": _SECONDS, "retry": Retry(initial=0.1, maximum=2.0, timeout=_SECONDS)}


def _explain(error: Exception, where: str) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of Google's library."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, exceptions.TooManyRequests):  # includes ResourceExhausted
        return RateLimitedError(f"{where}: the service asks to slow down: {error}")
    if isinstance(error, (exceptions.Unauthorized, exceptions.Forbidden, GoogleAuthError)):
        return ConnectError(f"{where}: the credentials are refused: {error}", "auth_failed")
    if isinstance(error, (exceptions.GatewayTimeout, exceptions.RetryError)):
        return ConnectError(f"{where}: the service does not answer: {error}", "connection_timeout")
    if isinstance(error, exceptions.ServiceUnavailable):
        return ConnectError(f"{where}: no connection to the service: {error}")
    if isinstance(error, OSError):  # for example if no project is named
        return ConfigurationError(f"{where}: {error}")
    return StorageError(f"{where}: the service refuses: {error}")
