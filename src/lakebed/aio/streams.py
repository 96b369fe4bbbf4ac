"""Iterables for coroutines. Threads read the items, some at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar

from lakebed.aio.calls import perform
from lakebed.aio.workers import Workers

T = TypeVar("T")

_MOST = 1000  # the most items that are fetched at once
_WHILE = 0.01  # seconds after which fetched items are passed on, even if they are fewer


class Stream(AsyncIterable[T]):
    """Items for `async for item in stream`. Each iteration reads them again. `await stream` returns
    all items as a list."""

    def __init__(self, workers: Workers, items: Callable[[], Iterable[T]]) -> None:
        self._workers = workers
        self._items = items

    def __aiter__(self) -> AsyncIterator[T]:
        return _Fetching(self._workers, self._items)

    def __await__(self) -> Generator[Any, Any, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return await perform(self._workers, lambda: list(self._items()), reads=True)


class _Fetching(AsyncIterator[T]):
    """One iteration. If a step is cancelled, nothing is lost: the next step continues there."""

    def __init__(self, workers: Workers, items: Callable[[], Iterable[T]]) -> None:
        self._workers = workers
        self._begin = items
        self._source: Iterable[T] | None = None
        self._fetched: deque[T] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._fetching = threading.Lock()

    async def __anext__(self) -> T:
        while not self._fetched:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._ended:
                raise StopAsyncIteration
            await perform(self._workers, self._fetch)
        return self._fetched.popleft()

    def _fetch(self) -> None:
        """Fetch the next items. This runs in a thread."""
        with self._fetching:  # several tasks can share one iteration
            if not self._fetched and not self._ended:
                self._fetch_some()

    def _fetch_some(self) -> None:
        until = time.monotonic() + _WHILE
        try:
            if self._source is None:
                self._source = iter(self._begin())
            for number, item in enumerate(self._source, 1):
                self._fetched.append(item)
                if number == _MOST or time.monotonic() >= until:
                    return
        except Exception as error:  # noqa: BLE001 - raised behind the items
            self._error = error
        self._ended = True
        self._source = None


R = TypeVar("R", bound=AsyncIterable[Any])


class Pending(Generic[R, T]):
    """A result that is not there yet: `await` returns it, `async for` iterates over it directly."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, R]:
        return self._begin().__await__()

    def __aiter__(self) -> AsyncIterator[T]:
        return _Later(self._begin)


class _Later(AsyncIterator[T]):
    def __init__(self, begin: Callable[[], Coroutine[Any, Any, AsyncIterable[T]]]) -> None:
        self._begin = begin
        self._items: AsyncIterator[T] | None = None

    async def __anext__(self) -> T:
        if self._items is None:
            self._items = aiter(await self._begin())
        return await anext(self._items)
