"""Transactions: changes queued on the client, committed together."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.checks import TTL, check_key
from lakebed.lake.entries.reading import MISSING
from lakebed.model import Change, ContentId, Delete
from lakebed.values.codec import decode_value
from lakebed.values.hash import parse_content_hash
from lakebed.values.tables import TableLibrary, check_library, convert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lakebed.model import Outcome, Put
    from lakebed.values.encoded import Encoded, EncodedFile


class Committer(Protocol):
    """The calls of a lake that a transaction uses."""

    def __contains__(self, key: object) -> bool: ...

    def retrieve(self, key: str, default: Any = ..., *, as_: TableLibrary | None = None) -> Any: ...

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
    ) -> tuple[Put, Encoded | EncodedFile]: ...

    def _commit(
        self, changes: Sequence[Change], large: Iterable[Encoded | EncodedFile] = ()
    ) -> list[Outcome]: ...


class Transaction:
    """Stores and deletes that happen together or not at all. Made by `Lake.transaction`.

    `commit` and `rollback` may be called instead of leaving the block. Each ends the transaction.
    """

    def __init__(self, lake: Committer) -> None:
        self._lake = lake
        self._changes: list[Change] = []
        self._large: dict[ContentId, Encoded | EncodedFile] = {}
        # The encoded value of each changed key, for reads in the transaction, or None once deleted.
        self._queued: dict[str, Encoded | EncodedFile | None] = {}
        self._open = True

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
    ) -> None:
        """Queue a store. The arguments are those of `Lake.store`, and are checked at once.

        A `ttl` counts from the commit. Conditions are checked at the commit.
        """
        self._check_open()
        put, encoded = self._lake._put(
            key, value, metadata, ttl, expires_at, if_absent, if_match, keep_expiry
        )
        if put.content.inline_value is None:
            held = self._large.setdefault(encoded.id, encoded)
            if held is not encoded:
                encoded.close()
                encoded = held
        self._changes.append(put)
        self._queued[key] = encoded

    def delete(self, key: str, *, if_match: str | None = None) -> bool:
        """Queue a delete. Return whether the key now exists in the view of this transaction."""
        self._check_open()
        match = None if if_match is None else parse_content_hash(if_match, "if_match")
        if check_key(key) in self._queued:
            present = self._queued[key] is not None
        else:
            present = key in self._lake
        self._changes.append(Delete(key, match))
        self._queued[key] = None
        return present

    def retrieve(self, key: str, default: Any = MISSING, *, as_: TableLibrary | None = None) -> Any:
        """Return the value of a key after the queued changes, as `Lake.retrieve` does."""
        self._check_open()
        if check_key(key) not in self._queued:
            return self._lake.retrieve(key, default, as_=as_)
        if as_ is not None:
            check_library(as_)
        encoded = self._queued[key]
        if encoded is not None:
            value = decode_value(encoded.format, encoded.data)
            return value if as_ is None else convert(value, as_)
        if default is MISSING:
            raise NotFoundError(f"no entry with the key {key!r}: this transaction deleted it")
        return default

    def commit(self) -> int:
        """Apply all queued changes in one short transaction. Return their number.

        Raises ConflictError if a condition does not hold. Nothing has happened then.
        """
        self._check_open()
        self._open = False
        try:
            if self._changes:
                self._lake._commit(self._changes, self._large.values())
        finally:
            self._close()
        return len(self._changes)

    def rollback(self) -> int:
        """Discard all queued changes. Return their number."""
        self._check_open()
        self._open = False
        self._close()
        return len(self._changes)

    def _close(self) -> None:
        for encoded in self._large.values():
            encoded.close()

    def _check_open(self) -> None:
        if not self._open:
            raise ValidationError(
                "the transaction has ended: begin another with lake.transaction()"
            )

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._open:
            if kind is None:
                self.commit()
            else:
                self.rollback()
