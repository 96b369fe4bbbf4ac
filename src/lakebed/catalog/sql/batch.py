"""Commits a batch as sets: the rules of `commit`, in a few statements for any number of rows.

One by one, each entry costs five statements and a row object. As sets, 10,000 entries hold the
write lock for a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from lakebed.catalog.protocol import BatchCounts, MissingContentError, StagedRow
from lakebed.catalog.rules import EVERY_VERSION
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Row, Transaction
from lakebed.model import EntryRow, Upload

_WRITES = (
    "batch_history", "batch_described", "batch_lost", "batch_candidates", "batch_ended",
    "batch_put", "batch_delete", "batch_drop_objects",
)  # fmt: skip
_STAGED = (
    "number",
    "key",
    "content_hash",
    "format",
    "byte_size",
    "inline_value",
    "uri",
    "pack_id",
    "position",
    "metadata",
    "expires_at",
    "created_at",
    "updated_at",
)


_STAGED_AGAIN = (
    "number", "key", "content_hash", "format", "metadata", "expires_at", "created_at",
)  # fmt: skip


DIRECT = 20_000
_DIRECT_BYTES = 16 << 20
"""The most entries and bytes that are put straight into the tables at once, by catalogs that do so.
All of them are held in memory."""


def take(rows: Iterator[StagedRow], most: int) -> list[StagedRow]:
    """Return the next rows, up to the limits `most`: a number of rows and a number of bytes."""
    taken, size = list[StagedRow](), 0
    for row in islice(rows, most):
        taken.append(row)
        size += len(row[4] or b"") + len(row[7])
        if size > _DIRECT_BYTES:
            break
    return taken


class BatchCommit:
    """One batch in a write transaction, which the caller commits."""

    def __init__(
        self, tx: Transaction, queries: Mapping[str, str], now: int, *, keep_all: bool
    ) -> None:
        self._tx = tx
        self._queries = queries
        self._now = now
        self._keep_all = keep_all

    def store(self, rows: Iterable[StagedRow], uploads: Sequence[Upload]) -> BatchCounts:
        """Store rows, which must be in key order. `Catalog.commit_batch` describes the rules."""
        tx, queries = self._tx, self._queries
        claims = Claims(tx, queries, uploads)
        self.begin()
        tx.copy("staged", _STAGED, self._stage(rows, claims))
        named = self._name()
        self.match()
        if tx.all(queries["batch_missing"], {})[0][0]:
            raise MissingContentError("content that a batch meant to reuse is gone")
        self._settle(claims, uploads)
        unchanged, changed, created = self.apply()
        total = unchanged + changed
        return BatchCounts(created, changed - created, unchanged, total - named)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete entries. Their keys must be in order."""
        self.begin()
        self._tx.copy("staged", ("number", "key"), list(enumerate(keys, 1)))
        self.match()
        self.apply()

    def begin(self) -> None:
        """Prepare the table for staged rows."""
        self._tx.script(self._queries["create_staged"])

    def stage(self, number: int, wanted: Iterable[tuple[str, EntryRow | None]]) -> None:
        """Stage keys with the entry that each gets back, or None if it gets none.

        The keys must be in order, and are numbered from `number`. The lake already holds the
        contents.
        """
        rows = [
            (at, key, None, None, None, None, None)
            if row is None
            else (
                at, key, row.content_hash, row.format, row.metadata, row.expires_at, row.created_at
            )
            for at, (key, row) in enumerate(wanted, number)
        ]  # fmt: skip
        self._tx.copy("staged", _STAGED_AGAIN, rows)

    def apply(self) -> tuple[int, int, int]:
        """Turn the matched staged rows into entries.

        Returns how many were left unchanged, how many were changed, and how many of those are new.
        """
        tx, queries = self._tx, self._queries
        ((_, newest),) = tx.all(queries["counters"], {})
        unchanged = tx.run(queries["batch_drop_unchanged"], {"now": self._now})
        ((changed, present),) = tx.all(queries["batch_totals"], {"now": self._now})
        if changed:
            self._write(EVERY_VERSION if self._keep_all else newest or 0)
        tx.run(queries["unstage"], {})
        return unchanged, changed, changed - present

    def _name(self) -> int:
        """Create the objects of new contents. Return how many there are."""
        return self._tx.run(self._queries["batch_objects"], {"now": self._now})

    def match(self) -> None:
        """Find the object of each staged row, and the row that it replaces."""
        self._tx.run(self._queries["batch_match"], {})

    def _write(self, newest_snapshot: int) -> None:
        """Draw versions, and write entries and history."""
        tx, queries = self._tx, self._queries
        ((version, _),) = tx.all(queries["counters"], {})
        state = {"version": version, "newest_snapshot": newest_snapshot, "now": self._now}
        for name in _WRITES:
            if name in queries:
                tx.run(queries[name], state)
        ((last,),) = tx.all(queries["last_staged"], {})
        tx.run(queries["set_meta"], {"name": "version", "value": version + last})

    def _stage(self, rows: Iterable[StagedRow], claims: Claims) -> Iterator[Row]:
        """Yield the rows with the columns of `_STAGED`."""
        now, packs = self._now, claims.packs
        for number, row in enumerate(rows, 1):
            key, content_hash, format, size, inline, uri, position, metadata, ttl, *times = row
            expires_at, created_at, updated_at = times
            pack_id = packs.get(uri) if uri else None
            yield (
                number,
                key,
                content_hash,
                format,
                size,
                inline,
                uri if pack_id is None else None,
                pack_id,
                position,
                metadata,
                expires_at if ttl is None else now + ttl,
                created_at,
                updated_at,
            )

    def _settle(self, claims: Claims, uploads: Sequence[Upload]) -> None:
        if not uploads:
            return
        by_id = {pack_id: uri for uri, pack_id in claims.packs.items()}
        used = {
            by_id[pack_id]: count
            for pack_id, count in self._tx.all(self._queries["batch_used_packs"], {})
            if pack_id in by_id
        }
        used |= {uri: 1 for (uri,) in self._tx.all(self._queries["batch_used_uris"], {})}
        claims.settle(used, self._now)
