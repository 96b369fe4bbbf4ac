"""Group commit: threads that write at the same time share one transaction.

If each thread had its own transaction, every store would cost a commit, and a switch of threads
during which nobody writes. So a thread that finds another one writing queues its job and sleeps.
The first thread in the queue leads. It begins a transaction, runs all queued jobs, each behind a
savepoint, and wakes the other threads once their jobs are done. Measurements:
docs/design/sqlite.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from lakebed.catalog.statements.executor import Transaction
from lakebed.errors import LakebedError
from lakebed.leaving import acquire
from lakebed.observing import tell

T = TypeVar("T")
Tx = TypeVar("Tx", bound=Transaction)


class RepeatError(LakebedError):
    """A transaction had no effect and must be repeated. The executor catches this error."""


class _Job(Generic[Tx, T]):
    """The work of one thread, and its result or error."""

    __slots__ = ("done", "error", "leads", "result", "wake", "work")

    def __init__(self, work: Callable[[Tx], T]) -> None:
        self.work = work
        self.result: T
        self.error: LakebedError | None = None
        self.done = False  # has a result or an error
        self.leads = False
        self.wake = threading.Lock()
        self.wake.acquire()


class Grouping(Generic[Tx]):
    """The jobs that wait to be written.

    `begin`: starts a write transaction, waiting at most the given seconds. `locked`: makes the
    error of a job that has waited for `timeout` seconds. `may_have_happened`: tells whether the
    transaction may have been committed despite an error.
    """

    def __init__(
        self,
        begin: Callable[[float], AbstractContextManager[Tx]],
        locked: Callable[[], LakebedError],
        timeout: float,
        may_have_happened: Callable[[LakebedError], bool] = lambda _: False,
    ) -> None:
        self._may_have_happened = may_have_happened
        self._begin = begin
        self._locked = locked
        self._timeout = timeout
        self._mutex = threading.Lock()
        self._jobs: list[_Job[Tx, Any]] = []
        self.busy = False
        """Whether a thread leads or is about to lead."""

    def run(self, work: Callable[[Tx], T]) -> T:
        """Return the result of `work` in a committed transaction, which other jobs may share.

        Raises the error of `work`, or that of `locked` if it cannot begin in time.
        """
        job, start = _Job(work), time.monotonic()
        try:
            with self._mutex:
                self._jobs.append(job)
                if not self.busy:
                    self._choose()
            if not acquire(job.wake, self._timeout):
                self._withdraw(job)
            tell("lock.wait", time.monotonic() - start, "thread")
            while not job.done:
                try:
                    self._lead(max(0.0, self._timeout - (time.monotonic() - start)))
                except RepeatError:
                    if time.monotonic() - start >= self._timeout:
                        raise self._locked() from None
        finally:
            with self._mutex:
                if job in self._jobs:  # a job must not outlive its call
                    self._jobs.remove(job)
                if job.leads:
                    self._choose()
        if job.error is not None:
            raise job.error
        return job.result

    def _choose(self) -> None:
        """Let the first job in the queue lead."""
        self.busy = bool(self._jobs)
        if self._jobs:
            self._jobs[0].leads = True
            self._jobs[0].wake.release()

    def _withdraw(self, job: _Job[Tx, Any]) -> None:
        """Withdraw a job that has waited too long, unless a transaction, which ends soon, has taken
        it."""
        with self._mutex:
            if job in self._jobs and not job.leads:
                raise self._locked()
        job.wake.acquire()

    def _lead(self, wait: float) -> None:
        jobs: list[_Job[Tx, Any]] = []
        try:
            with self._begin(wait) as tx:
                with self._mutex:
                    jobs, self._jobs = self._jobs, []
                _run(tx, jobs)
            for job in jobs:
                job.done = True
        except RepeatError:
            raise
        except LakebedError as error:
            if len(jobs) < 2:
                raise
            self._run_apart(jobs, wait, error)
        finally:
            with self._mutex:
                self._jobs[:0] = [job for job in jobs if not job.done]
            for job in jobs:
                if job.done:
                    job.wake.release()

    def _run_apart(self, jobs: Sequence[_Job[Tx, Any]], wait: float, error: LakebedError) -> None:
        """Run each job in its own transaction, after the shared one failed.

        If the shared transaction may have been committed, every job gets its error instead.
        """
        if self._may_have_happened(error):
            for job in jobs:
                job.error, job.done = error, True
            return
        for job in jobs:
            job.error = None
            try:
                with self._begin(wait) as tx:
                    job.result = job.work(tx)
            except LakebedError as error:
                job.error = error
            job.done = True


def _run(tx: Tx, jobs: Sequence[_Job[Tx, Any]]) -> None:
    if len(jobs) == 1:
        jobs[0].result = jobs[0].work(tx)
        return
    for job in jobs:
        job.error = None
        tx.run("SAVEPOINT job", {})
        try:
            job.result = job.work(tx)
        except LakebedError as error:
            # A job whose condition does not hold must not affect the others.
            job.error = error
            tx.run("ROLLBACK TO job", {})
        tx.run("RELEASE job", {})
