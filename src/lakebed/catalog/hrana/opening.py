"""Opening a catalog in Turso, or in another libSQL server."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.catalog.hrana.catalog import HranaCatalog
from lakebed.catalog.hrana.executor import HranaExecutor
from lakebed.catalog.hrana.server import Server, address_of
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import flag, seconds
from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError

_KNOWN = ("url", "auth_token", "timeout", "auto_migrate", "lazy")


def open_turso(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "turso", "url": …}`. The other options are optional:

    `auth_token`: the database's token. It may also be in the URL, as `?authToken=…`. `timeout`
    (30): seconds to wait for an answer, and to repeat a call that fails for a temporary reason.
    `auto_migrate` (true): create and migrate the tables. `lazy` (false): connect only at the first
    call.
    """
    refuse_unknown(given, _KNOWN)
    url, token = given.get("url"), given.get("auth_token")
    if not isinstance(url, str) or not url:
        raise ConfigurationError("catalog.url: expected libsql://database-organization.turso.io")
    if token is not None and (not isinstance(token, str) or not token.strip()):
        raise ConfigurationError("catalog.auth_token: expected text")
    base, token = address_of(url, token)
    timeout = seconds(given, "timeout", 30.0)
    executor = HranaExecutor(
        Server(base, token, timeout, options.mask),
        timeout=timeout,
        lock_timeout=options.lock_timeout,
        clock=None if options.clock is system_clock else options.clock,
        read_only=options.read_only,
    )
    catalog = HranaCatalog(executor, auto_migrate=flag(given, "auto_migrate", True))
    return OpenedCatalog(catalog, executor.server.shown, True, flag(given, "lazy", False))
