"""The threads of one lake, and how its calls become coroutines."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from lakebed.aio.calls import perform, perform_reporting
from lakebed.aio.workers import Workers
from lakebed.lake.checks import check_count
from lakebed.lake.lake import Lake
from lakebed.model import Progress

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

_USUAL = 16
_SQLITE = 4  # more threads would only wait for each other
_FAR = 32  # calls that wait for a bucket most of the time need many threads


class Crew:
    """Threads for single calls, and as many for long calls, which must not delay single calls.

    `limit`: the most threads of each kind. None means a number that suits the lake, which is set
    when the lake is known (see docs/design/aio.md).
    """

    def __init__(self, limit: int | None, lake: Lake | None = None) -> None:
        if limit is not None:
            check_count("max_workers", limit, least=1)
        self._given = limit
        self.single = Workers(limit or _USUAL, "lakebed-aio")
        self.long = Workers(limit or _USUAL, "lakebed-aio-long")
        self.fit(lake)

    def fit(self, lake: Lake | None) -> None:
        """Set the number of threads that suits a connected lake, unless a limit was given."""
        known = {} if lake is None else vars(lake)
        if lake is None or self._given is not None or "name" not in known:
            return
        if known["_objects"] is not None and lake._is_far():
            self.single.limit = self.long.limit = _FAR
        elif lake.name.startswith(("sqlite:", ":memory:")):
            self.single.limit = self.long.limit = _SQLITE

    def end(self) -> set[threading.Thread]:
        """Take no more calls. Returns the threads, which end after the calls that are queued."""
        return self.single.end() | self.long.end()

    async def close(self, close: Callable[[], object]) -> None:
        """Wait until all calls and threads have ended, then call `close`. Being cancelled does not
        end the wait."""
        threads = self.end()

        def finish() -> None:
            for thread in threads:
                thread.join()
            close()

        closing = Workers(1, "lakebed-aio-close")
        try:
            await perform(closing, finish)
        finally:
            for thread in closing.end():
                thread.join()


class Face(Generic[S]):
    """An object whose calls run in the threads of a crew.

    `source`: returns the synchronous object. It runs in a thread, because it may have to connect.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in vars(cls).items():
            if hasattr(method, "__wrapped__"):  # `call` or `reporting` made it
                method.__module__ = cls.__module__
                method.__qualname__ = f"{cls.__qualname__}.{name}"

    def __init__(self, crew: Crew, source: Callable[[], S]) -> None:
        self._crew = crew
        self._source = source


class Closing(ABC):
    """Something that `async with` closes at the end of its block."""

    @abstractmethod
    async def close(self) -> None:
        """Close it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


Method = Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
Convert = Callable[[T, Crew], R]


@overload
def call(
    method: Callable[Concatenate[Any, P], T], *, reads: bool = False, long: bool = False
) -> Method[P, T]: ...
@overload
def call(
    method: Callable[Concatenate[Any, P], T],
    convert: Convert[T, R],
    *,
    reads: bool = False,
    long: bool = False,
) -> Method[P, R]: ...
def call(
    method: Callable[..., Any],
    convert: Convert[Any, Any] | None = None,
    *,
    reads: bool = False,
    long: bool = False,
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Turn a method into a coroutine function. A thread does the work.

    `convert`: turns the result into one that does not block a loop. `reads`: the method changes
    nothing, so a cancelled caller does not wait for its end. `long`: use the threads for long
    calls.
    """

    @wraps(method, assigned=("__name__", "__doc__"))
    async def called(self: Face[Any], /, *args: Any, **options: Any) -> Any:
        crew = self._crew

        def work() -> Any:
            result = getattr(self._source(), method.__name__)(*args, **options)
            return result if convert is None else convert(result, crew)

        return await perform(crew.long if long else crew.single, work, reads=reads)

    return called


@overload
def reporting(
    method: Callable[Concatenate[Any, P], T], *, reads: bool = False, long: bool = True
) -> Method[P, T]: ...
@overload
def reporting(
    method: Callable[Concatenate[Any, P], T],
    convert: Convert[T, R],
    *,
    reads: bool = False,
    long: bool = True,
) -> Method[P, R]: ...
def reporting(
    method: Callable[..., Any],
    convert: Convert[Any, Any] | None = None,
    *,
    reads: bool = False,
    long: bool = True,
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Do what `call` does, for a long method with the argument `progress`.

    `progress` can be a function or a coroutine function. It runs in the caller's task. If the
    caller is cancelled, the call ends at its next report.
    """

    @wraps(method, assigned=("__name__", "__doc__"))
    async def called(
        self: Face[Any],
        /,
        *args: Any,
        progress: Progress | None = None,
        **options: Any,
    ) -> Any:
        crew = self._crew

        def work(report: Progress) -> Any:
            run = getattr(self._source(), method.__name__)
            result = run(*args, progress=report, **options)
            return result if convert is None else convert(result, crew)

        workers = crew.long if long or progress is not None else crew.single
        return await perform_reporting(workers, work, progress, reads=reads)

    return called
