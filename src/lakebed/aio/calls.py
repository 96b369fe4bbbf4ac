"""How a coroutine calls the lake: its work goes to a thread, what it brings along stays here.

Progress callbacks and async generators run in the caller's own task, on its loop, while a thread
does the work and asks for them.
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

_CHUNK = 100  # items of an async iterable that go to the thread at once
_CHUNK_BYTES = 1 << 20  # … or as many as hold so much text or bytes


class LeftError(Exception):
    """Ends a call in its thread, whose caller has left: nobody sees it."""


async def perform(
    workers: Workers,
    work: Callable[[], T],
    *,
    reads: bool = False,
    discard: Callable[[T], object] | None = None,
) -> T:
    """The result of work that a thread does.

    Who is cancelled before it has begun leaves it undone. Later it is waited for, so that it has
    happened or not when the caller goes on; with `reads`, which changes nothing, it is not, and
    `discard` gets its result.
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
                with suppress(CatalogError):  # closed meanwhile, and with it all that it gave
                    await perform(workers, job.discard)
        raise
    return job.result()


async def converse(workers: Workers, work: Callable[[Conversation], T]) -> T:
    """The same, for work that asks the caller's task for something meanwhile."""
    job = _Conversing(work, workers)
    workers.submit(job)
    try:
        while not job.done:
            if job.requests:
                await job.requests.popleft().answer()
            else:
                await job.wait()
    except GeneratorExit:  # the loop is gone, and nothing can be awaited any more
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
    """The same, for work that reports its progress to the caller's function or coroutine function.
    Who is cancelled ends it at its next report."""
    if progress is None:
        return await perform(workers, partial(work, stay), reads=reads)
    return await converse(workers, lambda talk: work(talk.progress(progress)))


async def _end_of(job: Job[Any]) -> None:
    """Wait until a thread is done, however often the caller is cancelled."""
    while not job.done:
        try:
            await job.wait()
        except asyncio.CancelledError:
            continue


class _Request:
    """Something that a thread asks the caller's task for."""

    def __init__(self, question: Callable[[], object]) -> None:
        self._question = question
        self._answered = threading.Lock()
        self._answered.acquire()
        self._error: Exception | None = None
        self._answer: Any = None

    async def answer(self) -> None:
        """Do what is asked, and let the thread go on with what comes of it."""
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
        """The answer; in the thread."""
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
    """The side of the thread."""

    def __init__(self, job: _Conversing[Any], workers: Workers) -> None:
        self._job = job
        self._workers = workers

    def ask(self, question: Callable[[], object]) -> Any:
        """What the caller's task makes of a question, awaited if that is to be.

        Raises the error that it raised there; LeftError if the caller has left.
        """
        stay()
        request = _Request(question)
        self._job.requests.append(request)
        self._job.notify()
        with self._workers.resting():
            return request.wait()

    def progress(self, callback: Callable[[int, int | None], object]) -> Callable[..., None]:
        """The callback as the synchronous call takes it."""

        def report(done: int, total: int | None) -> None:
            self.ask(lambda: callback(done, total))

        return report

    def items(self, reader: Reader) -> Iterator[Any]:
        """What a reader reads, in the caller's task, some at a time."""
        ended = False
        while not ended:
            chunk: _Chunk = self.ask(reader.read)
            yield from chunk.items
            if chunk.error is not None:
                raise chunk.error
            ended = chunk.ended


def stay(*_: object) -> None:
    """LeftError if the caller has left; also the progress callback of who brings none."""
    if has_left():
        raise LeftError


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """The items, as long as the caller has not left."""
    for item in items:
        stay()
        yield item


class _Chunk(NamedTuple):
    items: list[Any]
    ended: bool = False
    error: Exception | None = None


class Reader:
    """Reads an async iterable by chunks, and closes it if it is left before its end."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._iterator = aiter(items)
        self._ended = False

    async def read(self) -> _Chunk:
        """The next items; with the error of the iterable, which came after them."""
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
            await close()  # else the loop would do it in a task of its own


def _size(entry: object) -> int:
    value = entry.get("value") if isinstance(entry, dict) else entry
    return len(value) if isinstance(value, (str, bytes)) else 0
