"""Commits a batch in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from lakebed.catalog.postgres.errors import OvertakenError
from lakebed.catalog.postgres.transaction import PostgresTransaction
from lakebed.catalog.protocol import BatchCounts, MissingContentError, StagedRow
from lakebed.catalog.sql.batch import DIRECT, BatchCommit, take
from lakebed.model import ContentId, Upload

T = TypeVar("T")

_SAMPLES = 16
_HASH = attrgetter("content_hash")
_OBJECT = ("int8", "bytea", "text", "int8", "bytea", "int8")
_ENTRY = ("text", "int8", "int8", "text", "int8", "int8", "int8")


class PostgresBatch(BatchCommit):
    """A batch in Postgres.

    If all keys are new and psycopg is used directly, the batch is copied straight into the tables.
    Otherwise, rows are locked before they are read, and versions are drawn after that.
    """

    def store(self, rows: Iterable[StagedRow], uploads: Sequence[Upload]) -> BatchCounts:
        tx = self._tx
        if uploads or not isinstance(tx, PostgresTransaction):  # SQLAlchemy's has no binary COPY
            return super().store(rows, uploads)
        coming = iter(rows)
        first = take(coming, DIRECT)
        following = next(coming, None)
        if first and following is None and (counts := self._create(tx, first)):
            return counts
        rest = coming if following is None else chain((following,), coming)
        return super().store(chain(first, rest), uploads)

    def _create(self, tx: PostgresTransaction, rows: Sequence[StagedRow]) -> BatchCounts | None:
        """Store rows whose keys are all new. Return None, without any effect, if a key exists.

        The unique indexes of the tables find an existing key. Contents are written before keys,
        both in order, as in every commit, so no two commits wait for each other.
        """
        contents = {row[1:3]: row for row in rows}
        places = self._known(contents)
        new = [row for content, row in contents.items() if content not in places]
        new.sort(key=_HASH)
        if any(row.inline_value is None for row in new):
            raise MissingContentError("content that a batch meant to reuse is gone")
        if not tx.attempt(lambda: self._copy(tx, rows, new, places)):
            return None
        return BatchCounts(len(rows), 0, 0, len(rows) - len(new))

    def _known(self, contents: Mapping[ContentId, StagedRow]) -> dict[ContentId, int]:
        """Return the objects of contents that exist.

        All contents are looked up only if one of a few of them exists.
        """
        find, hashes = self._queries["find_ids"], [content_hash for content_hash, _ in contents]
        reuses = any(row.inline_value is None for row in contents.values())
        if not reuses and not self._tx.all(find, {"hashes": _sample(hashes)}):
            return {}
        found = {row[:2]: row[2] for row in self._tx.all(find, {"hashes": hashes})}
        return {content: found[content] for content in contents if content in found}

    def _copy(
        self,
        tx: PostgresTransaction,
        rows: Sequence[StagedRow],
        new: Sequence[StagedRow],
        places: dict[ContentId, int],
    ) -> bool:
        """Copy new contents and all entries into the tables. Return False if a key exists."""
        queries, now = self._queries, self._now
        described = any(row.metadata != "{}" for row in rows)
        numbers = {
            "keys": _sample([row.key for row in rows]),
            "entries": len(rows),
            "contents": len(new),
            "queues": ["metadata", "text"] if described else ["text"],
        }
        ((versions, ids),) = tx.all(queries["draw_numbers"], numbers)
        if versions is None:
            return False
        objects = []
        for number, (_, content_hash, format, size, inline, *_) in zip(ids or (), new, strict=True):
            places[content_hash, format] = number
            objects.append((number, content_hash, format, size, inline, now))
        if objects:
            tx.copy_in(queries["copy_objects"], _OBJECT, objects)
        tx.copy_in(queries["copy_entries"], _ENTRY, (
            (row.key, version, places[row.content_hash, row.format], row.metadata,
             row.expires_at if row.ttl is None else now + row.ttl,
             now if row.created_at is None else row.created_at,
             now if row.updated_at is None else row.updated_at)
            for version, row in zip(versions, rows, strict=True)
        ))  # fmt: skip
        if self._keep_all:
            stored = {"keys": [row.key for row in rows], "versions": versions}
            if tx.all(queries["copy_overtaken"], stored)[0][0]:
                raise OvertakenError("somebody else stored a key of the batch first")
        return True

    def _name(self) -> int:
        named = super()._name()
        self._tx.all(self._queries["batch_lock_objects"], {})
        return named

    def match(self) -> None:
        tx, queries = self._tx, self._queries
        ((locked,),) = tx.all(queries["batch_lock_entries"], {})
        tx.script(queries["batch_match"].replace("{time}", str(self._now)))
        ((matched,),) = tx.all(queries["count_matched"], {})
        if matched != locked:  # a row that was added in between may be replaced by others
            raise OvertakenError("somebody else stored a key of the batch first")

    def _write(self, newest_snapshot: int) -> None:
        tx, queries = self._tx, self._queries
        state = {"version": 0, "newest_snapshot": newest_snapshot, "now": self._now}
        ((wanted, replaced),) = tx.all(queries["count_new"], {})
        if replaced:
            for name in (
                "batch_history",
                "batch_described",
                "batch_candidates",
                "batch_ended",
                "batch_put",
                "batch_delete",
            ):
                tx.run(queries[name], state)
        created = tx.run(queries["batch_create"], state)
        if created != wanted or (self._keep_all and tx.all(queries["batch_overtaken"], {})[0][0]):
            raise OvertakenError("somebody else stored a key of the batch first")
        tx.run(queries["batch_queue"], {})


def _sample(items: Sequence[T]) -> Sequence[T]:
    return items[:: len(items) // _SAMPLES + 1]
