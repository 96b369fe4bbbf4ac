"""The lake, with all its capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from lakebed.lake.calls import Calls
from lakebed.lake.checks import check_flag
from lakebed.lake.scopes.scoping import Above, ScopedCalls, check_path, levels_of
from lakebed.lake.scopes.span import Span

if TYPE_CHECKING:
    from lakebed.lake.entries.stats import Upkeep
    from lakebed.lake.upkeep.background import Background


class Lake(Calls):
    """Long-term memory: values under keys, in a data lake. Open one with `lakebed.open`.

    A lake is also a mutable mapping of keys to values: `lake[key]`, `lake[key] = value`, `del
    lake[key]`, `key in lake`, `len(lake)`, and iteration over the keys. You can use it from any
    thread and after a fork. Close it, or use it in a `with` block.
    """

    def scope(self, path: str, *, inherit: bool = False) -> Scope:
        """Return a lake that is confined to the keys that begin with `path` and a slash.

        It has the same calls. Inside, keys are written without `path`, and no call can name or see
        a key outside.

            user = lake.scope("agency/acme/user/42")
            user.store("name", "Ada")  # agency/acme/user/42/name

        `path`: parts separated by slashes. Scopes can be nested. Listing, search, SQL and snapshots
        see only the scope; `purge()` erases the whole scope. Calls for the whole lake (`maintain`,
        `verify`, `publish`, …) raise ValidationError.

        `inherit`: if True, a read of one key or of many keys falls back to the scopes above, the
        nearest first. The scopes above are those of the pairs (kind and name) in the path, such as
        `agency/acme`, and the scope on which `scope` was called. No entry of a neighbouring scope
        is ever read: a key is looked up above only if it has no more parts than one step of the
        path, and does not begin with the kind of the scope that leads here.

        Raises ValidationError for a malformed path.
        """
        return Scope(self, check_path(path), inherit=check_flag("inherit", inherit))

    _background: Background | None = None

    def _maintain_by_itself(self) -> None:
        """Begin the upkeep in the background, if the lake was opened to do that and may write."""
        if self._auto_maintain == "full" and not self.read_only:
            from lakebed.lake.upkeep.background import Background  # a first store needs it not

            self._background = Background(self)

    def _upkeep(self) -> Upkeep | None:
        from lakebed.lake.upkeep.turns import note_of

        return note_of(self._catalog).told(self._auto_maintain, self._catalog.now())

    def close(self) -> None:
        """Close the catalog and the storage. Later calls raise CatalogError; closing again does
        nothing.

        Upkeep in the background ends first, after the transaction or upload that is under way.
        """
        if self._background is not None:
            self._background.close()
        self._queries.close()
        self._catalog.close()
        if self._objects is not None:
            self._objects.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lake cannot be pickled or copied: open it again in each process")

    def __repr__(self) -> str:
        return f"<Lake {self.name}>"


class Scope(ScopedCalls, Lake):
    """A lake confined to a prefix, made by `Lake.scope`. `prefix` is the prefix in the lake."""

    def __init__(self, lake: Lake, path: str, *, inherit: bool = False) -> None:
        outer = lake if isinstance(lake, Scope) else None
        root = lake if outer is None else outer._root
        super().__init__(root, Span.of(f"{'' if outer is None else outer.prefix}{path}/"))
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

    def _upkeep(self) -> None:
        return None

    def close(self) -> None:
        """End the queries of the scope. The lake stays open."""
        self._queries.close()

    def __repr__(self) -> str:
        return f"<Scope {self.prefix!r} of {self._root.name}>"
