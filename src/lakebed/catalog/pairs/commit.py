"""Changes entries and contents in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from lakebed.catalog.pairs.records import File, Records, Stored
from lakebed.catalog.rows import MissingContentError, Place
from lakebed.catalog.rules import decide, is_visible
from lakebed.errors import ConflictError, ValidationError
from lakebed.model import Change, Content, ContentId, Delete, EntryRow, Outcome, Put, Upload

_KEY_BYTES = 1024


class Commit:
    """One commit. Use it once, in a transaction that the caller commits."""

    def __init__(self, records: Records, now: int) -> None:
        self._records = records
        self._now = now
        self._left: set[ContentId] = set()  # contents that lost a name

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        """Apply the changes in key order, and those of one key in the given order.

        Returns the outcomes in the order of `changes`.
        """
        with self.claimed(uploads):
            order = sorted(range(len(changes)), key=lambda index: changes[index].key)
            applied = {index: self._apply(changes[index]) for index in order}
        self.drop_inline()
        return [applied[index] for index in range(len(changes))]

    @contextmanager
    def claimed(self, uploads: Sequence[Upload]) -> Iterator[None]:
        """Claim uploads from their leases for the block.

        An upload that no content uses at the end becomes trash. Raises MissingContentError if a
        lease, and with it the bytes, is gone.
        """
        records = self._records
        for upload in uploads:
            if not records.claim(upload.uri):
                raise MissingContentError("the lease of an upload is gone")
            pack = None if upload.objects is None else records.draw("pack")
            records.put_file(upload.uri, File(pack, upload.byte_size, 0, upload.objects or 1))
        yield
        for upload in uploads:
            file = records.file(upload.uri)
            if file is not None and not file.live:
                records.leave_file(upload.uri, self._now)

    def _apply(self, change: Change) -> Outcome:
        old = self._records.entry(change.key)
        if isinstance(change, Put) and change.keep_metadata and is_visible(old, self._now):
            assert old is not None
            change = change._replace(metadata=old.metadata)
        decision = decide(change, old, self._now, 0)
        if isinstance(change, Delete):
            if old is not None:
                self.remove(old)
            return Outcome(None, created=False, changed=decision.changed, deduplicated=False)
        if decision.kind == "nothing":
            return Outcome(old, created=False, changed=False, deduplicated=True)
        stored, deduplicated = self._content(change)
        self._name(stored.content.id)
        if old is not None:
            self._leave(old)
        created_at, updated_at = decision.created_at, self._now
        if change.times is not None:
            created_at, updated_at = change.times[0], change.times[1] or self._now
        times = (decision.expires_at, created_at, updated_at)
        version = self._records.draw("version")
        new = EntryRow._make((change.key, version, change.metadata, *times, *stored.content))
        self._records.put_entry(new)
        return Outcome(new, decision.created, True, deduplicated)

    def remove(self, row: EntryRow) -> None:
        """Remove an entry."""
        self._records.draw("version")
        self._records.pairs.remove("e" + row.key)
        self._leave(row)

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> EntryRow | None:
        """Give an entry another expiry."""
        old = self._records.entry(key)
        if old is None or not is_visible(old, self._now):
            return None
        content = Content(old.content_hash, old.format, old.byte_size)
        (outcome,) = self.run((Put(key, content, old.metadata, ttl, expires_at),))
        return outcome.row

    def take(self, low: str, high: str, cut: int, into: str) -> EntryRow | None:
        """Rename the first entry of a range: `into` replaces the first `cut` characters of its key.

        Returns the entry under its new key, or None if the range is empty.
        """
        records = self._records
        found = (row for row in records.entries(low, high) if is_visible(row, self._now))
        old = next(found, None)
        if old is None:
            return None
        new = old._replace(key=into + old.key[cut:], updated_at=self._now)
        if len(new.key.encode()) > _KEY_BYTES:
            raise ValidationError(f"the key {new.key!r} would take more than {_KEY_BYTES} bytes")
        if records.entry(new.key) is not None:
            raise ConflictError(f"take: {new.key!r} is there already")
        records.pairs.remove("e" + old.key)
        new = new._replace(version=records.draw("version"))
        records.put_entry(new)
        return new

    # Contents

    def _content(self, put: Put) -> tuple[Stored, bool]:
        """Return the content of a change, and whether it existed before."""
        found = self._records.stored(put.content.id)
        if found is not None:
            return found, True
        for part in put.parts:
            if self._records.stored(part.id) is None:
                self._store(part)
        stored = self._store(put.content)
        if put.parts:
            parts = [part.id for part in put.parts]
            self._records.put_parts(stored.content.id, parts)
            for each in parts:
                self._name(each)
        return stored, False

    def _store(self, content: Content) -> Stored:
        """Store a new content. It comes with its bytes or with its place."""
        records, uri = self._records, content.uri
        if content.inline_value is None and uri is None:
            raise MissingContentError("content that a store meant to reuse is gone")
        stored = Stored(records.draw("content"), 0, content, self._now)
        records.put_stored(stored)
        if uri is not None:
            self._enter(uri)
        return stored

    def _enter(self, uri: str) -> None:
        file = self._records.file(uri)
        if file is None:
            raise MissingContentError("an upload is gone")
        self._records.put_file(uri, file._replace(live=file.live + 1, dead=file.dead - 1))

    def _name(self, content: ContentId, by: int = 1) -> None:
        stored = self._records.stored(content)
        if stored is not None:
            stored = stored._replace(names=stored.names + by)
            self._records.put_stored(stored)
            self._records.note_unnamed(stored)

    def _leave(self, row: EntryRow) -> None:
        content = row.content_hash, row.format
        self._name(content, -1)
        self._left.add(content)

    def drop_inline(self) -> None:
        """Drop the inline contents that lost their last name.

        They need no grace period, because a reader who has the entry has the bytes as well.
        Contents in the storage and tables of parts wait for a collection.
        """
        for content in self._left:
            stored = self._records.stored(content)
            if stored is None or stored.names or stored.content.format == "table":
                continue
            if stored.content.inline_value is not None:
                self.drop(stored)

    def drop(self, stored: Stored) -> list[Content]:
        """Drop a content that nothing names, and its parts that nothing else lists. Return them."""
        records, content = self._records, stored.content
        parts = records.parts(content.id)
        records.drop_stored(stored)
        if content.uri is not None:
            records.leave_file(content.uri, self._now)
        dropped = [content]
        for part in parts:
            self._name(part, -1)
            left = records.stored(part)
            if left is not None and not left.names:
                dropped += self.drop(left)
        return dropped

    def dropped_of(self, low: str, high: str, limit: int) -> tuple[int, list[Content]]:
        """Remove up to `limit` entries with `low <= key < high`.

        Returns how many were removed, and the contents that lost their last name.
        """
        rows = list(islice(self._records.entries(low, high), limit))
        for row in rows:
            self.remove(row)
        left = [self._records.stored(content) for content in sorted(self._left)]
        gone = [stored for stored in left if stored is not None and not stored.names]
        return len(rows), [content for stored in gone for content in self.drop(stored)]

    def replace(self, content: ContentId, place: Place, new: Content) -> bool:
        """Move a content from `place` to `new`. Return False if it is no longer at `place`."""
        stored = self._records.stored(content)
        if stored is None or stored.content[-2:] != place[1:]:
            return False
        self._records.put_stored(stored._replace(content=new))
        if new.uri is not None:
            self._enter(new.uri)
        if stored.content.uri is not None:
            self._records.leave_file(stored.content.uri, self._now)
        return True
