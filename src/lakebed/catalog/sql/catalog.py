"""The catalog over SQL text: portable queries on any executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from lakebed.catalog.identity import Identity
from lakebed.catalog.protocol import (
    BatchCounts,
    CatalogStats,
    Place,
    StagedRow,
)
from lakebed.catalog.signals import Signals, Silence
from lakebed.catalog.sql.commit import Commit
from lakebed.catalog.sql.metadata import MetadataIndex
from lakebed.catalog.sql.purging import SQLPurging
from lakebed.catalog.sql.segments import Segments
from lakebed.catalog.sql.snapshots import SQLSnapshots
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction, is_read_only
from lakebed.catalog.statements.migration import migrate
from lakebed.catalog.statements.queries import in_lists
from lakebed.clock import Clock
from lakebed.errors import CorruptionError, ValidationError
from lakebed.model import (
    LAST_KEY,
    Change,
    Content,
    ContentId,
    EntryRow,
    Outcome,
    Upload,
    entry_rows,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lakebed.catalog.scan import CatalogScan, Scan
    from lakebed.filters import Filter

_COUNTERS = (
    "version",
    "metadata_indexed",
    "history_floor",
    "history_floor_time",
    "segments_changed",
    "segments_indexed",
    "segments_purged",
    "objects_moved",
)


class SQLCatalog(SQLSnapshots, Segments, SQLPurging):
    """A catalog in the database of an executor. `Catalog` describes the calls."""

    def __init__(self, executor: Executor, *, auto_migrate: bool = True) -> None:
        self._executor = executor
        self._queries = executor.dialect.queries(executor.schema)
        self._index = MetadataIndex(executor, self._queries)
        self._keep_all = False
        self._auto_migrate = auto_migrate

    def now(self) -> int:
        return self._executor.now()

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        migrate(self._executor, self._queries, allowed=self._auto_migrate)
        found = self._read_settings()
        if not found.keys() - {"schema_version"} and not is_read_only(self._executor):
            self._executor.transact(lambda tx: self._begin_lake(tx, wanted), exclusive=True)
            found = self._read_settings()
        if lacking := sorted({"lake_id", *_COUNTERS} - found.keys()):
            raise CorruptionError(
                f"the catalog is damaged: its table lakebed_meta lacks {', '.join(lacking)}"
            )
        self._keep_all = found.get("history") == "all"
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def _begin_lake(self, tx: Transaction, wanted: Mapping[str, str]) -> None:
        """Give a new lake its settings and counters, unless another client has done so."""
        if tx.all(self._queries["get_setting"], {"name": "lake_id"}):
            return
        counters = dict.fromkeys(_COUNTERS, 0)
        counters["orphans_listed"] = self._executor.now()
        tx.many(
            self._queries["insert_meta"],
            [{"name": n, "value": v} for n, v in (*counters.items(), *wanted.items())],
        )

    def identity(self) -> Identity | None:
        tell = getattr(self._executor, "identity", None)  # other executors need not have it
        return None if tell is None else tell()

    def change_setting(self, name: str, change: Callable[[str | None], str]) -> str:
        def apply(tx: Transaction) -> str:
            row = tx.one(self._queries["get_setting"], {"name": name})
            value = change(None if row is None else str(row[0]))
            query = "insert_meta" if row is None else "set_meta"
            tx.run(self._queries[query], {"name": name, "value": value})
            return value

        return self._executor.transact(apply, exclusive=True)

    def leave_garbage(self) -> None:
        if "batch_drop_objects" in self._queries:
            queries = {**self._queries, "batch_candidates": self._queries["batch_every_candidate"]}
            del queries["batch_drop_objects"]
            self._queries = queries

    def _read_settings(self) -> dict[str, object]:
        return dict(self._executor.fetch(self._queries["get_meta"], {}))

    def get(self, key: str) -> EntryRow | None:
        rows = self._executor.fetch(
            self._queries["get_entry"], {"key": key, "now": self._executor.stamp()}
        )
        return EntryRow._make(rows[0]) if rows else None

    def page(
        self, low: str, high: str, limit: int, metadata_filter: Filter | None = None
    ) -> tuple[Sequence[EntryRow], bool]:
        if metadata_filter:
            from lakebed.catalog.sql.filtered import FilteredPage, Source  # not for a first store

            source = Source(self._rows, self.get_many, self._fetch_now, "")
            return FilteredPage(source, self._index, metadata_filter, high).take(low, limit)
        rows = self._rows(low, high, limit)
        return rows, len(rows) == limit

    def _rows(self, low: str, high: str, limit: int) -> Sequence[EntryRow]:
        bounds = {"low": low, "high": high, "page": limit}
        return entry_rows(self._fetch_now(self._queries["list_entries"], bounds))

    def _fetch_now(self, sql: str, params: Params) -> Sequence[Row]:
        return self._executor.fetch(sql, {"now": self._executor.stamp(), **params})

    def keys(self, low: str, high: str, limit: int) -> Sequence[str]:
        bounds = {"low": low, "high": high, "page": limit}
        return [key for (key,) in self._fetch_now(self._queries["list_keys"], bounds)]

    def count(self, low: str, high: str) -> int:
        params: dict[str, object] = {"now": self._executor.stamp()}
        sql = self._queries["count_all"]  # faster, because it does not compare keys
        if (low, high) != ("", LAST_KEY):
            sql = self._queries["count_entries"]
            params |= {"low": low, "high": high}
        ((count,),) = self._executor.fetch(sql, params)
        return int(count)

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        return self._executor.transact(
            lambda tx: self._begin(tx, tx.now()).run(changes, uploads), brief=True
        )

    def name_contents(self, contents: Sequence[Content], uploads: Sequence[Upload]) -> None:
        self._executor.transact(lambda tx: self._begin(tx, tx.now()).name(contents, uploads))

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        return self._executor.transact(
            lambda tx: self._begin(tx, tx.now()).touch(key, ttl, expires_at)
        )

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        return self._executor.transact(
            lambda tx: self._begin(tx, tx.now()).take(low, high, cut, into)
        )

    def signal(self, topic: str) -> None:
        """Do nothing: this catalog wakes nobody."""

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        del topic
        return nullcontext(Silence())

    def _begin(self, tx: Transaction, now: int) -> Commit:
        return Commit(tx, self._queries, now, keep_all=self._keep_all)

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        def store(tx: Transaction) -> BatchCounts:
            counts = self._begin_batch(tx, tx.now()).store(rows, uploads)
            self._note_load(tx, counts)
            return counts

        counts = self._executor.transact(store)
        self._index.follow(counts.created + counts.changed)
        return counts

    def _note_load(self, tx: Transaction, counts: BatchCounts) -> None:
        """Do what the database needs after many rows were written at once. Here, nothing."""

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        found: list[EntryRow] = []
        for names, params in in_lists(self._queries, keys):
            sql = self._queries["get_entries"].replace("{keys}", names)
            rows = self._executor.fetch(sql, params | {"now": self._executor.stamp()})
            found += entry_rows(rows)
        return found

    def lease(self, paths: Iterable[str], seconds: float) -> None:
        def note(tx: Transaction) -> None:
            until = tx.now() + int(seconds * 1_000_000)
            rows = [{"uri": path, "lease": until} for path in paths]
            tx.many(self._queries["lease_upload"], rows)

        self._executor.transact(note)

    def discard(self, paths: Iterable[str]) -> None:
        self._executor.transact(lambda tx: self._give_up(tx, paths))

    def known(self, contents: Iterable[ContentId]) -> set[ContentId]:
        wanted = set(contents)
        found = set[ContentId]()
        for names, params in in_lists(self._queries, [content_hash for content_hash, _ in wanted]):
            sql = self._queries["find_objects"].replace("{hashes}", names)
            found.update((row[0], row[1]) for row in self._executor.fetch(sql, params))
        return found & wanted

    def places(self, contents: Iterable[ContentId]) -> Mapping[ContentId, Place]:
        wanted = set(contents)
        found = dict[ContentId, Place]()
        for names, params in in_lists(self._queries, [content_hash for content_hash, _ in wanted]):
            sql = self._queries["find_places"].replace("{hashes}", names)
            for content_hash, format, uri, position in self._executor.fetch(sql, params):
                found[content_hash, format] = Place(None, uri, position)
        return {content: found[content] for content in found.keys() & wanted}

    def locate(self, content: ContentId) -> Place | None:
        content_hash, format = content
        rows = self._executor.fetch(
            self._queries["find_object"], {"content_hash": content_hash, "format": format}
        )
        return Place._make(rows[0][1:]) if rows else None

    def parts(self, content: ContentId) -> Sequence[Content]:
        content_hash, format = content
        rows = self._executor.fetch(
            self._queries["get_parts"], {"content_hash": content_hash, "format": format}
        )
        return list(map(Content._make, rows))

    def scan(self, wanted: Sequence[Scan]) -> AbstractContextManager[CatalogScan]:
        from lakebed.catalog.sql.scanning import open_scan  # not for a first store

        return open_scan(self, wanted)

    def expire(self, limit: int) -> int:
        def remove(tx: Transaction) -> int:
            now = tx.now()
            rows = tx.all(self._queries["expired_keys"], {"now": now, "page": limit})
            if rows:
                self._begin_batch(tx, now).delete(sorted(key for (key,) in rows))
            return len(rows)

        return self._executor.transact(remove)

    def expired(self) -> int:
        ((count,),) = self._executor.fetch(
            self._queries["count_expired"], {"now": self._executor.stamp()}
        )
        return int(count)

    def stats(self, *, exact: bool = False) -> CatalogStats:
        if not exact and ("count_rows" in self._queries or "estimate_rows" in self._queries):
            from lakebed.catalog.sql.estimating import estimate  # not for a first store

            found = estimate(self._executor.fetch, self._queries, self._executor.stamp())
            if found is not None:
                return found
        (row,) = self._executor.fetch(self._queries["stats"], {"now": self._executor.stamp()})
        return CatalogStats._make((*map(int, row), ()))  # a sum may be a Decimal

    @contextmanager
    def at_time(self, clock: Clock) -> Iterator[None]:
        use = getattr(self._executor, "use_clock", None)  # other executors need not have it
        if use is None:
            raise ValidationError("this catalog cannot take over the history of another")
        before = use(clock)
        try:
            yield
        finally:
            use(before)

    def close(self) -> None:
        self._executor.close()
