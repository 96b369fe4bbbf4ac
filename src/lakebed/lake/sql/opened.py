"""The queries of a lake, opened when they are first needed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from lakebed.catalog.protocol import Catalog
from lakebed.errors import CatalogError
from lakebed.lake.contents.windows import ContentReader
from lakebed.objects.store import ObjectStore

if TYPE_CHECKING:
    from lakebed.duckdb.session import QuerySettings
    from lakebed.lake.sql.engine import QueryEngine
    from lakebed.lake.sql.stored_tables import StoredTables


class OpenedQueries:
    """Holds the query sessions of a lake, and its tables for Ibis. A lake and its views share
    them."""

    def __init__(self, lake: ContentReader, catalog: Catalog, objects: ObjectStore | None) -> None:
        self._lake = lake
        self._catalog = catalog
        self._objects = objects
        self._engines: dict[bool, QueryEngine] = {}
        self._tables: StoredTables | None = None
        self._settings: QuerySettings | None = None
        self._closed = False

    def set(self, settings: QuerySettings) -> None:
        """Set the limits of queries from the next one on. Open results end."""
        with _starting:
            self._settings = settings
            self._close_engines()

    def engine(self, *, external: bool = False) -> QueryEngine:
        """Return the DuckDB session over the lake. The first call starts it."""
        from lakebed.duckdb.session import QuerySettings
        from lakebed.lake.sql.engine import QueryEngine

        with _starting:
            engine = self._engines.get(external)
            if engine is not None and engine.pid != os.getpid():
                # A forked child does not have DuckDB's threads, so it cannot even close the
                # session.
                _inherited.append(engine)
                engine = None
            if engine is None:
                if self._closed:
                    raise CatalogError("the lake is closed")
                engine = QueryEngine(
                    self._lake,
                    self._catalog,
                    self._objects,
                    self._settings or QuerySettings(),
                    external=external,
                )
                self._engines[external] = engine
        return engine

    def stored_tables(self) -> StoredTables:
        """Return the lake's tables for Ibis. Raises DependencyMissingError without Ibis."""
        from lakebed.values.tabular import require

        require("ibis")
        from lakebed.lake.sql.stored_tables import StoredTables

        engine = self.engine()
        if self._tables is None or not self._tables.is_for(engine):
            self._tables = StoredTables(engine, self._lake, self._catalog, self._objects)
        return self._tables

    def close(self) -> None:
        """End all queries for good."""
        self._closed = True
        self._close_engines()

    def _close_engines(self) -> None:
        for engine in self._engines.values():
            if engine.pid == os.getpid():
                engine.close()
        self._engines = {}


_starting = threading.RLock()
_inherited: list[QueryEngine] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_starting.acquire,
        after_in_parent=_starting.release,
        after_in_child=_starting.release,
    )
