"""Holds the entries of a batch until their commit, any number of them in bounded memory.

A small batch waits in memory. A larger one goes to a private temporary SQLite database, which goes
to an unnamed temporary file as it grows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from functools import cached_property

from lakebed.catalog.protocol import StagedRow
from lakebed.catalog.statements.queries import load_spool_queries
from lakebed.errors import StorageError
from lakebed.model import ContentId
from lakebed.values.encoded import Encoded, EncodedFile

_WAITING = 20_000
_WAITING_BYTES = 8 << 20
"""The most bytes that wait in memory, before everything goes to the database."""
_BUFFER = 500
_LARGE = 4 << 20


class Spool:
    """The staged entries of a batch, in key order. The last one of a key wins.

    Raises StorageError if the temporary file cannot be written.
    """

    def __init__(self) -> None:
        self._rows: list[StagedRow] = []
        self._room = _WAITING
        self._bytes = 0
        self._in_memory = True  # the whole present chunk
        self._added = 0
        self._chunks = 0
        self._unseen: Iterable[str] = ()  # the keys of the first chunk, while there is no other
        self._reading: sqlite3.Cursor | None = None
        self.distinct = 0
        """The number of distinct keys in the committed chunks."""

    @cached_property
    def _queries(self) -> dict[str, str]:
        return load_spool_queries()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode", "synchronous"):
            db.execute(f"PRAGMA {pragma} = OFF")
        for name in ("create_staged", "create_placed", "create_kept", "index_kept", "create_seen"):
            db.execute(self._queries[name])
        return db

    def add(self, row: StagedRow) -> None:
        """Stage one entry."""
        rows = self._rows
        rows.append(row)
        self._added += 1
        self._bytes += len(row.inline_value or b"") + len(row.metadata)
        if len(rows) >= self._room or self._bytes > _WAITING_BYTES:
            self._write()

    def place(self, content: ContentId, uri: str, position: str | None) -> None:
        """Note where a content was uploaded."""
        self._in_memory = False
        self._run("add_placed", (*content, uri, position))

    def is_placed(self, content: ContentId) -> bool:
        """Return whether this batch has uploaded the content already."""
        return not self._in_memory and bool(self._run("is_placed", content).fetchall())

    def keep(self, encoded: Encoded | EncodedFile) -> None:
        """Keep the bytes of a content that the lake has, in case it is collected before the
        commit."""
        if not self._run("kept_pieces", encoded.id).fetchone():
            for piece in encoded.pieces():
                self._run("add_kept", (*encoded.id, encoded.byte_size, piece))

    def kept(self) -> Iterator[Encoded | EncodedFile]:
        """Yield the kept contents. The caller closes each of them."""
        for content in self._run("kept_contents").fetchall():
            content_hash, format = content
            ((size,),) = self._run("kept_size", content).fetchall()
            pieces = (piece for (piece,) in self._run("kept_pieces", content))
            if size <= _LARGE:
                yield Encoded(format, b"".join(pieces), content_hash)
            else:
                yield _to_file(content, size, pieces)

    def __iter__(self) -> Iterator[StagedRow]:
        """Yield the staged entries in key order. This may be repeated if a commit is repeated."""
        if self._in_memory:
            latest = {row.key: row for row in self._rows}
            return map(latest.__getitem__, sorted(latest))
        self._write()
        self._run("index_staged")
        self._reading = self._run("staged_rows")
        return map(StagedRow._make, self._reading)

    def drop(self, content: ContentId | None = None) -> list[str]:
        """Remove the entries with a content, or all entries. Return their keys."""
        self._end_reading()
        self._write()
        dropped = self._run("drop_content", content) if content else self._run("drop_staged")
        keys = [key for (key,) in dropped]
        self._added -= len(keys)
        return keys

    def clear(self) -> None:
        """Begin the next chunk. The keys of the present one count as seen."""
        self._end_reading()
        if self._in_memory:
            keys = {row.key for row in self._rows}
            if self._chunks:
                self.distinct += self._see(keys)
            else:
                self._unseen, self.distinct = keys, len(keys)
        else:
            self._write()
            self._see(())
            self.distinct += self._run("see_staged").rowcount
            for name in ("clear_staged", "unindex_staged", "clear_placed", "clear_kept"):
                self._run(name)
        self._rows.clear()
        self._room, self._bytes, self._in_memory = _WAITING, 0, True
        self._chunks += 1

    @property
    def replaced(self) -> int:
        """The number of entries in committed chunks that a later one with the same key replaced."""
        return self._added - self.distinct

    def close(self) -> None:
        """Free the memory and the disk space."""
        if "_db" in self.__dict__:
            self._db.close()

    def _end_reading(self) -> None:
        """Release rows that a failed commit left unread, because they prevent changes."""
        if self._reading:
            self._reading.close()
            self._reading = None

    def _write(self) -> None:
        """Move the entries in memory to the database."""
        self._in_memory = False
        self._room, self._bytes = _BUFFER, 0
        self._fill("add_staged", ((*row[:5], *row[7:]) for row in self._rows))
        self._rows.clear()

    def _see(self, keys: Iterable[str]) -> int:
        """Count keys as seen, and return how many are new."""
        unseen, self._unseen = self._unseen, ()
        if unseen:
            self._fill("add_seen", ((key,) for key in unseen))
        return self._fill("add_seen", ((key,) for key in keys))

    def _fill(self, name: str, rows: Iterable[tuple[object, ...]]) -> int:
        self._run("begin")
        try:
            count = self._db.executemany(self._queries[name], rows).rowcount
        except sqlite3.Error as error:
            raise _full(error) from error
        self._run("commit")
        return count

    def _run(self, name: str, params: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(self._queries[name], params)
        except sqlite3.Error as error:
            raise _full(error) from error


def _full(error: sqlite3.Error) -> StorageError:
    import tempfile

    return StorageError(f"cannot write a temporary file in {tempfile.gettempdir()}: {error}")


def _to_file(content: ContentId, size: int, pieces: Iterable[bytes]) -> EncodedFile:
    import tempfile

    content_hash, format = content
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the value's, which its user closes
    file.writelines(pieces)
    return EncodedFile(format, file, size, content_hash)
