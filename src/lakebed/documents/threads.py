"""A blocking backend for coroutines. Threads do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from lakebed.aio.calls import perform
from lakebed.aio.workers import Workers
from lakebed.documents.backend import Backend, Seen, Write
from lakebed.documents.data import Content, Data
from lakebed.documents.driving import run
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.query.ranking import Found
from lakebed.errors import LakebedError

P = ParamSpec("P")
T = TypeVar("T")
_THREADS = 8


class ThreadedBackend(Backend):
    """A backend whose coroutines wait for threads, in which a blocking backend runs."""

    blocking = False

    def __init__(self, backend: Backend) -> None:
        self._inner = backend
        self._workers = Workers(_THREADS, "lakebed-documents")
        self.most_writes = backend.most_writes
        self.timeout = backend.timeout

    @property
    def name(self) -> str:
        return self._inner.name

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        return await self._read(self._inner.get, collection, doc_id)

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        return await self._do(self._inner.put, collection, doc_id, content)

    async def delete(self, collection: str, doc_id: str) -> bool:
        return await self._do(self._inner.delete, collection, doc_id)

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        await self._do(self._inner.commit, seen, writes)

    async def write(self, writes: Sequence[Write]) -> None:
        await self._do(self._inner.write, writes)

    async def change(
        self, collection: str, doc_id: str, change: Callable[[Data | None], Content]
    ) -> bool:
        return await self._do(self._inner.change, collection, doc_id, change)

    async def query(self, query: Query) -> list[Stored]:
        return await self._read(self._inner.query, query)

    async def count(self, query: Query) -> int:
        return await self._read(self._inner.count, query)

    async def search(self, query: Query, text: str, words: Sequence[str]) -> Found:
        return await self._read(self._inner.search, query, text, words)

    async def collections(self) -> list[str]:
        return await self._read(self._inner.collections)

    async def now(self) -> datetime:
        return await self._read(self._inner.now)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def recover(self, error: LakebedError) -> None:
        await self._do(self._inner.recover, error)

    async def close(self) -> None:
        for thread in self._workers.end():
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(lambda: run(self._inner.close()))

    def check(self, collection: str, doc_id: str | None = None, data: Data | None = None) -> None:
        self._inner.check(collection, doc_id, data)

    def is_repeatable(self, error: LakebedError) -> bool:
        return self._inner.is_repeatable(error)

    async def _do(
        self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
    ) -> T:
        return await perform(self._workers, lambda: run(call(*args, **options)))

    async def _read(
        self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
    ) -> T:
        return await perform(self._workers, lambda: run(call(*args, **options)), reads=True)
