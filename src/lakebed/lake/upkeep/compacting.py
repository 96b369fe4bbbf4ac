"""Compaction: move inline values into packs, rewrite worn packs, and join parts of tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import NamedTuple

from lakebed.catalog.protocol import GoneObjectsError, MissingContentError
from lakebed.errors import CorruptionError, StorageError
from lakebed.lake.checks import Deadline, check_count, check_flag, check_grace
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up
from lakebed.lake.growing.compacting import Joinable, JoiningTables
from lakebed.model import Move, ObjectRow, PackRow, Progress, Upload
from lakebed.objects.names import pack_path
from lakebed.objects.packs import PACK_BYTES, PACK_OBJECTS, Position, read_values, write_pack
from lakebed.records import Report
from lakebed.values.encoded import Encoded
from lakebed.values.hash import digest

SMALL_PACK = PACK_BYTES // 16
"""The size in bytes below which packs are merged, if there are several."""
LEAST_INLINE = 64
"""The size in bytes below which inline values stay, because a pack would save nothing."""
_PAGE = 500


class CompactReport(Report):
    """The result of `compact`.

    It counts values moved out of the catalog, values moved out of worn packs, packs written and
    given up, joined parts of tables, bytes of moved values (before compression), and damaged values
    that stay where they are (`verify` names them). With `dry_run`, it counts what would be done.
    """

    flushed: int
    repacked: int
    packs_written: int
    packs_given_up: int
    parts_joined: int
    moved_bytes: int
    damaged: int


class _Item(NamedTuple):
    row: ObjectRow
    old_pack: int | None
    data: bytes


class Compacting(JoiningTables):
    """The call `compact`."""

    def compact(
        self,
        max_bytes: int | None = None,
        *,
        older_than: float | timedelta = 0,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> CompactReport:
        """Move inline values into packs, rewrite worn packs, and join the parts of tables.

        Inline values of 64 bytes and more go to packs if they are older than `older_than` seconds.
        Packs that are mostly dead are rewritten, and packs below 4 MiB are merged. Entries keep
        their versions, because only the places of contents change. The old files become trash, for
        `collect`.

        Appends leave tables with many parts. Small parts of a table become parts of up to 32 MiB,
        and a table with a single part becomes a plain table. The entry keeps its rows and gets a
        new version. A table is skipped if it was changed less than `older_than` seconds ago, or is
        changed meanwhile.

        `max_bytes`: stop after so many bytes of values. `dry_run` counts, and changes nothing.
        Memory is bounded by one pack, 64 MiB. An interruption loses no finished pack. In a lake
        without storage, only tables are joined.
        """
        limit = None if max_bytes is None else check_count("max_bytes", max_bytes)
        age = check_grace("older_than", older_than)
        dry = check_flag("dry_run", dry_run)
        if not dry:
            self._must_write("compact")
            self._must_own("compact")
        return self._compact(age, CompactRun(limit, progress, dry_run=dry))

    def _compact(self, age: int, run: CompactRun) -> CompactReport:
        horizon = self._catalog.now() - age
        for found in run.tables(self._joinable(horizon)):
            if run.dry_run or self._join_table(found):
                run.parts_joined += len(found.joined)
        if self._objects is not None:
            for source in (self._worn(run), self._inline(horizon)):
                for items in packfuls(run.take(source)):
                    if run.dry_run:
                        run.count(items)
                    else:
                        self._repack(items, run)
        return run.report()

    def _inline(self, horizon: int) -> Iterator[_Item]:
        after = 0
        while rows := self._catalog.inline_objects(after, horizon, LEAST_INLINE, _PAGE):
            for row in rows:
                assert row.inline_value is not None
                yield _Item(row, None, row.inline_value)
            after = rows[-1].id

    def _worn(self, run: CompactRun) -> Iterator[_Item]:
        packs = self._catalog.worn_packs(SMALL_PACK)
        small = [pack for pack in packs if pack.dead <= pack.live]
        for pack in packs:
            if pack.dead > pack.live or len(small) > 1:
                yield from self._living(pack, run)
                run.given_up += 1

    def _living(self, pack: PackRow, run: CompactRun) -> Iterator[_Item]:
        """Yield the live values of a pack. Damaged values stay in it, and `verify` names them."""
        assert self._objects is not None
        rows = self._catalog.pack_objects(pack.id, pack.uri)
        if run.dry_run:
            yield from (_Item(row, pack.id, b"") for row in rows)
            return
        places = defaultdict[Position, list[ObjectRow]](list)
        for row in rows:
            try:
                places[Position.parse(row.position or "")].append(row)
            except CorruptionError:
                run.damaged += 1
        for _, place, data in read_values(self._objects, {pack.uri: places}):
            if isinstance(data, FileNotFoundError):
                # Another compaction and a collection were faster, or verify will name the damage.
                return
            if not isinstance(data, (bytes, CorruptionError)):
                raise data
            for row in places[place]:
                if isinstance(data, bytes) and digest(data) == row.content_hash:
                    yield _Item(row, pack.id, data)
                else:
                    run.damaged += 1

    def _repack(self, items: list[_Item], run: CompactRun) -> None:
        """Write items as one pack, and point those objects there that still exist.

        A purge may have removed some of them meanwhile, and with them this upload. Then the pack is
        written again without them, so that no purged bytes remain.
        """
        while items:
            try:
                self._write_pack(items)
            except GoneObjectsError as error:
                items = [item for item in items if item.row.id not in error.ids]
            except MissingContentError:
                continue
            else:
                run.count(items)
                return

    def _write_pack(self, items: list[_Item]) -> None:
        assert self._objects is not None
        path = pack_path()
        self._catalog.lease([path], LEASE_SECONDS)
        try:
            with self._objects.open_write(path) as sink:
                places = write_pack(
                    (Encoded(item.row.format, item.data, item.row.content_hash) for item in items),
                    sink,
                )
                size = sink.tell()
            # Make sure that the pack exists before the old files are given up.
            if self._size(path) != size:
                raise StorageError(f"the pack {path} was not written whole")
            moves = [
                Move(row.id, row.content_hash, old_pack, str(places[row.content_hash]))
                for row, old_pack, _ in items
            ]
            self._catalog.move(moves, Upload(path, size, len(places)))
        except MissingContentError:
            self._catalog.discard([path])
            self._catalog.expedite([path])
            self._objects.delete([path])
            self._catalog.forget_trash([path])
            raise
        except Exception:
            give_up(self._catalog, [path])
            raise

    def _size(self, path: str) -> int:
        assert self._objects is not None
        try:
            return self._objects.size(path)
        except FileNotFoundError:
            raise MissingContentError("the upload has been purged") from None


class CompactRun:
    """The limits and counts of one compaction."""

    def __init__(
        self,
        limit: int | None = None,
        progress: Progress | None = None,
        *,
        deadline: Deadline | None = None,
        dry_run: bool = False,
    ) -> None:
        self.dry_run = dry_run
        self.stopped = False
        self._deadline = deadline or Deadline()
        self._limit = limit
        self._progress = progress
        self._flushed = self._repacked = self._written = self._bytes = 0
        self._taken = 0
        self.given_up = 0
        self.parts_joined = 0
        self.damaged = 0

    def tables(self, found: Iterable[Joinable]) -> Iterator[Joinable]:
        """Yield the tables to join, until their bytes reach the limit, or the time is up."""
        for one in found:
            if not self._takes(one.byte_size):
                return
            yield one

    def take(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield the items, until their bytes reach the limit, or the time is up."""
        for item in items:
            if not self._takes(item.row.byte_size):
                return
            yield item

    def _takes(self, size: int) -> bool:
        over = self._limit is not None and self._taken + size > self._limit
        if over or self._deadline.passed():
            self.stopped = True
            return False
        self._taken += size
        return True

    def count(self, items: list[_Item]) -> None:
        """Count a pack of these items that was written and committed."""
        inline = sum(item.old_pack is None for item in items)
        self._flushed += inline
        self._repacked += len(items) - inline
        self._bytes += sum(item.row.byte_size for item in items)
        self._written += 1
        if self._progress:
            self._progress(self._bytes, self._limit)

    def report(self) -> CompactReport:
        return CompactReport(
            flushed=self._flushed,
            repacked=self._repacked,
            packs_written=self._written,
            packs_given_up=self.given_up,
            parts_joined=self.parts_joined,
            moved_bytes=self._bytes,
            damaged=self.damaged,
        )


def packfuls(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Yield lists of items that each make one pack. No list has a hash twice."""
    pack: list[_Item] = []
    hashes: set[bytes] = set()
    size = 0
    for item in items:
        full = size + item.row.byte_size > PACK_BYTES or len(pack) == PACK_OBJECTS
        if pack and (full or item.row.content_hash in hashes):
            yield pack
            pack, hashes, size = [], set(), 0
        pack.append(item)
        hashes.add(item.row.content_hash)
        size += item.row.byte_size
    if pack:
        yield pack
