"""The rows of search: segments, entries that no segment holds, and versions that ended since."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from lakebed.catalog.search_rows import (
    GONE,
    PURGED,
    NewSegment,
    SearchReading,
    SegmentRow,
    SegmentState,
    Waiting,
)
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.catalog.statements.queries import in_lists, run_for
from lakebed.model import EntryRow, Moment, VersionRow

if TYPE_CHECKING:
    from lakebed.catalog.sql.metadata import MetadataIndex

T = TypeVar("T")
_ROW = len(EntryRow._fields)
_BATCHES = 64  # batches of queued versions that one segment takes
_STATE, _WAITS, _ENDED = 0, 1, 2  # the kinds of rows that `look` gives
PINNED = 3
"""One more kind, of `look_at`: the moment can still be read."""


class TransactionReading:
    """The reads of a search, all in one transaction."""

    def __init__(
        self, tx: Transaction, queries: Mapping[str, str], moment: Moment | None, now: int
    ) -> None:
        self._tx = tx
        self._queries = queries
        self._moment = moment
        self.now = now
        ((changed, indexed, purged),) = tx.all(queries["segment_state"], {})
        self.state = SegmentState(int(changed), int(indexed), int(purged))

    def waiting(self) -> Sequence[int]:
        params: Params = {"indexed": self.state.indexed}
        if self._moment is None:
            rows = self._tx.all(self._queries["waiting"], params)
        else:
            at = {"version": self._moment.version}
            rows = self._tx.all(self._queries["waiting_at"], {**params, **at})
        return [version for (version,) in rows]

    def ended(self) -> Sequence[tuple[int, int]]:
        return [(row[0], row[1]) for row in self._tx.all(self._queries["list_ended"], {})]

    def versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        return get_versions(self._tx.all, self._queries, versions)


class MovedError(Exception):
    """A search must read in a transaction, because rows have changed."""


class QuickReading:
    """The reads of a search, usually two statements without a transaction.

    The first statement tells what has changed, what waits and what has ended, all at one moment.
    The second reads the rows of all hits. A search shows nothing of a version that can change. So
    if all rows still exist, and are still current or had ended before, they are the rows of that
    moment. Otherwise this raises MovedError, and the search reads in a transaction.
    """

    def __init__(
        self,
        fetch: Callable[[str, Params], Sequence[Row]],
        queries: Mapping[str, str],
        look: Sequence[Row],
        moment: Moment | None,
    ) -> None:
        self._fetch = fetch
        self._queries = queries
        self._look = look
        self._moment = moment
        ((changed, indexed, purged, now),) = (row[1:] for row in look if row[0] == _STATE)
        self.now = int(now) if moment is None else moment.time
        self.state = SegmentState(int(changed), int(indexed), int(purged))

    def waiting(self) -> Sequence[int]:
        return [row[1] for row in self._look if row[0] == _WAITS]

    def ended(self) -> Sequence[tuple[int, int]]:
        return [(row[1], row[2]) for row in self._look if row[0] == _ENDED]

    def versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        found = get_versions(self._fetch, self._queries, versions)
        if {version.row.version for version in found} != set(versions) or (
            self._moment is None and any(version.end_version is not None for version in found)
        ):
            raise MovedError
        return found


def get_versions(
    fetch: Callable[[str, Params], Sequence[Row]],
    queries: Mapping[str, str],
    versions: Sequence[int],
) -> list[VersionRow]:
    """Return the rows of versions, current or in the history, in any order."""
    found = []
    for names, params in in_lists(queries, versions):
        standing = fetch(queries["get_versions"].replace("{versions}", names), params)
        found += [VersionRow(EntryRow._make(row), None, None) for row in standing]
        if len(standing) < len(versions):
            sql = queries["get_history_versions"].replace("{versions}", names)
            found += [
                VersionRow(EntryRow._make(row[:_ROW]), row[_ROW], None)
                for row in fetch(sql, params)
            ]
    return found


class Segments:
    """The calls of a SQL catalog for segments. `Catalog` describes them."""

    _executor: Executor
    _queries: Mapping[str, str]
    _index: MetadataIndex

    def search(self, look: Callable[[SearchReading], T]) -> T:
        executor, queries = self._executor, self._queries
        with suppress(MovedError):
            rows = executor.fetch(queries["look"], {"now": executor.stamp()})
            return look(QuickReading(executor.fetch, queries, rows, None))
        return executor.read(lambda tx: look(TransactionReading(tx, queries, None, executor.now())))

    def segment_bytes(self, segment_id: str) -> bytes | None:
        rows = self._executor.fetch(self._queries["segment_bytes"], {"id": segment_id})
        return rows[0][0] if rows else None

    def segment_ends(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        found = dict[str, bytes]()
        for names, params in in_lists(self._queries, ids):
            sql = self._queries["segment_ends"].replace("{ids}", names)
            found.update((row[0], row[1]) for row in self._executor.fetch(sql, params))
        return found

    def segments(self) -> Sequence[SegmentRow]:
        rows = self._executor.fetch(self._queries["list_segments"], {})
        return [SegmentRow._make(row) for row in rows]

    def segments_now(self) -> tuple[SegmentState, Sequence[SegmentRow]]:
        rows = self._executor.fetch(self._queries["segments_now"], {})
        changed, indexed, purged = map(int, rows[0][:3])
        segments = [SegmentRow._make(row[3:]) for row in rows if row[3] is not None]
        return SegmentState(changed, indexed, purged), segments

    def ended(self) -> Sequence[tuple[int, int]]:
        return [(row[0], row[1]) for row in self._executor.fetch(self._queries["list_ended"], {})]

    def count_waiting(self, cap: int) -> int:
        ((_, indexed, _),) = self._executor.fetch(self._queries["segment_state"], {})
        params = {"indexed": int(indexed), "cap": cap}
        ((count,),) = self._executor.fetch(self._queries["waiting_many"], params)
        return int(count)

    def next_waiting(self, limit: int) -> Waiting:
        return self._executor.read(lambda tx: self._next_waiting(tx, limit))

    def _next_waiting(self, tx: Transaction, limit: int) -> Waiting:
        queries = self._queries
        reading = TransactionReading(tx, queries, None, 0)
        indexed = reading.state.indexed
        page = {"indexed": indexed, "page": limit}
        new = [version for (version,) in tx.all(queries["waiting_versions"], page)]
        queued = [
            version
            for (version,) in tx.all(queries["queued_versions"], {"after": 0, "page": limit})
        ]
        batches = []
        if "queued_batches" in queries:
            for number, versions in tx.all(queries["queued_batches"], {"page": _BATCHES}):
                if len(queued) + len(versions) > limit and queued:
                    break
                batches.append(number)
                queued.extend(versions)
        if len(new) >= limit:
            queued = []
        elif not batches:
            queued = queued[: limit - len(new)]
        return Waiting(
            state=reading.state,
            versions=sorted({*new, *queued}),
            upto=new[-1] if new else None,
            batches=batches,
            ended=reading.ended(),
            counter=self._counter(tx),
        )

    def _counter(self, tx: Transaction) -> int:
        ((version, _),) = tx.all(self._queries["counters"], {})
        return int(version)

    def get_versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        return get_versions(self._executor.fetch, self._queries, versions)

    def add_segment(
        self,
        new: NewSegment | None,
        waiting: Waiting,
        standing: Sequence[int],
        queue: Sequence[int],
        *,
        patient: bool = True,
    ) -> bool:
        queries = self._queries

        def add(tx: Transaction) -> bool:
            state = TransactionReading(tx, queries, None, 0).state
            # Only the state tells whether another client has built a segment of queued versions.
            queued = any(version <= state.indexed for version in waiting.versions)
            known = state == waiting.state if queued else state[1:] == waiting.state[1:]
            if not known:
                self._give_back(tx, new)
                return False
            if new is not None:
                ends = array("q", new.ends)
                # With a queue, a version that was drawn before the counter was read may since have
                # ended one of these, without a row that says so.
                if "queued_batches" in queries or self._counter(tx) != waiting.counter:
                    self._add_late_ends(tx, standing, ends)
                self._insert(tx, new._replace(ends=ends.tobytes()))
            run_for(tx, queries, "delete_queued", waiting.versions)
            if waiting.batches:
                run_for(tx, queries, "delete_queued_batches", waiting.batches)
            tx.many(queries["add_queued"], [{"version": version} for version in queue])
            # A purged version stays noted until every segment that held it is rewritten.
            settled = [version for version, end in waiting.ended if end != PURGED]
            run_for(tx, queries, "delete_ended", settled)
            # With a queue, this counts the segments that were built from it.
            reach = state.indexed + 1 if "queued_batches" in queries else waiting.upto
            if reach is not None:
                self._set(tx, "segments_indexed", reach)
            self._set(tx, "segments_changed", state.changed + 1)
            return True

        return self._executor.transact(add, exclusive=True, patient=patient)

    def _add_late_ends(self, tx: Transaction, standing: Sequence[int], ends: array[int]) -> None:
        """Note which of these versions, which were current when they were read, have ended
        since."""
        there = set[int]()
        for names, params in in_lists(self._queries, standing):
            sql = self._queries["standing_versions"].replace("{versions}", names)
            there.update(version for (version,) in tx.all(sql, params))
        lost = [version for version in standing if version not in there]
        kept = dict[int, int]()
        for names, params in in_lists(self._queries, lost):
            sql = self._queries["ended_history"].replace("{versions}", names)
            kept.update((row[0], row[1]) for row in tx.all(sql, params))
        for version in lost:
            ends.extend((version, kept.get(version, GONE)))

    def replace_segments(
        self,
        old: Sequence[SegmentRow],
        new: NewSegment | None,
        state: SegmentState,
        *,
        settled: Sequence[int] = (),
        queue: Sequence[int] = (),
        at_once: bool = False,
        patient: bool = True,
    ) -> bool:
        queries = self._queries

        def replace(tx: Transaction) -> bool:
            now = TransactionReading(tx, queries, None, 0).state
            there = {row[0] for row in tx.all(queries["list_segments"], {})}
            reaches = not queue or now == state  # else another segment may hold queued versions
            if now.purged != state.purged or not reaches or not there.issuperset(r.id for r in old):
                self._give_back(tx, new)
                return False
            for row in old:
                tx.run(queries["delete_segment"], {"id": row.id})
                if row.uri is not None:
                    since = 0 if at_once else tx.now()
                    tx.run(queries["add_trash"], {"uri": row.uri, "now": since})
            if new is not None:
                self._insert(tx, new)
            tx.many(queries["add_queued"], [{"version": version} for version in queue])
            run_for(tx, queries, "delete_ended", settled)
            self._set(tx, "segments_changed", now.changed + 1)
            return True

        return self._executor.transact(replace, exclusive=True, patient=patient)

    def kept_versions(self, versions: Sequence[int]) -> set[int]:
        found = set[int]()
        for names, params in in_lists(self._queries, versions):
            sql = self._queries["ended_history"].replace("{versions}", names)
            found.update(row[0] for row in self._executor.fetch(sql, params))
        return found

    def unheld_versions(self, held: Iterable[int]) -> Sequence[int]:
        queries, known_before = self._queries, set(held)

        def look(tx: Transaction) -> Sequence[int]:
            state = TransactionReading(tx, queries, None, 0).state
            known = set(known_before)
            if "queued_batches" in queries:
                waits = tx.all(queries["queued_batches"], {"page": 2**31 - 1})
                known.update(version for _, versions in waits for version in versions)
            waits = tx.all(queries["queued_versions"], {"after": 0, "page": 2**31 - 1})
            known.update(version for (version,) in waits)
            upto = None if "queued_batches" in queries else state.indexed
            return [
                version
                for (version,) in tx.all(queries["all_versions"], {})
                if version not in known and (upto is None or version <= upto)
            ]

        return self._executor.read(look)

    def _insert(self, tx: Transaction, new: NewSegment) -> None:
        claims = Claims(tx, self._queries, [new.upload] if new.upload else [])
        tx.run(
            self._queries["add_segment"],
            {**new.row._asdict(), "inline_value": new.inline_value, "ends": new.ends},
        )
        claims.settle({new.upload.uri: 1} if new.upload else {}, tx.now())

    def _give_back(self, tx: Transaction, new: NewSegment | None) -> None:
        """Turn an upload that came too late into trash."""
        if (
            new is not None
            and new.upload is not None
            and tx.run(self._queries["claim_upload"], {"uri": new.upload.uri})
        ):
            tx.run(self._queries["add_trash"], {"uri": new.upload.uri, "now": tx.now()})

    def _set(self, tx: Transaction, name: str, value: int) -> None:
        tx.run(self._queries["set_meta"], {"name": name, "value": value})

    def remember(self, name: str, value: str, *, keep: bool = True) -> str:
        find, params = self._queries["get_setting"], {"name": name}
        rows = self._executor.fetch(find, params)
        if not rows and not keep:
            return value
        if not rows:
            rows = self._executor.transact(
                lambda tx: self._remember(tx, name, value), exclusive=True
            )
        return str(rows[0][0])

    def _remember(self, tx: Transaction, name: str, value: str) -> Sequence[Row]:
        find, params = self._queries["get_setting"], {"name": name}
        if not tx.all(find, params):  # another client may have done it
            tx.run(self._queries["insert_meta"], {"name": name, "value": value})
        return tx.all(find, params)

    def tidy_metadata(self, is_over: Callable[[], bool]) -> None:
        self._index.catch_up(is_over)
        self._index.tidy(is_over)
