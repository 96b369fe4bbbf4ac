"""Transactions of coroutines: changes are queued without waiting, and committed together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from lakebed.aio.calls import perform
from lakebed.aio.crew import Crew
from lakebed.errors import CatalogError, ValidationError
from lakebed.lake.checks import TTL, check_expiry, check_flag, check_key
from lakebed.lake.entries.reading import MISSING
from lakebed.lake.entries.transaction import Transaction
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.hash import parse_content_hash
from lakebed.values.json import decode_text
from lakebed.values.tables import TableLibrary, is_table

if TYPE_CHECKING:
    from types import TracebackType

    from lakebed.lake.lake import Lake

T = TypeVar("T")


class AsyncTransaction:
    """Stores and deletes that happen together or not at all. `AsyncLake.transaction` begins one.

        async with lake.transaction() as tx:
            tx.store("a", 1)
            tx.delete("b")

    Do not await `store` and `delete`, which only queue. Leaving the block commits, and an error in
    the block rolls back. You can also call `await tx.commit()` or `await tx.rollback()`. Each ends
    the transaction.
    """

    def __init__(self, crew: Crew, source: Callable[[], Lake]) -> None:
        self._workers = crew.single
        self._source = source
        self._pending: list[Callable[[Transaction], object]] = []
        self._applying = threading.Lock()
        self._transaction: Transaction | None = None
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
        """Queue a store. The arguments are those of `AsyncLake.store`, and are checked at once.

        A ttl counts from the commit, which also checks conditions. The value is copied now, except
        for a table, which the commit encodes.
        """
        self._check_open()
        check_key(key)
        check_flag("if_absent", if_absent)
        check_flag("keep_expiry", keep_expiry)
        kept = decode_text(encode_metadata(metadata))
        check_expiry(ttl, expires_at)
        if if_match is not None:
            parse_content_hash(if_match, "if_match")
        held = value if is_table(value) else encode_value(value)
        self._pending.append(
            lambda tx: tx.store(
                key, held, kept, ttl=ttl, expires_at=expires_at, if_absent=if_absent,
                if_match=if_match, keep_expiry=keep_expiry,
            )
        )  # fmt: skip

    def delete(self, key: str, *, if_match: str | None = None) -> QueuedDelete:
        """Queue a delete. Await the result only to learn whether the key exists, as this
        transaction sees it."""
        self._check_open()
        check_key(key)
        if if_match is not None:
            parse_content_hash(if_match, "if_match")
        queued = QueuedDelete(self._current)
        self._pending.append(lambda tx: queued.settle(tx.delete(key, if_match=if_match)))
        return queued

    async def retrieve(
        self, key: str, default: Any = MISSING, *, as_: TableLibrary | None = None
    ) -> Any:
        """Return the value of a key after the queued changes, as `AsyncLake.retrieve` does."""
        self._check_open()
        return await self._current(lambda tx: tx.retrieve(key, default, as_=as_))

    async def commit(self) -> int:
        """Apply all queued changes in one short transaction. Returns how many changes were queued.

        Raises ConflictError if a condition does not hold; then nothing has changed. A caller that
        is cancelled waits until the commit has succeeded or failed.
        """
        self._check_open()
        self._open = False
        try:
            return await self._current(lambda tx: tx.commit())
        except (Exception, asyncio.CancelledError):
            await self._give_up()
            raise
        finally:
            self._pending.clear()

    async def rollback(self) -> int:
        """Discard all queued changes. Returns how many there were."""
        self._check_open()
        self._open = False
        count = len(self._pending)
        self._pending.clear()
        return count + await self._give_up()

    async def _give_up(self) -> int:
        """Roll back what a thread has queued in the lake. Returns how many changes there were."""
        begun = self._transaction
        if begun is None:
            return 0
        with suppress(ValidationError, CatalogError):  # it has ended, or the lake is closed
            return await perform(self._workers, begun.rollback)
        return 0

    async def _current(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a thread on the transaction with all queued changes. Return its result."""

        def run() -> T:
            with self._applying:  # several tasks can share a transaction
                if self._transaction is None:
                    self._transaction = self._source().transaction()
                while self._pending:
                    self._pending[0](self._transaction)
                    del self._pending[0]
                return work(self._transaction)

        return await perform(self._workers, run)

    def _check_open(self) -> None:
        if not self._open:
            raise ValidationError(
                "the transaction has ended: begin another with lake.transaction()"
            )

    async def __aenter__(self) -> AsyncTransaction:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            if kind is None:
                await self.commit()
            else:
                await self.rollback()


class QueuedDelete:
    """A delete that a transaction has queued. It happens even if it is not awaited."""

    def __init__(self, current: Callable[[Callable[[Transaction], bool]], Awaitable[bool]]) -> None:
        self._current = current
        self._present = False

    def settle(self, present: bool) -> None:
        """Note whether the key existed when the transaction reached this change."""
        self._present = present

    def __await__(self) -> Generator[Any, Any, bool]:
        return self._current(lambda _: self._present).__await__()
