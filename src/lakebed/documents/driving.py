"""One implementation for programs with and without an event loop.

The calls of a store are coroutines. Over a blocking backend they never wait, so `run` can run them
to their end at once, without a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from lakebed.errors import LakebedError
from lakebed.reporting import Result, misused

P = ParamSpec("P")
T = TypeVar("T")
Call = Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
Plain = Callable[Concatenate[Any, P], T]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a coroutine of a blocking store has waited")


def raising(method: Call[P, T]) -> Plain[P, T]:
    """Return a blocking method for a call of `_calls`. It raises errors."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> T:
        return run(method(self._calls, *args, **options))

    return call


def telling(method: Call[P, Result]) -> Plain[P, Result]:
    """Return a blocking method for a call of `_calls`. `_refused` makes its errors dictionaries."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> Result:
        try:
            return run(method(self._calls, *args, **options))
        except LakebedError as error:
            return self._refused(error)  # type: ignore[no-any-return]
        except TypeError as error:
            return misused(method, options, error)

    return call


def awaited(method: Call[P, Result]) -> Call[P, Result]:
    """Return a coroutine method for a call of `_calls`. Errors become dictionaries."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **options: P.kwargs) -> Result:
        try:
            return await method(self._calls, *args, **options)
        except LakebedError as error:
            return self._refused(error)  # type: ignore[no-any-return]
        except TypeError as error:
            return misused(method, options, error)

    return call
