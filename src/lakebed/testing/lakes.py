"""Open a lake with a test's own clock, store or catalog."""

from __future__ import annotations

from pathlib import Path

from lakebed.catalog.opened import CatalogOptions, Durability, OpenedCatalog
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.clock import Clock, system_clock
from lakebed.lake.lake import Lake
from lakebed.lake.opening import CATALOG_FILE, History, assemble
from lakebed.objects.local import LocalStore
from lakebed.objects.store import ObjectStore


def open_lake(
    folder: Path | None = None,
    *,
    clock: Clock = system_clock,
    catalog: OpenedCatalog | None = None,
    objects: ObjectStore | None = None,
    inline_threshold: int | None = None,
    history: History | None = None,
    history_retention: int | None = None,
    durability: Durability = "normal",
    lock_timeout: float = 60.0,
) -> Lake:
    """Open a lake as `lakebed.open` does, with a test's own parts.

    - `folder`: the folder of the lake. It is created if it does not exist. None: a lake in memory.
    - `clock`: the clock of the lake, such as a `FakeClock`.
    - `catalog`: a catalog to use instead of SQLite. It has its own clock and lock timeout.
    - `objects`: a store to use instead of the folder's own, such as a `FaultyStore` around it. With
      neither a folder nor a store, all values stay in the catalog.
    - `history_retention`: in microseconds, for `history="all"`.

    The other arguments and the errors are those of `lakebed.open`.
    """
    if catalog is None:
        options = CatalogOptions(durability, lock_timeout, clock)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        catalog = open_sqlite(folder and folder / CATALOG_FILE, options)
    if objects is None and folder is not None:
        objects = LocalStore(folder)
    shown = "." if folder is not None else ""
    return assemble(catalog, objects, shown, inline_threshold, history, history_retention)
