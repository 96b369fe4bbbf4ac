"""The catalog in Postgres: the SQL catalog for several writers at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from lakebed.catalog.postgres.batch import PostgresBatch
from lakebed.catalog.postgres.errors import OvertakenError, is_conflict
from lakebed.catalog.postgres.executor import PostgresExecutor
from lakebed.catalog.postgres.signals import channel_of, listening
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.catalog.postgres.transaction import convert
from lakebed.catalog.protocol import BatchCounts, StagedRow
from lakebed.catalog.signals import Signals
from lakebed.catalog.sql.batch import BatchCommit
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sql.commit import Commit, is_brought
from lakebed.catalog.statements.dialect import quoted
from lakebed.catalog.statements.executor import (
    AutocommitExecutor,
    Row,
    Transaction,
    is_read_only,
)
from lakebed.catalog.statements.writer import Writer
from lakebed.model import Change, Content, Delete, EntryRow, Outcome, Put, Upload

_BULK = 1000
"""The number of stored rows after which the planner's statistics are checked."""
_GONE = (None, None, None)
_NAMED = re.compile(r"%\(\w+\)s")
_NOTE = ("clock", "keep_all", "writer", "token")
_DELETE_PARAMETERS = ("key", "if_match", *_NOTE)
_PUT_PARAMETERS = (
    "key", "content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position",
    "metadata", "ttl", "expires_at", "if_absent", "if_match", *_NOTE,
)  # fmt: skip


class PostgresCatalog(SQLCatalog):
    """A catalog in a schema of a Postgres database, through any driver.

    `Catalog` describes the calls.
    """

    _executor: AutocommitExecutor

    def __init__(self, executor: AutocommitExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        self._loaded = 0  # rows stored by batches since the last check
        self._tidying = Tidying(executor, self._queries, self._index)

    def leave_garbage(self) -> None:
        self._tidying.rests = True

    def _begin(self, tx: Transaction, now: int) -> Commit:
        return PostgresCommit(tx, self._queries, now, keep_all=self._keep_all)

    def _begin_batch(self, tx: Transaction, now: int) -> BatchCommit:
        return PostgresBatch(tx, self._queries, now, keep_all=self._keep_all)

    def _note_load(self, tx: Transaction, counts: BatchCounts) -> None:
        """Update the planner's statistics once the tables have doubled, which costs little per
        row."""
        self._loaded += counts.created + counts.changed
        if self._loaded >= _BULK:
            self._loaded = 0
            if tx.all(self._queries["has_doubled"], {})[0][0]:
                tx.script(self._queries["analyze"])

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        found = super().settings(wanted)
        # The sequence may lag behind, for example after a restore from a dump.
        ((gap,),) = self._executor.fetch(self._queries["sequence_gap"], {})
        if gap > 0 and not is_read_only(self._executor):
            raise_sequence = self._queries["raise_sequence"]
            self._executor.transact(lambda tx: tx.all(raise_sequence, {}), exclusive=True)
        return found

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        outcomes = super().commit(changes, uploads)
        self._note_replaced(outcomes)
        return outcomes

    def _note_replaced(self, outcomes: Iterable[Outcome]) -> None:
        if replaced := sum(outcome.changed and not outcome.created for outcome in outcomes):
            self._tidying.note(replaced)

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        row = super().touch(key, ttl, expires_at)
        self._tidying.note(row is not None)
        return row

    def commit_batch(
        self, rows: Iterable[StagedRow], uploads: Sequence[Upload] = ()
    ) -> BatchCounts:
        counts = super().commit_batch(rows, uploads)
        self._tidying.note(counts.changed)
        return counts

    def expire(self, limit: int) -> int:
        removed = super().expire(limit)
        self._tidying.note(removed)
        return removed

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        params = self._taking(low, high, cut, into) | {"writer": None, "token": None}
        sql = self._queries["take_entry"]
        return self._taken(self._executor.transact(lambda tx: tx.one(sql, params)))

    def _taking(self, low: str, high: str, cut: int, into: str) -> dict[str, object]:
        clock, keep_all = self._executor.stamp(), self._keep_all
        return {
            "low": low, "high": high, "cut": cut, "into": into, "clock": clock,
            "keep_all": keep_all,
        }  # fmt: skip

    def _taken(self, row: Row | None) -> EntryRow | None:
        if row is None or row[0] is None:
            return None
        self._tidying.note(1)
        return EntryRow._make(row)

    def signal(self, topic: str) -> None:
        channel = channel_of(self._executor.schema, topic)
        self._executor.fetch(self._queries["signal"], {"channel": channel})


class DirectPostgresCatalog(PostgresCatalog):
    """A catalog in Postgres through psycopg, with sessions that nothing else shares.

    A single change is one statement, and so one round trip. Signals are heard.
    """

    _executor: PostgresExecutor

    def __init__(self, executor: PostgresExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        # Parameters by position save a tenth of the client's time.
        self._statements = {
            name: _NAMED.sub("%s", convert(self._queries[name]))
            for name in ("put_entry", "remove_entry", "get_entry", "take_entry")
        }

    def get(self, key: str) -> EntryRow | None:
        text, now = self._statements["get_entry"], self._executor.stamp()
        rows = self._executor.fetch_converted(text, (key, now))
        return EntryRow._make(rows[0]) if rows else None

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        if not _is_plain(changes) or uploads:
            return super().commit(changes, uploads)
        outcome = self._commit_one(changes[0])
        self._note_replaced((outcome,))
        return [outcome]

    def _commit_one(self, change: Change) -> Outcome:
        """Apply one change as one statement."""
        row, noted = self._executor.call(
            self._statements["remove_entry" if isinstance(change, Delete) else "put_entry"],
            lambda writer: _arguments(change, self._executor.stamp(), self._keep_all, writer)[1],
        )
        if noted is not None:
            _, version, created, deduplicated, *times = noted
            row = (version, created, True, deduplicated, *times, None, None)
            if isinstance(change, Delete):
                row = (created,)
        return self._outcome(change, row)

    def _outcome(self, change: Change, row: Row) -> Outcome:
        if isinstance(change, Delete):
            return _deleted(row)
        place: Row = _place(change.content, row)
        if place == _GONE:
            found = self.locate(change.content.id)
            place = _GONE if found is None else found
        return _stored(change, row, place)

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Take an entry with one statement."""
        asked = tuple(self._taking(low, high, cut, into).values())
        row, noted = self._executor.call(
            self._statements["take_entry"], lambda writer: (*asked, writer.id, writer.token)
        )
        if noted is None:
            return self._taken(row)
        # The answer was lost, and the entry may have changed since: then nobody gets what was
        # taken.
        self._tidying.note(1)
        found = self._executor.fetch(self._queries["entry_of_version"], {"version": noted[1]})
        return self.get(found[0][0]) if found else None

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        channel = quoted(channel_of(self._executor.schema, topic))
        listen = self._queries["listen"].replace("{channel}", channel)
        return listening(self._executor.server, listen)


class PostgresCommit(Commit):
    """A commit in which a function in the database applies each change."""

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        self._new: set[tuple[bytes, str]] = set()
        self._named: set[tuple[bytes, str]] = set()
        return super().run(changes, uploads)

    def _apply_all(self, changes: Sequence[Change]) -> list[Outcome]:
        if len(changes) > 1 or (isinstance(changes[0], Put) and changes[0].parts):
            # Contents are locked before keys, both in order, so no two commits wait for each other.
            puts = [change for change in changes if isinstance(change, Put)]
            brought = [part for put in puts for part in put.parts if is_brought(part)]
            contents = {c.id: c for c in (*brought, *(put.content for put in puts))}
            for _, content in sorted(contents.items()):
                self._name(content)
        return super()._apply_all(changes)

    def _locked(self, key: str) -> EntryRow | None:
        self._tx.all(self._queries["lock_row"], {"key": key})
        row = self._tx.one(self._queries["get_entry"], {"key": key, "now": self._now})
        return None if row is None else EntryRow._make(row)

    def _name(self, content: Content) -> None:
        params = self._content(content) | {"clock": self._now}
        row = self._tx.one(self._queries["name_object"], params)
        assert row is not None
        self._named.add(content.id)
        if row[1]:
            self._took(content)

    def _set_times(self, put: Put, row: Row) -> Row:
        """Give a copied entry its own times. `row`: the expiry and the times that it got."""
        if put.times is None:
            return row
        created_at, updated_at = put.times[0], put.times[1] or row[2]
        times = {"key": put.key, "created_at": created_at, "updated_at": updated_at}
        self._tx.run(self._queries["set_times"], times)
        return row[0], created_at, updated_at, *row[3:]

    def _took(self, content: Content) -> None:
        """Remember that the content is a new object. Its bytes are inline or in an upload."""
        self._new.add(content.id)
        if content.uri is not None:
            self._used[content.uri] = self._used.get(content.uri, 0) + 1

    def _content(self, content: Content) -> dict[str, object]:
        pack_id = self._packs.get(content.uri) if content.uri else None
        place = {"pack_id": pack_id, "uri": content.uri if pack_id is None else None}
        return content._asdict() | place

    def _apply(self, change: Change) -> Outcome:
        appears = False
        if isinstance(change, Put) and change.keep_expiry:
            old = self._locked(change.key)
            appears = old is None and not change.if_absent and change.if_match is None
            change = change._replace(
                expires_at=old.expires_at if old else change.expires_at,
                if_absent=appears or change.if_absent,
                metadata=old.metadata if old and change.keep_metadata else change.metadata,
            )
        name, params = _call(change, self._now, self._keep_all)
        if isinstance(change, Delete):
            row = self._tx.one(self._queries[name], params)
            assert row is not None
            return _deleted(row)
        content = change.content
        try:
            row = self._tx.one(self._queries[name], {**params, **self._content(content)})
        except Exception as error:  # an error of the driver
            if appears and is_conflict(error):  # there was no row to lock before
                raise OvertakenError(f"somebody else stored {change.key!r} first") from error
            raise
        assert row is not None
        deduplicated = row[3]
        if content.id in self._new:  # this commit brought it, so its first store did
            self._new.discard(content.id)
            deduplicated = False
        elif not deduplicated:
            self._took(content)
            self._new.discard(content.id)
        if change.parts and not deduplicated:
            self._list_parts(change)
        row = (*row[:3], deduplicated, *self._set_times(change, row[4:]))
        place: Row = _place(content, row)
        if place == _GONE:
            found = self._tx.one(
                self._queries["find_object"],
                {"content_hash": content.content_hash, "format": content.format},
            )
            place = found[1:] if found else _GONE
        return _stored(change, row, place)


def _is_plain(changes: Sequence[Change]) -> bool:
    """Return whether this is one change that a single statement can apply."""
    (change, *others) = changes
    if others or isinstance(change, Delete):
        return not others
    return not (change.keep_expiry or change.parts or change.times)


def _arguments(
    change: Change, clock: int | None, keep_all: bool, writer: Writer | None
) -> tuple[str, tuple[object, ...]]:
    """Return the name of the statement that applies a change, and its parameters in order."""
    note = (clock, keep_all, writer and writer.id, writer and writer.token)
    if isinstance(change, Delete):
        return "remove_entry", (change.key, change.if_match, *note)
    key, content, metadata, ttl, expires_at, if_absent, if_match = change[:7]
    content_hash, format, byte_size, inline_value, uri, position = content
    return "put_entry", (
        key, content_hash, format, byte_size, inline_value, uri, None, position, metadata, ttl,
        expires_at, if_absent, if_match, *note,
    )  # fmt: skip


def _call(change: Change, now: int, keep_all: bool) -> tuple[str, dict[str, object]]:
    """Return the statement with named parameters, for use inside a transaction.

    The transaction notes its commit as a whole, so the statement does not.
    """
    name, arguments = _arguments(change, now, keep_all, None)
    names = _DELETE_PARAMETERS if name == "remove_entry" else _PUT_PARAMETERS
    return name, dict(zip(names, arguments, strict=True))


def _place(content: Content, row: Row) -> tuple[bytes | None, str | None, str | None]:
    """Return the place of the content, or nothing if it is not known yet."""
    if row[3]:  # deduplicated: the place that it had before
        uri, position = row[7:9]
        return (content.inline_value if uri is None else None), uri, position
    return content.inline_value, content.uri, content.position


def _stored(put: Put, row: Row, place: Row) -> Outcome:
    version, created, changed, deduplicated, expires_at, created_at, updated_at = row[:7]
    content = put.content
    entry = EntryRow(
        put.key, version, put.metadata, expires_at, created_at, updated_at,
        content.content_hash, content.format, content.byte_size, *place,
    )  # fmt: skip
    return Outcome(entry, created=created, changed=changed, deduplicated=deduplicated)


def _deleted(row: Row) -> Outcome:
    return Outcome(None, created=False, changed=row[0], deduplicated=False)
