"""A libSQL server: its address, its connections, and requests with errors of `lakebed.errors`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from lakebed.catalog.hrana.protocol import GUESS, Refusal
from lakebed.catalog.sqlite.grouping import RepeatError
from lakebed.catalog.statements.hiding import Mask
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    LockTimeoutError,
    RateLimitedError,
    StorageError,
)

if TYPE_CHECKING:
    import urllib3

CONNECT_SECONDS = 10.0
MOST_CONNECTIONS = 16
_PLAIN = ("http", "ws")
_SCHEMES = ("libsql", "https", "http", "wss", "ws")
_EXPECTED = "expected libsql://database-organization.turso.io, or http://host:port"
_LOST = {"TRANSACTION_TIMEOUT", "TRANSACTION_BUSY", "STREAM_EXPIRED", "SQLITE_BUSY_SNAPSHOT"}
_REFUSED = ("AUTH_", "SQLITE_AUTH", "BLOCKED_", "SQL_NO_", "UNAUTHORIZED")


class LostError(ConnectError):
    """A connection or a transaction was lost. The request may have taken effect."""


class BusyError(LockTimeoutError):
    """Another client held the write lock. Nothing has happened."""


class UndoneError(CatalogError):
    """The server ended a transaction and undid it. The work may be repeated."""


class GuessError(RepeatError):
    """A transaction was undone because it relied on a wrong guess."""


def address_of(url: str, token: str | None) -> tuple[str, str | None]:
    """Return the base of the HTTP address, and the token.

    `libsql://` means HTTPS, or HTTP with `?tls=0`. The token may be in the URL, as `authToken`.
    Raises ConfigurationError for any other URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError):
        raise ConfigurationError(f"catalog.url: {_EXPECTED}") from None
    query = parse_qs(parts.query)
    if parts.scheme not in _SCHEMES or not parts.hostname or query.keys() - {"authToken", "tls"}:
        raise ConfigurationError(f"catalog.url: {_EXPECTED}")
    if parts.username or parts.password:
        raise ConfigurationError(
            "catalog.url must not have a user or a password: libSQL takes a token, in auth_token"
        )
    if token and "authToken" in query:
        raise ConfigurationError(
            "catalog: auth_token and the URL's authToken cannot be combined: give one of them"
        )
    plain = parts.scheme in _PLAIN or query.get("tls") == ["0"]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{'http' if plain else 'https'}://{host}{f':{port}' if port else ''}"
    return base + parts.path.rstrip("/"), token or query.get("authToken", [None])[0]


class Server:
    """Sends requests, from any thread and after a fork.

    `shown`: the server's name in errors. `timeout`: seconds to wait for the answer to one request.
    """

    def __init__(self, base: str, token: str | None, timeout: float, mask: Mask) -> None:
        try:
            import urllib3
        except ImportError as error:
            raise DependencyMissingError(
                "catalogs in Turso need the urllib3 package: pip install 'lakebed[turso]'"
            ) from error
        self._urllib3 = urllib3
        self._base = base
        self._timeout = timeout
        self.shown = mask(base)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pid = 0
        self._pool: urllib3.PoolManager | None = None

    def _connections(self) -> urllib3.PoolManager:
        if self._pool is None or self._pid != os.getpid():
            self._pool = self._urllib3.PoolManager(maxsize=MOST_CONNECTIONS, block=False)
            self._pid = os.getpid()
        return self._pool

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()

    def ask(self, body: Mapping[str, Any], base: str | None = None) -> dict[str, Any]:
        """Return the answer to a pipeline."""
        errors = self._urllib3.exceptions
        try:
            answer = self._connections().request(
                "POST",
                f"{base or self._base}/v2/pipeline",
                body=json.dumps(body, ensure_ascii=False).encode(),
                headers=self._headers,
                retries=False,
                timeout=self._urllib3.Timeout(connect=CONNECT_SECONDS, read=self._timeout),
            )
            data = answer.data
        except errors.NewConnectionError as error:
            raise LostError(f"no connection to {self.shown}: {_reason(error)}") from error
        except (errors.ConnectTimeoutError, errors.ReadTimeoutError) as error:
            raise LostError(
                f"{self.shown} does not answer within {self._timeout:g} seconds (timeout)",
                "connection_timeout",
            ) from error
        except errors.LocationParseError:
            raise ConfigurationError(f"catalog.url: {_EXPECTED}") from None
        except errors.HTTPError as error:
            raise LostError(f"no connection to {self.shown}: {_reason(error)}") from error
        if answer.status != 200:
            raise self._refused(answer.status, data, answer.headers.get("Retry-After"))
        try:
            said: dict[str, Any] = json.loads(data)
        except ValueError:
            raise CatalogError(f"{self.shown} does not speak libSQL's protocol") from None
        return said

    def _refused(self, status: int, data: bytes, retry_after: str | None) -> LakebedError:
        told = _told(data)
        if status == 429:
            seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
            return RateLimitedError(f"{self.shown} asks to slow down: {told}", seconds)
        if status == 403:
            return ConnectError(
                f"the token for {self.shown} lacks the right: {told}", "auth_failed"
            )
        if status == 401:
            return ConnectError(
                f"{self.shown} refuses the token (auth_token), which may be wrong or have expired: "
                f"{told}",
                "auth_failed",
            )
        if status == 404:
            return ConfigurationError(f"{self.shown}: there is no such database: {told}")
        if status in (408, 502, 503, 504):
            return LostError(f"no connection to {self.shown}: it answers {status}: {told}")
        if status == 400 and ("stream" in told.lower() or "baton" in told.lower()):
            return UndoneError(f"{self.shown} has ended the transaction: {told}")
        return CatalogError(f"{self.shown} answers {status}: {told}")

    def explain(self, error: Refusal) -> LakebedError:
        """Return the error of `lakebed.errors` for the refusal of a statement."""
        code, told = error.code, str(error)
        if "JSON path" in told and GUESS in told:
            return GuessError(f"{self.shown} has found a guess wrong")
        if code in _LOST or "stream expired" in told.lower():
            return UndoneError(
                f"{self.shown} has ended the transaction, which held the write lock for too long: "
                f"{told}"
            )
        if code == "SQLITE_BUSY":
            return BusyError(f"the write lock of {self.shown} was not free: {told}")
        if code == "BLOCKED":  # for example if the account's quota is used up
            return RateLimitedError(f"{self.shown} has blocked the database: {told}")
        if code.startswith(_REFUSED) or "permission" in told.lower():
            return ConnectError(
                f"the token for {self.shown} lacks the right: {told}", "auth_failed"
            )
        if code == "SQLITE_READONLY":
            return StorageError(f"cannot write to {self.shown}: it is read-only: {told}")
        if code in ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_TOOBIG"):
            return StorageError(f"{self.shown} cannot store it: {told}")
        return CatalogError(f"{self.shown} failed: {told}{f' ({code})' if code else ''}")


def _told(data: bytes) -> str:
    """Return the reason in the body of a refusal."""
    try:
        said = json.loads(data)
        text = said.get("error") or said.get("message") or data.decode()
    except (ValueError, AttributeError):
        text = data.decode(errors="replace")
    return " ".join(str(text).split())[:300] or "no reason given"


def _reason(error: Exception) -> str:
    """Return the reason, without the address of urllib3's object."""
    text = str(error)
    return text.rpartition(">: ")[2] or type(error).__name__
