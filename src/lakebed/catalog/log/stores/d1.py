"""A log in a database of Cloudflare D1. Each item is a row of a table."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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

_SERVICE = "Cloudflare D1"
_API = "/client/v4"
CLOUDFLARE = "https://api.cloudflare.com"
_OPTIONS = ("account_id", "database_id", "api_token", "endpoint_url", "worker_url")
_CREATE = (
    "CREATE TABLE IF NOT EXISTS lakebed_log (name TEXT PRIMARY KEY NOT NULL, data TEXT NOT NULL)"
)
_INSERT = "INSERT INTO lakebed_log (name, data) VALUES (?, ?) ON CONFLICT (name)"


def rest_address(account_id: str, database_id: str, endpoint_url: str = CLOUDFLARE) -> str:
    """Return the address at which Cloudflare's REST interface takes statements for a database."""
    base = endpoint_url.rstrip("/").removesuffix(_API)
    account, database = quote(account_id, safe=""), quote(database_id, safe="")
    return f"{base}{_API}/accounts/{account}/d1/database/{database}/query"


class D1LogStore:
    """The items of a log in the table `lakebed_log`, which the first put creates.

    `address`: the URL to which statements are sent as JSON (`sql`, `params`). It belongs to
    Cloudflare's REST interface (see `rest_address`), which allows about four calls a second, or to
    a Worker of your own. `timeout`: seconds to wait for the answer to a request.
    """

    # Base64 makes it a third longer, and a row may have 2 MB.
    item_bytes = 1_000_000

    def __init__(
        self,
        address: str,
        api_token: str,
        *,
        prefix: str = "lakebed",
        timeout: float = 10.0,
        mask: Mask = str,
    ) -> None:
        try:
            import urllib3
        except ImportError as error:
            raise DependencyMissingError(
                "this catalog needs the urllib3 package: pip install 'lakebed[d1]'"
            ) from error
        self._failures = Failures((urllib3.exceptions.HTTPError,), _explained, mask)
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_token}"}
        self._prefix = prefix
        # The log itself repeats what failed.
        self._pool: Any = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=32)

    def put_new(self, name: str, data: bytes) -> bool:
        return bool(self._insert(f"{_INSERT} DO NOTHING RETURNING name", name, data))

    def get(self, name: str) -> bytes | None:
        try:
            found = self._run("SELECT data FROM lakebed_log WHERE name = ?", self._name(name))
        except _NoTableError:
            return None
        return b64decode(found[0]["data"]) if found else None

    def put(self, name: str, data: bytes) -> None:
        self._insert(f"{_INSERT} DO UPDATE SET data = excluded.data", name, data)

    def delete(self, name: str) -> None:
        try:
            self._run("DELETE FROM lakebed_log WHERE name = ?", self._name(name))
        except _NoTableError:
            return

    def now(self) -> float:
        """Return the service's time."""
        return float(self._run("SELECT unixepoch('subsec') AS now")[0]["now"])

    def close(self) -> None:
        self._pool.clear()

    def _name(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _insert(self, sql: str, name: str, data: bytes) -> list[dict[str, str]]:
        params = (self._name(name), b64encode(data).decode())
        try:
            return self._run(sql, *params)
        except _NoTableError:
            self._run(_CREATE)
            return self._run(sql, *params)

    def _run(self, sql: str, *params: str) -> list[dict[str, str]]:
        with self._failures.ours():
            answer = self._pool.request(
                "POST", self._address, json={"sql": sql, "params": params}, headers=self._headers
            )
        try:
            body = answer.json()
            told = "; ".join(str(one["message"]) for one in body["errors"])
            if answer.status == 200 and body["success"]:
                rows: list[dict[str, str]] = body["result"][0]["results"]
                return rows
        except (ValueError, LookupError, TypeError):  # for example a proxy's error page
            told = f"HTTP status {answer.status}"
        raise _refusal(answer.status, told, answer.headers.get("Retry-After"))


def open_d1(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "d1", "account_id": …, "database_id": …, "api_token": …}`.

    The URL `d1://account/database` means the same. `worker_url` names a Worker instead. Without
    `api_token`, the token is taken from CLOUDFLARE_API_TOKEN.
    """
    given = in_url(given, "account_id", "database_id")
    refuse_unknown(given, (*_OPTIONS, "prefix", "timeout", *COMMON))
    token = maybe_text(given, "api_token") or os.environ.get("CLOUDFLARE_API_TOKEN")
    if not token:
        raise ConfigurationError("catalog.api_token is missing: set it, or CLOUDFLARE_API_TOKEN")
    address = maybe_text(given, "worker_url")
    if address is None:
        account, database = text(given, "account_id"), text(given, "database_id")
        endpoint = text(given, "endpoint_url", CLOUDFLARE)
        address, name = rest_address(account, database, endpoint), f"d1://{account}/{database}"
    else:
        for option in ("account_id", "database_id", "endpoint_url"):
            if given.get(option) is not None:
                raise ConfigurationError(f"catalog.{option} cannot be combined with worker_url")
        name = address
    prefix = text(given, "prefix", "lakebed")
    connect = partial(
        D1LogStore,
        address,
        token,
        prefix=prefix,
        timeout=seconds(given, "timeout", 10.0),
        mask=options.mask,
    )
    return open_log(connect, name, given, options, place=f"{address} {prefix}")


class _NoTableError(CatalogError):
    """The table does not exist yet."""


def _refusal(status: int, told: str, after: str | None) -> LakebedError:
    if "no such table" in told:
        return _NoTableError(told)
    if status == 429 or "overloaded" in told:
        return throttled(_SERVICE, told, after)
    if status in (401, 403):
        return refused(_SERVICE, told)
    if status == 404:
        return ConfigurationError(f"{_SERVICE}: {told}")
    if status >= 500:
        return unreachable(_SERVICE, told, timeout=status == 504)
    return CatalogError(f"{_SERVICE}: {told}")


def _explained(error: Exception) -> LakebedError:
    from urllib3 import exceptions as urllib3

    late = isinstance(error, urllib3.TimeoutError)
    unheard = isinstance(error, urllib3.NewConnectionError)  # a TimeoutError too
    return unreachable(_SERVICE, error, timeout=late and not unheard)
