"""The catalog in Postgres: the SQL catalog with writers that work at the same time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from lakebed.catalog.postgres.batch import PostgresBatch
from lakebed.catalog.postgres.executor import PostgresExecutor
from lakebed.catalog.postgres.signals import channel_of, listening
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.catalog.postgres.transaction import convert
from lakebed.catalog.postgres.writers import Writer
from lakebed.catalog.protocol import BatchCounts, StagedRow
from lakebed.catalog.signals import Signals
from lakebed.catalog.sql.batch import BatchCommit
from lakebed.catalog.sql.commit import Commit
from lakebed.catalog.sql.resilience import ResilientCatalog
from lakebed.catalog.statements.executor import Row, Transaction, is_read_only
from lakebed.catalog.statements.queries import quoted
from lakebed.model import Change, Content, Delete, EntryRow, Outcome, Put, Upload

_BULK = 1000
"""After so many rows of batches the planner's knowledge of the tables is looked at."""
_GONE = (None, None, None)
_NAMED = re.compile(r"%\(\w+\)s")
_NOTE = ("clock", "keep_all", "writer", "token")
_DELETE_PARAMETERS = ("key", "if_match", *_NOTE)
_PUT_PARAMETERS = (
    "key", "content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position",
    "metadata", "ttl", "expires_at", "if_absent", "if_match", *_NOTE,
)  # fmt: skip


class PostgresCatalog(ResilientCatalog):
    """A catalog in a schema of a Postgres database; see `Catalog` for what each call does."""

    _executor: PostgresExecutor

    def __init__(self, executor: PostgresExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        self._statements = {
            name: _NAMED.sub("%s", convert(self._queries[name]))
            for name in ("put_entry", "remove_entry", "get_entry", "take_entry")
        }
        self._loaded = 0  # rows of batches since that was last done
        self._tidying = Tidying(executor, self._queries, self._index)

    def _begin(self, tx: Transaction, now: int) -> Commit:
        return PostgresCommit(tx, self._queries, now, keep_all=self._keep_all)

    def _begin_batch(self, tx: Transaction, now: int) -> BatchCommit:
        return PostgresBatch(tx, self._queries, now, keep_all=self._keep_all)

    def _note_load(self, tx: Transaction, counts: BatchCounts) -> None:
        """Have the planner count the rows when they have doubled: so it costs little by the row."""
        self._loaded += counts.created + counts.changed
        if self._loaded >= _BULK:
            self._loaded = 0
            if tx.all(self._queries["has_doubled"], {})[0][0]:
                tx.script(self._queries["analyze"])

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        found = super().settings(wanted)
        # After a restore from a dump, say, the sequence may lie behind.
        ((gap,),) = self._executor.fetch(self._queries["sequence_gap"], {})
        if gap > 0 and not is_read_only(self._executor):
            with self._executor.write(exclusive=True) as tx:
                tx.all(self._queries["raise_sequence"], {})
        return found

    def _settled(self) -> AbstractContextManager[Transaction]:
        # Versions come from a sequence: a lower one than others see may still be under way.
        return self._executor.settled()

    def get(self, key: str) -> EntryRow | None:
        if self._executor.pooled:  # as through SQLAlchemy, which has no such statements
            return super().get(key)
        # Statement and parameters by position: a tenth of the client's part.
        text, now = self._statements["get_entry"], self._executor.stamp()
        rows = self._executor.fetch_converted(text, (key, now))
        return EntryRow._make(rows[0]) if rows else None

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        if len(changes) == 1 and not uploads and not self._executor.pooled:
            outcomes = [self._executor.repeat(lambda: self._commit_one(changes[0]))]
        else:
            outcomes = super().commit(changes, uploads)
        if replaced := sum(outcome.changed and not outcome.created for outcome in outcomes):
            self._tidying.note(replaced)
        return outcomes

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

    def _commit_one(self, change: Change) -> Outcome:
        """One change as one statement, a transaction of its own, in one round trip."""
        clock, keep_all = self._executor.stamp(), self._keep_all
        row, noted = self._executor.call(
            self._statements["remove_entry" if isinstance(change, Delete) else "put_entry"],
            lambda writer: _arguments(change, clock, keep_all, writer)[1],
        )
        if noted is not None:
            _, version, created, deduplicated, *times = noted
            row = (version, created, True, deduplicated, *times, None, None)
            if isinstance(change, Delete):
                row = (created,)
        return self._outcome(change, row)

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        asked = (low, high, cut, into, self._executor.stamp(), self._keep_all)
        if self._executor.pooled:
            row = self._executor.repeat(lambda: self._take_within(asked))
        else:
            row = self._executor.repeat(lambda: self._take_alone(asked))
        if row is None or row[0] is None:
            return None
        self._tidying.note(1)
        return EntryRow._make(row)

    def _take_within(self, asked: tuple[object, ...]) -> Row | None:
        """As a statement of a transaction."""
        names = ("low", "high", "cut", "into", "clock", "keep_all")
        params = dict(zip(names, asked, strict=True)) | {"writer": None, "token": None}
        with self._executor.write() as tx:
            return tx.one(self._queries["take_entry"], params)

    def _take_alone(self, asked: tuple[object, ...]) -> Row | None:
        """As one statement, a transaction of its own, in one round trip."""
        row, noted = self._executor.call(
            self._statements["take_entry"], lambda writer: (*asked, writer.id, writer.token)
        )
        if noted is None:
            return row
        # The answer was lost, and the entry may have been changed since: then it was taken in vain.
        found = self._executor.fetch(self._queries["entry_of_version"], {"version": noted[1]})
        return self.get(found[0][0]) if found else None

    def signal(self, topic: str) -> None:
        channel = channel_of(self._executor.schema, topic)
        self._executor.fetch(self._queries["signal"], {"channel": channel})

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        if self._executor.pooled:  # a session that listens does not stay ours
            return super().listen(topic)
        channel = quoted(channel_of(self._executor.schema, topic))
        listen = self._queries["listen"].replace("{channel}", channel)
        return listening(self._executor.server, listen)

    def _outcome(self, change: Change, row: Row) -> Outcome:
        if isinstance(change, Delete):
            return _deleted(row)
        place: Row = _place(change.content, row)
        if place == _GONE:
            found = self.locate(change.content.id)
            place = _GONE if found is None else found
        return _stored(change, row, place)


class PostgresCommit(Commit):
    """The same commit, each change applied by a function in the database."""

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        self._new: set[tuple[bytes, str]] = set()
        self._named: set[tuple[bytes, str]] = set()
        return super().run(changes, uploads)

    def _apply_all(self, changes: Sequence[Change]) -> list[Outcome]:
        if len(changes) > 1:
            # Contents are locked before keys, both in their order: so no two commits wait for each
            # other.
            contents = {c.content.id: c.content for c in changes if isinstance(c, Put)}
            for _, content in sorted(contents.items()):
                self._name(content)
        return super()._apply_all(changes)

    def _name(self, content: Content) -> None:
        params = self._content(content) | {"clock": self._now}
        row = self._tx.one(self._queries["name_object"], params)
        assert row is not None
        self._named.add(content.id)
        if row[1]:
            self._took(content)

    def _took(self, content: Content) -> None:
        """The content is a new object, whose bytes lie in an upload if not inline."""
        self._new.add(content.id)
        if content.uri is not None:
            self._used[content.uri] = self._used.get(content.uri, 0) + 1

    def _content(self, content: Content) -> dict[str, object]:
        pack_id = self._packs.get(content.uri) if content.uri else None
        place = {"pack_id": pack_id, "uri": content.uri if pack_id is None else None}
        return content._asdict() | place

    def _apply(self, change: Change) -> Outcome:
        name, params = _call(change, self._now, self._keep_all)
        if isinstance(change, Delete):
            row = self._tx.one(self._queries[name], params)
            assert row is not None
            return _deleted(row)
        content = change.content
        row = self._tx.one(self._queries[name], {**params, **self._content(content)})
        assert row is not None
        deduplicated = row[3]
        if content.id in self._new:  # named above, by this commit: the first store brought it
            self._new.discard(content.id)
            deduplicated = False
        elif not deduplicated:
            self._took(content)
            self._new.discard(content.id)
        row = (*row[:3], deduplicated, *row[4:])
        place: Row = _place(content, row)
        if place == _GONE:
            found = self._tx.one(
                self._queries["find_object"],
                {"content_hash": content.content_hash, "format": content.format},
            )
            place = found[1:] if found else _GONE
        return _stored(change, row, place)


def _arguments(
    change: Change, clock: int | None, keep_all: bool, writer: Writer | None
) -> tuple[str, tuple[object, ...]]:
    """The name of the statement that applies a change, and its parameters in their order there."""
    note = (clock, keep_all, writer and writer.id, writer and writer.token)
    if isinstance(change, Delete):
        return "remove_entry", (change.key, change.if_match, *note)
    key, content, metadata, ttl, expires_at, if_absent, if_match = change
    content_hash, format, byte_size, inline_value, uri, position = content
    return "put_entry", (
        key, content_hash, format, byte_size, inline_value, uri, None, position, metadata, ttl,
        expires_at, if_absent, if_match, *note,
    )  # fmt: skip


def _call(change: Change, now: int, keep_all: bool) -> tuple[str, dict[str, object]]:
    """The same with named parameters, inside a transaction that is noted as a whole."""
    name, arguments = _arguments(change, now, keep_all, None)
    names = _DELETE_PARAMETERS if name == "remove_entry" else _PUT_PARAMETERS
    return name, dict(zip(names, arguments, strict=True))


def _place(content: Content, row: Row) -> tuple[bytes | None, str | None, str | None]:
    """Where the content lies; nothing if that remains to be found out."""
    if row[3]:  # deduplicated: where it lay before
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
