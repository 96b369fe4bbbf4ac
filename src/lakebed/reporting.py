"""Turns errors into dictionaries, for the interfaces whose calls return errors as results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar

from lakebed.errors import LakebedError, RateLimitedError, ValidationError
from lakebed.suggestions import suggestion

Result = dict[str, Any]
P = ParamSpec("P")
S = TypeVar("S")
Method = Callable[Concatenate[S, P], Result]


def reported(method: Method[S, P]) -> Method[S, P]:
    """Make a method return its errors as results instead of raising them. This includes unknown
    arguments, because agents call these methods with names that a model made up."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        try:
            return method(self, *args, **kwargs)
        except LakebedError as error:
            return failure(error)
        except TypeError as error:
            return misused(method, kwargs, error)

    return call


def misused(method: Callable[..., object], given: Iterable[str], error: TypeError) -> Result:
    """Return the result of a call that named an argument which the method does not have.

    `given`: the names of the call's arguments. `error`: what the call raised. If the error has
    another cause, it is raised again.
    """
    trace = error.__traceback__
    wrong = _misnamed(method, given)
    if wrong is None or trace is None or trace.tb_next is not None:  # raised inside it
        raise error
    return failure(wrong)


def _misnamed(method: Callable[..., object], given: Iterable[str]) -> ValidationError | None:
    """Return the error for the first name that is not an argument of the method, or None."""
    known = [*signature(method).parameters][1:]
    for name in given:
        if name not in known:
            return ValidationError(
                f"{method.__name__} has no argument {name!r}: {suggestion(name, known)}"
            )
    return None


def failure(error: LakebedError) -> Result:
    """Return `{success: False, error, error_type[, retry_after][, errors]}`, with `errors` by
    key."""
    result: Result = {"success": False} | explain(error)
    if error.errors:
        result["errors"] = {key: explain(each) for key, each in error.errors.items()}
    return result


def explain(error: LakebedError) -> Result:
    """Return the message of an error, its stable type, and the seconds to wait, if known."""
    result = {"error": str(error), "error_type": error.error_type}
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return result | {"retry_after": error.retry_after}
    return result
