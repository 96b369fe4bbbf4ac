"""The kinds of locks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module, metadata
from inspect import Parameter, signature

from lakebed.errors import ConfigurationError
from lakebed.locks.base import Lock
from lakebed.suggestions import suggestion

ENTRY_POINTS = "lakebed.locks"
"""The group of entry points with which installed packages offer kinds: `kind = module:maker`."""

Maker = Callable[..., Lock]
"""Makes a lock: called with the name, the ttl, and the options as keyword arguments."""

_makers: dict[str, Maker | str] = {
    "bucket": "lakebed.locks.bucket:BucketLock",
    "dynamodb": "lakebed.locks.dynamodb:DynamoDBLock",
    "firestore": "lakebed.locks.firestore:FirestoreLock",
    "postgres": "lakebed.locks.postgres:PostgresLock",
    "redis": "lakebed.locks.redis:RedisLock",
    "sqlite": "lakebed.locks.sqlite:SQLiteLock",
}


def create_lock(kind: str, name: str, ttl: float | timedelta = 300, **options: object) -> Lock:
    """Make a lock, without acquiring it.

    `kind`: where the lock is kept, such as `"redis"`, `"postgres"`, `"sqlite"` or `"bucket"`. Each
    kind has its own options. `name`: the same name in the same place is the same lock. `ttl`: the
    time, in seconds or as a timedelta, after which an owner loses the lock unless it refreshes it.
    All owners of a lock must give the same `ttl`.

    Raises ConfigurationError for an unknown kind or option, ValidationError for a malformed name or
    ttl, DependencyMissingError if the kind's package is not installed.
    """
    maker = _makers.get(kind) or _from_entry_point(kind)
    if maker is None:
        known = known_locks()
        raise ConfigurationError(f"unknown kind of lock {kind!r}: {suggestion(str(kind), known)}")
    if isinstance(maker, str):
        module, _, attribute = maker.partition(":")
        loaded: Maker = getattr(import_module(module), attribute)
        maker = loaded
    _check_options(kind, maker, options)
    return maker(name, ttl, **options)


def _check_options(kind: str, maker: Maker, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for an unknown option, or if a required one is missing."""
    parameters = list(signature(maker).parameters.values())
    variadic = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    named = [each for each in parameters if each.kind not in variadic]
    known = {each.name: each for each in named[2:]}  # the first two are name and ttl
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
    for name in () if takes_all else options.keys() - known.keys():
        raise ConfigurationError(
            f"unknown option {name!r} of a lock of the kind {kind!r}: {suggestion(name, known)}"
        )
    for name, parameter in known.items():
        if parameter.default is Parameter.empty and name not in options:
            raise ConfigurationError(f"{name} is missing: a lock of the kind {kind!r} needs it")


def register_lock(kind: str, maker: Maker) -> None:
    """Register a kind of lock. A registered kind is replaced.

    `maker`: a subclass of `Lock`, or a function that makes one. It takes the name, the ttl, and the
    options as keyword arguments. Installed packages use an entry point of the group `lakebed.locks`
    instead.
    """
    _makers[kind] = maker


def known_locks() -> list[str]:
    """Return the kinds that `create_lock` knows, sorted."""
    offered = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(offered | _makers.keys())


def _from_entry_point(kind: object) -> Maker | None:
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == kind:
            maker: Maker = point.load()
            register_lock(point.name, maker)
            return maker
    return None
