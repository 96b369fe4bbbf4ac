"""Where a batch waits for its commit: bounded memory for any number of entries.

A private temporary SQLite database, which stays in memory while small and goes to an unnamed
temporary file when not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from lakebed.catalog.protocol import StagedRow
from lakebed.catalog.queries import load_spool_queries
from lakebed.errors import StorageError
from lakebed.model import ContentId, Put
from lakebed.values.encoded import Encoded, EncodedFile

_BUFFER = 500
_MEMORY_BYTES = 4 << 20


class Spool:
    """Entries on their way into the lake, in key order, the last one of a key winning.

    Raises StorageError if the temporary file cannot be written.
    """

    def __init__(self) -> None:
        self._queries = load_spool_queries()
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        for name in ("create_staged", "create_placed", "create_kept", "index_kept", "create_seen"):
            self._run(name)
        self._puts: list[tuple[object, ...]] = []
        self._added = 0
        self.distinct = 0
        """Distinct keys of the chunks that are committed."""

    def add(self, put: Put) -> None:
        """Stage one entry."""
        content = put.content
        self._puts.append(
            (
                put.key,
                content.content_hash,
                content.format,
                content.byte_size,
                content.inline_value,
                put.metadata,
                put.ttl,
                put.expires_at,
            )
        )
        self._added += 1
        if len(self._puts) >= _BUFFER:
            self._write()

    def place(self, content: ContentId, uri: str, position: str | None) -> None:
        """Note where a content was uploaded."""
        self._run("add_placed", (*content, uri, position))

    def is_placed(self, content: ContentId) -> bool:
        """Whether this batch has uploaded the content already."""
        return bool(self._run("is_placed", content).fetchall())

    def keep(self, encoded: Encoded | EncodedFile) -> None:
        """Keep the bytes of a content that the lake holds, lest it be collected before the
        commit."""
        if not self._run("kept_pieces", encoded.id).fetchone():
            for piece in encoded.pieces():
                self._run("add_kept", (*encoded.id, encoded.byte_size, piece))

    def kept(self) -> Iterator[Encoded | EncodedFile]:
        """The contents that are kept; each is to be closed."""
        for content in self._run("kept_contents").fetchall():
            content_hash, format = content
            ((size,),) = self._run("kept_size", content).fetchall()
            pieces = (piece for (piece,) in self._run("kept_pieces", content))
            if size <= _MEMORY_BYTES:
                yield Encoded(format, b"".join(pieces), content_hash)
            else:
                yield _to_file(content, size, pieces)

    def __iter__(self) -> Iterator[StagedRow]:
        """What is staged, in key order; as often as a commit has to be tried."""
        self._write()
        self._run("index_staged")
        return map(StagedRow._make, self._run("staged_rows"))

    def drop(self, content: ContentId | None = None) -> list[str]:
        """Take back the entries with a content, or all: the key of each."""
        self._write()
        dropped = self._run("drop_content", content) if content else self._run("drop_staged")
        keys = [key for (key,) in dropped]
        self._added -= len(keys)
        return keys

    def clear(self) -> None:
        """Begin the next chunk; the keys of this one count as seen."""
        self._write()
        self.distinct += self._run("see_staged").rowcount
        for name in ("clear_staged", "unindex_staged", "clear_placed", "clear_kept"):
            self._run(name)

    @property
    def replaced(self) -> int:
        """How many entries of the committed chunks gave way to a later one of the same key."""
        return self._added - self.distinct

    def close(self) -> None:
        """Give back memory and disk."""
        self._db.close()

    def _write(self) -> None:
        self._run("begin")
        try:
            self._db.executemany(self._queries["add_staged"], self._puts)
        except sqlite3.Error as error:
            raise _full(error) from error
        self._run("commit")
        self._puts.clear()

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
