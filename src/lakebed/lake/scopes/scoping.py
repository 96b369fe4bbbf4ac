"""Scopes: a lake confined to a prefix, which no call can leave."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from lakebed.errors import LakebedError, NotFoundError, ValidationError
from lakebed.lake.calls import Calls
from lakebed.lake.checks import TTL, check_key
from lakebed.lake.entries.batch_reading import Retrieved
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.reading import MISSING, Reading
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.scopes.catalog import ScopedCatalog
from lakebed.lake.scopes.span import Span
from lakebed.lake.searching import Hit, Hits, Mode, Searching
from lakebed.lake.upkeep.purging import PurgeReport
from lakebed.model import EntryRow, Moment, Outcome, Progress
from lakebed.records import Entry, StoredEntry
from lakebed.values.tables import TableLibrary

if TYPE_CHECKING:
    from lakebed.catalog.protocol import Catalog
    from lakebed.duckdb.result import QueryResult

_MAX_BYTES = 900  # of a scope's path: a key has 1,024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Above(NamedTuple):
    """A scope above another one, from which the lower one may read.

    `step`: how many path parts the scopes directly below it add. `next`: the first of these parts
    on the way to the reader.
    """

    scope: ScopedCalls
    step: int
    next: str

    def may_give(self, key: str) -> bool:
        """Return whether a key belongs to the upper scope itself, not to a scope below it: it has
        at most `step` parts and does not begin with `next`."""
        parts = key.split("/")
        return len(parts) <= self.step and parts[0] != self.next


def check_path(path: object) -> str:
    """Return the path of a scope: parts separated by slashes. Raises ValidationError if it is
    malformed."""
    if not isinstance(path, str):
        raise ValidationError(f"path must be a string, got {type(path).__name__}")
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts):
        raise ValidationError(
            f"path is {path!r}: expected parts separated by slashes, such as 'user/42'; no part "
            "may be empty, '.' or '..'"
        )
    if path.startswith("@") or _CONTROL.search(path):
        raise ValidationError(
            f"path is {path!r}: must not contain control characters or begin with '@'"
        )
    check_key(path, "path")
    size = len(path.encode())
    if size > _MAX_BYTES:
        raise ValidationError(f"path must have at most {_MAX_BYTES} bytes, got {size}")
    return path


def levels_of(path: str) -> tuple[list[str], int]:
    """Return the paths of the scopes between a scope and the one it was made from, the nearest
    first, and the number of parts per step: two (a kind and a name), or one if the number of parts
    is odd."""
    parts = path.split("/")
    step = 2 if len(parts) % 2 == 0 else 1
    ends = range(len(parts) - step, 0, -step)
    return ["/".join(parts[:end]) for end in ends], step


class _ScopedSearch(Reading):
    """The search of a scope: the search of the lake, under the scope's prefix."""

    def _confine(self, whole: Searching, span: Span) -> None:
        """Set the lake, or its view, that is searched, and the scope's keys in it."""
        self._whole = whole
        self._span = span

    def search(
        self,
        query: str | None = None,
        *,
        metadata_filter: dict[str, Any] | None = None,
        value_filter: dict[str, Any] | None = None,
        prefix: str = "",
        limit: int = 10,
        offset: int = 0,
        thread: bool | Mapping[str, float] = False,
        mode: Mode | None = None,
        progress: Progress | None = None,
    ) -> Hits:
        """Return the entries of the scope that have any of the words of `query`, as `Lake.search`
        does.

        The rarity of a word is that in the whole lake, so that equal entries have equal scores in
        all scopes.
        """
        if not isinstance(prefix, str):
            raise ValidationError(f"prefix must be a string, got {type(prefix).__name__}")
        hits = self._whole.search(
            query,
            metadata_filter=metadata_filter,
            value_filter=value_filter,
            prefix=self._span.prefix + prefix,
            limit=limit,
            offset=offset,
            thread=thread,
            mode=mode,
            progress=progress,
        )
        inside = [
            Hit(self._entry(self._span.row(hit.entry._row)), hit.score, hit.explanation)
            for hit in hits
        ]
        return Hits(inside, lambda: hits.total, hits.unread)


class ScopeView(_ScopedSearch, LakeView):
    """A scope as it was at a moment."""

    def __init__(self, scope: ScopedCalls, moment: Moment, shown: str) -> None:
        super().__init__(scope, moment, shown)
        self._confine(LakeView(scope._root, moment, shown), scope._span)


class ScopedCalls(_ScopedSearch, Calls):
    """The calls that differ between a scope and the lake that it is a part of."""

    _above: Sequence[Above] = ()

    def __init__(self, root: Calls, span: Span) -> None:
        self._root = root
        self._confine(root, span)
        super().__init__(
            # It lacks the calls for upkeep, which a scope refuses.
            cast("Catalog", ScopedCatalog(root._catalog, span)),
            root._objects,
            name=f"{root.name}, scope {span.prefix}",
            inline_threshold=root._inline_threshold,
            history=root._history,
            history_retention=root._history_retention,
            lake_id=root._lake_id,
            search=root._search,  # one index serves the lake and its scopes
            read_only=root.read_only,
            owner=root._owner,
            auto_maintain=root._auto_maintain,
        )

    @property
    def prefix(self) -> str:
        """The prefix of the scope's keys in the lake."""
        return self._span.prefix

    # Reads that fall back to the scopes above

    def _givers(self, key: str) -> Iterator[ScopedCalls]:
        return (above.scope for above in self._above if above.may_give(key))

    def retrieve(self, key: str, default: Any = MISSING, *, as_: TableLibrary | None = None) -> Any:
        """Return the value of a key, as `Lake.retrieve` does. With `inherit`, the nearest scope
        that has the key gives it."""
        found = super().retrieve(key, _NOTHING, as_=as_)
        givers = self._givers(key)
        while found is _NOTHING and (scope := next(givers, None)) is not None:
            found = scope.retrieve(key, _NOTHING, as_=as_)
        if found is not _NOTHING:
            return found
        if default is MISSING:
            raise NotFoundError(f"no entry with the key {key!r}")
        return default

    def entry(self, key: str) -> Entry | None:
        """Return the entry of a key, as `Lake.entry` does. With `inherit`, the nearest scope that
        has the key gives it."""
        found = super().entry(key)
        givers = self._givers(key)
        while found is None and (scope := next(givers, None)) is not None:
            found = scope.entry(key)
        return found

    def __contains__(self, key: object) -> bool:
        if super().__contains__(key):
            return True
        return isinstance(key, str) and any(key in scope for scope in self._givers(key))

    def retrieve_batch(self, keys: Iterable[str]) -> Retrieved:
        """Return the values of many keys, as `Lake.retrieve_batch` does. With `inherit`, each comes
        from the nearest scope that has the key."""
        found = super().retrieve_batch(keys)
        for above in self._above:
            wanted = [key for key in found.missing if above.may_give(key)]
            if wanted:
                found = _united(found, above.scope.retrieve_batch(wanted))
        return found

    # Calls that would reveal other scopes, or change them

    def store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None = None,
        *,
        ttl: TTL | None = None,
        expires_at: datetime | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        keep_expiry: bool = False,
    ) -> StoredEntry:
        """Store a value under a key, as `Lake.store` does.

        `deduplicated` does not reveal what other scopes have stored: it is True only if nothing
        changed.
        """
        stored = super().store(
            key,
            value,
            metadata,
            ttl=ttl,
            expires_at=expires_at,
            if_absent=if_absent,
            if_match=if_match,
            keep_expiry=keep_expiry,
        )
        return StoredEntry(_unshared(stored), self)

    def append(
        self,
        key: str,
        rows: Any,
        *,
        widen: bool = False,
        partition_by: str | Sequence[str] | None = None,
    ) -> StoredEntry:
        """Append rows to a table; as `Lake.append`. `deduplicated` is as for `store`."""
        stored = super().append(key, rows, widen=widen, partition_by=partition_by)
        return StoredEntry(_unshared(stored), self)

    def store_batch(
        self,
        entries: Iterable[Mapping[str, Any]],
        *,
        atomic: bool = True,
        progress: Progress | None = None,
    ) -> BatchReport:
        """Store many entries, as `Lake.store_batch` does. `deduplicated` is always 0."""
        report = super().store_batch(entries, atomic=atomic, progress=progress)
        return BatchReport(**(dict(report) | {"deduplicated": 0}))

    def at(self, moment: str | Snapshot | datetime | int) -> ScopeView:
        """Return the scope as it was, as `Lake.at` does. It knows the snapshots that were made in
        the scope."""
        found, shown = self._moment(moment)
        return ScopeView(self, found, shown)

    def purge(
        self,
        key: str | None = None,
        prefix: str | None = None,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Erase a key, all keys under a prefix, or without either the whole scope, from now, from
        history and from every snapshot, as `Lake.purge` does. `snapshots` names those of the
        scope."""
        if key is not None:
            if prefix is not None:
                raise ValidationError("key and prefix cannot be combined: give one of them")
            wanted = {"key": self._span.full(check_key(key))}
        elif prefix is None or isinstance(prefix, str):
            wanted = {"prefix": self._span.prefix + (prefix or "")}
        else:
            raise ValidationError(f"prefix must be a string, got {type(prefix).__name__}")
        report = self._root.purge(**wanted, dry_run=dry_run, progress=progress)
        mine = len(self._span.prefix)
        snapshots = [name[mine:] for name in report.snapshots if name.startswith(self.prefix)]
        return PurgeReport(**(dict(report) | {"snapshots": snapshots}))

    def sql(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        external_access: bool = False,
    ) -> QueryResult:
        """Return the result of a SELECT over the tables of the scope, as `Lake.sql` does.
        `external_access` must be False, because it would read files of other scopes."""
        if external_access:
            raise ValidationError("external_access must be False in a scope")
        return super().sql(query, params)

    def publish(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("publish")

    def maintain(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("maintain")

    def cleanup_expired(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("cleanup_expired")

    def compact(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("compact")

    def collect(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("collect")

    def adopt(self) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("adopt")

    def verify(self, *_: object, **__: object) -> NoReturn:
        """Raise ValidationError: this call concerns the whole lake."""
        raise _of_the_lake("verify")


_NOTHING: Any = object()


def _of_the_lake(call: str) -> ValidationError:
    return ValidationError(f"{call} concerns the whole lake: call it on the lake, not on a scope")


def _unshared(stored: StoredEntry) -> Outcome:
    outcome = stored._outcome
    return outcome._replace(deduplicated=not outcome.changed)


def _united(found: Retrieved, more: Retrieved) -> Retrieved:
    """Return the results of two reads as one. A key that neither found stays missing."""
    values = dict(found.items()) | dict(more.items())
    errors: dict[str, LakebedError] = dict(found.errors) | dict(more.errors)
    missing = [key for key in found.missing if key not in more and key not in more.errors]
    rows: dict[str, EntryRow] = dict(found.rows) | dict(more.rows)
    return Retrieved(values, missing, errors, rows)
