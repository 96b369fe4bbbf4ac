"""The lake: all capabilities together."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn, cast

from lakebed.lake.checks import check_flag
from lakebed.lake.entries.batch_reading import BatchReading
from lakebed.lake.entries.batches import Batches
from lakebed.lake.entries.taking import Taking
from lakebed.lake.scopes.catalog import ScopedCatalog
from lakebed.lake.scopes.scoping import Above, ScopedCalls, check_path, levels_of
from lakebed.lake.scopes.span import Span
from lakebed.lake.search.searching import Searching
from lakebed.lake.share.presigning import Presigning
from lakebed.lake.share.publishing import Publishing
from lakebed.lake.sql.ibis_tables import IbisTables
from lakebed.lake.upkeep.maintenance import Maintenance
from lakebed.lake.upkeep.stats import Statistics
from lakebed.lake.upkeep.verifying import Verifying


class Lake(
    Batches,
    Taking,
    BatchReading,
    Searching,
    Publishing,
    IbisTables,
    Presigning,
    Maintenance,
    Verifying,
    Statistics,
    MutableMapping[str, Any],
):
    """Long-term memory: values under keys, in a data lake. Made by `lakebed.open`.

    Also a mutable mapping of keys to values: `lake[key]`, `lake[key] = value`, `del lake[key]`,
    `key in lake`, `len(lake)`, and iteration over the keys. Safe to use from any thread and after a
    fork. Close it, or use it in a `with` block.
    """

    def scope(self, path: str, *, inherit: bool = False) -> Scope:
        """The lake confined to the keys that begin with `path` and a slash, which are told without
        them: a lake with the same calls, none of which can name or see a key outside.

            user = lake.scope("agency/acme/user/42")
            user.store("name", "Ada")  # agency/acme/user/42/name

        `path`: parts with a slash between them. Scopes can be nested. Listing, search, SQL and
        snapshots are those of the scope; `purge()` forgets it whole. What concerns the whole lake
        (`maintain`, `verify`, `publish`, …) is refused.

        `inherit`: a read of one key or of many falls back to the scopes above, the nearest first.
        Those are the scopes of the pairs (kind and name) in the path, such as `agency/acme`, and
        the scope that this one is made from. Entries of scopes beside it are never read: a key is
        looked for above only if it has no more parts than such a step, and does not begin with the
        kind of scope that leads here.

        Raises ValidationError for a path that is not well formed.
        """
        return Scope(self, check_path(path), inherit=check_flag("inherit", inherit))

    def close(self) -> None:
        """Close the catalog and the storage. Calls after it raise; closing again does nothing."""
        self._ended = True
        self._close_engines()
        self._catalog.close()
        if self._objects is not None:
            self._objects.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a lake can be neither pickled nor copied: open it where it is used, in another "
            "process as well"
        )

    def __repr__(self) -> str:
        return f"<Lake {self.name}>"

    # Comparing two lakes entry by entry, as mappings do, is never what is meant.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Scope(ScopedCalls, Lake):
    """A lake confined to a prefix; made by `Lake.scope`. `prefix` tells it."""

    def __init__(self, lake: Lake, path: str, *, inherit: bool = False) -> None:
        outer = lake if isinstance(lake, Scope) else None
        root = lake if outer is None else outer._root
        self._root = cast("ScopedCalls", root)
        self._span = Span.of(f"{'' if outer is None else outer.prefix}{path}/")
        super().__init__(
            cast("Any", ScopedCatalog(root._catalog, self._span)),
            root._objects,
            name=f"{root.name}, scope {self.prefix}",
            inline_threshold=root._inline_threshold,
            history=root._history,
            history_retention=root._history_retention,
            lake_id=root._lake_id,
            search=root._search_options,
            read_only=root.read_only,
        )
        self._above = self._find_above(lake, outer, path) if inherit else ()

    def _find_above(self, lake: Lake, outer: Scope | None, path: str) -> list[Above]:
        levels, step = levels_of(path)
        above = [Above(Scope(lake, level), step, self._part_below(path, level)) for level in levels]
        if outer is not None:
            above.append(Above(outer, step, path.split("/")[0]))
            above += outer._above
        return above

    @staticmethod
    def _part_below(path: str, level: str) -> str:
        return path[len(level) + 1 :].split("/")[0]

    def close(self) -> None:
        """End the queries of the scope; the lake stays open."""
        self._ended = True
        self._close_engines()

    def __repr__(self) -> str:
        return f"<Scope {self.prefix!r} of {self._root.name}>"
