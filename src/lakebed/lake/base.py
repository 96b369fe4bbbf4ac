"""The core of a lake: its catalog, its storage, and what its parts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from lakebed.catalog.protocol import Catalog, CatalogReads
from lakebed.errors import ReadOnlyError
from lakebed.lake.contents.reading import ContentReading
from lakebed.lake.ownership import Ownership
from lakebed.lake.search.opened import OpenedSearch
from lakebed.lake.search.options import SearchOptions
from lakebed.lake.sql.opened import OpenedQueries
from lakebed.model import Moment
from lakebed.objects.store import ObjectStore

if TYPE_CHECKING:
    from lakebed.lake.search.index import SearchIndex

AutoMaintain = Literal["off", "light", "full"]
"""How much upkeep an open lake does by itself; see `lakebed.open`."""
MAX_INLINE_BYTES = 64 * 1024 * 1024
"""The largest value, in bytes, that a lake without a storage keeps in its catalog."""


class LakeBase(ContentReading):
    """The parts of a lake that can be read. Each capability is mixed in from one file."""

    read_only = False
    """Whether the lake is read-only: it must then not write anything anywhere."""

    def __init__(
        self,
        catalog: CatalogReads,
        objects: ObjectStore | None,
        *,
        name: str,
        search: OpenedSearch,
    ) -> None:
        super().__init__(catalog, objects)
        self._search = search
        self.name = name

    def _searcher(self) -> SearchIndex:
        """Return the index that searches the lake."""
        return self._search.index()

    def _searched_moment(self) -> Moment | None:
        """Return the moment that a search sees, or None for the present."""
        return None


class PresentLake(LakeBase):
    """The core of a lake that may be written: a catalog that can be written, and its settings."""

    _catalog: Catalog

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore | None,
        *,
        name: str,
        inline_threshold: int,
        history: str,
        history_retention: int | None,
        lake_id: str,
        search: SearchOptions | OpenedSearch,
        read_only: bool = False,
        owner: Ownership | None = None,
        auto_maintain: AutoMaintain = "light",
        created: bool = False,
    ) -> None:
        self._auto_maintain: AutoMaintain = auto_maintain
        self.read_only = read_only
        self._owner = owner
        self._created = created  # by this opening of it
        if not isinstance(search, OpenedSearch):  # a scope shares the search of its lake
            search = OpenedSearch(
                catalog, objects, self.read_contents, search, lake_id, read_only=read_only
            )
        super().__init__(catalog, objects, name=name, search=search)
        self._lake_id = lake_id
        self._inline_threshold = inline_threshold
        self._history = history
        self._history_retention = history_retention  # microseconds, None for ever
        self._queries = OpenedQueries(self, catalog, objects)

    def _must_write(self, call: str) -> None:
        """Raise ReadOnlyError for a call that writes, before it does anything, if the lake is
        read-only."""
        if self.read_only and self._owner is None:
            raise ReadOnlyError(
                f"{call} writes, but {self.name} was opened with read_only=True: open it without "
                "read_only"
            )
        if self._owner is not None and self._owner.must_look():
            self._heed(self._owner.require, call)

    def _must_own(self, call: str) -> None:
        """Raise ReadOnlyError for a call that deletes bytes if another copy of the catalog owns the
        storage."""
        if self._owner is not None:
            self._heed(self._owner.require_deletion, call)

    def _heed(self, require: Callable[[str], None], call: str) -> None:
        assert self._owner is not None
        try:
            require(call)
        finally:
            if self._owner.refusal is not None and not self.read_only:
                self._turn(read_only=True)

    def _turn(self, *, read_only: bool) -> None:
        """Make the lake read-only, or writable again."""
        self.read_only = read_only
        self._search.restart(read_only=read_only)
