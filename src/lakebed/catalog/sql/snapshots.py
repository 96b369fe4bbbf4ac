"""Snapshots, differences between moments, and restoring."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice

from lakebed.catalog.protocol import CatalogReads
from lakebed.catalog.sql.batch import BatchCommit
from lakebed.catalog.sql.metadata import MetadataIndex
from lakebed.catalog.sql.past import CatalogAt, gone, rows_at
from lakebed.catalog.statements.executor import Executor, Row, Transaction
from lakebed.catalog.statements.queries import in_lists, run_for
from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.model import DiffRow, EntryRow, Moment, SnapshotRow, VersionRow

_CHUNK = 500
_STAGED = 5_000  # rows of a restore that are in memory at once
_EVERY = 2**62
_ROW = len(EntryRow._fields)


class SQLSnapshots:
    """The calls of a SQL catalog for snapshots and history. `Catalog` describes them."""

    _executor: Executor
    _queries: Mapping[str, str]
    _index: MetadataIndex
    _keep_all: bool

    def create_snapshot(
        self,
        snapshot_id: str,
        name: str,
        message: str | None,
        author: str | None,
        *,
        replace: bool = False,
    ) -> SnapshotRow:
        def create(tx: Transaction) -> SnapshotRow:
            if replace and (taken := tx.all(self._queries["get_snapshot"], {"name": name})):
                tx.run(self._queries["delete_snapshot"], {"id": SnapshotRow._make(taken[0]).id})
            return self._create_snapshot(tx, snapshot_id, name, message, author)

        return self._executor.transact(create, exclusive=True)

    def _create_snapshot(
        self,
        tx: Transaction,
        snapshot_id: str,
        name: str,
        message: str | None = None,
        author: str | None = None,
    ) -> SnapshotRow:
        row = SnapshotRow(snapshot_id, name, self._version(tx), message, author, tx.now())
        params = row._asdict() | {"now": row.created_at}
        if tx.run(self._queries["insert_snapshot"], params) != 1:
            raise ConflictError(f"a snapshot named {name!r} exists already")
        return row

    def _begin_batch(self, tx: Transaction, now: int) -> BatchCommit:
        return BatchCommit(tx, self._queries, now, keep_all=self._keep_all)

    def _version(self, tx: Transaction) -> int:
        ((version, _),) = tx.all(self._queries["counters"], {})
        return int(version)

    def snapshots(self) -> Sequence[SnapshotRow]:
        rows = self._executor.fetch(self._queries["list_snapshots"], {})
        return [SnapshotRow._make(row) for row in rows]

    def find_snapshot(self, name: str) -> SnapshotRow | None:
        rows = self._executor.fetch(self._queries["get_snapshot"], {"name": name})
        return SnapshotRow._make(rows[0]) if rows else None

    def drop_snapshot(self, snapshot_id: str) -> bool:
        sql, params = self._queries["delete_snapshot"], {"id": snapshot_id}
        return self._executor.transact(lambda tx: tx.run(sql, params) == 1, exclusive=True)

    def at(self, moment: Moment) -> CatalogReads:
        return CatalogAt(self._executor, self._queries, self._index, moment)

    def moment(self, *, version: int | None = None, time: int | None = None) -> Moment:
        if not self._keep_all:
            raise ValidationError(
                "this lake keeps history for its snapshots only, so at() takes a snapshot: for any "
                "moment, create the lake with history='all'"
            )
        return self._executor.read(lambda tx: self._moment(tx, version, time), settled=True)

    def _moment(self, tx: Transaction, version: int | None, time: int | None) -> Moment:
        newest, now = self._version(tx), tx.now()
        ((floor, floor_time),) = tx.all(self._queries["history_floor"], {})
        if version is None:
            if time is None or time > now:
                raise NotFoundError(
                    "the time is in the future: at() reads the present and the past"
                )
            ((last,),) = tx.all(self._queries["last_event"], {"time": time})
            # Events before the floor may be gone, but then the moment is at the floor.
            version = max(last or 0, floor if time >= floor_time else 0)
        elif version > newest:
            raise NotFoundError(f"version {version} is not there yet: the newest is {newest}")
        if time is None:
            ((last,),) = tx.all(self._queries["event_time"], {"version": version})
            time = max(last or 0, floor_time if version >= floor else 0)
        moment = Moment(version, time)
        self._check(tx, moment)
        return moment

    def history_since(self) -> int:
        ((_, time),) = self._executor.fetch(self._queries["history_floor"], {})
        return int(time)

    def lack_history(self, time: int) -> None:
        def note(tx: Transaction) -> None:
            ((version,),) = tx.all(self._queries["last_event"], {"time": time})
            self._raise_floor(tx, version or 0, time)

        self._executor.transact(note, exclusive=True)

    def _raise_floor(self, tx: Transaction, version: int, time: int) -> None:
        for name, value in (("history_floor", version), ("history_floor_time", time)):
            tx.run(self._queries["raise_meta"], {"name": name, "value": value})

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Generator[DiffRow]:
        with self._executor.reading(lambda tx: tx) as tx:
            yield from self.diff_in(tx, a, b, low, high)

    def diff_in(
        self, tx: Transaction, a: Moment, b: Moment | None, low: str, high: str
    ) -> Iterator[DiffRow]:
        """Yield the same differences as `diff`, inside a transaction."""
        present = Moment(self._version(tx), tx.now())
        for moment in (a, b):
            if moment is not None:
                self._check(tx, moment)
        yield from self._diff(tx, a, b or present, low, high)

    def _check(self, tx: Transaction, moment: Moment) -> None:
        """Raise NotFoundError if the transaction cannot read a moment."""
        pinned = self._queries["pinned_snapshot" if moment.snapshot else "pinned_version"]
        sql = self._queries["is_pinned"].replace("{pinned}", pinned)
        if not tx.all(sql, {"snapshot": moment.snapshot, "version": moment.version}):
            raise gone(moment)

    def _diff(
        self, tx: Transaction, a: Moment, b: Moment, low: str, high: str
    ) -> Iterator[DiffRow]:
        (from_version, to_version), (from_time, to_time) = (
            sorted((a[0], b[0])),
            sorted((a[1], b[1])),
        )
        bounds = {
            "from_version": from_version,
            "to_version": to_version,
            "from_time": from_time,
            "to_time": to_time,
            "low": low,
            "high": high,
        }
        with closing(tx.each(self._queries["changed_keys"], bounds)) as candidates:
            while keys := [key for (key,) in islice(candidates, _CHUNK)]:
                before = rows_at(tx, self._queries, a, keys)
                after = rows_at(tx, self._queries, b, keys)
                for key in keys:
                    row = DiffRow(before.get(key), after.get(key))
                    if _state(row.before) != _state(row.after):
                        yield row

    def restore(
        self,
        moment: Moment,
        low: str,
        high: str,
        keep: tuple[str, str],
        collect: Callable[[Iterator[DiffRow]], None],
    ) -> tuple[SnapshotRow, int]:
        def go_back(tx: Transaction) -> tuple[SnapshotRow, int]:
            self._check(tx, moment)
            kept = self._create_snapshot(tx, *keep, message=f"before restoring {moment.snapshot}")
            present = kept.moment()
            wanted, expired = self._wanted(tx, moment, present.time, low, high)
            batch, number = self._begin_batch(tx, present.time), 1
            batch.begin()
            differing = self._diff(tx, present, wanted, low, high)
            while rows := list(islice(differing, _STAGED)):
                batch.stage(
                    number,
                    [((row.after or row.before or _nothing()).key, row.after) for row in rows],
                )
                number += len(rows)
            batch.match()
            batch.apply()
            result = Moment(self._version(tx), present.time)
            collect(self._diff(tx, present, result, low, high))
            return kept, expired

        return self._executor.transact(go_back, exclusive=True)

    def preview_restore(
        self, moment: Moment, low: str, high: str, collect: Callable[[Iterator[DiffRow]], None]
    ) -> int:
        def look(tx: Transaction) -> int:
            self._check(tx, moment)
            present = Moment(self._version(tx), tx.now())
            wanted, expired = self._wanted(tx, moment, present.time, low, high)
            collect(self._diff(tx, present, wanted, low, high))
            return expired

        return self._executor.read(look)

    def _wanted(
        self, tx: Transaction, moment: Moment, now: int, low: str, high: str
    ) -> tuple[Moment, int]:
        """Return the moment that a restore brings back, and how many of its entries stay away.

        Entries that have expired since stay away.
        """
        bounds = {"time": moment.time, "now": now, "low": low, "high": high}
        ((expired,),) = tx.all(
            self._queries["count_expired_since"], {"version": moment.version, **bounds}
        )
        return moment._replace(time=max(moment.time, now)), int(expired)

    def history(
        self, key: str, limit: int | None = None, before: int | None = None
    ) -> Sequence[VersionRow]:
        page = {
            "page": _EVERY if limit is None else limit,
            "before": _EVERY if before is None else before,
        }
        rows = self._executor.fetch(self._queries["entry_versions"], {"key": key, **page})
        return [VersionRow(EntryRow._make(row[:_ROW]), row[_ROW], row[_ROW + 1]) for row in rows]

    def prune(
        self, horizon: int, after: int, limit: int, *, dry_run: bool = False
    ) -> tuple[int, int | None]:
        prunable = self._queries["prunable_history"]
        # The search may pass many versions that snapshots see, so it holds no lock meanwhile.
        found = self._executor.fetch(
            prunable.replace("{which}", 'h."version" > :after'),
            {"after": after, "horizon": horizon, "page": limit},
        )
        if not found:
            return 0, None
        if dry_run:
            return len(found), found[-1][0]

        def remove(tx: Transaction) -> int:
            removed = 0
            for names, params in in_lists(self._queries, [row[0] for row in found]):
                sql = prunable.replace("{which}", f'h."version" IN ({names})')
                rows = tx.all(sql, {**params, "horizon": horizon, "page": limit})
                removed += self._forget(tx, rows)
            return removed

        return self._executor.transact(remove), found[-1][0]

    def _forget(self, tx: Transaction, rows: Sequence[Row]) -> int:
        if rows:
            versions, objects, ends, times = zip(*rows, strict=True)
            queries = self._queries
            run_for(tx, queries, "delete_history", versions)
            lost = [{"object_id": object_id} for object_id in sorted(set(objects))]
            tx.many(queries["add_candidate"], lost)
            self._raise_floor(tx, max(ends), max(times))
        return len(rows)


def _state(row: EntryRow | None) -> tuple[object, ...] | None:
    """Return the values in which two rows of a key can differ."""
    return row and (row.content_hash, row.format, row.metadata, row.expires_at)


def _nothing() -> EntryRow:
    raise AssertionError("a difference has a row on one side at least")
