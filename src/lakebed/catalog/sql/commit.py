"""Applies changes in one write transaction. No other code writes single entries and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakebed.catalog.protocol import MissingContentError
from lakebed.catalog.rules import EVERY_VERSION, Decision, decide, is_kept, is_visible
from lakebed.catalog.search_rows import GONE
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Params, Row, Transaction
from lakebed.errors import ConflictError, ValidationError
from lakebed.model import Change, Content, Delete, EntryRow, Outcome, Put, Upload

_ROW = len(EntryRow._fields)
_KEY_BYTES = 1024


class Commit:
    """One commit: its transaction, its time, and the counter from which it draws versions.

    Use it once, in a write transaction that the caller commits.
    """

    def __init__(
        self, tx: Transaction, queries: Mapping[str, str], now: int, *, keep_all: bool
    ) -> None:
        self._tx = tx
        self._queries = queries
        self._now = now
        self._keep_all = keep_all
        self._first_version: int | None = None  # the counter at the beginning of this commit
        self._version = 0
        self._newest_snapshot = 0
        self._indexed = 0  # the version up to which segments exist
        self._described = 0  # and up to which the metadata index exists
        self._lost: list[int] = []  # inline objects that lost a name
        self._used: dict[str, int] = {}  # how many objects use each upload
        self._packs: Mapping[str, int] = {}  # the ids of the packs among the uploads

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        """Apply the changes in key order, and those of one key in the given order.

        Returns the outcomes in the order of `changes`.
        """
        claims = Claims(self._tx, self._queries, uploads) if uploads else None
        if claims:
            self._packs = claims.packs
        outcomes = self._apply_all(changes)
        if self._first_version is not None and self._version != self._first_version:
            self._do("set_meta", {"name": "version", "value": self._version})
        for object_id in self._lost:
            self._do("drop_object", {"id": object_id})
        if claims:
            claims.settle(self._used, self._now)
        return outcomes

    def name(self, contents: Sequence[Content], uploads: Sequence[Upload]) -> None:
        """Add contents that are in these files, without an entry.

        They are candidates for the next collection.
        """
        claims = Claims(self._tx, self._queries, uploads)
        self._packs = claims.packs
        for content in sorted(contents, key=lambda content: content.id):
            object_id, _, known = self._object(content)
            if not known:
                self._do("add_candidate", {"object_id": object_id})
        claims.settle(self._used, self._now)

    def _apply_all(self, changes: Sequence[Change]) -> list[Outcome]:
        if len(changes) == 1:
            return [self._apply(changes[0])]
        order = sorted(range(len(changes)), key=lambda index: changes[index].key)
        applied = {index: self._apply(changes[index]) for index in order}
        return [applied[index] for index in range(len(changes))]

    def _apply(self, change: Change) -> Outcome:
        row = self._lock(change)
        self._read_state(row)
        old = object_id = None
        if row[4] is not None:
            old, object_id = EntryRow._make(row[4 : 4 + _ROW]), row[4 + _ROW]
        if isinstance(change, Put) and change.keep_metadata and is_visible(old, self._now):
            assert old is not None
            change = change._replace(metadata=old.metadata)
        decision = decide(change, old, self._now, self._newest_snapshot)
        if isinstance(change, Delete):
            return self._delete(old, object_id, decision)
        return self._put(change, old, object_id, decision)

    def _lock(self, change: Change) -> Row:
        """Return the state that a change starts from, locked."""
        row = self._tx.one(self._queries["lock_entry"], {"key": change.key})
        assert row is not None
        return row

    def _do(self, name: str, params: Params) -> None:
        """Run a statement whose result is not needed."""
        self._tx.run(self._queries[name], params)

    def _delete(self, old: EntryRow | None, object_id: int | None, decision: Decision) -> Outcome:
        if old is not None and object_id is not None:
            self._version += 1
            self._keep(old, object_id, None, kept=decision.kept)
            self._do("delete_entry", {"key": old.key})
        return Outcome(None, created=False, changed=decision.changed, deduplicated=False)

    def _put(
        self, put: Put, old: EntryRow | None, old_object: int | None, decision: Decision
    ) -> Outcome:
        now, content = self._now, put.content
        if decision.kind == "nothing":
            return Outcome(old, created=False, changed=False, deduplicated=True)
        if old is not None and (old.content_hash, old.format) == content.id:
            object_id, place, deduplicated = old_object, old[-3:], True
        else:
            for part in put.parts:
                if is_brought(part):
                    Commit._object(self, part)
            object_id, place, deduplicated = self._object(content)
            if put.parts and not deduplicated:
                self._list_parts(put)
        self._version += 1
        if old is not None and old_object is not None:
            self._keep(old, old_object, object_id, kept=decision.kept)
        expires_at, created_at, updated_at = decision.expires_at, decision.created_at, now
        if put.times is not None:
            created_at, updated_at = put.times[0], put.times[1] or now
        self._do(
            "create_entry" if decision.kind == "create" else "put_entry",
            {
                "key": put.key,
                "version": self._version,
                "object_id": object_id,
                "metadata": put.metadata,
                "expires_at": expires_at,
                "created_at": created_at,
                "now": updated_at,
            },
        )
        new = EntryRow(
            put.key, self._version, put.metadata, expires_at, created_at, updated_at,
            content.content_hash, content.format, content.byte_size, *place,
        )  # fmt: skip
        return Outcome(new, decision.created, True, deduplicated)

    def _list_parts(self, put: Put) -> None:
        """Note the parts of a new table, so that they live as long as the table."""
        table = {"content_hash": put.content.content_hash, "format": put.content.format}
        rows = [
            table | {"part_hash": part.content_hash, "part_format": part.format}
            for part in put.parts
        ]
        self._tx.many(self._queries["add_part"], rows)
        ((count,),) = self._tx.all(self._queries["count_parts"], table)
        if count != len(rows):
            raise MissingContentError("parts that a table meant to reuse are gone")

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        """Give an entry another expiry."""
        old = self._locked(key)
        if old is None:
            return None
        content = Content(old.content_hash, old.format, old.byte_size)
        (outcome,) = self.run((Put(key, content, old.metadata, ttl, expires_at),))
        return outcome.row

    def _locked(self, key: str) -> EntryRow | None:
        """Return the entry of a key, locked until the end of the transaction."""
        row = self._tx.one(self._queries["lock_entry"], {"key": key})
        if row is None or row[4] is None:
            return None
        old = EntryRow._make(row[4 : 4 + _ROW])
        return old if is_visible(old, self._now) else None

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Rename the first entry of a range: `into` replaces the first `cut` characters of its key.

        Returns the entry under its new key, or None if the range is empty.
        """
        bounds = {"low": low, "high": high, "now": self._now}
        found = self._tx.one(self._queries["first_key"], bounds)
        if found is None:
            return None
        row = self._tx.one(self._queries["lock_entry"], {"key": found[0]})
        assert row is not None
        self._read_state(row)
        old, object_id = EntryRow._make(row[4 : 4 + _ROW]), row[4 + _ROW]
        new = old._replace(key=into + old.key[cut:], version=row[0] + 1, updated_at=self._now)
        if len(new.key.encode()) > _KEY_BYTES:
            raise ValidationError(f"the key {new.key!r} would take more than {_KEY_BYTES} bytes")
        there = self._tx.one(self._queries["lock_entry"], {"key": new.key})
        if there is not None and there[4] is not None:
            raise ConflictError(f"take: {new.key!r} is there already")
        self._version = new.version
        self._keep(old, object_id, object_id, kept=is_kept(old, self._newest_snapshot))
        self._do("delete_entry", {"key": old.key})
        self._do(
            "create_entry",
            {
                "key": new.key,
                "version": new.version,
                "object_id": object_id,
                "metadata": new.metadata,
                "expires_at": new.expires_at,
                "created_at": new.created_at,
                "now": self._now,
            },
        )
        self._do("set_meta", {"name": "version", "value": self._version})
        return new

    def _read_state(self, row: Row) -> None:
        """Remember the counter, and what snapshots and segments see, from the row of the first
        change."""
        if self._first_version is None:
            self._first_version = self._version = row[0]
            # Versions begin with 1, so 0 stands for no snapshot.
            self._newest_snapshot = EVERY_VERSION if self._keep_all else row[1] or 0
            self._indexed, self._described = row[2:4]

    def _keep(self, old: EntryRow, old_object: int, new_object: int | None, *, kept: bool) -> None:
        """Keep the replaced row in the history, if it must be kept.

        Otherwise note its object as a candidate. An inline object that may go at once is removed at
        the end of the commit.
        """
        if old.version <= self._indexed:
            end = self._version if kept else GONE
            params = {"version": old.version, "end_version": end}
            self._do("add_ended", params)
        if old.version <= self._described and old.metadata != "{}":
            ended = {"key": old.key, "version": old.version, "metadata": old.metadata}
            self._do("add_ended_metadata", ended)
        if kept:
            self._do(
                "keep_history", {"key": old.key, "end_version": self._version, "now": self._now}
            )
        elif old_object == new_object:
            pass
        elif (
            old.inline_value is not None
            and old.format != "table"  # a table's parts must be judged with it
            and "batch_drop_objects" in self._queries
        ):
            self._lost.append(old_object)
        else:
            self._do("add_candidate", {"object_id": old_object})

    def _object(self, content: Content) -> tuple[int, Row, bool]:
        """Return the id and the place of the object with this content, and whether it existed
        before."""
        queries, uri = self._queries, content.uri
        if content.inline_value is not None or uri is not None:
            pack_id = self._packs.get(uri) if uri else None
            created = self._tx.insert(
                queries["insert_object"],
                {
                    "content_hash": content.content_hash,
                    "format": content.format,
                    "byte_size": content.byte_size,
                    "inline_value": content.inline_value,
                    "uri": uri if pack_id is None else None,
                    "pack_id": pack_id,
                    "position": content.position,
                    "now": self._now,
                },
            )
            if created is not None:
                if uri is not None:
                    self._used[uri] = self._used.get(uri, 0) + 1
                return created, (content.inline_value, uri, content.position), False
        found = self._tx.one(
            queries["find_object"],
            {"content_hash": content.content_hash, "format": content.format},
        )
        if found is None:
            raise MissingContentError("content that a store meant to reuse is gone")
        return found[0], found[1:], True


def is_brought(part: Content) -> bool:
    """Return whether this commit brings the bytes of a part, inline or in an upload."""
    return part.inline_value is not None or part.uri is not None
