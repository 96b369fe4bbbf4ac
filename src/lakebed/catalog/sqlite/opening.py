"""Opens a SQLite catalog from a path, a URL, or its options."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lakebed.catalog.opened import MEMORY, CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.sqlite.catalog import SQLiteCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.errors import ConfigurationError
from lakebed.paths import absolute


def open_sqlite(path: str | os.PathLike[str] | None, options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog in a SQLite file, or in memory if `path` is None."""
    if options.read_only:
        return _open_reader(path, options)
    executor = SQLiteExecutor(
        path,
        durability=options.durability,
        lock_timeout=options.lock_timeout,
        clock=options.clock,
        mask=options.mask,
    )
    name = MEMORY if path is None else f"sqlite:///{path}"
    return OpenedCatalog(SQLiteCatalog(executor), name, path is not None)


def _open_reader(path: str | os.PathLike[str] | None, options: CatalogOptions) -> OpenedCatalog:
    if path is None:
        raise ConfigurationError(
            "a catalog in memory cannot be opened with read_only=True: it is always empty"
        )
    from lakebed.catalog.sqlite.reading import SQLiteReader

    reader = SQLiteReader(path, clock=options.clock, mask=options.mask)
    return OpenedCatalog(SQLiteCatalog(reader), f"sqlite:///{path}", True)


def open_sqlite_mapping(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "sqlite", "path": …}`, where the path may be a URL."""
    refuse_unknown({name: None for name in given if name != "url"}, ("path",))
    path = given.get("url")
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigurationError("catalog.path: expected the path of the SQLite file")
    if isinstance(path, str) and path.startswith("sqlite://"):
        rest = path.removeprefix("sqlite://")
        if rest in ("", "/", f"/{MEMORY}"):
            return open_sqlite(None, options)
        if not rest.startswith("/"):
            raise ConfigurationError(
                f"catalog: {path!r} names a host: write sqlite:///{rest} for a relative path"
            )
        path = rest[1:]
    return open_sqlite(None if path == MEMORY else absolute(path), options)
