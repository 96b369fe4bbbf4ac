"""Commits a batch in SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count, repeat

from lakebed.catalog.protocol import BatchCounts, MissingContentError, StagedRow
from lakebed.catalog.sql.batch import DIRECT, BatchCommit, take
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.queries import in_lists
from lakebed.model import Upload

_SAMPLES = 16


class SQLiteBatch(BatchCommit):
    """A batch in SQLite.

    While its keys seem to be new, entries go straight into the tables. Only keys that turn out to
    exist are staged. See docs/design/sqlite.md.
    """

    _tx: SQLiteTransaction

    def store(self, rows: Iterable[StagedRow], uploads: Sequence[Upload]) -> BatchCounts:
        coming, counts = iter(rows), BatchCounts(0, 0, 0, 0)
        while not uploads and (some := take(coming, DIRECT)):
            if self._is_known(some):
                coming = chain(some, coming)
                break
            counts = _sum(counts, self._create(some))
        for row in coming:
            return _sum(counts, super().store(chain((row,), coming), uploads))
        return counts

    def _is_known(self, rows: Sequence[StagedRow]) -> bool:
        """Return whether one of a few of the keys exists."""
        keys = [row.key for row in rows[:: len(rows) // _SAMPLES + 1]]
        ((names, params),) = in_lists(self._queries, keys)
        return bool(self._tx.all(self._queries["has_keys"].replace("{keys}", names), params))

    def _create(self, rows: Sequence[StagedRow]) -> BatchCounts:
        """Store rows whose keys seem to be new.

        Contents and entries are numbered in the order of keys, in which they are later read. So
        they are stored together, at the end of each table.
        """
        tx, queries, now = self._tx, self._queries, self._now
        columns = zip(*rows, strict=True)
        keys, hashes, formats, _, _, _, _, metadata, ttls, expiries, *given = columns
        named, objects = self._name_all(rows, hashes, formats)
        if any(ttls):
            pairs = zip(ttls, expiries, strict=True)
            expiries = tuple(end if ttl is None else now + ttl for ttl, end in pairs)
        ((version, _),) = tx.all(queries["counters"], {})
        numbers = range(version + 1, version + 1 + len(rows))
        times = [
            repeat(now) if not any(column) else (now if time is None else time for time in column)
            for column in given
        ]
        created = tx.fill(
            queries["direct_entries"],
            zip(keys, numbers, objects, metadata, expiries, *times, strict=False),
        )
        if created:
            tx.run(queries["set_meta"], {"name": "version", "value": numbers[-1]})
        counts = BatchCounts(created, 0, 0, 0)
        if created < len(rows):
            there = {number for (number,) in tx.all(queries["newer"], {"version": version})}
            pairs = zip(numbers, rows, strict=True)
            counts = _sum(
                counts, super().store((row for number, row in pairs if number not in there), ())
            )
        return counts._replace(deduplicated=len(rows) - named)

    def _name_all(
        self, rows: Sequence[StagedRow], hashes: Sequence[bytes], formats: Sequence[str]
    ) -> tuple[int, Iterable[int]]:
        """Create the objects of the rows. Return how many are new, and the object of each row."""
        tx, queries = self._tx, self._queries
        ((last,),) = tx.all(queries["last_object"], {})
        here = [row[1:5] for row in rows if row.inline_value is not None]
        named = 0
        if here:
            columns = zip(
                count(last + 1), *zip(*here, strict=True), repeat(self._now), strict=False
            )
            named = tx.fill(queries["direct_objects"], columns)
        if named == len(rows):
            return named, range(last + 1, last + 1 + named)
        contents = list(zip(hashes, formats, strict=True))
        found = {row[:2]: row[2] for row in tx.all(queries["newer_objects"], {"id": last})}
        others = {content_hash for content_hash, format in set(contents) - found.keys()}
        for names, params in in_lists(queries, list(others)):
            sql = queries["find_ids"].replace("{hashes}", names)
            found |= {row[:2]: row[2] for row in tx.all(sql, params)}
        if not found.keys() >= set(contents):
            raise MissingContentError("content that a batch meant to reuse is gone")
        return named, map(found.__getitem__, contents)


def _sum(a: BatchCounts, b: BatchCounts) -> BatchCounts:
    return BatchCounts(*map(sum, zip(a, b, strict=True)))
