"""Opens a catalog that is a shared log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lakebed.catalog.log.bases import BasedLogExecutor
from lakebed.catalog.log.catalog import LogCatalog
from lakebed.catalog.log.store import LogStore
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.options import flag
from lakebed.errors import ConfigurationError
from lakebed.locks import Lock
from lakebed.paths import cache_folder

_STALENESS = "max_staleness"
COMMON = (_STALENESS, "auto_migrate", "lazy")
"""The options that every kind of shared log takes."""


def open_log(
    connect: Callable[[], LogStore],
    name: str,
    given: Mapping[str, object],
    options: CatalogOptions,
    *,
    place: str | None = None,
    lock: Callable[[], Lock] | None = None,
) -> OpenedCatalog:
    """Open a catalog over a shared log.

    `connect`: opens the store of the log, once in each process. `name`: the log's URL in messages,
    without secrets. `given`: the options of the catalog, of which this function uses those in
    `COMMON`. `place`: text that no other log has, by which the cache folder tells copies apart.
    Give it if two logs can have the same `name`, for example at two endpoints. `lock`: makes a lock
    that is held during commits, so that fewer races are lost.
    """
    lazy = flag(given, "lazy", False)
    executor = BasedLogExecutor(
        connect,
        shown=options.mask(name),
        place=place or name,
        folder=cache_folder(options.cache),
        max_staleness=_staleness(given),
        lock_timeout=options.lock_timeout,
        clock=options.clock,
        read_only=options.read_only,
        lazy=lazy,
        lock=lock,
    )
    catalog = LogCatalog(executor, auto_migrate=flag(given, "auto_migrate", True))
    return OpenedCatalog(catalog, name, True, lazy)


def _staleness(given: Mapping[str, object]) -> float:
    value = given.get(_STALENESS, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise ConfigurationError(
            f"catalog.{_STALENESS} is {value!r}: expected seconds, 0 to ask before each read"
        )
    return float(value)
