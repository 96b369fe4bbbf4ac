"""Calls of the lake by coroutines: a thread does the work, and can ask the caller's task meanwhile.

Progress callbacks and async generators run in the caller's own task, on its loop. The thread asks
the task to run them, and waits for the result.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from lakebed.aio.workers import Job, Workers
from lakebed.errors import CatalogError
from lakebed.leaving import acquire, has_left
from lakebed.model import Progress

T = TypeVar("T")

_CHUNK = 100  # the most items of an async iterable that are passed to the thread at once
_CHUNK_BYTES = 1 << 20  # fewer are passed if they have this many bytes


class LeftError(Exception):
    """Ends a call in its thread because the caller has left. Nobody sees this error."""


async def perform(
    workers: Workers,
    work: Callable[[], T],
    *,
    reads: bool = False,
    discard: Callable[[T], object] | None = None,
) -> T:
    """Return the result of work that a thread does.

    If the caller is cancelled before the work has begun, it is not done. If it has begun, the
    cancelled caller waits for its end, so it knows that nothing happens later. `reads`: the work
    changes nothing, so a cancelled caller does not wait, and `discard` gets the result.
    """
    job = Job(work, workers.box(), discard)
    workers.submit(job)
    try:
        await job.wait()
    except asyncio.CancelledError:
        if not workers.withdraw(job):
            job.call.leave()
            if not reads:
                await _end_of(job)
            elif not workers.abandon(job) and discard is not None:
                # If the lake was closed meanwhile, its results are closed too.
                with suppress(CatalogError):
                    await perform(workers, job.discard)
        raise
    return job.result()


async def converse(workers: Workers, work: Callable[[Conversation], T]) -> T:
    """Do what `perform` does, for work that asks the caller's task for something meanwhile."""
    job = _Conversing(work, workers)
    workers.submit(job)
    try:
        while not job.done:
            if job.requests:
                await job.requests.popleft().answer()
            else:
                await job.wait()
    except GeneratorExit:  # the loop has ended, so nothing can be awaited
        job.call.leave()
        raise
    except BaseException:
        if not workers.withdraw(job):
            job.call.leave()
            await _end_of(job)
        raise
    return job.result()


async def perform_reporting(
    workers: Workers,
    work: Callable[[Progress], T],
    progress: Progress | None,
    *,
    reads: bool = False,
) -> T:
    """Do what `perform` does, for work that reports its progress.

    `progress`: a function or a coroutine function of the caller. If the caller is cancelled, the
    work ends at its next report.
    """
    if progress is None:
        return await perform(workers, partial(work, stay), reads=reads)
    return await converse(workers, lambda talk: work(talk.progress(progress)))


async def _end_of(job: Job[Any]) -> None:
    """Wait until a thread has ended, however often the caller is cancelled."""
    while not job.done:
        try:
            await job.wait()
        except asyncio.CancelledError:
            continue


class _Request:
    """A question that a thread asks the caller's task."""

    def __init__(self, question: Callable[[], object]) -> None:
        self._question = question
        self._answered = threading.Lock()
        self._answered.acquire()
        self._error: Exception | None = None
        self._answer: Any = None

    async def answer(self) -> None:
        """Answer the question in the caller's task, and let the thread continue."""
        try:
            found = self._question()
            self._answer = await found if inspect.isawaitable(found) else found
        except Exception as error:  # noqa: BLE001 - raised in the thread, and out of it
            self._error = error
        except BaseException:
            self._error = LeftError()
            raise
        finally:
            self._answered.release()

    def wait(self) -> Any:
        """Wait in the thread for the answer, and return it."""
        if not acquire(self._answered, math.inf):
            raise LeftError
        if self._error is not None:
            raise self._error
        return self._answer


class _Conversing(Job[T]):
    def __init__(self, work: Callable[[Conversation], T], workers: Workers) -> None:
        super().__init__(lambda: work(Conversation(self, workers)), workers.box())
        self.requests: deque[_Request] = deque()


class Conversation:
    """The thread's side of a conversation with the caller's task."""

    def __init__(self, job: _Conversing[Any], workers: Workers) -> None:
        self._job = job
        self._workers = workers

    def ask(self, question: Callable[[], object]) -> Any:
        """Return the result of a function that the caller's task calls, and awaits if necessary.

        Raises the error of that function, or LeftError if the caller has left.
        """
        stay()
        request = _Request(question)
        self._job.requests.append(request)
        self._job.notify()
        with self._workers.resting():
            return request.wait()

    def progress(self, callback: Callable[[int, int | None], object]) -> Callable[..., None]:
        """Return a synchronous callback that calls this one in the caller's task."""

        def report(done: int, total: int | None) -> None:
            self.ask(lambda: callback(done, total))

        return report

    def items(self, reader: Reader) -> Iterator[Any]:
        """Yield the items that a reader reads in the caller's task, some at a time."""
        ended = False
        while not ended:
            chunk: _Chunk = self.ask(reader.read)
            yield from chunk.items
            if chunk.error is not None:
                raise chunk.error
            ended = chunk.ended


def stay(*_: object) -> None:
    """Raise LeftError if the caller has left.

    If a caller passes no progress callback, this function is the callback.
    """
    if has_left():
        raise LeftError


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """Yield the items until the caller leaves."""
    for item in items:
        stay()
        yield item


class _Chunk(NamedTuple):
    items: list[Any]
    ended: bool = False
    error: Exception | None = None


class Reader:
    """Reads an async iterable in chunks, and closes it if reading stops before its end."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._iterator = aiter(items)
        self._ended = False

    async def read(self) -> _Chunk:
        """Return the next items, and the error that the iterable raised after them, or None."""
        items: list[Any] = []
        size = 0
        try:
            while len(items) < _CHUNK and size < _CHUNK_BYTES:
                items.append(await anext(self._iterator))
                size += _size(items[-1])
        except StopAsyncIteration:
            self._ended = True
            return _Chunk(items, ended=True)
        except Exception as error:  # noqa: BLE001 - raised behind the items
            self._ended = True
            return _Chunk(items, error=error)
        return _Chunk(items)

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, *_: object) -> None:
        close: Callable[[], Awaitable[object]] | None = getattr(self._iterator, "aclose", None)
        if close is not None and not self._ended:
            await close()  # otherwise the loop would close it in another task


def _size(entry: object) -> int:
    value = entry.get("value") if isinstance(entry, dict) else entry
    return len(value) if isinstance(value, (str, bytes)) else 0
