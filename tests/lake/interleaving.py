"""Every order in which the steps of several actors can happen, one after the other.

A step is a catalog transaction, a read of the catalog, or a call of the storage. Actors are
threads that hand over a baton: only the one that holds it runs, up to its next step. So a schedule,
the list of who goes next, can be repeated exactly. `explore` runs all schedules with a bounded
number of preemptions (moments at which an actor that could go on has to wait: most errors of
concurrency need two, Musuvathi and Qadeer 2007) and of crashes (an actor that dies for good before
a step).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from lakebed.catalog.statements import executor as base
from lakebed.catalog.statements.executor import Params, Row, Transaction
from lakebed.objects.store import ObjectStore, Range, ReadResult, StoredFile
from lakebed.testing.faults import Crash
from tests.sampling import SAMPLE

T = TypeVar("T")


class Choice(NamedTuple):
    """Who goes next, and whether it dies there."""

    actor: int
    dies: bool = False


class Point(NamedTuple):
    """A moment of a run: who held the baton, who could go on, who was chosen, with which step."""

    holder: int | None
    ready: tuple[int, ...]
    chosen: Choice
    step: str


class _Actor:
    def __init__(self, number: int, work: Callable[[], object], turn: threading.Semaphore) -> None:
        self.step = ""
        self.done = False
        self.dies = False
        self.error: BaseException | None = None
        self.go = threading.Semaphore(0)
        self._turn = turn
        self._work = work
        self.thread = threading.Thread(target=self._run, name=f"actor-{number}", daemon=True)

    def _run(self) -> None:
        _local.actor = self
        try:
            self._work()
        except Crash:
            pass  # that is what it was told
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            self.error = error
        finally:
            self.done = True
            self._turn.release()

    def wait(self, step: str) -> None:
        """Give the baton back until the scheduler chooses this actor to make the step."""
        if self.dies:
            raise Crash(self.step)
        self.step = step
        self._turn.release()
        self.go.acquire()
        if self.dies:
            raise Crash(step)


_local = threading.local()


def step(name: str) -> None:
    """The calling actor is about to make a step; whoever is no actor just goes on."""
    actor: _Actor | None = getattr(_local, "actor", None)
    if actor is not None and not getattr(_local, "inside", False):
        actor.wait(name)


def run(
    work: Sequence[Callable[[], object]], schedule: Sequence[Choice], check: Callable[[], None]
) -> list[Point]:
    """Let the actors take turns by the schedule, then each to its end; `check` after every step.

    An error of an actor, or of `check`, is raised.
    """
    turn = threading.Semaphore(0)
    actors = [_Actor(number, each, turn) for number, each in enumerate(work)]
    trace: list[Point] = []
    try:
        for actor in actors:
            actor.thread.start()
            turn.acquire()  # it has come to its first step
        holder: int | None = None
        while ready := tuple(n for n, actor in enumerate(actors) if not actor.done):
            if len(trace) < len(schedule):
                chosen = schedule[len(trace)]
            else:
                chosen = Choice(holder if holder in ready and holder is not None else ready[0])
            actor = actors[chosen.actor]
            trace.append(Point(holder, ready, chosen, actor.step))
            actor.dies = chosen.dies
            actor.go.release()
            turn.acquire()
            if actor.error is not None:
                raise actor.error
            check()
            holder = chosen.actor
    finally:
        for actor in actors:
            actor.dies = True
            actor.go.release()
            actor.thread.join()
    return trace


class Scenario(Protocol):
    """What is explored: `begin` makes a fresh world and the actors in it."""

    def begin(self) -> Sequence[Callable[[], object]]: ...

    def check(self) -> None:
        """After every step."""

    def end(self, died: Set[int]) -> None:
        """After the last one; the numbers of the actors that died."""


class ScheduleError(AssertionError):
    """A schedule under which something went wrong; its cause says what."""


def explore(
    scenario: Scenario, *, preemptions: int, crashes: int = 0, most: int | None = None
) -> int:
    """Run every schedule within the bounds, or `most` of them that the sample's seed chooses; how
    many were run."""
    stack: list[tuple[Choice, ...]] = [()]
    rng = random.Random(SAMPLE)
    count = 0
    while stack and count != most:
        prefix = stack.pop() if most is None else stack.pop(rng.randrange(len(stack)))
        work = scenario.begin()
        trace: list[Point] = []
        try:
            trace = run(work, prefix, scenario.check)
            scenario.end({point.chosen.actor for point in trace if point.chosen.dies})
        except BaseException as error:
            raise ScheduleError(f"schedule {prefix} after {count} others: {error!r}") from error
        count += 1
        stack.extend(_others(trace, len(prefix), preemptions, crashes))
    return count


def _others(
    trace: Sequence[Point], start: int, preemptions: int, crashes: int
) -> Iterator[tuple[Choice, ...]]:
    """The schedules that differ from a run at one point after its given beginning."""
    chosen = tuple(point.chosen for point in trace)
    used = [_is_preemption(point) for point in trace]
    deaths = [point.chosen.dies for point in trace]
    for number in range(start, len(trace)):
        point = trace[number]
        spent = sum(used[:number])
        for actor in point.ready:
            if actor != point.chosen.actor:
                other = point._replace(chosen=Choice(actor))
                if spent + _is_preemption(other) <= preemptions:
                    yield (*chosen[:number], other.chosen)
        holder = point.chosen.actor
        if sum(deaths[:number]) < crashes and not point.chosen.dies:
            yield (*chosen[:number], Choice(holder, dies=True))


def _is_preemption(point: Point) -> bool:
    return point.holder in point.ready and point.chosen.actor != point.holder


class SteppingExecutor:
    """An `Executor` each of whose transactions and reads is a step."""

    def __init__(self, inner: base.Executor) -> None:
        self._inner = inner
        self.dialect = inner.dialect
        self.schema = inner.schema
        self.now = inner.now
        self.stamp = inner.stamp

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        step(name)
        before = getattr(_local, "inside", False)
        _local.inside = True
        try:
            yield
        finally:
            _local.inside = before

    def read(self, work: Callable[[Transaction], T], *, settled: bool = False) -> T:
        with self._within("read"):
            return self._inner.read(work, settled=settled)

    @contextmanager
    def reading(self, begin: Callable[[Transaction], T]) -> Generator[T]:
        with self._within("read"), self._inner.reading(begin) as begun:
            yield begun

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        with self._within("write"):
            return self._inner.transact(work, exclusive=exclusive, patient=patient, brief=brief)

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        with self._within(sql):
            return self._inner.fetch(sql, params)

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        with self._within("scrub"):
            return self._inner.scrub(thorough=thorough)

    def close(self) -> None:
        self._inner.close()


class SteppingStore:
    """An `ObjectStore` each of whose calls is a step; each file of a delete, and beginning and end
    of a longer write, are steps of their own."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.uri = inner.uri
        self.site = inner.site

    def write(self, path: str, data: bytes) -> None:
        step(f"write {path}")
        self._inner.write(path, data)

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        step(f"open {path}")
        with self._inner.open_write(path) as file:
            yield file
            step(f"close {path}")

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        step(f"read {path}")
        return self._inner.read(path, offset, length)

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        step("read many")
        return self._inner.read_many(ranges)

    def abandon_uploads(self, before: int) -> int:
        step("abandon uploads")
        return self._inner.abandon_uploads(before)

    def size(self, path: str) -> int:
        step(f"size {path}")
        return self._inner.size(path)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            step(f"delete {path}")
            self._inner.delete([path])

    def list(self, prefix: str) -> Iterator[StoredFile]:
        step(f"list {prefix}")
        yield from list(self._inner.list(prefix))

    def close(self) -> None:
        self._inner.close()


class OwnPool(Executor):
    """In place of a pool of threads: a task runs at once, in the thread that hands it in, so that
    its steps are steps of its actor."""

    def __init__(self, *_: object) -> None:
        """As a `ThreadPoolExecutor` is made."""

    def submit(self, task: Callable[..., T], /, *given: Any, **named: Any) -> Future[T]:
        future = Future[T]()
        try:
            future.set_result(task(*given, **named))
        except BaseException as error:  # noqa: BLE001 - the one who asks for the result gets it
            future.set_exception(error)
        return future


def outside_steps(work: Callable[[], T]) -> T:
    """What `work` gives, done by an actor within its present step."""
    _local.inside = True
    try:
        return work()
    finally:
        _local.inside = False
