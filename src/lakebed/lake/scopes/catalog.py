"""A catalog confined to a prefix. Its calls take and return keys without the prefix."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from lakebed.catalog.protocol import (
    BatchCounts,
    Catalog,
    CatalogReads,
    CatalogStats,
    Place,
    StagedRow,
)
from lakebed.errors import ConflictError, ValidationError
from lakebed.lake.scopes.span import Span
from lakebed.model import (
    Change,
    Content,
    ContentId,
    DiffRow,
    EntryRow,
    Moment,
    Outcome,
    SnapshotRow,
    Upload,
    VersionRow,
)

if TYPE_CHECKING:
    from lakebed.catalog.scan import CatalogScan, Scan
    from lakebed.catalog.search_rows import SearchReading
    from lakebed.catalog.signals import Signals
    from lakebed.filters import Filter

T = TypeVar("T")
_PAGE = 5000
_NAME_BYTES = 255  # of a snapshot's name
_PASSED = frozenset(
    {
        # Calls about contents and files, which callers do not name, and about the time.
        "now", "lease", "discard", "known", "places", "replace", "count_waiting",
    }
)  # fmt: skip


class ScopedReads:
    """The reading calls of a confined catalog."""

    def __init__(self, reads: CatalogReads, span: Span) -> None:
        self._reads = reads
        self._span = span

    def get(self, key: str) -> EntryRow | None:
        row = self._reads.get(self._span.full(key))
        return None if row is None else self._span.row(row)

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        return [self._span.row(row) for row in self._reads.get_many([*map(self._span.full, keys)])]

    def page(
        self, low: str, high: str, limit: int, metadata_filter: Filter | None = None
    ) -> tuple[Sequence[EntryRow], bool]:
        rows, more = self._reads.page(*self._span.bounds(low, high), limit, metadata_filter)
        return [self._span.row(row) for row in rows], more

    def keys(self, low: str, high: str, limit: int) -> Sequence[str]:
        return [*map(self._span.inside, self._reads.keys(*self._span.bounds(low, high), limit))]

    def count(self, low: str, high: str) -> int:
        return self._reads.count(*self._span.bounds(low, high))

    def search(self, look: Callable[[SearchReading], T]) -> NoReturn:  # noqa: ARG002
        raise AssertionError("a scope is searched through its lake")

    def locate(self, content: ContentId) -> Place | None:
        return self._reads.locate(content)

    def parts(self, content: ContentId) -> Sequence[Content]:
        return self._reads.parts(content)

    def stats(self, *, exact: bool = False) -> CatalogStats:
        """Return the totals of the scope. All of them are counted."""
        del exact
        entries = entry_bytes = 0
        contents = dict[ContentId, tuple[int, bool]]()
        packs = set[str]()
        low, more = self._span.prefix, True
        while more:
            rows, more = self._reads.page(low, self._span.end, _PAGE)
            for row in rows:
                entries, entry_bytes = entries + 1, entry_bytes + row.byte_size
                inline = row.inline_value is not None
                contents[row.content_hash, row.format] = row.byte_size, inline
                if row.position is not None and row.uri is not None:
                    packs.add(row.uri)
            low = rows[-1].key + "\x01" if rows else low
            more = more and bool(rows)
        size = sum(size for size, _ in contents.values())
        inline_sizes = [size for size, inline in contents.values() if inline]
        return CatalogStats(
            entries=entries,
            expired=0,
            entry_bytes=entry_bytes,
            objects=len(contents),
            object_bytes=size,
            inline_objects=len(inline_sizes),
            inline_bytes=sum(inline_sizes),
            packs=len(packs),
            snapshots=self._count_snapshots(),
            history=self._count_history(),
            used_bytes=size,
        )

    def _count_snapshots(self) -> int:
        return 0

    def _count_history(self) -> int:
        return 0


class ScopedCatalog(ScopedReads):
    """A catalog that shows only the keys and snapshots under a prefix.

    Calls that it does not offer concern the whole lake, and raise an error. So a call that is added
    to catalogs stays closed here until somebody decides what it does in a scope.
    """

    _reads: Catalog

    def __init__(self, catalog: Catalog, span: Span) -> None:
        super().__init__(catalog, span)

    def __getattr__(self, name: str) -> Any:
        if name in _PASSED:
            return getattr(self._reads, name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValidationError(f"{name} concerns the whole lake: call it on the lake, not a scope")

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        placed = [change._replace(key=self._span.full(change.key)) for change in changes]
        try:
            outcomes = self._reads.commit(placed, uploads)
        except ConflictError as error:
            raise ConflictError(self._span.without(str(error))) from None
        return [
            outcome._replace(row=outcome.row and self._span.row(outcome.row))
            for outcome in outcomes
        ]

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        row = self._reads.touch(self._span.full(key), ttl, expires_at)
        return None if row is None else self._span.row(row)

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        low, high = self._span.bounds(low, high)
        cut += len(self._span.prefix)
        try:
            row = self._reads.take(low, high, cut, self._span.full(into))
        except ConflictError as error:
            raise ConflictError(self._span.without(str(error))) from None
        return None if row is None else self._span.row(row)

    def signal(self, topic: str) -> None:
        self._reads.signal(f"{self._span.prefix}{topic}")

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        return self._reads.listen(f"{self._span.prefix}{topic}")

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        return self._reads.commit_batch(_Placed(rows, self._span), uploads)

    def create_snapshot(
        self,
        snapshot_id: str,
        name: str,
        message: str | None,
        author: str | None,
        *,
        replace: bool = False,
    ) -> SnapshotRow:
        try:
            row = self._reads.create_snapshot(
                snapshot_id, self._name(name), message, author, replace=replace
            )
        except ConflictError as error:
            raise ConflictError(self._span.without(str(error))) from None
        return row._replace(name=name)

    def _name(self, name: str) -> str:
        whole = self._span.prefix + name
        size = len(whole.encode())
        if size > _NAME_BYTES:
            raise ValidationError(
                f"name takes {size} bytes with its scope: expected at most {_NAME_BYTES}"
            )
        return whole

    def snapshots(self) -> Sequence[SnapshotRow]:
        found = map(self._span.snapshot, self._reads.snapshots())
        return [row for row in found if row is not None]

    def find_snapshot(self, name: str) -> SnapshotRow | None:
        row = self._reads.find_snapshot(name if name.startswith("@") else self._span.prefix + name)
        return None if row is None else self._span.snapshot(row)

    def drop_snapshot(self, snapshot_id: str) -> bool:
        return self.find_snapshot(snapshot_id) is not None and self._reads.drop_snapshot(
            snapshot_id
        )

    def at(self, moment: Moment) -> CatalogReads:
        return ScopedReads(self._reads.at(moment), self._span)

    def moment(self, *, version: int | None = None, time: int | None = None) -> Moment:
        return self._reads.moment(version=version, time=time)

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Generator[DiffRow]:
        return self._span.changed(self._reads.diff(a, b, *self._span.bounds(low, high)))

    def restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        keep: tuple[str, str],
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> tuple[SnapshotRow, int]:
        snapshot_id, name = keep
        row, expired = self._reads.restore(
            moment,
            *self._span.bounds(low, high),
            (snapshot_id, self._name(name)),
            lambda rows: collect(self._span.changed(rows)),
        )
        return row._replace(name=name), expired

    def preview_restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> int:
        return self._reads.preview_restore(
            moment,
            *self._span.bounds(low, high),
            lambda rows: collect(self._span.changed(rows)),
        )

    def history(
        self, key: str, limit: int | None = None, before: int | None = None
    ) -> Sequence[VersionRow]:
        found = self._reads.history(self._span.full(key), limit, before)
        return [version._replace(row=self._span.row(version.row)) for version in found]

    def scan(self, wanted: Sequence[Scan]) -> AbstractContextManager[CatalogScan]:
        return self._scan(wanted)

    @contextmanager
    def _scan(self, wanted: Sequence[Scan]) -> Iterator[CatalogScan]:
        from lakebed.lake.scopes.scan import ScopedScan, placed  # loads pyarrow

        with self._reads.scan([placed(scan, self._span) for scan in wanted]) as scan:
            yield ScopedScan(scan, self._span)

    def _count_snapshots(self) -> int:
        return len(self.snapshots())

    def _count_history(self) -> int:
        from lakebed.catalog.scan import Scan

        wanted = Scan("history")
        with self.scan([wanted]) as scan:
            return sum(
                batch.num_rows - batch.column("end_version").null_count
                for batch in scan.rows(wanted)
            )


class _Placed:
    """Rows of a batch with their keys in the lake. Iterated once for each attempt to store the
    batch."""

    def __init__(self, rows: Iterable[StagedRow], span: Span) -> None:
        self._rows = rows
        self._span = span

    def __iter__(self) -> Iterator[StagedRow]:
        return (row._replace(key=self._span.full(row.key)) for row in self._rows)
