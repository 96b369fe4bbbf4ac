"""Transactions of the LTM interface: changes are queued, then all or none are applied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from lakebed.errors import LakebedError
from lakebed.lake.checks import TTL
from lakebed.lake.entries.transaction import Transaction
from lakebed.ltm.expiry import expiry_of
from lakebed.reporting import Result, failure, reported


class Queue(Protocol):
    """The queueing calls of a lake's transaction, synchronous or not."""

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
    ) -> None: ...

    def delete(self, key: str, *, if_match: str | None = None) -> object: ...


Q = TypeVar("Q", bound=Queue)


class Queueing(Generic[Q]):
    """The queueing half of a transaction of this interface. `begin` makes the lake's own."""

    def __init__(self, begin: Callable[[], Q]) -> None:
        self._begin = begin
        self._transaction: Q | None = None
        self._refused: LakebedError | None = None
        self._ended = False

    @reported
    def store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None = None,
        *,
        ttl: TTL | None = None,
        expires_at: datetime | str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        keep_expiry: bool = False,
    ) -> Result:
        """Queue a store, and check it at once: `{success, queued, key}`.

        The arguments are those of `LTMBackend.store`.
        """

        def queue(transaction: Q) -> None:
            wait, moment = expiry_of(metadata, ttl, expires_at, keep=keep_expiry)
            transaction.store(
                key,
                value,
                metadata,
                ttl=wait,
                expires_at=moment,
                if_absent=if_absent,
                if_match=if_match,
                keep_expiry=keep_expiry,
            )

        return self._queue(key, queue)

    @reported
    def delete(self, key: str, *, if_match: str | None = None) -> Result:
        """Queue a delete: `{success, queued, key}`. `if_match` is as for `LTMBackend.delete`."""
        return self._queue(key, lambda transaction: transaction.delete(key, if_match=if_match))

    def _queue(self, key: str, queue: Callable[[Q], object]) -> Result:
        try:
            queue(self._current())
        except LakebedError as error:
            if not self._ended:
                self._refused = self._refused or error
            return failure(error)
        return {"success": True, "queued": True, "key": key}

    def _current(self) -> Q:
        if self._transaction is None:
            self._transaction = self._begin()
        return self._transaction


class LTMTransaction(Queueing[Transaction]):
    """Stores and deletes that happen together or not at all. `LTMBackend.transaction` begins one.

        with memory.transaction() as tx:
            tx.store("a", 1)
            tx.delete("b")

    Leaving the block commits. An error in the block rolls back. If the commit fails, the block
    raises the error, because it has no result to return. Call `commit` yourself to get the error as
    a dictionary.
    """

    @reported
    def commit(self) -> Result:
        """Apply all queued changes or none: `{success, operations}`.

        If a change could not be queued, the commit fails with the first such error. A second commit
        fails with the error type `validation_error`.
        """
        return {"success": True, "operations": self._commit()}

    @reported
    def rollback(self) -> Result:
        """Discard all queued changes: `{success, discarded}`."""
        self._ended = True
        return {"success": True, "discarded": self._current().rollback()}

    def _commit(self) -> int:
        transaction = self._current()
        self._ended = True
        if self._refused is None:
            return transaction.commit()
        transaction.rollback()
        raise self._refused

    def __enter__(self) -> LTMTransaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._ended:
            return
        if kind is None:
            self._commit()
        else:
            self.rollback()
