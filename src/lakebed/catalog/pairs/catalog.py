"""The base of catalogs without SQL: all calls of a catalog, over a store of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING

from lakebed.catalog.capabilities import LacksAll, capabilities_of
from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.examining import Examining
from lakebed.catalog.pairs.records import Records
from lakebed.catalog.pairs.searching import Unindexed
from lakebed.catalog.rows import BatchCounts, CatalogStats, Place, StagedRow
from lakebed.catalog.rules import is_visible
from lakebed.catalog.signals import Signals, Silence
from lakebed.errors import ConfigurationError
from lakebed.model import (
    Change,
    Content,
    ContentId,
    EntryRow,
    Outcome,
    Put,
    SnapshotRow,
    Upload,
)

if TYPE_CHECKING:
    from lakebed.filters import Filter


class PairCatalog(Unindexed, Examining, LacksAll):
    """A catalog over any ordered store of pairs of a name and a text.

    A subclass defines the calls of `PairStore`, and inherits all others. It keeps no earlier
    versions. To collect, compact, purge or answer queries, it also inherits from `Collects`,
    `Compacts`, `Purges` or `Scans`, before this class. Calls that need what it lacks raise
    CatalogError. Searches and totals read all entries, so use it for thousands of entries, not
    millions.
    """

    # Settings

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        found = self._reading(Records.settings)
        if "lake_id" not in found:
            if wanted.get("history") == "all" and "versions" not in capabilities_of(self):
                raise ConfigurationError(
                    "history='all' needs a catalog that keeps earlier versions: leave it out"
                )

            def begin(records: Records, _: Commit) -> dict[str, str]:
                if records.setting("lake_id") is None:
                    records.put_setting("orphans_listed", str(self.now()))
                    for name, value in wanted.items():
                        records.put_setting(name, value)
                return records.settings()

            found = self._writing(begin)
        return found

    def remember(self, name: str, value: str, *, keep: bool = True) -> str:
        found = self._reading(lambda records: records.setting(name))
        if found is not None or not keep:
            return value if found is None else found

        def store(records: Records, _: Commit) -> str:
            found = records.setting(name)
            if found is None:
                records.put_setting(name, value)
            return value if found is None else found

        return self._writing(store)

    def change_setting(self, name: str, change: Callable[[str | None], str]) -> str:
        def store(records: Records, _: Commit) -> str:
            value = change(records.setting(name))
            records.put_setting(name, value)
            return value

        return self._writing(store)

    # Reading

    def get(self, key: str) -> EntryRow | None:
        row = self._reading(lambda records: records.entry(key))
        return row if is_visible(row, self.now()) else None

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        now = self.now()
        rows = self._reading(lambda records: [records.entry(key) for key in keys])
        return [row for row in rows if row is not None and is_visible(row, now)]

    def page(
        self, low: str, high: str, limit: int, metadata_filter: Filter | None = None
    ) -> tuple[Sequence[EntryRow], bool]:
        del metadata_filter  # the caller filters
        rows = self._visible(low, high, limit)
        return rows, len(rows) == limit

    def _visible(self, low: str, high: str, limit: int | None) -> list[EntryRow]:
        def find(records: Records) -> list[EntryRow]:
            now = self.now()
            rows = (row for row in records.entries(low, high) if is_visible(row, now))
            return list(islice(rows, limit))

        return self._reading(find)

    def keys(self, low: str, high: str, limit: int) -> Sequence[str]:
        return [row.key for row in self._visible(low, high, limit)]

    def count(self, low: str, high: str) -> int:
        return len(self._visible(low, high, None))

    def locate(self, content: ContentId) -> Place | None:
        stored = self._reading(lambda records: records.stored(content))
        return None if stored is None else Place(*stored.content[3:])

    def places(self, contents: Iterable[ContentId]) -> Mapping[ContentId, Place]:
        wanted = set(contents)
        found = self._reading(lambda records: [records.stored(content) for content in wanted])
        return {
            stored.content.id: Place(None, *stored.content[4:])
            for stored in found
            if stored is not None
        }

    def known(self, contents: Iterable[ContentId]) -> set[ContentId]:
        return set(self.places(contents))

    def parts(self, content: ContentId) -> Sequence[Content]:
        def find(records: Records) -> list[Content]:
            stored = [records.stored(part) for part in records.parts(content)]
            return [part.content for part in stored if part is not None]

        return self._reading(find)

    def stats(self, *, exact: bool = False) -> CatalogStats:
        del exact  # the totals are always exact
        return self._reading(lambda records: _count(records, self.now()))

    # Writing

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        return self._writing(lambda _, commit: commit.run(changes, uploads))

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        outcomes = self.commit([_put(row) for row in rows], uploads)
        created = sum(outcome.created for outcome in outcomes)
        changed = sum(outcome.changed for outcome in outcomes)
        deduplicated = sum(outcome.deduplicated for outcome in outcomes)
        return BatchCounts(created, changed - created, len(outcomes) - changed, deduplicated)

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        return self._writing(lambda _, commit: commit.touch(key, ttl, expires_at))

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        return self._writing(lambda _, commit: commit.take(low, high, cut, into))

    def expired(self) -> int:
        now = self.now()
        return self._reading(lambda r: sum(not is_visible(row, now) for row in r.entries()))

    def expire(self, limit: int) -> int:
        def remove(records: Records, commit: Commit) -> int:
            now = self.now()
            rows = (row for row in records.entries() if not is_visible(row, now))
            found = list(islice(rows, limit))
            for row in found:
                commit.remove(row)
            commit.drop_inline()
            return len(found)

        return self._writing(remove)

    def lease(self, paths: Iterable[str], seconds: float) -> None:
        def note(records: Records, _: Commit) -> None:
            until = self.now() + int(seconds * 1_000_000)
            for path in paths:
                records.pairs.set("l" + path, str(until))

        self._writing(note)

    def discard(self, paths: Iterable[str]) -> None:
        def give_up(records: Records, _: Commit) -> None:
            for path in paths:
                records.give_up(path, self.now())

        self._writing(give_up)

    # Calls that do nothing.

    def signal(self, topic: str) -> None:
        """Do nothing: this catalog wakes nobody."""

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        del topic
        return nullcontext(Silence())

    def tidy_metadata(self, is_over: Callable[[], bool]) -> None:
        """Do nothing: there is no metadata index."""

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Leave nothing of removed pairs in the catalog's own files, as `Catalog.scrub` does."""
        del thorough
        return ["the catalog's own files, until they use the place again"]

    def snapshots(self) -> Sequence[SnapshotRow]:
        return ()

    def find_snapshot(self, name: str) -> SnapshotRow | None:
        del name
        return None


def _put(row: StagedRow) -> Put:
    """Return the change for an entry of a batch."""
    content = Content(*row[1:7])
    times = None if row.created_at is None else (row.created_at, row.updated_at)
    return Put(row.key, content, row.metadata, row.ttl, row.expires_at, times=times)


def _count(records: Records, now: int) -> CatalogStats:
    rows = list(records.entries())
    visible = [row for row in rows if is_visible(row, now)]
    contents = [stored.content for stored in records.contents()]
    inline = [content.byte_size for content in contents if content.inline_value is not None]
    used = {(row.content_hash, row.format): row.byte_size for row in visible}
    return CatalogStats(
        entries=len(visible),
        expired=len(rows) - len(visible),
        entry_bytes=sum(row.byte_size for row in visible),
        objects=len(contents),
        object_bytes=sum(content.byte_size for content in contents),
        inline_objects=len(inline),
        inline_bytes=sum(inline),
        packs=len(records.packs()),
        snapshots=0,
        history=0,
        used_bytes=sum(used.values()),
    )
