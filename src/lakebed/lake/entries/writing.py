"""Writes entries: store, delete, and the writing half of a mapping."""

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
from lakebed.model import Delete, Put
from lakebed.records import Entry, StoredEntry
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.hash import parse_content_hash


class Writing(Staging, Reading):
    """The calls of a lake that write."""

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
        keep_expiry: bool = False,
    ) -> StoredEntry:
        """Store a value under a key. The whole entry is replaced.

        `value`: JSON types (str, int, float, bool, None, list, tuple, dict with str keys), bytes,
        or a table: a pyarrow Table, RecordBatch or RecordBatchReader, a pandas or polars DataFrame,
        a polars LazyFrame (computed first), or any other stream of Arrow data. Tables are stored as
        Parquet. A reader of any length passes through bounded memory (see the guide on tables).
        `metadata`: a dict of JSON types. Without it, it is `{}`. `ttl`: the time until the entry
        expires, as seconds, a timedelta, or text such as `"90s"`, `"1h30m"` or `"30d"`.
        `expires_at`: the moment itself, an aware datetime. With neither, the entry does not expire.
        `if_absent`: store only if the key does not exist. `if_match`: store only if the present
        content has this hash (`entry.content_hash`). `keep_expiry`: an existing entry keeps its
        expiry. A new one does not expire.

        Returns the entry, with `created`, `changed` and `deduplicated`. Storing the same value and
        metadata again changes nothing and draws no version.

        Raises ValidationError for a malformed key, metadata or expiry, SerializationError for a
        value that would not come back unchanged, ConflictError if a condition does not hold, and
        LockTimeoutError or StorageError if the lake cannot be written. After an error, nothing is
        stored.
        """
        self._must_write("store")
        put, encoded = self._put(
            key, value, metadata, ttl, expires_at, if_absent, if_match, keep_expiry
        )
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
        keep_expiry: bool,
    ) -> tuple[Put, Encoded | EncodedFile]:
        """Check the arguments and encode the value. Return the change and the encoded value.

        The caller closes the encoded value, unless it is inline.
        """
        check_key(key)
        absent = check_flag("if_absent", if_absent)
        text = encode_metadata(metadata)
        relative, absolute = check_expiry(ttl, expires_at)
        if check_flag("keep_expiry", keep_expiry) and (relative or absolute) is not None:
            raise ValidationError("keep_expiry cannot be combined with ttl or expires_at")
        match = None if if_match is None else parse_content_hash(if_match, "if_match")
        # Last, because nothing may fail once it holds a file. AsyncTransaction passes encoded
        # values.
        encoded = value if isinstance(value, Encoded) else encode_value(value)
        if self._objects is None:
            encoded = in_memory(encoded)
        content = self._content(encoded)
        put = Put(key, content, text, relative, absolute, absent, match, keep_expiry)
        return put, encoded

    def _row(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None,
        ttl: TTL | None,
        expires_at: datetime | None,
    ) -> tuple[StagedRow, Encoded | EncodedFile]:
        """Return the row of an entry of a batch, and its encoded value, which the caller closes."""
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

    def touch(
        self, key: str, *, ttl: TTL | None = None, expires_at: datetime | None = None
    ) -> Entry:
        """Give an entry another expiry, and keep its value and metadata.

        `ttl` and `expires_at` are as for `store`. With neither, the entry no longer expires. This
        happens in one transaction, so no other store is lost.

        Returns the entry. Raises NotFoundError if the key does not exist.
        """
        self._must_write("touch")
        row = self._catalog.touch(check_key(key), *check_expiry(ttl, expires_at))
        if row is None:
            raise NotFoundError(f"no entry with the key {key!r}")
        return self._entry(row)

    def delete(self, key: str, *, if_match: str | None = None) -> bool:
        """Delete an entry, and return whether it existed.

        `if_match`: delete it only if its content has this hash, otherwise raise ConflictError.
        Snapshots keep what they see.
        """
        self._must_write("delete")
        match = None if if_match is None else parse_content_hash(if_match, "if_match")
        (outcome,) = self._catalog.commit((Delete(check_key(key), match),))
        return outcome.changed

    def transaction(self) -> Transaction:
        """Open a block whose stores and deletes happen together, or not at all if it raises.

            with lake.transaction() as tx:
                tx.store("a", 1)
                tx.delete("b")

        They are queued on the client, so nothing is locked while the block runs. Reads in the block
        see them. Conditions are checked at the end.
        """
        self._must_write("transaction")
        return Transaction(self)

    def __setitem__(self, key: str, value: Any) -> None:
        self.store(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise NotFoundError(f"no entry with the key {key!r}")

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key. If the key does not exist, store `default` first."""
        while True:
            try:
                return self.retrieve(key)
            except NotFoundError:
                pass
            try:
                return self.store(key, default, if_absent=True).value
            except ConflictError:  # another client was faster: return its value
                continue

    def pop(self, key: str, default: Any = MISSING) -> Any:
        """Delete an entry, and return its value.

        If the key does not exist, `default` is returned. Without a default, NotFoundError is
        raised. If several callers pop a key at once, one of them gets its value.
        """
        while (found := self.read_entry(key)) is not None:
            row, value = found
            try:
                self.delete(key, if_match=row.hash_text())
            except ConflictError:  # replaced or deleted since: look again
                continue
            return value
        if default is MISSING:
            raise NotFoundError(f"no entry with the key {key!r}")
        return default

    def popitem(self) -> tuple[str, Any]:
        """Pop the first entry in key order. Raises NotFoundError if the lake is empty."""
        for entry in self.list():
            try:
                return entry.key, self.pop(entry.key)
            except NotFoundError:  # another client was faster
                continue
        raise NotFoundError("the lake is empty")

    def clear(self) -> NoReturn:
        """Raise an error, so that a slip does not empty a lake."""
        raise ValidationError(
            "clear() is refused: delete(key) removes one entry, purge(prefix=…) all under a "
            "prefix, history included"
        )
