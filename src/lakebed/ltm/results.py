"""Results as dictionaries. Errors are turned into dictionaries only here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar

from lakebed.errors import LakebedError, RateLimitedError, ValidationError
from lakebed.model import Entry, EntryRow, StoredEntry
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
            trace = error.__traceback__
            wrong = _misnamed(method, kwargs)
            if wrong is None or trace is None or trace.tb_next is not None:  # raised inside it
                raise
            return failure(wrong)

    return call


def _misnamed(method: Callable[..., Result], given: Iterable[str]) -> ValidationError | None:
    """Return the error for an argument of a name that the method does not have, if there is one."""
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


def stored(entry: StoredEntry) -> Result:
    """The result of a store."""
    changed, inlined = entry.changed, entry.inlined
    result = {
        "success": True,
        "stored": changed,
        "key": entry.key,
        "created": entry.created,
        "content_hash": entry.content_hash,
        "inlined": inlined,
        "byte_size": entry.byte_size,
        "deduplicated": entry.deduplicated or not changed,
    }
    if not inlined:
        result["storage_uri"] = entry.storage_uri
    return result


def listed(entry: Entry) -> Result:
    """An entry of a listing, without its value."""
    return {
        "key": entry.key,
        "metadata": entry.metadata,
        "content_hash": entry.content_hash,
        "format": entry.format,
        "byte_size": entry.byte_size,
        "inlined": entry.inlined,
        "created_at": entry.created_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
        "expires_at": None if entry.expires_at is None else entry.expires_at.isoformat(),
    }


def found(row: EntryRow, value: object) -> Result:
    """The result of reading an entry."""
    return {
        "success": True,
        "value": value,
        "found": True,
        "metadata": row.metadata_dict(),
        "content_hash": row.hash_text(),
        "inlined": row.inline_value is not None,
    }


def not_found(default: object) -> Result:
    """The result of reading a missing key, which is a success too."""
    return {
        "success": True,
        "value": default,
        "found": False,
        "metadata": None,
        "content_hash": None,
        "inlined": None,
    }
