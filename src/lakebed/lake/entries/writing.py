"""Writing entries: store, delete, and the writing half of a mapping."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any, NoReturn

from lakebed.catalog.protocol import StagedRow
from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.checks import TTL, check_expiry, check_flag, check_key
from lakebed.lake.entries.reading import MISSING, Reading
from lakebed.lake.entries.staging import Staging, in_memory
from lakebed.lake.entries.transaction import Transaction
from lakebed.model import Delete, Put, StoredEntry
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.hash import parse_content_hash


class Writing(Staging, Reading):
    """The writing calls of a lake."""

    def store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None = None,
        *,
        ttl: TTL | None = None,
        expires_at: datetime | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> StoredEntry:
        """Store a value under a key, replacing the entry whole.

        `value`: JSON types (str, int, float, bool, None, list, tuple, dict with str keys), bytes,
        or a table: a pyarrow Table, RecordBatch or RecordBatchReader, a pandas or polars DataFrame,
        a polars LazyFrame (computed first), or what else streams Arrow data. Tables are stored as
        Parquet; a reader of any length passes through bounded memory (see the guide on tables).
        `metadata`: a dict of JSON types; left out it is `{}`.
        `ttl`: how long until the entry expires, as seconds, a timedelta, or text such as `"90s"`,
        `"1h30m"` or `"30d"`; `expires_at`: the moment itself, an
        aware datetime. With neither, it does not expire.
        `if_absent`: store only if the key is not there. `if_match`: only if its content has this
        hash (`entry.content_hash`).

        Returns the entry, with `created`, `changed` and `deduplicated`. Storing what is there
        already changes nothing and draws no version.

        Raises ValidationError for a key, metadata or expiry that is not well formed,
        SerializationError for a value that would not come back as it is, ConflictError if a
        condition does not hold, LockTimeoutError and StorageError if the lake cannot be written.
        Nothing is stored then.
        """
        self._must_write("store")
        put, encoded = self._put(key, value, metadata, ttl, expires_at, if_absent, if_match)
        if put.content.inline_value is not None:
            (outcome,) = self._commit((put,))
        else:
            with closing(encoded):
                (outcome,) = self._commit((put,), (encoded,))
        return StoredEntry(outcome, self)

    def _put(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None,
        ttl: TTL | None,
        expires_at: datetime | None,
        if_absent: bool,
        if_match: str | None,
    ) -> tuple[Put, Encoded | EncodedFile]:
        """Check everything and encode; the change, and the encoded value, which is to be closed
        unless it lies inline."""
        check_key(key)
        absent = check_flag("if_absent", if_absent)
        text = encode_metadata(metadata)
        relative, absolute = check_expiry(ttl, expires_at)
        match = None if if_match is None else parse_content_hash(if_match, "if_match")
        # Last: nothing may fail once it holds a file. (AsyncTransaction has encoded its values.)
        encoded = value if isinstance(value, Encoded) else encode_value(value)
        if self._objects is None:
            encoded = in_memory(encoded)
        content = self._content(encoded)
        return Put(key, content, text, relative, absolute, absent, match), encoded

    def _row(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None,
        ttl: TTL | None,
        expires_at: datetime | None,
    ) -> tuple[StagedRow, Encoded | EncodedFile]:
        """The same for an entry of a batch."""
        check_key(key)
        text = encode_metadata(metadata)
        relative, absolute = check_expiry(ttl, expires_at)
        encoded = encode_value(value)
        if self._objects is None:
            encoded = in_memory(encoded)
        inline = self._inline_data(encoded)
        return StagedRow(
            key, encoded.content_hash, encoded.format, encoded.byte_size, inline, None, None,
            text, relative, absolute,
        ), encoded  # fmt: skip

    def delete(self, key: str, *, if_match: str | None = None) -> bool:
        """Delete an entry; whether it was there.

        `if_match`: only if its content has this hash, else ConflictError. What snapshots see stays.
        """
        self._must_write("delete")
        match = None if if_match is None else parse_content_hash(if_match, "if_match")
        (outcome,) = self._catalog.commit((Delete(check_key(key), match),))
        return outcome.changed

    def transaction(self) -> Transaction:
        """A block whose stores and deletes happen all or not at all, when it ends without an error.

            with lake.transaction() as tx:
                tx.store("a", 1)
                tx.delete("b")

        They are queued on the client: nothing is locked while the block runs, its own reads see
        them, and conditions are judged at the end.
        """
        self._must_write("transaction")
        return Transaction(self)

    def __setitem__(self, key: str, value: Any) -> None:
        self.store(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise NotFoundError(f"no entry with the key {key!r}")

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, stored as `default` first if the key is not there."""
        while True:
            try:
                return self.retrieve(key)
            except NotFoundError:
                pass
            try:
                return self.store(key, default, if_absent=True).value
            except ConflictError:  # somebody else was first: theirs is the value
                continue

    def pop(self, key: str, default: Any = MISSING) -> Any:
        """Delete an entry and give the value that was deleted; `default` if the key is not there,
        NotFoundError without one. Of several that pop a key at once, one gets its value."""
        while (found := self.read_entry(key)) is not None:
            row, value = found
            try:
                self.delete(key, if_match=row.hash_text())
            except ConflictError:  # replaced or deleted since: what is there now?
                continue
            return value
        if default is MISSING:
            raise NotFoundError(f"no entry with the key {key!r}")
        return default

    def popitem(self) -> tuple[str, Any]:
        """Pop the first entry in key order; NotFoundError if the lake is empty."""
        for entry in self.list():
            try:
                return entry.key, self.pop(entry.key)
            except NotFoundError:  # somebody else was first
                continue
        raise NotFoundError("the lake is empty")

    def clear(self) -> NoReturn:
        """Refused: a slip of the finger must not empty a lake."""
        raise ValidationError(
            "clear() is refused: delete(key) removes one entry, purge(prefix=…) all under a "
            "prefix, history included"
        )
