"""The store of documents, for coroutines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lakebed.documents.backend import Backend
from lakebed.documents.calls import Calls
from lakebed.documents.driving import awaited
from lakebed.documents.store import FieldValues
from lakebed.documents.transaction import TransactionCalls
from lakebed.errors import LakebedError
from lakebed.reporting import Result, failure


class AsyncMetadataStore(FieldValues, ABC):
    """Collections of documents, for coroutines: the calls of `MetadataStore`, awaited.

    `create_metadata_store` makes it if the type ends in `_async`. The attribute `documents` has the
    same calls, but they raise errors instead of returning them.
    """

    @abstractmethod
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._calls = self.documents = Calls(backend)
        self._refused = failure

    set_document = awaited(Calls.set_document)
    get_document = awaited(Calls.get_document)
    update_document = awaited(Calls.update_document)
    delete_document = awaited(Calls.delete_document)
    document_exists = awaited(Calls.document_exists)
    query = awaited(Calls.query)
    search = awaited(Calls.search)
    count = awaited(Calls.count)
    list_collections = awaited(Calls.list_collections)
    batch_set = awaited(Calls.batch_set)
    batch_delete = awaited(Calls.batch_delete)

    async def run_transaction(self, fn: Callable[[AsyncTransaction], Any]) -> Result:
        """Run `fn(tx)` as `MetadataStore.run_transaction` does. Await the calls of `tx`.

        `fn`: a function or a coroutine function.
        """
        try:
            return await self._calls.run_transaction(fn, AsyncTransaction)
        except LakebedError as error:
            return failure(error)

    async def close(self) -> None:
        """Close the connections. Closing again does nothing."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._backend.name}>"


class AsyncTransaction(FieldValues):
    """The transaction that `AsyncMetadataStore.run_transaction` passes to a coroutine function."""

    def __init__(self, calls: TransactionCalls) -> None:
        self._calls = calls
        self._refused = calls.refuse

    get_document = awaited(TransactionCalls.get_document)
    document_exists = awaited(TransactionCalls.document_exists)
    query = awaited(TransactionCalls.query)
    set_document = awaited(TransactionCalls.set_document)
    update_document = awaited(TransactionCalls.update_document)
    delete_document = awaited(TransactionCalls.delete_document)
