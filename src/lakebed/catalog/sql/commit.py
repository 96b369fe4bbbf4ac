"""Applying changes inside one write transaction: the only code that writes entries and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakebed.catalog.protocol import MissingContentError
from lakebed.catalog.search_rows import GONE
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Row, Transaction
from lakebed.errors import ConflictError, ValidationError
from lakebed.model import Change, Content, Delete, EntryRow, Outcome, Put, Upload

_ROW = len(EntryRow._fields)
_KEY_BYTES = 1024


class Commit:
    """One commit: its transaction, its time, and the counter that it draws versions from.

    Use it once, inside a write transaction that the caller commits.
    """

    def __init__(
        self, tx: Transaction, queries: Mapping[str, str], now: int, *, keep_all: bool
    ) -> None:
        self._tx = tx
        self._queries = queries
        self._now = now
        self._keep_all = keep_all
        self._first_version: int | None = None  # the counter as this commit found it
        self._version = 0
        self._newest_snapshot = 0
        self._indexed = 0  # the version that segments reach
        self._described = 0  # and the metadata index
        self._lost: list[int] = []  # objects in the catalog that have lost a name
        self._used: dict[str, int] = {}  # how many objects took each upload
        self._packs: Mapping[str, int] = {}  # the ids of the packs among the uploads

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        """Apply the changes in key order, those of one key in their own; outcomes as given."""
        claims = Claims(self._tx, self._queries, uploads) if uploads else None
        if claims:
            self._packs = claims.packs
        outcomes = self._apply_all(changes)
        if self._first_version is not None and self._version != self._first_version:
            self._tx.run(self._queries["set_meta"], {"name": "version", "value": self._version})
        for object_id in self._lost:
            self._tx.run(self._queries["drop_object"], {"id": object_id})
        if claims:
            claims.settle(self._used, self._now)
        return outcomes

    def _apply_all(self, changes: Sequence[Change]) -> list[Outcome]:
        if len(changes) == 1:
            return [self._apply(changes[0])]
        order = sorted(range(len(changes)), key=lambda index: changes[index].key)
        applied = {index: self._apply(changes[index]) for index in order}
        return [applied[index] for index in range(len(changes))]

    def _apply(self, change: Change) -> Outcome:
        row = self._tx.one(self._queries["lock_entry"], {"key": change.key})
        assert row is not None
        self._read_state(row)
        old = object_id = None
        if row[4] is not None:
            old, object_id = EntryRow._make(row[4 : 4 + _ROW]), row[4 + _ROW]
        alive = old if old and (old.expires_at is None or old.expires_at > self._now) else None
        if change.if_match is not None and (alive is None or alive.content_hash != change.if_match):
            raise ConflictError(
                f"if_match: {change.key!r} "
                + ("is not there" if alive is None else "has other content by now")
            )
        if isinstance(change, Delete):
            return self._delete(old, object_id, alive)
        return self._put(change, old, object_id, alive)

    def _delete(
        self, old: EntryRow | None, object_id: int | None, alive: EntryRow | None
    ) -> Outcome:
        if old is not None and object_id is not None:
            self._version += 1
            self._keep(old, object_id, None)
            self._tx.run(self._queries["delete_entry"], {"key": old.key})
        return Outcome(None, created=False, changed=alive is not None, deduplicated=False)

    def _put(
        self, put: Put, old: EntryRow | None, old_object: int | None, alive: EntryRow | None
    ) -> Outcome:
        if put.if_absent and alive is not None:
            raise ConflictError(f"if_absent: {put.key!r} is there already")
        now, content = self._now, put.content
        expires_at = put.expires_at if put.ttl is None else now + put.ttl
        if old is not None and (old.content_hash, old.format) == content.id:
            if alive and alive.metadata == put.metadata and alive.expires_at == expires_at:
                return Outcome(alive, created=False, changed=False, deduplicated=True)
            object_id, place, deduplicated = old_object, old[-3:], True
        else:
            object_id, place, deduplicated = self._object(content)
        self._version += 1
        if old is not None and old_object is not None:
            self._keep(old, old_object, object_id)
        created_at = now if alive is None else alive.created_at
        self._tx.run(
            self._queries["create_entry" if old is None else "put_entry"],
            {
                "key": put.key,
                "version": self._version,
                "object_id": object_id,
                "metadata": put.metadata,
                "expires_at": expires_at,
                "created_at": created_at,
                "now": now,
            },
        )
        new = EntryRow(
            put.key, self._version, put.metadata, expires_at, created_at, now,
            content.content_hash, content.format, content.byte_size, *place,
        )  # fmt: skip
        return Outcome(new, alive is None, True, deduplicated)

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Rename the first entry of a range: `into` stands for the first `cut` characters of its
        key."""
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
        self._keep(old, object_id, object_id)
        self._tx.run(self._queries["delete_entry"], {"key": old.key})
        self._tx.run(
            self._queries["create_entry"],
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
        self._tx.run(self._queries["set_meta"], {"name": "version", "value": self._version})
        return new

    def _read_state(self, row: Row) -> None:
        """The counter and what snapshots and segments see, as the first change finds them."""
        if self._first_version is None:
            self._first_version = self._version = row[0]
            # A version that no snapshot reaches is 0 at most.
            self._newest_snapshot = row[1] or 0
            self._indexed, self._described = row[2:4]

    def _keep(self, old: EntryRow, old_object: int, new_object: int | None) -> None:
        """Keep the row that is about to go if a snapshot sees it; else note its object, or, where
        it can go at once, remember it until all names are as they will be."""
        kept = self._keep_all or old.version <= self._newest_snapshot
        if old.version <= self._indexed:
            end = self._version if kept else GONE
            params = {"version": old.version, "end_version": end}
            self._tx.run(self._queries["add_ended"], params)
        if old.version <= self._described and old.metadata != "{}":
            ended = {"key": old.key, "version": old.version, "metadata": old.metadata}
            self._tx.run(self._queries["add_ended_metadata"], ended)
        if kept:
            self._tx.run(
                self._queries["keep_history"],
                {"key": old.key, "end_version": self._version, "now": self._now},
            )
        elif old_object == new_object:
            pass
        elif old.inline_value is not None and "batch_drop_objects" in self._queries:
            self._lost.append(old_object)
        else:
            self._tx.run(self._queries["add_candidate"], {"object_id": old_object})

    def _object(self, content: Content) -> tuple[int, Row, bool]:
        """The id and place of an object with this content, and whether it was there before."""
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
