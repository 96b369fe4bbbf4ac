"""The search of a lake, opened when it is first needed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from lakebed.catalog.protocol import Catalog
from lakebed.lake.search.options import SearchOptions
from lakebed.objects.store import ObjectStore

if TYPE_CHECKING:
    from lakebed.lake.search.index import SearchIndex
    from lakebed.lake.search.indexed_text import ReadContents


class OpenedSearch:
    """Holds the search index of a lake. A lake, its views and its scopes share one."""

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore | None,
        read: ReadContents,
        options: SearchOptions,
        lake_id: str,
        *,
        read_only: bool,
    ) -> None:
        self.options = options
        self._catalog = catalog
        self._objects = objects
        self._read = read
        self._lake_id = lake_id
        self._read_only = read_only
        self._lock = threading.Lock()
        self._index: SearchIndex | None = None

    @property
    def embeds(self) -> bool:
        """Whether the lake was opened with an embedder, to search by meaning."""
        return self.options.embedder is not None

    def index(self) -> SearchIndex:
        """Return the index. Raises ConfigurationError if its embedder is not that of the lake."""
        with self._lock:
            # A forked child inherits locks that are held by threads which it does not have.
            if self._index is None or self._index.pid != os.getpid():
                from lakebed.lake.search.index import open_index  # a first store must not load it

                self._index = open_index(
                    self._catalog,
                    self._objects,
                    self._read,
                    self.options,
                    self._lake_id,
                    read_only=self._read_only,
                )
            return self._index

    def restart(self, *, read_only: bool) -> None:
        """Open another index with the next search. Only one that may write builds segments."""
        with self._lock:
            self._read_only = read_only
            self._index = None
