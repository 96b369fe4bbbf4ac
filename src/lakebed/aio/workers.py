"""The threads that work for coroutines.

The core is synchronous, as SQLite and DuckDB are. A call of a coroutine becomes a job. One of a few
threads does the job, while the event loop goes on. docs/design/aio.md says what that costs, and why
this does not use an executor of the standard library.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from lakebed.errors import CatalogError
from lakebed.leaving import Call, current

T = TypeVar("T")


class Job(Generic[T]):
    """Work for a coroutine. A thread does it in the coroutine's context.

    `discard`: gets the result of an abandoned job, to close it.
    """

    def __init__(
        self,
        work: Callable[[], T],
        box: Mailbox | None,
        discard: Callable[[T], object] | None = None,
    ) -> None:
        self.call = Call()
        self.counted = True  # whether the job counts among those that wait for a thread
        self.taken = self.withdrawn = self.abandoned = self.done = False
        self._work = work
        self._discard = discard
        self._box = box
        self._context = copy_context()
        self._context.run(current.set, self.call)
        self._waiter: Future[None] | None = None
        self._result: T
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work. This runs in a thread."""
        try:
            self._result = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            self._error = error
        self.call.end()

    def discard(self) -> None:
        """Close the result, for which nobody waits. This runs in a thread."""
        if self._discard is not None and self._error is None:
            self._discard(self._result)

    def notify(self) -> None:
        """Let the coroutine continue. Any thread can call this."""
        assert self._box is not None
        self._box.post(self)

    def wake(self) -> None:
        """Let the coroutine continue. Only the loop's thread can call this."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until the thread notifies this job."""
        assert self._box is not None
        self._waiter = self._box.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def result(self) -> T:
        """Return the result, or raise the error."""
        if self._error is not None:
            # Drop the reference. Otherwise the error would keep itself alive through its traceback.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return self._result


class Mailbox:
    """Wakes the coroutines of one loop whose jobs have news. Several jobs wake the loop once."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._jobs: list[Job[Any]] = []

    def post(self, job: Job[Any]) -> None:
        """Announce that a job has news. Any thread can call this."""
        with self._lock:
            self._jobs.append(job)
            first = len(self._jobs) == 1
        if first:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.wake()


class Workers:
    """Threads that do jobs, at most `limit` at a time. They start when they are needed.

    Jobs can come from several loops. After a fork, the child starts its own threads.
    """

    def __init__(self, limit: int, name: str) -> None:
        self.limit = limit
        self._name = name
        self._ended = False
        self._start()
        _all.add(self)

    def _start(self) -> None:
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._boxes: dict[AbstractEventLoop, Mailbox] = {}
        self._waiting = 0  # jobs that no thread has taken yet
        self._idle = 0  # threads without a job
        self._resting = 0  # threads that wait for a coroutine

    def box(self) -> Mailbox:
        """Return the mailbox of the running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "an AsyncLake needs asyncio's event loop: under trio, call the synchronous lake in "
                "trio.to_thread.run_sync"
            ) from None
        box = self._boxes.get(loop)
        if box is None:
            with self._lock:
                for other in [other for other in self._boxes if other.is_closed()]:
                    del self._boxes[other]
                box = self._boxes[loop] = Mailbox(loop)
        return box

    def submit(self, job: Job[Any]) -> None:
        """Queue a job. Raises CatalogError if the lake is closed."""
        with self._lock:
            if self._ended:
                raise CatalogError("the lake is closed")
            self._waiting += 1
            try:
                self._need_thread()
            except RuntimeError:  # the system cannot start another thread
                if not self._threads:
                    self._waiting -= 1
                    raise
            self._queue.put(job)

    def later(self, work: Callable[[], object]) -> None:
        """Queue work for which nobody waits. Does nothing if the lake is closed.

        This takes no lock, because the garbage collector may call it anywhere.
        """
        job = Job(work, None)
        job.abandoned, job.counted = True, False
        if not self._ended:
            self._queue.put(job)

    def _need_thread(self) -> None:
        if self._waiting > self._idle and len(self._threads) < self.limit + self._resting:
            # A thread must not refer to the lake, or a lake that is never closed would stay alive.
            thread = threading.Thread(target=_serve, args=(self,), name=self._name, daemon=True)
            thread.start()
            self._threads.add(thread)
            self._idle += 1  # count it already, so that the next job does not start another one

    def withdraw(self, job: Job[Any]) -> bool:
        """Remove a job that has not begun. Returns False if it has begun."""
        with self._lock:
            job.withdrawn = not job.taken
            return job.withdrawn

    def next(self) -> Job[Any] | None:
        """Return the next job for the calling thread, or None if the thread must end."""
        while True:
            with self._lock:
                if len(self._threads) > self.limit + self._resting:
                    self._leave()
                    return None
            job = self._queue.get()
            with self._lock:
                if job is None:
                    self._queue.put(None)  # for the other threads
                    self._leave()
                    return None
                self._waiting -= job.counted
                if not job.withdrawn:
                    self._idle -= 1
                    job.taken = True
                    return job

    def _leave(self) -> None:
        self._idle -= 1
        self._threads.discard(threading.current_thread())

    def abandon(self, job: Job[Any]) -> bool:
        """Mark a job for whose result nobody waits. Returns False if it has ended already."""
        with self._lock:
            job.abandoned = not job.done
            return job.abandoned

    def finish(self, job: Job[Any]) -> None:
        """Note that the calling thread has done its job."""
        with self._lock:
            self._idle += 1
            job.done = True
        if job.abandoned:
            job.discard()
        else:
            job.notify()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let another thread replace the calling one, which waits for a coroutine in this block.

        The coroutine may need a thread itself.
        """
        with self._lock:
            self._resting += 1
            with suppress(RuntimeError):
                self._need_thread()
        try:
            yield
        finally:
            with self._lock:
                self._resting -= 1

    def end(self) -> set[threading.Thread]:
        """Take no more jobs. Returns the threads. They end after the queued jobs."""
        with self._lock:
            self._ended = True
            self._queue.put(None)
            return set(self._threads)

    def after_fork_in_child(self) -> None:
        """Forget the threads, which exist only in the parent."""
        self._start()


def _serve(workers: Workers) -> None:
    while (job := workers.next()) is not None:
        job.run()
        workers.finish(job)
        del job  # an idle thread must not keep the job's objects alive


_all: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for workers in list(_all):
        workers.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
